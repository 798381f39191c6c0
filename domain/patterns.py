"""Key patterns: the template that turns an owner, a dataset and a declared file into an object key."""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import attrgetter
from typing import Self

from attrs import field, frozen

from domain.errors import ErrorCode, InvalidInput, Misconfigured
from domain.files import DeclaredFile, Md5, Sha256
from domain.keys import Dataset, ObjectKey, Owner, RelativePath
from domain.uploads import Guarantee
from domain.values import frozen_by_type

DEFAULT_PATTERN = "{owner}/{name}/{path}"


def _required_md5(file: DeclaredFile) -> Md5:
    if file.md5 is None:
        raise InvalidInput(ErrorCode.DIGEST_REQUIRED, "md5 is required, because keys are made of it", field="md5")
    return file.md5


def _required_sha256(file: DeclaredFile) -> Sha256:
    if file.sha256 is None:
        raise InvalidInput(ErrorCode.DIGEST_REQUIRED, "sha256 is required, because keys are made of it", field="sha256")
    return file.sha256


_PATH_FIELDS: Mapping[str, Callable[[RelativePath], str]] = {
    "path": str,
    "basename": attrgetter("basename"),
    # An empty dirname takes its slash with it, so that `{dirname}/{basename}` always equals `{path}`.
    "dirname": lambda path: f"{path.dirname}/" if path.dirname else "",
    "extension": attrgetter("extension"),
}
_DIGEST_FIELDS: Mapping[str, Callable[[DeclaredFile], str]] = {
    # Plain base64 has '/' and '+'; the URL-safe alphabet (RFC 4648, section 5) keeps the digest one segment.
    "md5": lambda file: _required_md5(file).translate({ord("+"): "-", ord("/"): "_"}),
    "md5_hex": lambda file: _required_md5(file).hex,
    "sha256_hex": lambda file: _required_sha256(file).hex,
}
_DATASET_FIELDS = frozenset({"name", "dataset"})
_CONTENT_GUARANTEES: Mapping[str, Guarantee] = {
    "md5": Guarantee.MD5,
    "md5_hex": Guarantee.MD5,
    "sha256_hex": Guarantee.SHA256,
}
_CONTENT_FIELDS = frozenset(_CONTENT_GUARANTEES)
_FILE_FIELDS = _PATH_FIELDS.keys() | _DIGEST_FIELDS.keys()
_FIELDS = frozenset({"owner"}) | _DATASET_FIELDS | _FILE_FIELDS
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")

# What each field can turn into, as a regular expression. The owner's is the owner.
_SHAPES: Mapping[str, str] = {
    "name": "[^/]+",
    "dataset": "[^/]+",
    "path": ".+",
    "basename": "[^/]+",
    "dirname": "(?:.+/)?",
    "extension": r"(?:\.[^./]+)?",
    "md5": "[A-Za-z0-9_-]{22}==",
    "md5_hex": "[0-9a-f]{32}",
    "sha256_hex": "[0-9a-f]{64}",
}
_DIGEST = re.compile(r"\{(?:md5|md5_hex|sha256_hex)\}")
_SPANS_SEGMENTS = re.compile(r"\{(?:path|dirname)\}")


@frozen_by_type
class BatchPattern:
    """A key pattern whose owner and dataset are already filled in."""

    start: str
    rest: tuple[tuple[str, str], ...]
    """The name of each field of the file, with the text behind it."""

    _path_folder: ObjectKey | None = field(init=False)
    """The folder that all share, where each key is the file's path in there, and the folder breaks no rule itself."""

    @_path_folder.default
    def _folder_of_paths(self) -> ObjectKey | None:
        if self.rest != (("path", ""),) or not self.start.endswith("/"):
            return None
        try:
            return ObjectKey(self.start[:-1])
        except InvalidInput:  # what literal text and names make together need not be fit for a key
            return None

    @property
    def keeps_paths_apart(self) -> bool:
        """Whether files at different paths certainly have different keys."""
        return self._path_folder is not None

    @property
    def folder(self) -> str:
        """What all keys of the batch start with, up to its last slash; empty where they share nothing."""
        return self.start[: self.start.rfind("/") + 1]

    def key_of(self, file: DeclaredFile) -> ObjectKey:
        """Make the key of `file`. Raises `InvalidInput`: `invalid_key`, `digest_required`."""
        if self._path_folder is not None:
            return ObjectKey.inside(self._path_folder, file.path)
        key = self.start
        for name, text in self.rest:
            of_path = _PATH_FIELDS.get(name)
            key += (of_path(file.path) if of_path else _DIGEST_FIELDS[name](file)) + text
        return ObjectKey(key)

    def keys_of(self, files: Sequence[DeclaredFile]) -> Sequence[ObjectKey]:
        """Make the key of each of `files`, as `key_of` does."""
        if self._path_folder is not None:
            return ObjectKey.each_inside(self._path_folder, [file.path for file in files])
        return [self.key_of(file) for file in files]

    def key_at(self, path: RelativePath) -> ObjectKey:
        """Make the key of the file at `path`, where no field is a digest: see `KeyPattern.for_paths`.

        Raises `InvalidInput`: `invalid_key`.
        """
        if self._path_folder is not None:
            return ObjectKey.inside(self._path_folder, path)
        return ObjectKey(self.start + "".join(_PATH_FIELDS[name](path) + text for name, text in self.rest))

    def covers(self, key: ObjectKey) -> bool:
        """Tell whether a key starts as all keys of the batch do."""
        return key.startswith(self.start)

    def path_of(self, key: ObjectKey) -> RelativePath | None:
        """Give the path of the file whose key this is, where keys end in the path alone; else None."""
        if self._path_folder is None or not self.covers(key):
            return None
        return RelativePath(key[len(self.start) :])


@frozen
class KeyPattern:
    """A parsed key pattern.

    Fields: `{owner} {name} {dataset} {path} {basename} {dirname} {extension} {md5} {md5_hex} {sha256_hex}`, where
    `{name}` and `{dataset}` mean the same, `{extension}` has its dot, and `{md5}` is in URL-safe base64.

    Either the first segment is exactly `{owner}`, which keeps every user in a part of the store of their own; or the
    key contains a digest of the content (`is_content_addressed`), where knowing the content is what gives access.
    """

    template: str
    tokens: tuple[tuple[str, str], ...]
    """The template in order, as (literal text, name of the field behind it or "")."""

    @classmethod
    def parse(cls, template: str) -> Self:
        """Read a template. Raises `Misconfigured` with one line that says what is wrong."""
        fields = _PLACEHOLDER.findall(template)
        fault = _fault_in_fields(template, fields) or _fault_in_shape(template, fields)
        if fault:
            raise Misconfigured([f"key pattern {template!r}: {fault}"])
        # An empty dirname takes the slash behind it along, so the slash is part of the field's value.
        literals = _PLACEHOLDER.split(template.replace("{dirname}/", "{dirname}"))
        return cls(template, tuple(zip(literals[::2], [*literals[1::2], ""], strict=True)))

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of the fields that the pattern uses."""
        return frozenset(name for _, name in self.tokens if name)

    @cached_property
    def is_owner_scoped(self) -> bool:
        """Whether each owner's keys start with that owner's own segment."""
        return self.template.partition("/")[0] == "{owner}"

    @cached_property
    def is_content_addressed(self) -> bool:
        """Whether the key contains a digest of the content."""
        return not self.fields.isdisjoint(_CONTENT_FIELDS)

    @cached_property
    def needs(self) -> frozenset[Guarantee]:
        """What a store must enforce for keys of this pattern to be safe.

        Where users share a part of the store, a digest that nobody checks would let one overwrite another's object
        with anything.
        """
        if self.is_owner_scoped:
            return frozenset()
        return frozenset(guarantee for name, guarantee in _CONTENT_GUARANTEES.items() if name in self.fields)

    @cached_property
    def uses_dataset(self) -> bool:
        """Whether a request must name its dataset."""
        return not self.fields.isdisjoint(_DATASET_FIELDS)

    def for_batch(self, owner: Owner, dataset: Dataset | None) -> BatchPattern:
        """Fill in what all files of a batch share. Raises `InvalidInput` (`invalid_dataset`) if one is missing."""
        if dataset is None and self.uses_dataset:
            raise InvalidInput(
                ErrorCode.INVALID_DATASET,
                "the dataset's name is required, because keys are made of it",
                field="name",
            )
        return _filled_in(self.tokens, owner, dataset or "")

    def for_paths(self, owner: Owner, dataset: Dataset | None) -> Callable[[RelativePath], ObjectKey]:
        """Give what makes keys of files of which nothing but the path is known.

        Raises `InvalidInput`: `unsupported_by_pattern` where keys are made of the content too; `invalid_dataset` as
        `for_batch`. What it gives raises `invalid_key`.
        """
        if self.is_content_addressed:
            raise InvalidInput(
                ErrorCode.UNSUPPORTED_BY_PATTERN,
                "keys are made of the content here, which a path doesn't tell; name files by their object_url",
                field="paths",
            )
        return self.for_batch(owner, dataset).key_at

    def for_listing(self, owner: Owner, dataset: Dataset | None) -> BatchPattern:
        """Fill in what the files of one dataset share, if that is a folder; with nothing of another dataset's in it.

        Where datasets aren't part of the pattern, it is what all files of the owner share. Raises `InvalidInput`:
        `unsupported_by_pattern` where users share a folder, or datasets do; `invalid_dataset` as `for_batch`.
        """
        if not self.is_owner_scoped:
            raise InvalidInput(
                ErrorCode.UNSUPPORTED_BY_PATTERN,
                "keys are made of the content here, and shared by all users: there are no folders to be listed",
            )
        if self.uses_dataset and self._folder_fields.isdisjoint(_DATASET_FIELDS):
            raise InvalidInput(
                ErrorCode.UNSUPPORTED_BY_PATTERN, "datasets have no folders of their own here that could be listed"
            )
        return self.for_batch(owner, dataset)

    @cached_property
    def _folder_fields(self) -> frozenset[str]:
        """The fields that make the folder of a batch, which is known before any of its files."""
        files = next(place.start() for place in _PLACEHOLDER.finditer(self.template) if place[1] in _FILE_FIELDS)
        return frozenset(_PLACEHOLDER.findall(self.template[:files].rpartition("/")[0]))

    def prefix_of(self, owner: Owner) -> str:
        """Give the start that all keys of `owner` share, with no trailing slash; empty for content-addressed keys."""
        return owner if self.is_owner_scoped else ""

    def allows(self, owner: Owner, key: ObjectKey) -> bool:
        """Tell whether `owner` may reach `key`: it lies in the owner's own part of the store.

        For content-addressed keys knowing the digest is the permission; but only a key of the pattern's shape is one.
        """
        if self.is_owner_scoped:
            return key.startswith(f"{owner}/")
        shapes = {**_SHAPES, "owner": re.escape(owner)}
        shape = ""
        for literal, name in self.tokens:
            shape += re.escape(literal)
            # A field that stands twice has one value: saying so also spares the search for two.
            if name:
                shape += f"(?P={name})" if f"(?P<{name}>" in shape else f"(?P<{name}>{shapes[name]})"
        return re.fullmatch(shape, key) is not None


@lru_cache(maxsize=1024)  # users send one dataset in many requests
def _filled_in(tokens: tuple[tuple[str, str], ...], owner: Owner, dataset: str) -> BatchPattern:
    shared = {"owner": owner, "name": dataset, "dataset": dataset, "": ""}
    text, rest = "", list[tuple[str, str]]()
    # From the end, so that each field of the file meets the text behind it.
    for literal, name in reversed(tokens):
        if name in _FILE_FIELDS:
            rest.insert(0, (name, text))
            text = literal
        else:
            text = literal + shared[name] + text
    return BatchPattern(text, tuple(rest))


def _fault_in_fields(template: str, fields: list[str]) -> str | None:
    unknown = sorted({name for name in fields if name not in _FIELDS})
    if unknown:
        known = " ".join(f"{{{name}}}" for name in sorted(_FIELDS))
        return f"unknown field {', '.join(repr(f'{{{name}}}') for name in unknown)}; the fields are {known}"
    if set(_PLACEHOLDER.sub("", template)) & {"{", "}"}:
        return "a brace that opens or closes no field"
    return None


def _fault_in_shape(template: str, fields: list[str]) -> str | None:
    by_content = not _CONTENT_FIELDS.isdisjoint(fields)
    if template.partition("/")[0] != "{owner}" and not by_content:
        return "its first segment must be exactly {owner}, or it must contain {md5}, {md5_hex} or {sha256_hex}"
    if not by_content and {"path", "basename"}.isdisjoint(fields):
        return "it needs {path}, {basename} or a digest, or else all files of a dataset have one key"
    if not template.startswith("{owner}/") and not _has_findable_digest(template):
        return (
            "one side of a digest must be of fixed length as far as the next '/', and one without {path} and {dirname}"
        )
    if re.search(r"[^/]\{dirname\}|\{dirname\}(?!/)", template):
        return "{dirname} must be a whole segment with another behind it"
    fault = ObjectKey.fault(_PLACEHOLDER.sub("x", template))
    return f"the key it makes {fault}" if fault else None


def _has_findable_digest(template: str) -> bool:
    # With text of any length on both sides of the digest, a key could be read in two ways, and two contents share it.
    # So its segment must be countable from an end of the key, and its place in there from an end of the segment.
    for digest in _DIGEST.finditer(template):
        before, after = template[: digest.start()], template[digest.end() :]
        segment_is_known = not (_SPANS_SEGMENTS.search(before) and _SPANS_SEGMENTS.search(after))
        if segment_is_known and (
            _has_fixed_length(before.rpartition("/")[2]) or _has_fixed_length(after.partition("/")[0])
        ):
            return True
    return False


def _has_fixed_length(template: str) -> bool:
    return _CONTENT_FIELDS.issuperset(_PLACEHOLDER.findall(template))
