"""`datapackage.json`, by which a folder describes itself (Frictionless Data Package, version 1)."""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from attrs import frozen

from domain.errors import InvalidInput
from domain.files import MediaType
from entrypoints.client.errors import Problem, words_of

FILE_NAME = "datapackage.json"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@frozen
class DataPackage:
    """What a folder says of itself: the dataset's name, if any, and the media types of files, by path."""

    name: str | None
    media_types: Mapping[str, str]
    paths: Sequence[str]
    problems: Sequence[Problem] = ()

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a `datapackage.json`; what is wrong with it is told in `problems`."""
        try:
            described = json.loads(file.read_bytes())
        except OSError as error:
            return cls._unreadable(f"can't read it: {words_of(error)}")
        except ValueError:
            return cls._unreadable("it isn't JSON")
        if not isinstance(described, dict):
            return cls._unreadable("it must be a JSON object")
        return cls._of(described)

    @classmethod
    def _unreadable(cls, reason: str) -> Self:
        return cls(None, {}, (), (Problem(FILE_NAME, reason),))

    @classmethod
    def _of(cls, described: Mapping[str, Any]) -> Self:
        name, media_types, paths = described.get("name"), {}, []
        problems = []
        for path, media_type in _resources(described):
            paths.append(path)
            if media_type is not None:
                try:
                    media_types[path] = str(MediaType(media_type))
                except InvalidInput as error:
                    problems.append(Problem(FILE_NAME, f"mediatype of the resource {path}: {error.message}"))
        return cls(name if isinstance(name, str) else None, media_types, paths, problems)

    def missing(self, there: Collection[str]) -> list[Problem]:
        """Say which of the files that it names aren't among those that are there."""
        return [
            Problem(FILE_NAME, f"it names the resource {path}, which isn't among the files to send")
            for path in self.paths
            if path not in there
        ]


def _resources(described: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Give the path and media type of each file; data that is in the description, or elsewhere on the web, is none."""
    resources = described.get("resources")
    for resource in resources if isinstance(resources, list) else ():
        if not isinstance(resource, dict):
            continue
        path = resource.get("path")
        for one in path if isinstance(path, list) else [path]:
            if isinstance(one, str) and not _URL.match(one):
                yield one.removeprefix("./"), resource.get("mediatype")
