// What goes into one request to the service together.

import { sentence } from "./words.mjs";

const MOST_FILES = 500;
// Well below the service's default for bodies; the digests of many parts take the most of it.
const MOST_CHARACTERS = 1_000_000;
const CHARACTERS_PER_FILE = 120;
const CHARACTERS_PER_PART = 28;

/** How large requests may be: as the service says, and smaller when it turns out to take less. */
export class Batches {
  #files;

  /** `store` is what /info says of it. */
  constructor(store) {
    this.#files = Math.min(MOST_FILES, store.max_files);
  }

  /** Whether so many items are worth a request of their own. */
  filledBy(count) {
    return count >= this.#files;
  }

  /** After a request with so many items was too large, make the next ones smaller. */
  halve(count) {
    this.#files = Math.ceil(count / 2);
  }

  /** For `Queue.take`: whether one more item fits beside `count` others. */
  fitting() {
    let characters = 0;
    return (item, count) => {
      const parts = item.declaration.parts?.md5.length ?? 0;
      characters += item.path.length + CHARACTERS_PER_FILE + CHARACTERS_PER_PART * parts;
      return count < this.#files && characters < MOST_CHARACTERS;
    };
  }
}

/** The files as requests declare them. */
export const filedata = (items) => Object.fromEntries(items.map((item) => [item.path, item.declaration]));

/** What the service has against one of the files of a batch, in words; undefined for nothing. Long paths come back cut. */
export function faultOf(item, problem) {
  const isThis = ({ path = "" }) => path === item.path || (path.endsWith("…") && item.path.startsWith(path.slice(0, -1)));
  const detail = problem.details?.find(isThis);
  return detail && sentence(detail.message);
}
