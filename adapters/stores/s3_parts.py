"""The parts of an upload as an S3 store lists them, and as it is told which of them make the object.

("ListParts", "CompleteMultipartUpload" in the Amazon S3 API reference.)
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from xml.etree import ElementTree as ET

from attrs import define, field

from adapters.stores.s3_api import md5_of_etag
from adapters.stores.s3_calls import Answer
from domain.multipart import ArrivedPart

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


@define
class ListedParts:
    """What a listing tells, page by page. `has_digests` says whether ETags are MD5s.

    SeaweedFS lists all that ever came with a number, in any order, and when it came to the second. What came last
    counts; where several came in that second, they count together, since the store itself knows which came last: named
    by all their ETags, it takes that one.
    """

    has_digests: bool
    _last: dict[int, tuple[datetime, dict[str, int]]] = field(factory=dict, init=False)
    """By number: when the last came, and the lengths of all that came then, by ETag."""

    def add(self, page: Answer) -> None:
        """Take in a page. Raises `Unavailable` where it can't be read."""
        for part in page.each("Part"):
            number, length = page.number(part.get("PartNumber", "")), page.number(part.get("Size", ""))
            moment, etag = page.moment(part.get("LastModified", "")), part.get("ETag", "")
            last = self._last.get(number)
            if last is None or last[0] < moment:
                self._last[number] = (moment, {etag: length})
            elif last[0] == moment:
                last[1][etag] = length

    def arrived(self) -> Mapping[int, ArrivedPart]:
        """Give the parts by number. One of which it isn't known how long it is must be sent again."""
        return {
            number: self._part(number, lengths)
            for number, (_, lengths) in self._last.items()
            if len(set(lengths.values())) == 1
        }

    def _part(self, number: int, lengths: Mapping[str, int]) -> ArrivedPart:
        (length, *_), (etag, *more) = lengths.values(), lengths
        md5 = md5_of_etag(etag) if self.has_digests and not more else None
        return ArrivedPart(number, length, " ".join(lengths), md5)


def completion_of(parts: Sequence[ArrivedPart]) -> bytes:
    """Write the document that names exactly these parts."""
    root = ET.Element("CompleteMultipartUpload", xmlns=_NAMESPACE)
    for number, etag in _named(parts):
        part = ET.SubElement(root, "Part")
        ET.SubElement(part, "PartNumber").text = str(number)
        ET.SubElement(part, "ETag").text = etag
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _named(parts: Sequence[ArrivedPart]) -> Iterator[tuple[int, str]]:
    for part in parts:
        for etag in part.tag.split(" "):
            yield part.number, etag
