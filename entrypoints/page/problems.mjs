// What goes wrong, in words; and trying again.

import { sentence } from "./words.mjs";

/** Seconds to wait before each further attempt. */
const DELAYS = [1, 2, 4, 8, 16];
const LONGEST_WAIT = 60;

/**
 * Something went wrong. Its message is for the user.
 *
 * `transient`: it may well go away by itself. `status` is that of HTTP, 0 where there was no answer; `code` and `details`
 * are those of the service's error; `retryAfter` is in seconds.
 */
export class Problem extends Error {
  constructor(message, { transient = false, status, code, details = [], retryAfter = 0 } = {}) {
    super(message);
    Object.assign(this, { transient, status, code, details, retryAfter });
  }
}

const isTransient = (status) => status === 408 || status === 429 || status >= 500;

/** What the service answered instead of what was wanted; `body` is null if it was no JSON. */
export function ofService(status, body, retryAfter) {
  const error = body?.error;
  return new Problem(
    typeof error?.message === "string" ? sentence(error.message) : `The service answered with the status ${status}.`,
    { transient: isTransient(status), status, code: error?.code, details: error?.details, retryAfter },
  );
}

/** What the store answered to an upload. S3, Azure and Cloud Storage all say it in XML with Code and Message. */
export function ofStore(status, text, retryAfter) {
  const [code, said] = ["Code", "Message"].map((name) => text.match(`<${name}>([^<]*)</${name}>`)?.[1].trim());
  const transient = isTransient(status);
  const what = transient ? "The store couldn't take it" : "The store refused it";
  const why = said ? `: ${unescaped(said).replace(/\.$/, "")}` : "";
  return new Problem(`${what}${why} (${code ?? `status ${status}`}).`, { transient, status, code, retryAfter });
}

const ENTITIES = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
const unescaped = (text) => text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => ENTITIES[name]);

/** `whom` didn't answer at all. */
export function unreachable(whom) {
  return new Problem(`${whom} can't be reached. Is the connection all right?`, { transient: true, status: 0 });
}

/** A browser doesn't tell a broken connection from a store that gives no permission (CORS) to this page. */
export function storeUnreachable() {
  return new Problem(
    "The store can't be reached: the connection failed, or the store has no CORS rule that lets this page in.",
    { transient: true, status: 0 },
  );
}

/** The browser can't read a file. */
export function unreadable() {
  return new Problem("The file can't be read: it was changed, moved or deleted after it was chosen. Choose it again.");
}

/**
 * Call `attempt` until it succeeds, fails for good, or has failed transiently once more than there are delays.
 *
 * `onWait` is told of the problem and the seconds before each wait.
 */
export async function retrying(attempt, { signal, delays = DELAYS, onWait = () => {} }) {
  for (let failures = 0; ; failures += 1) {
    try {
      return await attempt();
    } catch (problem) {
      if (signal.aborted || !problem.transient || failures >= delays.length) throw problem;
      // Many who failed together shouldn't all come back together.
      const seconds = Math.max(delays[failures] * (0.75 + Math.random() / 2), Math.min(problem.retryAfter, LONGEST_WAIT));
      onWait(problem, seconds);
      await pause(seconds, signal);
    }
  }
}

async function pause(seconds, signal) {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal.addEventListener("abort", stop, { once: true });
  });
}
