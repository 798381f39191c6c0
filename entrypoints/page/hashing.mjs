// Hashing, away from the thread that draws the page.

import { Problem, unreadable } from "./problems.mjs";

// With Trusted Types a worker's address is code. This policy makes no other, and nobody else gets hold of it.
const policy = globalThis.trustedTypes?.createPolicy("hashing-worker", { createScriptURL: (url) => url });

function startWorker() {
  const url = new URL("hashing_worker.mjs", import.meta.url).href;
  return new Worker(policy ? policy.createScriptURL(url) : url, { type: "module" });
}

/** Reads one file at a time in a worker. */
export class Hasher {
  #worker = null;

  /**
   * Give the digests of a file (see `FileDigests`). `onRead` is told how many bytes have been read.
   *
   * When the signal aborts, the worker is gone at once, and a new one comes with the next file.
   */
  digests(file, partSize, { signal, onRead }) {
    signal.throwIfAborted();
    this.#worker ??= startWorker();
    const worker = this.#worker;
    return new Promise((resolve, reject) => {
      const dismiss = (reason) => {
        worker.terminate();
        if (this.#worker === worker) this.#worker = null;
        reject(reason);
      };
      const abort = () => dismiss(signal.reason);
      signal.addEventListener("abort", abort, { once: true });
      const settle = (action, value) => {
        signal.removeEventListener("abort", abort);
        action(value);
      };
      worker.onerror = () => settle(dismiss, new Problem("This browser can't run what computes the digests of files."));
      worker.onmessage = ({ data }) => {
        if (data.digests) settle(resolve, data.digests);
        else if (data.unreadable) settle(reject, unreadable());
        else onRead(data.read);
      };
      worker.postMessage({ file, partSize });
    });
  }
}
