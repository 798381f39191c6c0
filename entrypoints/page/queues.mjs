// Queues between those who do one thing each, and places for those who do the same.

/** First in, first out; those who take wait until there is something. */
export class Queue {
  #items = [];
  #waiting = [];
  #shrunk = [];

  get length() {
    return this.#items.length;
  }

  push(item) {
    this.#items.push(item);
    this.#waiting.shift()?.();
  }

  pushAll(items) {
    for (const item of items) this.push(item);
  }

  /** Take the first, and those behind it for which `fits`, given an item and how many are taken already, says so. */
  async take(fits = () => false) {
    while (this.#items.length === 0) await new Promise((resolve) => this.#waiting.push(resolve));
    let end = 1;
    while (end < this.#items.length && fits(this.#items[end], end)) end += 1;
    return this.#taken(end);
  }

  /** Take all there is, without waiting. */
  drain() {
    return this.#taken(this.#items.length);
  }

  /** Wait until fewer than `count` are left. */
  async below(count) {
    while (this.#items.length >= count) await new Promise((resolve) => this.#shrunk.push(resolve));
  }

  #taken(count) {
    const taken = this.#items.splice(0, count);
    for (const resolve of this.#shrunk.splice(0)) resolve();
    return taken;
  }
}

/** At most `count` at once; the others wait for their turn. */
export class Places {
  #free;
  #waiting = [];

  constructor(count) {
    this.#free = count;
  }

  async with(action) {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise((resolve) => this.#waiting.push(resolve));
    try {
      return await action();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free += 1;
    }
  }
}
