// The MD5 of a file and of each of its parts, in one pass.

/** Digests of bytes that come in any pieces. */
export class FileDigests {
  #whole;
  #part;
  #partSize;
  #inPart = 0;
  #parts = [];

  /** `whole` and `part` are two hashers as hash-wasm has them; without a `partSize` (in bytes) there are no parts. */
  constructor(whole, part, partSize = null) {
    this.#whole = whole.init();
    this.#part = part.init();
    this.#partSize = partSize;
  }

  update(bytes) {
    this.#whole.update(bytes);
    if (this.#partSize === null) return;
    for (let start = 0; start < bytes.length; ) {
      const some = bytes.subarray(start, start + this.#partSize - this.#inPart);
      this.#part.update(some);
      this.#inPart += some.length;
      start += some.length;
      if (this.#inPart === this.#partSize) this.#endPart();
    }
  }

  /** Give `{md5, parts}` in base64; `parts` is null where none were wanted. */
  finish() {
    if (this.#inPart > 0) this.#endPart();
    return { md5: base64(this.#whole.digest("binary")), parts: this.#partSize === null ? null : this.#parts };
  }

  #endPart() {
    this.#parts.push(base64(this.#part.digest("binary")));
    this.#part.init();
    this.#inPart = 0;
  }
}

const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
