"""Reading typed values from an environment, while collecting everything that is wrong with them."""

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

from attrs import define, field

from adapters.stores.addresses import is_ip_address
from domain.errors import Misconfigured

T = TypeVar("T")

_MAX_DIGITS = 20
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# RFC 1123, section 2.1. The AWS SDK reaches no others: none with an underscore, for one.
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}")
_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@define
class EnvironmentReader:
    """Gives values by name; a faulty one is noted in `problems` and replaced by the default, so that reading goes on.

    An empty variable counts as absent. `effective` says of each value read what it is and whether it was set, fit to
    be shown: secrets are masked.
    """

    environ: Mapping[str, str] = field(repr=False)
    problems: list[str] = field(factory=list, init=False)
    effective: dict[str, str] = field(factory=dict, init=False)

    def fault(self, problem: str) -> None:
        """Note something that is wrong."""
        self.problems.append(problem)

    def text(
        self, name: str, default: str | None = None, *, secret: bool = False, unset: str = "not set"
    ) -> str | None:
        """Give the variable as it stands. `unset` describes, for people, what its absence means."""
        value = self.environ.get(name) or None
        if value is None:
            self.effective[name] = f"{unset if default is None else default} (default)"
            return default
        self.effective[name] = "********" if secret else value
        return value

    def required(self, name: str, why: str, *, secret: bool = False) -> str:
        """Give a variable that must be there; `why` ends the sentence that asks for it. A secret is never shown."""
        value = self.text(name, secret=secret)
        if value is None:
            self.fault(f"{name} is missing: {why}")
        return value or ""

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        """Give a whole number from `low` to `high`."""
        text = self.text(name, str(default)) or ""
        if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and low <= int(text) <= high:
            return int(text)
        self.fault(f"{name} must be a whole number from {low} to {high}, not {text!r}")
        return default

    def flag(self, name: str, *, default: bool) -> bool:
        """Give true or false."""
        text = self.text(name, str(default).lower()) or ""
        if text.lower() not in _FLAGS:
            self.fault(f"{name} must be true or false, not {text!r}")
        return _FLAGS.get(text.lower(), default)

    def choice(self, name: str, options: Collection[str], default: str | None, *, unset: str = "not set") -> str | None:
        """Give one of `options`."""
        text = self.text(name, default, unset=unset)
        if text is None or text in options:
            return text
        near = difflib.get_close_matches(text, options, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        self.fault(f"{name} must be one of {', '.join(options)}, not {text!r}{hint}")
        return default

    def choices(self, name: str, options: Collection[str], default: str) -> list[str]:
        """Give a list of some of `options`, separated by commas."""
        items = self.items(name, default)
        for item in items:
            if item not in options:
                self.fault(f"{name}: {item!r} is not one of {', '.join(options)}")
        return [item for item in items if item in options] or [default]

    def items(self, name: str, default: str) -> list[str]:
        """Give a list, separated by commas."""
        return [item.strip() for item in (self.text(name, default) or "").split(",") if item.strip()]

    def parsed(self, name: str, parse: Callable[[str], T], text: str | None) -> T | None:
        """Make a value of `text` by `parse`, whose `Misconfigured` or ValueError becomes a problem of this variable."""
        if not text:
            return None
        try:
            return parse(text)
        except Misconfigured as error:
            self.problems.extend(f"{name}: {problem}" for problem in error.problems)
        except ValueError as error:
            self.fault(f"{name}: {error}")
        return None


def service_url(text: str) -> str:
    """Read the http(s) URL of a host and perhaps a path, and nothing else; without a scheme it is https.

    The URL doesn't end in "/". Raises ValueError.
    """
    url = _http_url(text)
    if "?" in url:
        raise ValueError("a URL with a query is not accepted")
    return url.rstrip("/")


def document_url(text: str) -> str:
    """Read the http(s) URL of one document, which may have a query; without a scheme it is https. Raises ValueError."""
    return _http_url(text)


def _http_url(text: str) -> str:
    url = text if "://" in text else f"https://{text}"
    if "@" in url:  # whatever stands before it may be a password, so it is not repeated
        raise ValueError("a URL with a user name or a password is not accepted")
    parts = urlsplit(url)
    plain = url.isascii() and url.isprintable() and not {" ", "#"} & set(url)
    if parts.scheme not in ("http", "https") or not plain or not _is_host(parts.hostname or "") or parts.port == 0:
        raise ValueError(f"{text.partition('?')[0]!r} is not a host, host:port or http(s) URL")
    return url


def _is_host(name: str) -> bool:
    return _HOST_NAME.fullmatch(name) is not None or is_ip_address(name)
