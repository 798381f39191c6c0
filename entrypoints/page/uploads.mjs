// The way of files into the store: read, have requests signed, send, verify. Each step has its queue, so that one file
// is read while another is sent.

import { Batches, faultOf, filedata } from "./batches.mjs";
import { partSize, PartsSent, sendInParts } from "./parts.mjs";
import { Problem, retrying } from "./problems.mjs";
import { Places, Queue } from "./queues.mjs";
import { partOfFile, send, wholeFile } from "./sending.mjs";
import { bytes } from "./words.mjs";

const AT_ONCE = 4;
// Signatures are for a while: no more are asked for as long as so many files are waiting with one.
const SIGNED_AHEAD = 32;
const ABORT_MILLISECONDS = 10_000;

const VERDICTS = {
  missing: "The store doesn't have it, though it took it.",
  different: "The store holds other bytes than this file has.",
};

/** Brings files to one dataset. What becomes of each is to be seen in the items themselves. */
export class Uploads {
  /** The sum of all bytes that were sent, also in vain. */
  bytesSent = 0;

  #hasher;
  #info;
  #metadata;
  #service;
  #idle;

  #toRead = new Queue();
  #toSign = new Queue();
  #toSend = new Queue();
  #toVerify = new Queue();
  #verifying = false;
  // Those that are on their way: to the store, and to the end.
  #underWay = new Set();
  #unsettled = new Set();
  #places = new Places(AT_ONCE);
  #batches;
  #controller = new AbortController();

  /** `info` is what /info answered; `metadata` goes into every request; `idle` is called when nothing is left to do. */
  constructor({ service, hasher, info, metadata, idle }) {
    this.#service = service;
    this.#hasher = hasher;
    this.#info = info;
    this.#metadata = metadata;
    this.#idle = idle;
    this.#batches = new Batches(info.store);
    this.#reading();
    this.#signing();
    for (let place = 0; place < AT_ONCE; place += 1) this.#sending();
  }

  get busy() {
    return this.#unsettled.size > 0;
  }

  /** Go on as whoever has another token. */
  use(service) {
    this.#service = service;
  }

  add(items) {
    for (const item of items) {
      this.#underWay.add(item);
      this.#unsettled.add(item);
    }
    this.#toRead.pushAll(items);
  }

  retry(items) {
    for (const item of items) item.restart();
    this.add(items);
  }

  /** Stop at once. What has begun of files in parts is dropped at the store. */
  cancel() {
    this.#controller.abort(new DOMException("cancelled", "AbortError"));
    this.#controller = new AbortController();
    for (const queue of [this.#toRead, this.#toSign, this.#toSend, this.#toVerify]) queue.drain();
    for (const item of this.#unsettled) {
      item.become("cancelled");
      this.#abandon(item);
    }
    this.#underWay.clear();
    this.#unsettled.clear();
    this.#idle();
  }

  // Read

  async #reading() {
    for (;;) {
      const [item] = await this.#toRead.take();
      await this.#step(item, (signal) => this.#read(item, signal));
    }
  }

  async #read(item, signal) {
    const { store } = this.#info;
    if (item.begun) {
      this.#toSend.push(item);
      return;
    }
    if (!item.declaration) {
      refuseUnfit(item, store);
      item.become("reading");
      const size = partSize(item.file.size, store.parts);
      const { md5, parts } = await this.#hasher.digests(item.file, size, {
        signal,
        onRead: (read) => {
          item.read = read;
        },
      });
      signal.throwIfAborted();
      item.declaration = { length: item.file.size, md5, ...(parts && { parts: { size, md5: parts } }) };
    }
    item.become("queued");
    this.#toSign.push(item);
  }

  // Have requests signed

  async #signing() {
    for (;;) {
      await this.#toSend.below(SIGNED_AHEAD);
      await this.#sign(await this.#toSign.take(this.#batches.fitting()));
    }
  }

  async #sign(items) {
    const { signal } = this.#controller;
    const accept = [...(this.#info.store.parts ? ["MULTIPART"] : []), "PUT", "POST"];
    try {
      const request = { metadata: this.#metadata, filedata: filedata(items), accept };
      const answer = await this.#service.authorize(request, this.#patiently(items, signal));
      signal.throwIfAborted();
      for (const item of items) {
        const signed = answer.fileData[item.path];
        item.become("queued");
        item.signed = signed;
        item.signedIn(answer, signed);
        if (signed.exists) {
          item.wasThere = true;
          this.#arrived(item);
        } else {
          if (signed.upload_method === "MULTIPART") item.begun = signed;
          this.#toSend.push(item);
        }
      }
    } catch (problem) {
      if (!signal.aborted) this.#refused(items, problem);
    }
  }

  #refused(items, problem) {
    const faults = items.map((item) => faultOf(item, problem));
    if (faults.some(Boolean)) {
      // Nothing was signed because of these; the others are all right.
      items.forEach((item, index) => {
        if (faults[index]) this.#failed(item, new Problem(faults[index]));
        else this.#toSign.push(item);
      });
    } else if (problem.code === "body_too_large" && items.length > 1) {
      this.#batches.halve(items.length);
      this.#toSign.pushAll(items);
    } else {
      // It isn't these files, so the next ones would fare no better.
      for (const item of [...items, ...this.#toSign.drain(), ...this.#toRead.drain()]) this.#failed(item, problem);
    }
  }

  // Send

  async #sending() {
    for (;;) {
      const [item] = await this.#toSend.take();
      await this.#step(item, (signal) => this.#send(item, signal));
    }
  }

  async #send(item, signal) {
    if (!item.begun && !item.isFresh) {
      this.#toSign.push(item);
      return;
    }
    item.become("sending");
    try {
      await (item.begun ? this.#sendInParts(item, signal) : this.#sendWhole(item, signal));
    } catch (problem) {
      if (!this.#mayBeSignedAnew(item, problem)) throw problem;
      item.signedAnew = true;
      item.sent = 0;
      (item.begun ? this.#toSend : this.#toSign).push(item);
      return;
    }
    signal.throwIfAborted();
    this.#arrived(item);
  }

  #mayBeSignedAnew(item, problem) {
    if (problem.code === "upload_not_found") item.begun = null;
    else if (problem.status !== 403) return false;
    item.signed = null;
    return !item.signedAnew;
  }

  #sendWhole(item, signal) {
    return this.#exchange(item, wholeFile(item.signed, item.file), item.file.size, signal, (sent) => {
      item.sent = sent;
    });
  }

  async #sendInParts(item, signal) {
    const { begun } = item;
    const progress = new PartsSent();
    const ask = async (step, members) => {
      const request = { metadata: this.#metadata, path: item.path, file: item.declaration, upload_id: begun.upload_id };
      const answer = await this.#service.multipart(
        begun.then[step],
        { ...request, ...members },
        this.#patiently([item], signal),
      );
      if (step === "resume") {
        item.signedIn(answer, answer);
        progress.restart(answer.arrived);
        item.sent = progress.total;
      }
      return answer;
    };
    const sendPart = (part, start) =>
      this.#exchange(item, partOfFile(part, start, item.file), part.length, signal, (sent) => {
        progress.sent(part, sent);
        item.sent = progress.total;
      });
    const fresh = item.signed && item.isFresh ? item.signed : await ask("resume");
    item.signed = null; // a later attempt asks what has arrived
    await sendInParts(fresh, { ask, sendPart, isFresh: () => item.isFresh, atOnce: AT_ONCE });
  }

  /** Send so many bytes when there is a place, again after what may go away; `onSent` is told how many were sent. */
  #exchange(item, request, length, signal, onSent) {
    const attempt = () => {
      signal.throwIfAborted();
      item.become("sending");
      let before = 0;
      return send(request, item.file, {
        signal,
        onSent: (share) => {
          const sent = share * length;
          this.bytesSent += sent - before;
          before = sent;
          onSent(sent);
        },
      });
    };
    return retrying(() => this.#places.with(attempt), this.#patiently([item], signal));
  }

  // Verify

  #arrived(item) {
    item.become("sent");
    this.#toVerify.push(item);
    this.#left(item);
  }

  #left(item) {
    this.#underWay.delete(item);
    this.#verify();
  }

  /** Verify what has arrived when it fills a batch, or nothing else is to come. */
  async #verify() {
    if (this.#verifying) return;
    this.#verifying = true;
    const isDue = (count) => count > 0 && (this.#underWay.size === 0 || this.#batches.filledBy(count));
    while (isDue(this.#toVerify.length)) await this.#verifyBatch(await this.#toVerify.take(this.#batches.fitting()));
    this.#verifying = false;
    if (this.#unsettled.size === 0) this.#idle();
  }

  async #verifyBatch(items) {
    const { signal } = this.#controller;
    try {
      const { files } = await this.#service.verify({ metadata: this.#metadata, filedata: filedata(items) }, { signal });
      signal.throwIfAborted();
      for (const item of items) this.#proven(item, files[item.path].status);
    } catch (problem) {
      if (signal.aborted) return;
      const message = `It was sent, but couldn't be verified: ${problem.message}`;
      for (const item of items) this.#failed(item, new Problem(message, problem));
    }
  }

  #proven(item, status) {
    if (status in VERDICTS) {
      this.#failed(item, new Problem(VERDICTS[status]));
    } else {
      this.#unsettled.delete(item);
      item.become(status === "stored" ? "verified" : "unproven");
    }
  }

  // What they share

  /** How long to try, and what is to be seen meanwhile. */
  #patiently(items, signal) {
    return {
      signal,
      onWait: (problem, seconds) => {
        for (const item of items) {
          item.problem = problem.message;
          item.pause = Math.round(seconds);
          item.become("pausing");
        }
      },
    };
  }

  async #step(item, action) {
    const { signal } = this.#controller;
    try {
      await action(signal);
    } catch (problem) {
      if (!signal.aborted) this.#failed(item, problem);
    }
  }

  #failed(item, problem) {
    item.fail(problem.message);
    this.#unsettled.delete(item);
    // Whether it is worth going on with what the store has of it, or the file may be another one now.
    if (!problem.transient && problem.status !== 401 && problem.status !== 403) this.#abandon(item);
    this.#left(item);
  }

  #abandon(item) {
    const { begun, declaration, path } = item;
    item.forget();
    if (!begun) return;
    const request = { metadata: this.#metadata, path, file: declaration, upload_id: begun.upload_id };
    // What can't be dropped now is swept later by the operator.
    this.#service.multipart(begun.then.abort, request, { signal: AbortSignal.timeout(ABORT_MILLISECONDS) }).catch(() => {});
  }
}

function refuseUnfit({ path, file }, store) {
  const most = Math.max(store.max_file_bytes, store.parts?.max_file_bytes ?? 0);
  if (file.size > most) {
    throw new Problem(`The file is too large: it has ${bytes(file.size)}, and the store takes ${bytes(most)} at most.`);
  }
  if (!path.isWellFormed()) throw new Problem("Its name isn't text: it has half a character in it.");
}
