"""What is wrong with datasets, and with how their files are to be sent, where JSON is as it should be."""

from collections.abc import Sequence

from tests.entrypoints.http.live_service import declaration, md5
from tests.hard.hostile.cases_of_files import LONGEST_FILE, body, file, members, metadata
from tests.hard.hostile.service import ABSENT, MAX_FILES, Case, cases, then

OF_DATASETS = ("authorize", "verify", "resume", "complete", "abort", "presign paths")
"""The kinds of requests whose metadata must be whole."""
IN_PARTS = ("resume", "complete", "abort")

_GIB = 1024**3

_FOREIGN_OWNERS = (
    *("bob", "Alice", "ALICE", "alice ", " alice", "alic", "alice2", "\u0430lice", "\uff41lice", "al\u0131ce"),
    "alice.",
    *("alice\u200b", "\ufeffalice", "alice\u00ad", "%61lice", "alice%00", "alice%2f..%2fbob", "*", "alice*", "root"),
    "{owner}",
    *("alice\u00a0", "álice", "@alice", "alice,bob", "alice;bob", "$HOME", "mallory"),
)
_NO_OWNERS: Sequence[object] = (
    *(None, "", ".", "..", " ", "alice/", "/alice", "alice/x", "alice/../bob", "alice/tides", "../alice", "a\\b"),
    "./alice",
    *("alice\x00", "alice\n", "alice\t", "\x1b[2J", "a\u0301lice", "${filename}", "\u202ealice", "x" * 256, "\uffff"),
    *(1, True, 1.5, ["alice"], {"alice": 1}, ["alice", "bob"]),
)
_NO_DATASETS: Sequence[object] = (
    *("", ".", "..", " ", "/", "a/b", "../x", "tides/../../bob", "/tides", "tides/", "a\\b", "\x00", "a\nb", "e\u0301"),
    *("${filename}", "\u202ex", "x" * 256, "é" * 128, "\u2028", 1, True, 1.5, ["x"], {"x": 1}),
)
_NO_FINDABILITIES: Sequence[object] = (
    *("Private", "PRIVATE", "public", "", " private", "private ", "private\0", "pr\u0456vate", "publ\u0131shed"),
    "none",
    *(0, 1, True, False, ["private"], {}, {"private": True}, "published,private", "public-read"),
)

METADATA: Sequence[Case] = [
    *cases("owner", _FOREIGN_OWNERS, lambda owner: metadata(owner=owner), 403, "not_owner"),
    *cases("owner", [*_NO_OWNERS, ABSENT], lambda owner: metadata(owner=owner), 400, "invalid_owner"),
    Case("owner by another name", metadata(owner=ABSENT, Owner="alice", ownerid="alice"), 400, "invalid_owner"),
    *cases("name", [*_NO_DATASETS, None, ABSENT], lambda name: metadata(name=name), 400, "invalid_dataset"),
    *cases("dataset", _NO_DATASETS, lambda name: metadata(name=ABSENT, dataset=name), 400, "invalid_dataset"),
    *cases(
        "another dataset", ("another", "Tides", "tides "), lambda name: metadata(dataset=name), 400, "invalid_dataset"
    ),
    *cases("findability", _NO_FINDABILITIES, lambda value: metadata(findability=value), 400, "invalid_metadata"),
    *cases("metadata", (None, [], "x", 1, True, ABSENT), lambda value: body(metadata=value), 400, "invalid_request"),
    Case("metadata empty", body(metadata={}), 400, "invalid_owner"),
]
"""Bad metadata, of `OF_DATASETS`."""

_UNLISTED: Sequence[object] = ("PUT", "", 1, True, {"PUT": 1}, [1], [None], [["PUT"]], [{}], ["PUT", 1])
_NOT_FLAGS: Sequence[object] = ("false", "true", 0, 1, None, [], {}, 1.0, "no", "")

_UNKNOWN_GUARANTEES = (
    *("MD5", "md5 ", "md4", "", "no_overwrite", "everything", "x" * 100_000, "a\nb", "\x1b[2J", "\u202e"),
)

BATCHES: Sequence[Case] = [
    *cases(
        "filedata",
        (None, [], "x", 1, True, [["a.csv", {}]], ABSENT),
        lambda value: body(filedata=value),
        400,
        "invalid_request",
    ),
    Case(
        "filedata by its other name", body(filedata=ABSENT, fileData={"a.csv": declaration()}), 400, "invalid_request"
    ),
    Case("no files", body(filedata={}), 400, "empty_batch"),
    Case(
        "too many files",
        body(filedata={f"{number}.csv": {"length": 0, "md5": md5()} for number in range(MAX_FILES + 1)}),
        413,
        "too_many_files",
    ),
    Case(
        "as many bad files as there may be, with long paths",
        body(filedata={f"../{number}{'x' * 900}": {} for number in range(MAX_FILES)}),
        400,
        "invalid_batch",
    ),
    *cases("accept", _UNLISTED, lambda value: body(accept=value), 400, "invalid_request"),
    *cases("require", _UNLISTED, lambda value: body(require=value), 400, "invalid_request"),
    *cases("require", _UNKNOWN_GUARANTEES, lambda value: body(require=[value]), 400, "invalid_request"),
    *cases("overwrite", _NOT_FLAGS, lambda value: body(overwrite=value), 400, "invalid_request"),
]
"""Batches that are bad as a whole, of `authorize` and `verify`."""

_NO_WAYS: Sequence[object] = (
    *([], ["put"], ["POST "], ["GET"], ["*"], ["\u0420OST"], ["PUT\0"], ["x" * 100_000], [""] * 100_000),
)
_IN_PARTS = body(accept=["MULTIPART"])

WISHES: Sequence[Case] = [
    *cases("accept", _NO_WAYS, lambda value: body(accept=value), 400, "unsupported_by_store"),
    Case("not to overwrite, by a form", body(overwrite=False), 400, "unsupported_by_store"),
    Case("not to overwrite, by a form alone", body(overwrite=False, accept=["POST"]), 400, "unsupported_by_store"),
    Case("to require it, by a form", body(require=["no-overwrite"]), 400, "unsupported_by_store"),
    Case(
        "to require it of a form", body(require=["md5", "no-overwrite"], accept=["POST"]), 400, "unsupported_by_store"
    ),
    Case("an empty file in parts", then(_IN_PARTS, members(length=0)), 400, "invalid_batch", "invalid_parts"),
    *cases(
        "parts that this store doesn't take:",
        [(10**7, 1), (10**7, 5 * 1024**2 - 1), (LONGEST_FILE, 5 * 1024**2), (LONGEST_FILE, LONGEST_FILE)],
        lambda cut: then(_IN_PARTS, members(length=cut[0], parts={"size": cut[1]})),
        400,
        "invalid_batch",
        "invalid_parts",
    ),
    Case("more bytes than a request may bring", members(length=5 * _GIB + 1), 400, "invalid_batch", "file_too_large"),
]
"""What this store, or any, can't do, of `authorize`."""

_NO_UPLOAD_IDS: Sequence[object] = (
    *(None, ABSENT, "", " ", 7, True, [], {}, ["x"], "a b", "a\nb", "a\0", "\x7f", "é", "\u202e", "x" * 1_025),
    "x" * 100_000,
)
_FOREIGN_UPLOAD_IDS = (
    *("0", "0" * 32, "A" * 1_024, ".", "..", "../../etc/passwd", "%2e%2e%2f", "x.y", "x/y", "*", "null", "-1", "'--"),
    "$(id)",
    *("?uploads", "a&uploadId=b", "<x/>", '"', "\\", "{}", "${filename}", "file:///etc/passwd"),
)

_NOT_OBJECTS: Sequence[object] = (None, [], "x", 1, True, 1.5, "", [{"length": 1}], ABSENT)
_NOT_COUNTS: Sequence[object] = (-1, "1", True, None, 1.0, [], {}, 2**53, 2**64, 10**30, -(2**63))

UPLOADS_IN_PARTS: Sequence[Case] = [
    *cases("upload_id", _NO_UPLOAD_IDS, lambda value: body(upload_id=value), 400, "invalid_upload_id"),
    *cases("path", (None, 5, True, [], {}, ["a.csv"], ABSENT), lambda value: body(path=value), 400, "invalid_request"),
    *cases("file", _NOT_OBJECTS, file, 400, "invalid_request"),
    *cases("after", _NOT_COUNTS, lambda value: body(after=value), 400, "invalid_request"),
    *cases("overwrite", _NOT_FLAGS, lambda value: body(overwrite=value), 400, "invalid_request"),
    Case("an empty file", members(length=0), 400, "invalid_parts"),
    Case("parts that are too small", members(length=10**7, parts={"size": 1}), 400, "invalid_parts"),
]
"""Of `IN_PARTS`."""

UNKNOWN_UPLOADS: Sequence[Case] = [
    *cases("upload_id", _FOREIGN_UPLOAD_IDS, lambda value: body(upload_id=value), 404, "upload_not_found"),
    Case("another path", body(path="another.csv"), 404, "upload_not_found"),
    Case("another dataset", metadata(name="another"), 404, "upload_not_found"),
]
"""Ids of no upload, or of none at this key, of `resume` and `complete`."""
