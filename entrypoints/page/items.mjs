// One file on its way.

/**
 * The states that a file goes through, and the group that each belongs to. Of `sent` files the store has said that it
 * took them, of `verified` ones that it holds exactly these bytes; of `unproven` ones it can't tell.
 */
export const GROUPS = Object.freeze({
  waiting: "waiting",
  queued: "waiting",
  sent: "waiting",
  reading: "active",
  sending: "active",
  pausing: "active",
  verified: "done",
  unproven: "done",
  failed: "failed",
  cancelled: "failed",
});

// A signature isn't used to the last; but one that was just made always is, whatever the clocks say.
const SHARE_OF_LIFETIME = 0.8;
const LEAST_MILLISECONDS = 5_000;

export class Item {
  state = "waiting";
  /** Bytes that have been read, and sent. */
  read = 0;
  sent = 0;
  /** What went wrong, in words; the seconds until it is tried again. */
  problem = "";
  pause = 0;
  /** What the service is told of the file. */
  declaration = null;
  /** How it is to be sent, and whether that was asked for anew. */
  signed = null;
  signedAnew = false;
  #signedUntil = 0;
  /** What /authorize said of an upload in parts that has begun. */
  begun = null;
  /** Whether the store had it before. */
  wasThere = false;

  constructor(path, file) {
    this.path = path;
    this.file = file;
  }

  get group() {
    return GROUPS[this.state];
  }

  /** The bytes that need not be sent any more. */
  get arrived() {
    if (this.group === "failed") return 0;
    return this.group === "done" || this.state === "sent" ? this.file.size : this.sent;
  }

  /** Whether what was signed can still be used. */
  get isFresh() {
    return performance.now() < this.#signedUntil;
  }

  /** Note until when what the service signed is good. */
  signedIn(answer, { expires_at: expiry }) {
    const milliseconds = (Date.parse(expiry) - answer.answeredAt) * SHARE_OF_LIFETIME;
    this.#signedUntil = performance.now() + Math.max(LEAST_MILLISECONDS, milliseconds);
  }

  become(state) {
    this.state = state;
  }

  fail(message) {
    this.problem = message;
    this.state = "failed";
  }

  /** Start again, with what is known of the file already. */
  restart() {
    Object.assign(this, { state: "waiting", sent: 0, problem: "", signed: null, signedAnew: false, wasThere: false });
  }

  /** Forget what was read of the file, which may have changed. */
  forget() {
    Object.assign(this, { read: 0, declaration: null, begun: null });
  }
}
