// The service's API, as in its README.

import { ofService, retrying, unreachable } from "./problems.mjs";

const TIMEOUT_MILLISECONDS = 60_000;

/** What a token says of itself, for the page's own words; the service believes nothing that it hasn't checked. */
export function readToken(token) {
  try {
    const [, payload] = token.split(".");
    const raw = atob(payload.replace(/-/g, "+").replace(/_/g, "/"));
    const claims = JSON.parse(new TextDecoder().decode(Uint8Array.from(raw, (character) => character.charCodeAt(0))));
    if (typeof claims.userid !== "string") return null;
    return { owner: claims.userid, expires: typeof claims.exp === "number" ? new Date(claims.exp * 1000) : null };
  } catch {
    return null;
  }
}

/**
 * A client of the service at `root` (a URL that ends in "/") for whoever has the token, which is kept here alone.
 *
 * All methods take `{signal, onWait}` as `retrying` does, throw `Problem`s, and add to the answer when it was given:
 * `answeredAt`, in milliseconds since 1970.
 */
export class Service {
  #root;
  #token;

  constructor(root, token) {
    this.#root = root;
    this.#token = token;
  }

  info(options) {
    return this.#ask("info", null, options);
  }

  authorize(body, options) {
    return this.#ask("authorize", body, options);
  }

  verify(body, options) {
    return this.#ask("verify", body, options);
  }

  /** Go on with an upload in parts: `where` is one of the URLs in `then` of the answer of /authorize. */
  multipart(where, body, options) {
    return this.#ask(where, body, options);
  }

  #ask(where, body, options) {
    return retrying(() => this.#exchange(where, body, options.signal), options);
  }

  async #exchange(where, body, signal) {
    const patience = AbortSignal.timeout(TIMEOUT_MILLISECONDS);
    let answer, text;
    try {
      answer = await fetch(new URL(where, this.#root), {
        method: body ? "POST" : "GET",
        headers: { "Auth-Token": this.#token, ...(body && { "Content-Type": "application/json" }) },
        body: body && JSON.stringify(body),
        cache: "no-store",
        signal: AbortSignal.any([signal, patience]),
      });
      text = await answer.text();
    } catch {
      signal.throwIfAborted();
      throw unreachable("The service");
    }
    const said = parsed(text);
    if (!answer.ok || !said) throw ofService(answer.status, said, Number(answer.headers.get("Retry-After")) || 0);
    // Expiries are times of the service's clock; the user's may go wrong.
    return { ...said, answeredAt: Date.parse(answer.headers.get("Date")) || Date.now() };
  }
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null; // a proxy's page, for example
  }
}
