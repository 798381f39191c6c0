import assert from "node:assert/strict";
import test from "node:test";

import { ofService, ofStore, Problem, retrying, storeUnreachable } from "../../../../entrypoints/page/problems.mjs";

const NOW = [0, 0, 0];
const never = new AbortController().signal;
const transient = () => new Problem("Down.", { transient: true });

test("what the service says is said", () => {
  const details = [{ path: "a", code: "invalid_path", message: "the path is empty" }];
  const problem = ofService(400, { error: { code: "invalid_batch", message: "1 file can't be accepted", details } }, 0);

  assert.equal(problem.message, "1 file can't be accepted.");
  assert.deepEqual([problem.transient, problem.code, problem.details], [false, "invalid_batch", details]);
});

test("what a proxy says in the service's place is told by its status", () => {
  assert.equal(ofService(502, null, 0).message, "The service answered with the status 502.");
  assert.equal(ofService(200, null, 0).transient, false);
});

for (const [status, isTransient] of [[400, false], [401, false], [403, false], [404, false], [408, true], [429, true], [500, true], [503, true]]) {
  test(`a ${status} ${isTransient ? "may go away" : "stays"}`, () => {
    assert.equal(ofService(status, null, 0).transient, isTransient);
    assert.equal(ofStore(status, "", 0).transient, isTransient);
  });
}

test("a store's XML is put into words", () => {
  const xml = '<?xml version="1.0"?><Error><Code>BadDigest</Code><Message>MD5 &lt;a&gt; isn&apos;t &quot;b&quot;.</Message></Error>';

  assert.equal(ofStore(400, xml, 0).message, `The store refused it: MD5 <a> isn't "b" (BadDigest).`);
  assert.equal(ofStore(503, "busy", 0).message, "The store couldn't take it (status 503).");
  assert.equal(ofStore(400, "", 0).code, undefined);
});

test("what may go away is tried again, and what is waited for is told", async () => {
  const told = [];
  let attempts = 0;
  const result = await retrying(
    async () => {
      attempts += 1;
      if (attempts < 3) throw transient();
      return "done";
    },
    { signal: never, delays: NOW, onWait: (problem, seconds) => told.push([problem.message, seconds]) },
  );

  assert.equal(result, "done");
  assert.deepEqual(told, [["Down.", 0], ["Down.", 0]]);
});

test("it is not tried for ever", async () => {
  let attempts = 0;
  const attempt = async () => {
    attempts += 1;
    throw transient();
  };

  await assert.rejects(retrying(attempt, { signal: never, delays: NOW }), { message: "Down." });
  assert.equal(attempts, NOW.length + 1);
});

test("what stays is not tried again", async () => {
  let attempts = 0;
  const attempt = async () => {
    attempts += 1;
    throw new Problem("Refused.");
  };

  await assert.rejects(retrying(attempt, { signal: never, delays: NOW }), { message: "Refused." });
  assert.equal(attempts, 1);
});

test("who is told to wait longer does, but not for ever", async () => {
  const controller = new AbortController();
  const told = [];
  const attempt = async () => {
    throw new Problem("Busy.", { transient: true, retryAfter: told.length === 0 ? 0.01 : 100_000 });
  };
  const onWait = (_, seconds) => {
    told.push(seconds);
    if (seconds > 1) controller.abort(new Error("cancelled"));
  };

  await assert.rejects(retrying(attempt, { signal: controller.signal, delays: NOW, onWait }), { message: "cancelled" });
  assert.deepEqual(told, [0.01, 60]);
});

test("waiting ends when all is cancelled", async () => {
  const controller = new AbortController();
  const waiting = retrying(
    async () => {
      throw transient();
    },
    { signal: controller.signal, delays: [1_000], onWait: () => queueMicrotask(() => controller.abort(new Error("cancelled"))) },
  );

  await assert.rejects(waiting, { message: "cancelled" });
});

test("a browser doesn't know why a store is silent, and both reasons are named", () => {
  assert.match(storeUnreachable().message, /connection.*CORS/);
});
