"""Which of the listed parts count, and how they are named when they are put together."""

from collections.abc import Mapping
from itertools import permutations
from xml.etree import ElementTree as ET

import pytest

from adapters.stores.s3_calls import Answer, Operation
from adapters.stores.s3_parts import ListedParts, completion_of
from domain.errors import ErrorCode, Unavailable
from domain.files import Md5
from domain.multipart import ArrivedPart

LISTING = Operation("ListParts", "GET", "s3:ListMultipartUploadParts")
A, B = "a" * 32, "b" * 32
EARLY, LATE = "2026-11-22T21:45:30Z", "2026-11-22T21:45:31.000Z"

Entry = tuple[int, str, int, str]


def page(*entries: Entry, namespace: str = "http://s3.amazonaws.com/doc/2006-03-01/") -> Answer:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>&quot;{etag}&quot;</ETag><Size>{size}</Size>"
        f"<LastModified>{moment}</LastModified></Part>"
        for number, etag, size, moment in entries
    )
    return answer(f'<ListPartsResult xmlns="{namespace}">{parts}</ListPartsResult>')


def answer(document: str) -> Answer:
    return Answer.read(LISTING, 200, {}, document.encode())


def arrived(*pages: Answer, has_digests: bool = True) -> Mapping[int, ArrivedPart]:
    listed = ListedParts(has_digests)
    for one in pages:
        listed.add(one)
    return listed.arrived()


def part(number: int, etag: str, length: int = 5) -> ArrivedPart:
    return ArrivedPart(number, length, f'"{etag}"', Md5.of(bytes.fromhex(etag)))


@pytest.mark.parametrize("namespace", ["http://s3.amazonaws.com/doc/2006-03-01/", "http://example.com/", ""])
def test_parts_are_told_by_number(namespace: str) -> None:
    pages = page((2, A, 5, EARLY), namespace=namespace), page((10, B, 6, LATE), namespace=namespace)
    assert arrived(*pages) == {2: part(2, A), 10: part(10, B, 6)}
    assert arrived(page()) == {}


@pytest.mark.parametrize("entries", list(permutations([(1, A, 5, EARLY), (1, B, 6, LATE), (1, A, 7, EARLY)])))
def test_what_came_last_counts(entries: tuple[Entry, ...]) -> None:
    assert arrived(page(*entries)) == {1: part(1, B, 6)}
    assert arrived(*(page(entry) for entry in entries)) == {1: part(1, B, 6)}


def test_of_what_came_in_one_second_all_is_named_and_no_digest_known() -> None:
    entries = [(1, A, 5, EARLY), (1, B, 5, EARLY), (1, A, 5, EARLY)]
    assert arrived(page(*entries)) == {1: ArrivedPart(1, 5, f'"{A}" "{B}"')}
    assert arrived(page(*entries[::2])) == {1: part(1, A)}


def test_a_part_that_was_cut_in_two_ways_in_one_second_must_be_sent_again() -> None:
    entries = [(1, A, 5, EARLY), (1, B, 6, EARLY), (2, A, 5, EARLY)]
    assert arrived(page(*entries)) == {2: part(2, A)}
    assert arrived(page(*entries, (1, A, 5, LATE))) == {1: part(1, A), 2: part(2, A)}


@pytest.mark.parametrize("etag", ["x", f"{A}-1", "a" * 31])
def test_an_etag_that_is_no_md5_is_none(etag: str) -> None:
    assert arrived(page((1, etag, 5, EARLY))) == {1: ArrivedPart(1, 5, f'"{etag}"')}
    assert arrived(page((1, A, 5, EARLY)), has_digests=False) == {1: ArrivedPart(1, 5, f'"{A}"')}


@pytest.mark.parametrize("name", ["PartNumber", "Size", "LastModified"])
@pytest.mark.parametrize("value", ["", "-1", "many", "2026-13-01", "9" * 5_000])
def test_a_listing_that_can_not_be_read_is_a_failure(name: str, value: str) -> None:
    members = {"PartNumber": "1", "ETag": A, "Size": "5", "LastModified": EARLY, name: value}
    written = "".join(f"<{name}>{value}</{name}>" for name, value in members.items())
    with pytest.raises(Unavailable) as caught:
        arrived(answer(f"<ListPartsResult><Part>{written}</Part></ListPartsResult>"))
    assert caught.value.code is ErrorCode.STORE_UNAVAILABLE


def test_exactly_the_given_parts_are_named() -> None:
    parts = [part(1, A), ArrivedPart(2, 5, f'"{A}" "{B}"'), ArrivedPart(3, 1, "<&>")]
    root = ET.fromstring(completion_of(parts))
    namespace = "{http://s3.amazonaws.com/doc/2006-03-01/}"
    assert root.tag == f"{namespace}CompleteMultipartUpload"
    named = [(one.findtext(f"{namespace}PartNumber"), one.findtext(f"{namespace}ETag")) for one in root]
    assert named == [("1", f'"{A}"'), ("2", f'"{A}"'), ("2", f'"{B}"'), ("3", "<&>")]
