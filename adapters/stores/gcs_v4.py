"""Google's V4 signing process (`GOOG4-RSA-SHA256`): POST policies and signed URLs, under a service account's RSA key.

The rules are those of the pages "Signatures" (the string to sign, the policy document) and "Canonical requests" of
Google's Cloud Storage documentation. A canonical request is written as AWS writes it, so its stages come from `sigv4`;
the credential scope, the names of parameters and fields, and the signature itself are Google's own.

A signature under a key of 2,048 bits takes most of a millisecond, which is more than all the rest here together: sign
only what somebody asks for.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from attrs import field, frozen

from adapters.stores.sigv4 import (
    MAX_PRESIGNED_SECONDS,
    UNSIGNED_PAYLOAD,
    Request,
    amz_date,
    canonical_query,
    canonical_request,
    host_header,
    signed_header_names,
    uri_encode_path,
)

ALGORITHM = "GOOG4-RSA-SHA256"
MAX_SIGNED_SECONDS = MAX_PRESIGNED_SECONDS
"""Seven days ("Signed URLs", X-Goog-Expires)."""


def _whole_second(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


@frozen
class V4Signer:
    """Signs at one moment for one service account: make one per batch, so that no batch straddles midnight.

    `sign` gives the RSASSA-PKCS1-v1_5 signature, with SHA-256, of what it is given; `now` is an aware datetime.
    """

    email: str
    sign: Callable[[bytes], bytes] = field(repr=False)
    now: datetime = field(converter=_whole_second)
    date: str = field(init=False)
    scope: str = field(init=False)
    credential: str = field(init=False)

    @date.default
    def _date(self) -> str:
        return amz_date(self.now)

    @scope.default
    def _scope(self) -> str:
        return f"{self.date[:8]}/auto/storage/goog4_request"

    @credential.default
    def _credential(self) -> str:
        return f"{self.email}/{self.scope}"

    def expires_at(self, seconds: int) -> datetime:
        """Say until when something signed now for `seconds` is valid. ValueError unless that is 1 s to seven days."""
        if not 1 <= seconds <= MAX_SIGNED_SECONDS:
            raise ValueError(f"a signature lives for 1 to {MAX_SIGNED_SECONDS} seconds")
        return self.now + timedelta(seconds=seconds)

    def post_form(
        self, bucket: str, key: str, length_range: tuple[int, int], fields: Mapping[str, str], seconds: int
    ) -> dict[str, str]:
        """Make the fields of a form, for a client to send in this order before the part `file`.

        The bucket, the key and each of `fields` (Content-Type, acl) are bound exactly; `length_range` is the least and
        the greatest number of bytes. A key in which the store would replace `${filename}` can't be bound: ValueError.
        """
        if "${filename}" in key:
            raise ValueError("a key with ${filename} would not be bound exactly")
        shared = {name: fields[name] for name in sorted(fields)}
        stamps = {"x-goog-date": self.date, "x-goog-credential": self.credential, "x-goog-algorithm": ALGORITHM}
        exact = {**shared, "bucket": bucket, "key": key, **stamps}
        conditions = [["content-length-range", *length_range], *({name: value} for name, value in exact.items())]
        expiration = self.expires_at(seconds).strftime("%Y-%m-%dT%H:%M:%SZ")
        # Every character beyond ASCII is escaped, as "Signatures" wants it.
        document = json.dumps({"conditions": conditions, "expiration": expiration}, separators=(",", ":"))
        policy = b64encode(document.encode("ascii"))
        signed = {"policy": policy.decode("ascii"), "x-goog-signature": self.sign(policy).hex()}
        return {**shared, "key": key, **stamps, **signed}

    def signed_url(self, request: Request, seconds: int) -> str:
        """Sign a URL. The client must send exactly the request's headers; the body isn't signed."""
        self.expires_at(seconds)
        headers = {**request.headers, "host": host_header(request.origin)}
        query = canonical_query(
            [
                *request.query,
                ("X-Goog-Algorithm", ALGORITHM),
                ("X-Goog-Credential", self.credential),
                ("X-Goog-Date", self.date),
                ("X-Goog-Expires", str(seconds)),
                ("X-Goog-SignedHeaders", signed_header_names(headers)),
            ]
        )
        canonical = canonical_request(request.method, request.path, query, headers, UNSIGNED_PAYLOAD)
        text = f"{ALGORITHM}\n{self.date}\n{self.scope}\n{sha256(canonical.encode()).hexdigest()}"
        url = f"{request.origin}{uri_encode_path(request.path)}?{query}"
        return f"{url}&X-Goog-Signature={self.sign(text.encode()).hex()}"
