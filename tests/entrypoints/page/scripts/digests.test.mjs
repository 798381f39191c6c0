// Compared with the MD5 of Node.js.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { createRequire } from "node:module";
import test from "node:test";

import { FileDigests } from "../../../../entrypoints/page/digests.mjs";

const require = createRequire(import.meta.url);
const { createMD5 } = require("../../../../entrypoints/page/vendor/hash-wasm-md5.umd.min.js");
const hashers = [await createMD5(), await createMD5()];
const md5 = (content) => createHash("md5").update(content).digest("base64");

function digestsOf(content, partSize, pieceSize) {
  const digests = new FileDigests(...hashers, partSize);
  for (let start = 0; start < content.length; start += pieceSize) {
    digests.update(new Uint8Array(content.subarray(start, start + pieceSize)));
  }
  return digests.finish();
}

for (const length of [0, 1, 63, 64, 65, 99, 100, 101, 1_000, 100_000]) {
  for (const partSize of [null, 1, 7, 100, 1_000_000]) {
    if (partSize && length / partSize > 2_000) continue;
    for (const pieceSize of [1, 10, 64, 100, 1_000_000]) {
      if (length / pieceSize > 2_000) continue;
      test(`${length} bytes in parts of ${partSize}, read in pieces of ${pieceSize}`, () => {
        const content = randomBytes(length);
        const parts = [];
        for (let start = 0; partSize && start < length; start += partSize) parts.push(md5(content.subarray(start, start + partSize)));

        assert.deepEqual(digestsOf(content, partSize, pieceSize), { md5: md5(content), parts: partSize && parts });
      });
    }
  }
}

test("hashers that were left in the middle of a file start anew", () => {
  new FileDigests(...hashers, 10).update(new Uint8Array(25));

  assert.deepEqual(digestsOf(Buffer.from("abc"), 2, 1), { md5: md5("abc"), parts: [md5("ab"), md5("c")] });
});
