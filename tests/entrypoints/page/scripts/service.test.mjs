import assert from "node:assert/strict";
import test from "node:test";

import { readToken } from "../../../../entrypoints/page/service.mjs";

const tokenOf = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;

test("a token says whose it is, and until when", () => {
  assert.deepEqual(readToken(tokenOf({ userid: "zoë?>~", exp: 1_700_000_000 })), {
    owner: "zoë?>~",
    expires: new Date("2023-11-14T22:13:20Z"),
  });
  assert.equal(readToken(tokenOf({ userid: "ada" })).expires, null);
});

for (const text of ["", "nonsense", "a.b.c", "e30.e30.c2ln", "e30.bnVsbA.c2ln", tokenOf({ userid: 7 }), tokenOf(["ada"])]) {
  test(`${JSON.stringify(text)} is no token`, () => assert.equal(readToken(text), null));
}
