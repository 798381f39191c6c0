"""Keys and paths, URLs of objects, and key patterns."""

import base64
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from adapters.stores.addresses import Addressing, BucketAddress
from domain.errors import InvalidInput, Misconfigured
from domain.files import DeclaredFile
from domain.keys import Dataset, ObjectKey, Owner, RelativePath
from domain.patterns import KeyPattern
from tests import strategies as bits
from tests.hard.targets.target import Target

_ADDRESSES = (
    BucketAddress("http://bitstore.example", "datasets", base_path="/store"),
    BucketAddress("https://s3.example.com", "datasets", Addressing.VIRTUAL),
)


def key(data: bytes) -> str:
    """Read a text as a path, a key, a segment and a URL: it is judged as the Unicode database has it."""
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    legal = bits.is_legal_path(text)
    assert _is_one(RelativePath, text) == _is_one(ObjectKey, text) == legal
    assert _is_one(Owner, text) == _is_one(Dataset, text) == (legal and "/" not in text)
    found = "no key"
    for address in _ADDRESSES:
        named = address.key_of(text)
        if named is not None:
            assert bits.is_legal_path(named)
            assert unquote(urlsplit(text).path) == f"{address.bucket_path}/{named}"
            assert "@" not in text.partition("//")[2].partition("/")[0]
            found = "a key's URL"
    if legal:
        found = "a key"
        for address in _ADDRESSES:
            assert address.key_of(f"{address.url}/{quote(text)}") == text
            assert _ADDRESSES[0].key_of(f"{address.url}2/{quote(text)}") is None
    return found


def _is_one(kind: Callable[[object], str], text: str) -> bool:
    try:
        return kind(text) == text
    except InvalidInput:
        return False


KEY: Final = Target(
    key,
    seeds=[
        b"alice/tides/a.csv",
        b"..a/.b./c",
        "é/☃/文.csv".encode(),
        b"a/../b",
        b"http://bitstore.example/store/datasets/alice/a%20b.csv",
        b"HTTPS://datasets.s3.example.com:443/alice/%C3%A9",
        b"\xed\xa0\x80",
    ],
    words=[
        *(b"/", b"..", b"%2e", b"%2F", b"\\", b"${filename}", b"\xe2\x80\xae", b"\xcc\x81", b"e\xcc\x81", b"\xc2\x85"),
        *(b"http://", b"@", b"?", b"#", b":80", b"\xe2\x80\xa8", b"\xe3\x80\x80", b"\xef\xbf\xbf", b"\xed\xa0\x80"),
        b"bitstore.example/store/datasets/",
    ],
    outcomes=frozenset(["a key", "no key", "a key's URL"]),
    max_length=1200,
)


def pattern(data: bytes) -> str:
    """Read a pattern, and make the keys of two owners with it: neither may reach the other's, and all can be read back.

    Template, owners, dataset and path are separated by NUL.
    """
    template, *names = (data + b"\0" * 4).decode("utf-8", "replace").split("\0")[:5]
    try:
        read = KeyPattern.parse(template)
    except Misconfigured:
        return "no pattern"
    try:
        owner, other, dataset = Owner(names[0]), Owner(names[1]), Dataset(names[2])
        file = DeclaredFile.parse(names[3], _DECLARED, bits.RULES)
        batch, others = read.for_batch(owner, dataset), read.for_batch(other, dataset)
        made, foreign = batch.key_of(file), others.key_of(file)
    except InvalidInput:
        return "no key"
    assert bits.is_legal_path(made)
    assert read.allows(owner, made)
    assert batch.covers(made)
    assert batch.path_of(made) in (None, file.path)
    if not read.is_content_addressed:
        assert read.for_paths(owner, dataset)(file.path) == made
    if read.is_owner_scoped:
        assert made.split("/")[0] == owner
        assert read.allows(other, made) == (owner == other) == (made == foreign)
    return "a key"


_DECLARED: Final[Mapping[str, object]] = {
    "length": 3,
    "md5": base64.b64encode(bytes(16)).decode(),
    "sha256": base64.b64encode(bytes(32)).decode(),
}
PATTERN: Final = Target(
    pattern,
    seeds=[
        b"{owner}/{name}/{path}\0alice\0alic\0tides\0a/b.csv",
        b"{owner}/{dirname}/{basename}\0alice\0alice2\0tides\0a/b.csv",
        b"{md5_hex}{extension}\0alice\0bob\0tides\0b.csv",
        b"{owner}/v1-{sha256_hex}/{basename}\0a\0aa\0t\0x",
        b"{owner}-{path}\0a\0b\0c\0d",
        b"{owner}/{path}\0a\0b\0c\0..",
    ],
    words=[
        *(b"{owner}", b"{name}", b"{dataset}", b"{path}", b"{basename}", b"{dirname}", b"{extension}", b"{md5}"),
        *(b"{md5_hex}", b"{sha256_hex}", b"/", b"\0", b"{owner}/", b"..", b"${filename}", b"e\xcc\x81"),
    ],
    outcomes=frozenset(["a key", "no key", "no pattern"]),
    max_length=256,
)
