import assert from "node:assert/strict";
import test from "node:test";

import { sendInParts } from "../../../../entrypoints/page/parts.mjs";
import { Problem } from "../../../../entrypoints/page/problems.mjs";

const SIZE = 10;

/** A service and a store that take a file in so many parts, of which a page has so many, and what was done to them. */
function upload({ count, perPage, losing = [], fresh = () => true }) {
  const arrived = new Set();
  const log = [];
  const lost = new Set(losing);
  const pageAfter = (after) => {
    const missing = Array.from({ length: count }, (_, index) => index + 1).filter((number) => number > after && !arrived.has(number));
    return {
      part_size: SIZE,
      parts: missing.slice(0, perPage).map((number) => ({ number })),
      next_part: missing[perPage] ?? null,
    };
  };
  const sendPart = async ({ number }, start) => {
    assert.equal(start, (number - 1) * SIZE);
    log.push(number);
    await new Promise(setImmediate);
    if (!lost.delete(number)) arrived.add(number);
  };
  const ask = async (step, { after = 0 } = {}) => {
    log.push(step);
    if (step === "resume") return pageAfter(after);
    if (arrived.size < count) throw new Problem("Not all is there.", { code: "upload_incomplete", status: 409 });
    return { status: "stored" };
  };
  return { log, arrived, run: () => sendInParts(pageAfter(0), { ask, sendPart, isFresh: fresh, atOnce: 2 }) };
}

test("all parts are sent, page by page", async () => {
  const { log, run } = upload({ count: 5, perPage: 2 });

  assert.deepEqual(await run(), { status: "stored" });
  assert.deepEqual(log, [1, 2, "resume", 3, 4, "resume", 5, "complete"]);
});

test("parts that are missing in the end are sent again", async () => {
  const { log, run } = upload({ count: 3, perPage: 10, losing: [2] });

  assert.deepEqual(await run(), { status: "stored" });
  assert.deepEqual(log, [1, 2, 3, "complete", "resume", 2, "complete"]);
});

test("a store that loses parts again and again is given up", async () => {
  const { log, arrived, run } = upload({ count: 1, perPage: 1, losing: [1] });
  arrived.add = () => {};

  await assert.rejects(run(), { code: "upload_incomplete" });
  assert.equal(log.filter((step) => step === "complete").length, 3);
});

test("nothing is sent with a signature that has expired", async () => {
  let left = 3;
  const { log, run } = upload({ count: 4, perPage: 10, fresh: () => left-- > 0 || left < -4 });

  assert.deepEqual(await run(), { status: "stored" });
  assert.deepEqual(log.filter((step) => typeof step === "number"), [1, 2, 3, 4]);
  assert.ok(log.includes("resume"));
});

test("after a failure no more parts are begun, and it is told when the others have ended", async () => {
  const sent = [];
  const sendPart = async ({ number }) => {
    await new Promise(setImmediate);
    sent.push(number);
    if (number === 2) throw new Problem("Refused.");
  };
  const page = { part_size: SIZE, parts: [1, 2, 3, 4, 5, 6].map((number) => ({ number })), next_part: null };

  await assert.rejects(sendInParts(page, { ask: assert.fail, sendPart, isFresh: () => true, atOnce: 2 }), { message: "Refused." });
  assert.deepEqual(sent, [1, 2, 3]);
});
