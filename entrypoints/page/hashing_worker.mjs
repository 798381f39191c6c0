// The worker that reads files and hashes them. It is asked with {file, partSize}, for one file at a time, and answers
// with {read} (bytes) now and then, and in the end with {digests} or {unreadable: true}.

import "./vendor/hash-wasm-md5.umd.min.js";
import { FileDigests } from "./digests.mjs";

const TOLD_EVERY_BYTES = 4 * 1024 * 1024;

const hashers = Promise.all([hashwasm.createMD5(), hashwasm.createMD5()]);

onmessage = async ({ data: { file, partSize } }) => {
  const digests = new FileDigests(...(await hashers), partSize);
  try {
    await read(file, digests);
  } catch {
    postMessage({ unreadable: true });
    return;
  }
  postMessage({ digests: digests.finish() });
};

/** A stream reads a little ahead of what is hashed, and never more, however long the file is. */
async function read(file, digests) {
  const reader = file.stream().getReader();
  let count = 0;
  let told = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    digests.update(value);
    count += value.length;
    if (count - told >= TOLD_EVERY_BYTES) {
      told = count;
      postMessage({ read: count });
    }
  }
}
