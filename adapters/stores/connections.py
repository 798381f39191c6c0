"""Connections to a store over HTTP, and answers of bounded size: whatever a store says, it costs no more than that.

Stores are trusted, but what answers in their place need not be: a captive portal, a proxy, a server that is broken.
"""

from xml.etree import ElementTree as ET

import aiohttp

MAX_ANSWER_BYTES = 8 * 1024**2
"""More than a thousand entries of the longest keys need, with every character escaped."""

_PARSED_AT_ONCE = 64 * 1024


class AnswerTooLong(aiohttp.ClientPayloadError):
    """A store sends more than anything that it was asked for can be."""


def open_connections(limit: int, timeout: aiohttp.ClientTimeout | None = None) -> aiohttp.ClientSession:
    """Make a pool of so many connections, to be closed by whoever asked for it. It keeps no cookies.

    Nothing is asked for, or taken apart, that is compressed: a few bytes could come to any number. What compresses on
    the way would also take an object's length away.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit),
        timeout=timeout or aiohttp.ClientTimeout(),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )


async def body_of(answer: aiohttp.ClientResponse, most: int = MAX_ANSWER_BYTES) -> bytes:
    """Read a body in pieces. Raises `AnswerTooLong` as soon as there are more bytes than `most`."""
    pieces, received = [], 0
    async for piece in answer.content.iter_any():
        received += len(piece)
        if received > most:
            raise AnswerTooLong(f"more than {most} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def parse_document(document: bytes) -> ET.Element:
    """Parse what is to be XML. Raises ValueError for what is none, or defines entities.

    No store's answer has a document type, and one could make gigabytes of a few kilobytes; expat notices but the worst.
    All encodings that expat knows write it in ASCII, except those that have zeros in them. A thread that parses a long
    document lets others go in between.
    """
    if b"<!DOCTYPE" in document or b"\0" in document:
        raise ValueError("a document type")
    parser = ET.XMLParser()  # noqa: S314 - there is nothing in it that could be expanded
    try:
        for start in range(0, len(document), _PARSED_AT_ONCE):
            parser.feed(document[start : start + _PARSED_AT_ONCE])
        root: ET.Element = parser.close()
    except (ET.ParseError, LookupError) as error:  # LookupError: an encoding that nobody knows
        raise ValueError("no XML") from error
    return root
