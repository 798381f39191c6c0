// Files in parts.

const MIB = 1024 ** 2;
const USUAL_PART_BYTES = 16 * MIB;
const ROUNDS = 3;

/** The size of the parts that a file is declared with; null for one that goes in one piece. `limits` are /info's. */
export function partSize(length, limits) {
  if (!limits || length <= limits.threshold_bytes) return null;
  const needed = Math.max(Math.ceil(length / limits.max_count), limits.min_bytes, USUAL_PART_BYTES);
  return Math.min(Math.ceil(needed / MIB) * MIB, limits.max_bytes);
}

/** How many bytes of a file the store has, or has been sent. */
export class PartsSent {
  #arrived = 0;
  #sent = new Map();

  get total() {
    return sum(this.#sent.values()) + this.#arrived;
  }

  /** So much of a part has been sent. */
  sent({ number }, bytes) {
    this.#sent.set(number, bytes);
  }

  /** The store has told what it has. */
  restart(arrived) {
    this.#sent.clear();
    this.#arrived = sum(arrived.map(({ length }) => length));
  }
}

const sum = (numbers) => Array.from(numbers).reduce((total, number) => total + number, 0);

/**
 * Send what is missing, and have it put together.
 *
 * `page` is what /authorize or /multipart/resume answered; `ask(step, members)` asks for the next one, or to complete.
 * `sendPart(part, start)` sends one, and `isFresh(page)` tells whether its signatures are still good.
 */
export async function sendInParts(page, { ask, sendPart, isFresh, atOnce }) {
  for (let round = 1; ; round += 1) {
    while (page) page = await nextPage(page, { ask, sendPart, isFresh, atOnce });
    try {
      return await ask("complete");
    } catch (problem) {
      if (problem.code !== "upload_incomplete" || round === ROUNDS) throw problem;
      page = await ask("resume");
    }
  }
}

async function nextPage(page, { ask, sendPart, isFresh, atOnce }) {
  await eachOf(page.parts, atOnce, async (part) => {
    if (isFresh(page)) await sendPart(part, (part.number - 1) * page.part_size);
  });
  if (!isFresh(page)) return ask("resume");
  return page.next_part ? ask("resume", { after: page.next_part - 1 }) : null;
}

/** Do it for each, so many at once; after a failure no more are begun. */
async function eachOf(items, atOnce, action) {
  const left = items.values();
  let failed = false;
  const go = async () => {
    for (const item of left) {
      if (failed) return;
      try {
        await action(item);
      } catch (problem) {
        failed = true;
        throw problem;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: atOnce }, go));
  const failure = ended.find(({ status }) => status === "rejected");
  if (failure) throw failure.reason;
}
