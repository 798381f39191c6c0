"""The upload page as a person uses it: what is dropped, clicked and read."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from attrs import define

from tests.entrypoints.page.chromium import Chromium, Page

# The page's short waits are a hundredth as long, where a test has to see them end.
_HURRY = """{
  const later = setTimeout;
  globalThis.setTimeout = (action, ms) => later(action, ms < 60_000 ? ms / 100 : ms);
}"""


@define
class UploadPage:
    """The page in a tab of its own."""

    page: Page

    @classmethod
    @contextmanager
    def open(cls, browser: Chromium, url: str, *, hurry: bool = False) -> Iterator[Self]:
        """Open the page; with a token in the fragment, wait until it has been accepted."""
        page = Page.open(browser, url, before=_HURRY if hurry else "")
        try:
            if "#token=" in url:
                page.wait("!document.querySelector('#choice').hidden")
            yield cls(page)
        finally:
            page.close()

    def sign_in(self, token: str) -> None:
        """Write a token into its field, and press Enter."""
        self.page.click("#token")
        self.page.type(token)
        self.page.press("Enter", code=13, text="\r")

    def drop(self, *paths: Path) -> str:
        """Drop files or folders; give what the page says of them."""
        self.page.drop("#drop", paths)
        return self.chosen()

    def chosen(self) -> str:
        """Wait until what was chosen has been looked at; give what the page says of it."""
        self.page.wait("/[.]$/.test(document.querySelector('#chosen').textContent)")
        return self.page.text("#chosen")

    def start(self) -> None:
        self.page.click("#start")
        self.page.wait("!document.querySelector('#progress').hidden")

    def outcome(self, *, seconds: float = 120.0) -> str:
        """Wait until there is no more to do; give what the page says of it all."""
        self.page.wait("!document.querySelector('#outcome').hidden", seconds=seconds)
        return self.page.text("#outcome")

    def upload(self, *paths: Path, dataset: str | None = None) -> str:
        """Drop, name the dataset if the folder's name isn't the one, start, and wait for the outcome."""
        self.drop(*paths)
        if dataset is not None:
            self.page.evaluate("document.querySelector('#dataset').select()")
            self.page.type(dataset)
        self.start()
        return self.outcome()

    def statuses(self) -> dict[str, str]:
        """What is said of each file that is shown, by its path."""
        texts = "[row.cells[0].textContent, row.querySelector('.status span').textContent]"
        return dict(self.page.evaluate(f"Array.from(document.querySelectorAll('#rows tr'), (row) => {texts})"))

    def show(self, view: str) -> None:
        self.page.click(f"input[name=view][value={view}]")

    def retry(self, path: str) -> None:
        """Click on the button beside a file."""
        self.page.click(f"button[aria-label={json.dumps(f'Retry {path}', ensure_ascii=False)}]")


NAMES = (
    "plain.csv",
    "with space.csv",
    "Größe/übersicht.csv",
    "日本語/データ.csv",
    "emoji-🚀.csv",
    "per%20cent%.csv",
    "plus+plus&equals=question?hash#.csv",
    "quote\"s and 'such'.csv",
    "deep/er/and/deeper.csv",
    "no-extension",
)
SIZES = (0, 1, 1_000, 65_536, 250_000)


def make_dataset(folder: Path, count: int, *, largest: int = 0) -> Mapping[str, Path]:
    """Fill a folder with so many files, of mixed names and sizes, and one large one if that is wanted; by path."""
    paths = [_numbered(NAMES[number % len(NAMES)], number) for number in range(count - bool(largest))]
    for number, path in enumerate(paths):
        write(folder / path, os.urandom(SIZES[number % len(SIZES)]))
    if largest:
        paths.append("large.bin")
        write_large(folder / "large.bin", largest)
    return {path: folder / path for path in paths}


def _numbered(name: str, number: int) -> str:
    return re.sub(r"([^/]+)$", rf"{number:03} \1", name)


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def write_large(file: Path, size: int) -> None:
    """Write bytes that differ from MB to MB, without having them all in memory."""
    file.parent.mkdir(parents=True, exist_ok=True)
    some = os.urandom(1_000_000)
    with file.open("wb") as out:
        for number in range(0, size, len(some)):
            out.write((number.to_bytes(8) + some)[: min(len(some), size - number)])


def only_about(faults: Sequence[str], name: str) -> bool:
    """Whether all that is on the console are requests for this file that failed, as any page would have them."""
    return all(fault.startswith("Failed to load resource") and name in fault for fault in faults)
