// The table of files. Of thousands only some are in the document: those of one page, in one of the views.

import { bytes, percent } from "./words.mjs";

const ROWS = 200;

// What is to be said of a file, by its state.
const TEXTS = {
  waiting: () => "Waiting",
  reading: ({ read, file }) => `Reading ${percent(read, file.size)} %`,
  queued: () => "Waiting to be sent",
  sending: ({ sent, file }) => `Sending ${percent(sent, file.size)} %`,
  pausing: ({ problem, pause }) => `${problem} Trying again in ${pause} s.`,
  sent: () => "Sent, to be verified",
  verified: ({ wasThere }) => (wasThere ? "Verified, was there before" : "Verified"),
  unproven: () => "Stored, but the store can't tell its digest",
  failed: ({ problem }) => problem,
  cancelled: () => "Cancelled",
};

/** How far a file is in what is done with it now, from 0 to 1; null where that means nothing. */
function progress({ state, read, sent, file }) {
  if (file.size === 0) return null;
  return state === "reading" ? read / file.size : state === "sending" ? sent / file.size : null;
}

/** Shows items of one group (null: all of them) in a `<tbody>`; `onRetry` is called with the item whose button is used. */
export class Table {
  #body;
  #onRetry;
  #rows = new Map();
  #start = 0;
  #count = 0;

  constructor(body, onRetry) {
    this.#body = body;
    this.#onRetry = onRetry;
  }

  /** Which rows are shown, of how many: `{first, last, count}`, counted from 1. */
  get extent() {
    return { first: this.#start + 1, last: Math.min(this.#start + ROWS, this.#count), count: this.#count };
  }

  /** Go to the first page, or some pages on or back. */
  turn(pages) {
    this.#start = pages === 0 ? 0 : Math.max(0, this.#start + pages * ROWS);
  }

  draw(items, group) {
    const found = group === null ? items : items.filter((item) => item.group === group);
    this.#count = found.length;
    if (this.#start >= found.length) this.#start = 0;
    const shown = found.slice(this.#start, this.#start + ROWS);
    const rows = new Map(shown.map((item) => [item, this.#rows.get(item) ?? new Row(item, this.#onRetry)]));
    if (!sameKeys(rows, this.#rows)) this.#body.replaceChildren(...Array.from(rows.values(), (row) => row.element));
    this.#rows = rows;
    for (const row of rows.values()) row.draw();
  }
}

class Row {
  #item;
  #onRetry;
  #status = element("span");
  #cell = element("td", { className: "status" }, this.#status);
  #bar = null;
  #retry = null;

  constructor(item, onRetry) {
    this.#item = item;
    this.#onRetry = onRetry;
    // Names may run from right to left; what stands beside them doesn't.
    const name = element("th", { scope: "row" }, element("bdi", { textContent: item.path }));
    this.element = element("tr", {}, name, element("td", { className: "size", textContent: bytes(item.file.size) }));
    this.element.append(this.#cell);
  }

  draw() {
    const item = this.#item;
    const text = TEXTS[item.state](item);
    if (this.#status.textContent !== text) this.#status.textContent = text;
    this.element.dataset.state = item.state;
    this.#drawBar(progress(item));
    this.#drawRetry(item.group === "failed");
  }

  #drawBar(value) {
    if (value === null) {
      this.#bar?.remove();
      this.#bar = null;
      return;
    }
    if (!this.#bar) {
      this.#bar = element("progress", { max: 1 });
      this.#bar.setAttribute("aria-label", this.#item.path);
      this.#cell.append(this.#bar);
    }
    this.#bar.value = value;
  }

  #drawRetry(isWanted) {
    if (isWanted === Boolean(this.#retry)) return;
    if (isWanted) {
      this.#retry = element("button", { type: "button", textContent: "Retry" });
      this.#retry.setAttribute("aria-label", `Retry ${this.#item.path}`);
      this.#retry.onclick = () => this.#onRetry(this.#item);
      this.#cell.append(this.#retry);
    } else {
      this.#retry.remove();
      this.#retry = null;
    }
  }
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function sameKeys(one, other) {
  const keys = other.keys();
  return one.size === other.size && Array.from(one.keys()).every((key) => key === keys.next().value);
}
