// How far all files together are: counted, measured, and said.

import { bytes, counted, duration, percent } from "./words.mjs";

const WINDOW_MILLISECONDS = 8_000;
const SAID_EVERY_MILLISECONDS = 15_000;

/** Count items by group and by state, and the bytes that have arrived. */
export function tally(items) {
  const found = { files: items.length, bytes: 0, arrived: 0, waiting: 0, active: 0, done: 0, failed: 0, states: {} };
  for (const item of items) {
    found.bytes += item.file.size;
    found.arrived += item.arrived;
    found[item.group] += 1;
    found.states[item.state] = (found.states[item.state] ?? 0) + 1;
  }
  return found;
}

/** A line of figures, such as `120 of 214 files · 96.1 MB of 230.0 MB · 12.4 MB/s · 11 s left`. */
export function figures({ files, bytes: all, arrived, done, states }, rate, busy) {
  const there = (done + (states.sent ?? 0)).toLocaleString("en");
  const line = [`${there} of ${counted(files, "file")}`, `${bytes(arrived)} of ${bytes(all)}`];
  if (busy && rate > 0) {
    line.push(`${bytes(rate)}/s`);
    if (all > arrived) line.push(`${duration((all - arrived) / rate)} left`);
  }
  return line.join(" · ");
}

/** What came of it all, in words: `{text, kind}`, where kind is `good`, `bad` or `mixed`. */
export function outcome({ files, done, failed, states }) {
  const { cancelled = 0, unproven = 0 } = states;
  if (failed > cancelled) {
    const others = done > 0 ? ` The other ${done === 1 ? "one has" : `${done.toLocaleString("en")} have`} arrived.` : "";
    return { kind: "bad", text: `${counted(failed - cancelled, "file")} couldn't be uploaded.${others}` };
  }
  if (cancelled > 0) {
    return { kind: "mixed", text: `Cancelled. ${done.toLocaleString("en")} of ${counted(files, "file")} had arrived.` };
  }
  if (unproven > 0) {
    const proven = `${(files - unproven).toLocaleString("en")} of ${counted(files, "file")} verified`;
    return { kind: "mixed", text: `All files are stored; ${proven}. The store can't tell the digests of the others.` };
  }
  const all = files === 1 ? "The file is" : `All ${files.toLocaleString("en")} files are`;
  return { kind: "good", text: `${all} verified: the store holds exactly these bytes.` };
}

/** The rate of something that grows, over the last seconds. */
export class Rate {
  #samples = [];

  /** Give what is added per second, now that it is `total` at the time `now` in milliseconds. */
  at(now, total) {
    this.#samples.push({ now, total });
    while (this.#samples.length > 2 && this.#samples[0].now < now - WINDOW_MILLISECONDS) this.#samples.shift();
    const [first] = this.#samples;
    return now > first.now ? Math.max(0, ((total - first.total) / (now - first.now)) * 1000) : 0;
  }
}

/** Tells screen readers how far things are, but not all the time. */
export class Announcer {
  #region;
  #last = 0;
  #failed = 0;

  constructor(region) {
    this.#region = region;
  }

  say(text) {
    this.#region.textContent = text;
    this.#last = performance.now();
  }

  /** Say now and then how far it is, and soon that more files have failed. */
  follow(found) {
    const waited = performance.now() - this.#last;
    const more = found.failed - this.#failed;
    if (waited < (more > 0 ? SAID_EVERY_MILLISECONDS / 5 : SAID_EVERY_MILLISECONDS)) return;
    this.#failed = found.failed;
    const failures = found.failed > 0 ? ` ${counted(found.failed, "file")} failed.` : "";
    this.say(`${percent(found.arrived, found.bytes)} percent sent, ${figures(found, 0, false)}.${failures}`);
  }
}
