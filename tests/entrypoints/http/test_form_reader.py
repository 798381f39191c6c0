"""The reader of multipart forms: what it takes, in whatever pieces it arrives, and what it refuses."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from urllib3.fields import RequestField
from urllib3.filepost import encode_multipart_formdata

from entrypoints.http import form_reader
from entrypoints.http.form_reader import open_form
from entrypoints.http.s3_errors import S3Refusal

BOUNDARY = "frontier"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"


@frozen
class Read:
    fields: Sequence[tuple[str, str]]
    filename: str | None
    media_type: str | None
    content: bytes


def read(body: Iterable[bytes], content_type: str | None = CONTENT_TYPE) -> Read:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in body:
            yield piece

    async def whole() -> Read:
        form = await open_form(content_type, pieces())
        content = b"".join([chunk async for chunk in form.chunks])
        return Read(form.fields, form.filename, form.media_type, content)

    return asyncio.run(whole())


def refusal(body: bytes, content_type: str | None = CONTENT_TYPE) -> str:
    with pytest.raises(S3Refusal) as caught:
        read([body], content_type)
    return caught.value.s3_code


def part(disposition: str, content: bytes, *headers: str) -> bytes:
    lines = "\r\n".join([f"--{BOUNDARY}", f"Content-Disposition: form-data; {disposition}", *headers, "", ""])
    return lines.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FILE = part('name="file"; filename="a.csv"', b"a,b\r\n1,2\r\n", "Content-Type: text/csv")


def test_fields_come_in_order_and_the_file_with_its_name_and_type() -> None:
    body = form(part('name="key"', b"k"), part('name="x"', b""), part('name="key"', b"again"), FILE)
    assert read([body]) == Read([("key", "k"), ("x", ""), ("key", "again")], "a.csv", "text/csv", b"a,b\r\n1,2\r\n")


@pytest.mark.parametrize("name", ["file", '"file"', '"File"'])
def test_a_file_needs_neither_filename_nor_type(name: str) -> None:
    assert read([form(part(f"name={name}", b"bytes"))]) == Read([], None, None, b"bytes")


def test_an_empty_filename_is_not_an_absent_one() -> None:
    assert read([form(part('name="file"; filename=""', b""))]).filename == ""


def test_names_and_values_are_utf8() -> None:
    body = form(part('name="ключ"', "中文/é".encode()), part('name="file"; filename="données ☃.csv"', b""))
    assert read([body]) == Read([("ключ", "中文/é")], "données ☃.csv", None, b"")


def test_a_filename_that_is_not_utf8_is_kept_apart_from_every_text() -> None:
    body = form(part('name="file"; filename="X"', b"")).replace(b'"X"', b'"d\xe9j\xe0"')
    assert read([body]).filename == "d\udce9j\udce0"


@pytest.mark.parametrize(
    "disposition",
    [
        # As .NET writes it.
        "name=file; filename=a.csv; filename*=utf-8''a.csv",
        """name="file"; filename*=utf-8''b.csv; filename="a.csv\"""",
    ],
)
def test_an_extended_filename_means_nothing(disposition: str) -> None:
    assert read([form(part(disposition, b""))]).filename == "a.csv"


def test_what_looks_like_a_parameter_in_a_name_is_a_part_of_it() -> None:
    body = form(part('name="file"; filename="a; filename=b; name=\\"c\\".csv"', b""))
    assert read([body]).filename == 'a; filename=b; name="c".csv'


_CONTENTS = st.binary(max_size=300) | st.lists(
    st.sampled_from(
        [b"\r", b"\n", b"-", b"\r\n", b"--", b"\r\n--", b"\r\n--frontie", b"\r\n--frontierx", b"--frontier"]
    )
).map(b"".join)


@given(
    fields=st.lists(st.tuples(st.text("abcXYZ-", min_size=1).filter(lambda n: n != "file"), st.text(max_size=20))),
    content=_CONTENTS.filter(lambda content: b"\r\n--frontier" not in content.replace(b"\r\n--frontierx", b"")),
    cuts=st.lists(st.integers(0, 2000)),
)
def test_the_pieces_in_which_a_body_arrives_do_not_matter(
    fields: list[tuple[str, str]], content: bytes, cuts: list[int]
) -> None:
    parts: list[RequestField] = []
    everything: list[tuple[str, str | bytes]] = [*fields, ("file", content)]
    for name, data in everything:
        field = RequestField(name, data)
        field.make_multipart()
        parts.append(field)
    body, content_type = encode_multipart_formdata(parts, BOUNDARY)
    ends = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    pieces = [body[start:end] for start, end in itertools.pairwise(ends)]
    assert read(pieces, content_type) == Read(fields, None, None, content)


@pytest.mark.parametrize("start", [b"\r\n", b"\n", b"\r\n\r\n\r"])
def test_line_ends_may_stand_before_the_first_boundary(start: bytes) -> None:
    body = start + form(FILE)
    whole = read([form(FILE)])
    assert read([body]) == read([body[at : at + 1] for at in range(len(body))]) == whole


@pytest.mark.parametrize("start", [b"preamble\r\n", b"\r\npreamble\r\n", b"\n ", b"\nt-"])
def test_nothing_else_may_wherever_it_is_cut(start: bytes) -> None:
    body = start + form(FILE)
    for pieces in ([body], [body[at : at + 1] for at in range(len(body))]):
        with pytest.raises(S3Refusal) as caught:
            read(pieces)
        assert caught.value.s3_code == "MalformedPOSTRequest"


def test_parts_after_the_file_mean_nothing() -> None:
    assert read([form(FILE, part('name="acl"', b"public-read"))]).fields == []


@pytest.mark.parametrize(
    ("what", "after"),
    [
        ("a part", part('name="more"', b"x" * 30_000)),
        ("many parts", part('name="more"', b"x") * 1000),
    ],
)
def test_what_follows_the_file_is_bounded(what: str, after: bytes) -> None:
    body = form(FILE, after)
    pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
    assert len(body) < form_reader.MAX_OVERHEAD_BYTES, what
    read(pieces)
    with pytest.raises(S3Refusal, match="too much after the file"):
        read([*pieces, *[b"epilogue" * 100] * 200])


def test_a_second_file_is_refused() -> None:
    assert refusal(form(FILE, FILE)) == "IncorrectNumberOfFilesInPostRequest"


@pytest.mark.parametrize("parts", [(), (part('name="key"', b"k"),)])
def test_no_file_is_refused(parts: Sequence[bytes]) -> None:
    assert refusal(form(*parts)) == "IncorrectNumberOfFilesInPostRequest"


@given(st.integers(0, 10_000))
def test_a_form_that_is_cut_off_is_refused(length: int) -> None:
    # Whole is a form whose closing boundary has come, with or without the line end after it.
    whole = form(part('name="key"', b"k"), FILE).removesuffix(b"\r\n")
    assert refusal(whole[: length % len(whole)]) == "MalformedPOSTRequest"


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/csv",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/mixed; boundary={BOUNDARY}",
        "multipart/form-data; boundary=" + "b" * 300,
        f"multipart/form-data; boundary={BOUNDARY}; boundary=another",
    ],
)
def test_what_is_no_multipart_form_is_refused(content_type: str | None) -> None:
    assert refusal(form(FILE), content_type) == "RequestIsNotMultiPartContent"


@pytest.mark.parametrize(
    "body",
    [
        b"nothing of the kind",
        form(FILE).replace(b"frontier", b"another", 1),
        form(part("", b""), FILE),
        form(part('name="k"', b""), FILE).replace(b"form-data", b"attachment", 1),
        form(part('name="k"', b""), FILE).replace(b"Content-Disposition", b"Content-Position", 1),
        form(part('name="k"', b"\xff"), FILE),
        form(part('name="K"', b""), FILE).replace(b'"K"', b'"\xff"'),
        form(part('name="k"', b"", *["X-Header: x"] * form_reader.MAX_PART_HEADERS), FILE),
        form(part('name="k"', b"", "X-Header: " + "x" * form_reader.MAX_PART_HEADER_BYTES), FILE),
        form(part('name="k"', b"", "X Header: x"), FILE),
        form(part('name="k"; name="acl"', b""), FILE),
        form(part('name="k"; NAME=acl', b""), FILE),
        form(part('name="k"', b"", 'Content-Disposition: form-data; name="acl"'), FILE),
        form(part('name="file"; filename="a.csv"; filename="b.csv"', b"")),
    ],
)
def test_malformed_forms_are_refused(body: bytes) -> None:
    assert refusal(body) == "MalformedPOSTRequest"


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        (
            part('name="k"', b"v" * (form_reader.MAX_FIELDS_BYTES - 1)),
            part('name="k"', b"v" * form_reader.MAX_FIELDS_BYTES),
        ),
        (
            part('name="k"', b"v" * 10_000) + part('name="l"', b"v" * 10_000),
            part('name="k"', b"v" * 10_240) + part('name="l"', b"v" * 10_240),
        ),
        (part('name="k"', b"") * form_reader.MAX_FIELDS, part('name="k"', b"") * (form_reader.MAX_FIELDS + 1)),
    ],
)
def test_fields_are_bounded(fits: bytes, too_much: bytes) -> None:
    read([form(fits, FILE)])
    assert refusal(form(too_much, FILE)) == "MaxPostPreDataLengthExceededError"


def test_a_preamble_is_bounded() -> None:
    taken = 0

    def endless() -> Iterable[bytes]:
        nonlocal taken
        while True:
            taken += 1024
            yield b"\r\n" * 512

    with pytest.raises(S3Refusal) as caught:
        read(endless())
    assert caught.value.s3_code == "MaxPostPreDataLengthExceededError"
    assert taken <= 2 * form_reader.MAX_OVERHEAD_BYTES
