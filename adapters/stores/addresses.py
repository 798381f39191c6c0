"""Where clients find a bucket and its objects: path-style and virtual-host-style URLs."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from urllib.parse import SplitResult, unquote, urlsplit

from attrs import evolve, field, frozen

from adapters.stores.sigv4 import host_header, uri_encode_path
from domain.errors import InvalidInput
from domain.keys import ObjectKey


class Addressing(StrEnum):
    """How a bucket is named in a URL (Amazon S3 User Guide, "Virtual hosting of general purpose buckets")."""

    PATH = "path"
    VIRTUAL = "virtual"


def normal_origin(url: str) -> str:
    """Give `scheme://host[:port]` of a URL in one spelling: lower case, no default port."""
    scheme = urlsplit(url).scheme.lower()
    return f"{scheme}://{host_header(url)}"


@frozen
class BucketAddress:
    """One bucket at one host.

    `origin` is `scheme://host[:port]`; `base_path` (`/store`, or empty) stands before the bucket in path-style URLs.
    """

    origin: str = field(converter=normal_origin)
    bucket: str
    addressing: Addressing = Addressing.PATH
    base_path: str = ""

    @property
    def bucket_origin(self) -> str:
        """The origin that requests for this bucket go to."""
        if self.addressing is Addressing.PATH:
            return self.origin
        scheme, _, host = self.origin.partition("://")
        return f"{scheme}://{self.bucket}.{host}"

    @property
    def bucket_path(self) -> str:
        """The path of the bucket, not encoded; empty in virtual-host style."""
        return f"{self.base_path}/{self.bucket}" if self.addressing is Addressing.PATH else ""

    @property
    def url(self) -> str:
        """The bucket's URL, without a trailing slash. An object's URL is this, a slash, and the encoded key."""
        return f"{self.bucket_origin}{uri_encode_path(self.bucket_path)}"

    def path_of(self, key: ObjectKey) -> str:
        """Give the path of an object, not encoded."""
        return f"{self.bucket_path}/{key}"

    def key_of(self, url: str) -> ObjectKey | None:
        """Give the key that a URL of exactly this form names, its path percent-decoded once; or None."""
        try:
            parts = urlsplit(url)
            if _has_extras(url, parts) or normal_origin(url) != self.bucket_origin:
                return None
            path = unquote(parts.path, errors="strict")
            start = f"{self.bucket_path}/"
            return ObjectKey(path[len(start) :]) if path.startswith(start) else None
        except (ValueError, InvalidInput):
            return None

    def forms(self) -> Iterator["BucketAddress"]:
        """Give this address, and then the other form in which the same bucket can be written, if it has one."""
        yield self
        if not self.base_path and not is_ip_address(urlsplit(self.origin).hostname or ""):
            other = Addressing.VIRTUAL if self.addressing is Addressing.PATH else Addressing.PATH
            yield evolve(self, addressing=other)


def url_prefixes(addresses: Iterable[BucketAddress], key_prefix: str) -> Sequence[str]:
    """Give the URLs under which objects of a bucket with these addresses are found, as `UploadSigner` says."""
    end = f"/{uri_encode_path(key_prefix)}" if key_prefix else ""
    return [f"{address.url}{end}" for address in addresses]


def key_of_url(addresses: Iterable[BucketAddress], url: str) -> ObjectKey | None:
    """Give the key that a URL of any of these addresses names; or None."""
    return next(filter(None, (address.key_of(url) for address in addresses)), None)


def _has_extras(url: str, parts: SplitResult) -> bool:
    # urlsplit drops tabs and line ends, and surrounding white space, before it looks; a URL has none.
    unfit = any(character.isspace() or not character.isprintable() for character in url if character != " ")
    return unfit or url != url.strip() or "?" in url or "#" in url or "@" in parts.netloc


def is_ip_address(host: str) -> bool:
    """Tell an address from a name, which alone can have a bucket before it; IPv6 without its brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
