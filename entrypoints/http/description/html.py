"""HTML that can't be broken by what is put into it."""

from html import escape
from typing import Self


class Html(str):
    """Markup; any other string is text, and is escaped where it is put into markup."""

    __slots__ = ()

    @classmethod
    def of(cls, *children: str) -> Self:
        """Put markup and text together."""
        return cls("".join(child if isinstance(child, Html) else escape(child, quote=False) for child in children))


def tag(name: str, *children: str, **attributes: str) -> Html:
    """Make an element; `class_` is the attribute `class`."""
    named = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"' for key, value in attributes.items())
    return Html(f"<{name}{named}>{Html.of(*children)}</{name}>")
