import assert from "node:assert/strict";
import test from "node:test";

import { Batches, faultOf, filedata } from "../../../../entrypoints/page/batches.mjs";
import { Queue } from "../../../../entrypoints/page/queues.mjs";

const itemOf = (path, parts = 0) => ({
  path,
  declaration: { length: 1, md5: "x".repeat(24), ...(parts && { parts: { size: 1, md5: Array(parts).fill("x".repeat(24)) } }) },
});

async function batchesOf(items, batches) {
  const queue = new Queue();
  queue.pushAll(items);
  const taken = [];
  while (queue.length > 0) taken.push(await queue.take(batches.fitting()));
  return taken;
}

const lengths = (batches) => batches.map(({ length }) => length);

test("a request has at most 500 files, or as many as the service takes", async () => {
  const items = Array.from({ length: 1_200 }, (_, number) => itemOf(`${number}.csv`));

  assert.deepEqual(lengths(await batchesOf(items, new Batches({ max_files: 10_000 }))), [500, 500, 200]);
  assert.equal((await batchesOf(items, new Batches({ max_files: 7 })))[0].length, 7);
});

test("requests get smaller when they turn out too large", async () => {
  const batches = new Batches({ max_files: 10_000 });
  batches.halve(41);

  assert.deepEqual(lengths(await batchesOf(Array.from({ length: 50 }, () => itemOf("a")), batches)), [21, 21, 8]);
  assert.ok(batches.filledBy(21) && !batches.filledBy(20));
});

test("digests of many parts fill a request, which is well below the service's 8 MiB", async () => {
  const items = Array.from({ length: 60 }, (_, number) => itemOf(`${number}.bin`, 10_000));

  for (const batch of await batchesOf(items, new Batches({ max_files: 10_000 }))) {
    assert.ok(JSON.stringify(filedata(batch)).length < 2_000_000);
    assert.ok(batch.length > 1);
  }
});

test("each fault is told of its own file, also where a long path was cut", () => {
  const long = `${"x".repeat(300)}.csv`;
  const details = [
    { path: "a/b.csv", code: "invalid_path", message: "the path is odd" },
    { path: `${long.slice(0, 256)}…`, code: "invalid_path", message: "the path has a long segment" },
  ];

  assert.equal(faultOf(itemOf("a/b.csv"), { details }), "The path is odd.");
  assert.equal(faultOf(itemOf(long), { details }), "The path has a long segment.");
  assert.equal(faultOf(itemOf("a"), { details }), undefined);
  assert.equal(faultOf(itemOf("a"), new TypeError()), undefined);
});
