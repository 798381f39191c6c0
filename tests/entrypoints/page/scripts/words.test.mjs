import assert from "node:assert/strict";
import test from "node:test";

import { bytes, counted, duration, percent, sentence } from "../../../../entrypoints/page/words.mjs";

for (const [count, text] of [
  [0, "0 B"],
  [999, "999 B"],
  [1000, "1.0 kB"],
  [999_940, "999.9 kB"],
  [999_960, "1.0 MB"],
  [200_000_000, "200.0 MB"],
  [5_497_558_138_880, "5.5 TB"],
  [5_000_000_000_000_000, "5000.0 TB"],
]) {
  test(`${count} bytes are ${text}`, () => assert.equal(bytes(count), text));
}

for (const [seconds, text] of [
  [0.2, "1 s"],
  [59, "59 s"],
  [59.5, "1 min"],
  [61, "2 min"],
  [3_600, "1 h"],
  [7_500, "2 h 5 min"],
]) {
  test(`${seconds} seconds are ${text}`, () => assert.equal(duration(seconds), text));
}

test("one of a kind has no s", () => {
  assert.deepEqual([0, 1, 2, 12345].map((count) => counted(count, "file")), ["0 files", "1 file", "2 files", "12,345 files"]);
});

test("nothing is at 100 percent while something is left", () => {
  assert.deepEqual([percent(0, 3), percent(999_999, 1_000_000), percent(3, 3), percent(0, 0)], [0, 99, 100, 100]);
});

test("a sentence starts and ends as one", () => {
  assert.deepEqual(["the path is empty", "Gone.", "why?", ""].map(sentence), ["The path is empty.", "Gone.", "Why?", "."]);
});
