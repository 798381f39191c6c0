import assert from "node:assert/strict";
import test from "node:test";

import { Places, Queue } from "../../../../entrypoints/page/queues.mjs";

test("things come out in the order in which they went in, to whoever waits first", async () => {
  const queue = new Queue();
  const taken = [queue.take(), queue.take()];
  queue.pushAll(["a", "b", "c"]);

  assert.deepEqual(await Promise.all(taken), [["a"], ["b"]]);
  assert.deepEqual(await queue.take(), ["c"]);
});

test("as many are taken together as fit", async () => {
  const queue = new Queue();
  queue.pushAll([1, 2, 3, 10, 4]);

  assert.deepEqual(await queue.take((item, count) => item < 10 && count < 5), [1, 2, 3]);
  assert.deepEqual(queue.drain(), [10, 4]);
  assert.equal(queue.length, 0);
});

test("a batch is not waited for", async () => {
  const queue = new Queue();
  const taken = queue.take(() => true);
  queue.push("a");

  assert.deepEqual(await taken, ["a"]);
});

test("one waits until a queue is short", async () => {
  const queue = new Queue();
  queue.pushAll([1, 2, 3]);
  let isShort = false;
  const waiting = queue.below(2).then(() => (isShort = true));

  await queue.take();
  await new Promise(setImmediate);
  assert.equal(isShort, false);
  await queue.take();
  await waiting;
});

test("there are never more at once than there are places, and all get one", async () => {
  const places = new Places(3);
  let now = 0;
  let most = 0;
  const done = await Promise.allSettled(
    Array.from({ length: 20 }, (_, number) =>
      places.with(async () => {
        most = Math.max(most, (now += 1));
        await new Promise(setImmediate);
        now -= 1;
        if (number % 2) throw new Error("a place is free again all the same");
        return number;
      }),
    ),
  );

  assert.equal(most, 3);
  assert.equal(done.filter(({ status }) => status === "fulfilled").length, 10);
});
