import assert from "node:assert/strict";
import test from "node:test";

import { Item } from "../../../../entrypoints/page/items.mjs";
import { figures, outcome, Rate, tally } from "../../../../entrypoints/page/summary.mjs";

function items(...states) {
  return states.map((state, number) => Object.assign(new Item(`${number}.csv`, { size: 1000 }), { state, sent: 300 }));
}

test("what has arrived and what is under way is counted", () => {
  const found = tally(items("verified", "sent", "sending", "waiting", "failed", "cancelled"));

  assert.deepEqual([found.files, found.bytes, found.arrived], [6, 6000, 1000 + 1000 + 300 + 300]);
  assert.deepEqual([found.done, found.active, found.waiting, found.failed], [1, 1, 2, 2]);
  assert.equal(figures(found, 650, true), "2 of 6 files · 2.6 kB of 6.0 kB · 650 B/s · 6 s left");
  assert.equal(figures(found, 650, false), "2 of 6 files · 2.6 kB of 6.0 kB");
});

for (const [states, kind, text] of [
  [["verified"], "good", "The file is verified: the store holds exactly these bytes."],
  [["verified", "verified"], "good", "All 2 files are verified: the store holds exactly these bytes."],
  [["failed"], "bad", "1 file couldn't be uploaded."],
  [["failed", "verified"], "bad", "1 file couldn't be uploaded. The other one has arrived."],
  [["failed", "failed", "verified", "verified"], "bad", "2 files couldn't be uploaded. The other 2 have arrived."],
  [["cancelled", "verified"], "mixed", "Cancelled. 1 of 2 files had arrived."],
  [["unproven", "verified"], "mixed", "All files are stored; 1 of 2 files verified. The store can't tell the digests of the others."],
]) {
  test(`${states} is told as ${kind}`, () => assert.deepEqual(outcome(tally(items(...states))), { kind, text }));
}

test("a rate is that of the last seconds", () => {
  const rate = new Rate();
  assert.equal(rate.at(0, 0), 0);
  assert.equal(rate.at(1_000, 500), 500);
  for (let now = 2_000; now <= 60_000; now += 1_000) rate.at(now, 500);
  assert.equal(rate.at(61_000, 500), 0);
});
