// One request to the store: by XMLHttpRequest, since fetch doesn't tell how much has been sent.

import { ofStore, storeUnreachable, unreadable } from "./problems.mjs";

const STALL_MILLISECONDS = 120_000;
// Browsers set these themselves, and complain about scripts that do (Fetch standard, "forbidden request-header").
const SET_BY_BROWSERS = new Set(["content-length", "host"]);

/** What to send for a whole file, as /authorize said it. */
export function wholeFile(signed, file) {
  if (signed.upload_method === "PUT") {
    return { method: "PUT", url: signed.upload_url, headers: signed.upload_headers, body: untyped(file) };
  }
  const form = new FormData();
  for (const [name, value] of Object.entries(signed.upload_query)) form.append(name, value);
  form.append("file", file, file.name);
  return { method: "POST", url: signed.upload_url, headers: {}, body: form };
}

/** What to send for a part of a file. */
export function partOfFile(part, start, file) {
  return { method: "PUT", url: part.url, headers: part.headers, body: untyped(file, start, start + part.length) };
}

/** The bytes alone: a browser would send a type that it has guessed, and that nobody has signed. */
const untyped = (file, start = 0, end = file.size) => file.slice(start, end);

/**
 * Send a request for a file, or a part of one. `onSent` is told the share that has been sent, from 0 to 1.
 *
 * Throws a `Problem`, or what the signal was aborted with.
 */
export async function send(request, file, { signal, onSent }) {
  const { status, text, retryAfter } = await exchange(request, { signal, onSent });
  if (status >= 200 && status < 300) return;
  if (status !== 0) throw ofStore(status, text, retryAfter);
  // A file that isn't any more what it was when it was chosen looks like a broken connection.
  throw (await isReadable(file)) ? storeUnreachable() : unreadable();
}

async function isReadable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

function exchange({ method, url, headers, body }, { signal, onSent }) {
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let stalled;
    const stillAlive = () => {
      clearTimeout(stalled);
      stalled = setTimeout(() => request.abort(), STALL_MILLISECONDS);
    };
    const abort = () => request.abort();
    request.open(method, url);
    for (const [name, value] of Object.entries(headers)) {
      if (!SET_BY_BROWSERS.has(name.toLowerCase())) request.setRequestHeader(name, value);
    }
    request.upload.onprogress = ({ loaded, total }) => {
      stillAlive();
      if (total > 0) onSent(loaded / total);
    };
    request.onloadend = () => {
      clearTimeout(stalled);
      signal.removeEventListener("abort", abort);
      if (signal.aborted) reject(signal.reason);
      else resolve({ status: request.status, text: request.responseText, retryAfter: retryAfter(request) });
    };
    signal.addEventListener("abort", abort, { once: true });
    stillAlive();
    request.send(body);
  });
}

function retryAfter(request) {
  // To ask for a header that the store doesn't expose is an error on the console.
  return /^retry-after:/im.test(request.getAllResponseHeaders()) ? Number(request.getResponseHeader("Retry-After")) || 0 : 0;
}
