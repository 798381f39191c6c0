// Numbers as people read them.

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const STEP = 1000;

/** `1.2 MB`: a number of bytes, in powers of ten. */
export function bytes(count) {
  let size = count;
  let unit = 0;
  // What would be rounded up to 1000 is one of the next unit.
  while (size >= STEP - (unit === 0 ? 0 : 0.05) && unit < UNITS.length - 1) {
    size /= STEP;
    unit += 1;
  }
  return unit === 0 ? `${size} B` : `${size.toFixed(1)} ${UNITS[unit]}`;
}

/** `1 file`, `2,000 files`. */
export function counted(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** `40 s`, `3 min`, `2 h 5 min`. */
export function duration(seconds) {
  const whole = Math.max(1, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.ceil(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const rest = minutes % 60;
  return `${Math.floor(minutes / 60)} h${rest ? ` ${rest} min` : ""}`;
}

/** The whole percentage that `part` is of `whole`. It is 100 only when nothing is left. */
export function percent(part, whole) {
  return part >= whole ? 100 : Math.min(99, Math.floor((part / whole) * 100));
}

/** `text` with a capital at its start and a full stop at its end, as a sentence. */
export function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
