"""What any server costs that answers in a store's place: a few megabytes, and no more."""

import asyncio
import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import TypeVar
from xml.etree import ElementTree as ET

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from adapters.stores.connections import AnswerTooLong, body_of, open_connections, parse_document
from tests.live import serving

LIMIT = 100_000
_T = TypeVar("_T")


@contextmanager
def answering(answer: Callable[[Request], Response]) -> Iterator[str]:
    with serving(lambda _: Starlette(routes=[Route("/", answer)])) as origin:
        yield origin


def fetch(origin: str, read: Callable[[aiohttp.ClientResponse], "asyncio.Future[_T]"]) -> list[_T]:
    """Ask twice over the same connections."""

    async def ask() -> list[_T]:
        read_all = []
        async with open_connections(1) as http:
            for _ in range(2):
                async with http.get(origin) as answer:
                    read_all.append(await read(answer))
        return read_all

    return asyncio.run(ask())


def body(answer: aiohttp.ClientResponse) -> "asyncio.Future[bytes]":
    return asyncio.ensure_future(body_of(answer, LIMIT))


@pytest.mark.parametrize("size", [0, 1, LIMIT])
def test_an_answer_may_be_as_long_as_the_limit(size: int) -> None:
    with answering(lambda _: Response(b"x" * size)) as origin:
        assert fetch(origin, body) == [b"x" * size] * 2


def test_of_a_longer_one_no_more_is_read() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for piece in repeat(b"x" * 50_000, 10_000):
            sent += len(piece)
            yield piece

    with answering(lambda _: StreamingResponse(endless())) as origin, pytest.raises(AnswerTooLong):
        fetch(origin, body)
    assert sent < 100 * LIMIT  # what the system keeps for a connection, and then nothing


def test_what_is_compressed_is_left_so() -> None:
    compressed = gzip.compress(b"x" * 1_000_000)
    with answering(lambda _: Response(compressed, headers={"Content-Encoding": "gzip"})) as origin:
        assert fetch(origin, body) == [compressed] * 2


def test_nothing_compressed_is_asked_for_and_no_cookie_comes_back() -> None:
    seen = []

    def answer(request: Request) -> Response:
        seen.append((request.headers["Accept-Encoding"], "Cookie" in request.headers))
        return Response(headers={"Set-Cookie": "a=b"})

    with answering(answer) as origin:
        fetch(origin.replace("127.0.0.1", "localhost"), body)
    assert seen == [("identity", False)] * 2


DOCUMENT = '<List xmlns="urn:x"><Key>a&amp;b &lt;!DOCTYPE</Key></List>'
BOMB = f'<!DOCTYPE List [<!ENTITY e "{"x" * 100}">]><List>{"&e;" * 100}</List>'


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp1252"])
def test_a_document_is_parsed(encoding: str) -> None:
    root = parse_document(f'<?xml version="1.0" encoding="{encoding}"?>\n{DOCUMENT}'.encode(encoding))
    assert root.findtext("{urn:x}Key") == "a&b <!DOCTYPE"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "cp1252", "utf-16", "utf-16-be", "utf-16-le"])
def test_a_document_that_defines_entities_is_none(encoding: str) -> None:
    bomb = f'<?xml version="1.0" encoding="{encoding.removesuffix("-sig")}"?>{BOMB}'.encode(encoding)
    with pytest.raises(ValueError, match="document type"):
        parse_document(bomb)


def test_the_parser_would_have_expanded_them() -> None:
    assert ET.fromstring(BOMB).text == "x" * 10_000


@pytest.mark.parametrize(
    "document", [b"", b"no XML", b"<a>", b"<a></b>", b"<a/>" * 2, b'<?xml version="1.0" encoding="martian"?><a/>']
)
def test_what_is_no_xml_is_none(document: bytes) -> None:
    with pytest.raises(ValueError, match="no XML"):
        parse_document(document)
