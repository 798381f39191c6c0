"""Hypothesis strategies that all tests share: inputs that must be accepted, and near misses that must not.

What makes a segment or a path legal is said here a second time, character by character from the Unicode database, so
that the strategies are an independent witness and not an echo of the domain's regular expressions. Near misses come
with the reason why they are refused, so that a failing example explains itself.
"""

import base64
import string
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from domain.files import DeclaredFile, FileName, FileRules, Md5, MediaType, Sha256
from domain.identity import UPLOAD_PERMISSION, Principal
from domain.keys import Dataset, Owner, RelativePath
from domain.patterns import KeyPattern

SERVICE = "rawstore"
NOW = datetime(2024, 2, 29, 12, 0, 0, tzinfo=UTC)
MAX_BYTES = 5 * 1024**3
RULES = FileRules(max_bytes=MAX_BYTES)

SEGMENT_BYTES = 255
KEY_BYTES = 1024

C0_CONTROLS = "".join(map(chr, range(0x20)))
C1_CONTROLS = "".join(map(chr, range(0x80, 0xA0)))
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
WHITE_SPACE = " \u00a0\u1680\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
# Precomposed letters spelled out, marks in the wrong order, singletons, conjoining jamo, a composition exclusion.
NOT_NFC = (
    *("e\u0301", "n\u0303", "u\u0308", "A\u030a", "q\u0301\u0323"),
    *("\u212b", "\u2126", "\u1f71", "\u037e", "\u2000", "\uf900"),
    *("\u1112\u1161\u11ab", "\u0958", "\u0f73", "\u2adc"),
)

_AWKWARD_ASCII = " +%\"'&<>#?=;:@!$*()[]{}|^`~,._-"
_UNICODE_SAMPLES = (
    "\u00e9\u00df\u00f8\u0131\u0130\u01c5"  # Latin, with letters that surprise case mapping
    "\u4e2d\u6587\u3042\ud55c\U00020000"  # CJK, inside and outside the basic plane
    "\u0645\u0631\u05e9\u05dc"  # Arabic and Hebrew: right to left
    "\u0430\u0435\u03bf\u0391"  # Cyrillic and Greek that look like Latin
    "\U0001f600\u2764\ufe0f\u200d\U0001f1f3"  # emoji, and what joins them
    "\u0301\u0323\u094d"  # marks
    "\u200b\u00ad\u00a0\u3000\ufeff\u2028\ufdd0\U0001fffe\U0010ffff\ue000"  # unseen, private and unassigned
)
_AWKWARD_SEGMENTS = (
    *(".profile", "...", "....", "a..b", "..a", "a..", "a.", "-", "--", "~", "~root", "con", "NUL.txt", "$HOME"),
    *("%2e%2e", "%2F", "%00", "%", "%zz", "+", "a b", " a", "a ", "a+b", "100%", "=", "&amp;", "<Key>", '"', "'", "`"),
    *("${file}", "$filename", "{filename}", "${filename", "${ filename }", "{owner}", "{0}", "{path.x}", "{}", "{{}}"),
    *("C:", "a:b", "file:", "?x=1", "#top", "a;b", "a|b", "*", "--version", "x" * SEGMENT_BYTES, "\u00e9" * 127),
    *("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1f3\U0001f1f1", "\u2764\ufe0f.png"),
    *("\u200b", "\ufeff", "\u00adx", "\u0301", "\u0301x", "\U0001f600" * 63, "\u0645\u0631", "\u4e2d\u6587.csv"),
)


class NearMiss(NamedTuple):
    """A value that is almost acceptable, and what is wrong with it."""

    value: object
    why: str


# --- An independent statement of what is legal -----------------------------------------------------------------------


def is_legal_character(character: str) -> bool:
    """Whether a path may contain `character`, judged from the Unicode database."""
    if unicodedata.category(character) in ("Cc", "Cs") or character in ("\\", "\ufffe", "\uffff"):
        return False
    return character not in BIDI_CONTROLS


def is_legal_path(text: str) -> bool:
    """Whether `text` keeps every rule of a relative path, judged without the domain's help."""
    if not all(map(is_legal_character, text)) or unicodedata.normalize("NFC", text) != text:
        return False
    if len(text.encode("utf-8")) > KEY_BYTES or "${filename}" in text.lower():
        return False
    segments = text.split("/")
    return all(
        segment.strip(WHITE_SPACE) not in ("", ".", "..") and len(segment.encode("utf-8")) <= SEGMENT_BYTES
        for segment in segments
    )


def is_legal_segment(text: str) -> bool:
    """Whether `text` may be an owner or a dataset's name."""
    return "/" not in text and is_legal_path(text)


# --- Text and JSON in general ----------------------------------------------------------------------------------------

any_text: SearchStrategy[str] = st.one_of(
    st.text(st.characters(), max_size=40),
    st.text("aZ0./\\%${}\x00\x7f\x85\ud800\uffff" + _UNICODE_SAMPLES + WHITE_SPACE + BIDI_CONTROLS, max_size=20),
    st.sampled_from(NOT_NFC),
    st.sampled_from(_AWKWARD_SEGMENTS),
)
"""Any text at all, lone surrogates and control characters included, with a bias to what means something somewhere."""

_numbers: SearchStrategy[object] = st.one_of(
    st.integers(), st.floats(), st.sampled_from([10**400, -(10**400), 2**63, 2**64, 1e308, 5e-324, -0.0])
)

json_like: SearchStrategy[object] = st.recursive(
    st.one_of(st.none(), st.booleans(), _numbers, any_text),
    lambda children: st.one_of(st.lists(children, max_size=4), st.dictionaries(any_text, children, max_size=4)),
    max_leaves=6,
)
"""Anything that a JSON document may say; also the infinities and NaN, which Python's parser knows."""

not_a_string: SearchStrategy[object] = json_like.filter(lambda value: not isinstance(value, str))


# --- Owners, datasets, paths -----------------------------------------------------------------------------------------

_surrogates: SearchStrategy[str] = st.integers(0xD800, 0xDFFF).map(chr)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


_awkward_text: SearchStrategy[str] = st.one_of(
    st.text(string.ascii_letters + string.digits + _AWKWARD_ASCII + _UNICODE_SAMPLES, min_size=1, max_size=20),
    st.text(
        st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="/\\\ufffe\uffff" + BIDI_CONTROLS),
        min_size=1,
        max_size=20,
    ),
)

plain_segments: SearchStrategy[str] = st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=12)
"""Segments with nothing awkward, for tests that are about something else."""

segments: SearchStrategy[str] = st.one_of(
    plain_segments,
    _awkward_text.map(_nfc).filter(is_legal_segment),
    st.sampled_from(_AWKWARD_SEGMENTS),
)
"""Legal segments, from plain to as awkward as they come."""

path_texts: SearchStrategy[str] = st.lists(segments, min_size=1, max_size=4).map("/".join).filter(is_legal_path)
"""Legal relative paths, as plain text."""

owners: SearchStrategy[Owner] = segments.map(Owner)
datasets: SearchStrategy[Dataset] = segments.map(Dataset)
paths: SearchStrategy[RelativePath] = path_texts.map(RelativePath)


def _short(text: str) -> bool:
    return len(text.encode()) <= KEY_BYTES // 6


short_owners: SearchStrategy[Owner] = segments.filter(_short).map(Owner)
short_datasets: SearchStrategy[Dataset] = segments.filter(_short).map(Dataset)
short_paths: SearchStrategy[RelativePath] = path_texts.filter(_short).map(RelativePath)
"""With short owners and datasets: what makes a legal key under every usual pattern."""


@composite
def longest_paths(draw: DrawFn, size: int = KEY_BYTES) -> str:
    """Paths of exactly `size` bytes, often of characters that take several bytes each."""
    filler = draw(st.sampled_from(["x", "\u00e9", "\u4e2d", "\U0001f600"]))
    text = ""
    while (left := size - len(text.encode())) > 0:
        room = min(left, SEGMENT_BYTES)
        # Never leave a single byte: it could only be a slash at the end.
        room -= left - room == 1
        segment = filler * (room // len(filler.encode()))
        text += segment.ljust(len(segment) + room - len(segment.encode()), "x")
        if size - len(text.encode()) > 0:
            text += "/"
    return text


# --- Near misses of paths --------------------------------------------------------------------------------------------


@composite
def _planted(draw: DrawFn, texts: SearchStrategy[str], intruders: SearchStrategy[str], why: str) -> NearMiss:
    """Put an intruder anywhere into a legal text."""
    text, intruder = draw(texts), draw(intruders)
    at = draw(st.integers(0, len(text)))
    return NearMiss(text[:at] + intruder + text[at:], why)


@composite
def _with_bad_segment(draw: DrawFn, bad: SearchStrategy[str], why: str) -> NearMiss:
    """Put a bad segment before, between or after good ones; possibly alone."""
    around = draw(st.lists(plain_segments, max_size=3))
    at = draw(st.integers(0, len(around)))
    return NearMiss("/".join([*around[:at], draw(bad), *around[at:]]), why)


@composite
def _in_mixed_case(draw: DrawFn, text: str) -> str:
    return "".join(draw(st.sampled_from([letter.lower(), letter.upper()])) for letter in text)


_padding: SearchStrategy[str] = st.text(st.sampled_from(WHITE_SPACE), max_size=2)
_dot_segments: SearchStrategy[str] = st.one_of(
    st.sampled_from([".", ".."]), st.tuples(_padding, st.sampled_from([".", ".."]), _padding).map("".join)
)
_blank_segments: SearchStrategy[str] = st.text(st.sampled_from(WHITE_SPACE), min_size=1, max_size=3)
_too_long_segments: SearchStrategy[str] = st.one_of(
    st.just("x" * (SEGMENT_BYTES + 1)),
    st.just("\u00e9" * 128),
    st.just("\u4e2d" * 86),
    st.just("\U0001f600" * 64),
    st.integers(SEGMENT_BYTES + 1, KEY_BYTES).map(lambda size: "y" * size),
)


def _near_misses_of_text(texts: SearchStrategy[str]) -> SearchStrategy[NearMiss]:
    """Faults of characters, which are faults wherever they stand."""
    return st.one_of(
        _planted(texts, st.sampled_from(C0_CONTROLS), "a C0 control character"),
        _planted(texts, st.just("\x7f"), "DEL"),
        _planted(texts, st.sampled_from(C1_CONTROLS), "a C1 control character"),
        _planted(texts, st.just("\\"), "a backslash"),
        _planted(texts, st.sampled_from(BIDI_CONTROLS), "a bidirectional control"),
        _planted(texts, _surrogates, "a surrogate"),
        _planted(texts, st.sampled_from("\ufffe\uffff"), "a non-character"),
        _planted(texts, st.sampled_from(NOT_NFC), "not in NFC"),
        _planted(texts, _in_mixed_case("${filename}"), "${filename}"),
    )


near_miss_segments: SearchStrategy[NearMiss] = st.one_of(
    st.just(NearMiss("", "empty")),
    _dot_segments.map(lambda text: NearMiss(text, "a dot segment")),
    _blank_segments.map(lambda text: NearMiss(text, "blank")),
    _too_long_segments.map(lambda text: NearMiss(text, "more than 255 bytes")),
    _planted(plain_segments, st.just("/"), "a slash"),
    _near_misses_of_text(segments),
)
"""What is almost an owner or a dataset's name."""

near_miss_paths: SearchStrategy[NearMiss] = st.one_of(
    st.just(NearMiss("", "empty")),
    path_texts.map(lambda path: NearMiss(f"/{path}", "a leading slash")),
    path_texts.map(lambda path: NearMiss(f"{path}/", "a trailing slash")),
    st.tuples(plain_segments, plain_segments).map(lambda two: NearMiss("//".join(two), "an empty segment")),
    _with_bad_segment(_dot_segments, "a dot segment"),
    _with_bad_segment(_blank_segments, "a blank segment"),
    _with_bad_segment(_too_long_segments, "a segment of more than 255 bytes"),
    longest_paths(KEY_BYTES + 1).map(lambda path: NearMiss(path, "more than 1,024 bytes")),
    st.just(NearMiss("/".join(["\u4e2d" * 80] * 5), "more than 1,024 bytes, in fewer characters")),
    _near_misses_of_text(path_texts),
)
"""What is almost a relative path, or an object key."""


# --- Near misses of owners: legal, but not the same user -------------------------------------------------------------

_HOMOGLYPHS = str.maketrans("aceopxyijsABCEHKMOPTX", "асеорхуіјѕАВСЕНКМОРТХ")  # noqa: RUF001 - look-alikes on purpose
_FULL_WIDTH = {ord(letter): ord(letter) + 0xFEE0 for letter in string.ascii_letters + string.digits}
_LOOK_ALIKES: Mapping[str, Callable[[str], str]] = {
    "Cyrillic letters": lambda owner: owner.translate(_HOMOGLYPHS),
    "full-width letters": lambda owner: owner.translate(_FULL_WIDTH),
    "upper case": str.upper,
    "lower case": str.lower,
    "swapped case": str.swapcase,
    "a space behind": lambda owner: f"{owner} ",
    "a space before": lambda owner: f" {owner}",
    "a no-break space behind": lambda owner: f"{owner}\u00a0",
    "a zero-width space": lambda owner: f"{owner}\u200b",
    "percent-encoded": lambda owner: f"%{ord(owner[0]):02x}{owner[1:]}",
    "a longer name": lambda owner: f"{owner}2",
    "a shorter name": lambda owner: owner[:-1],
    "a dot behind": lambda owner: f"{owner}.",
    "a mark above": lambda owner: _nfc(f"{owner}\u0301"),
}


@composite
def look_alike_owners(draw: DrawFn) -> tuple[Owner, Owner, str]:
    """Two legal owners that somebody might take for one, and how they differ."""
    owner = draw(st.text("aceopxyABCEHKMOPTX", min_size=2, max_size=12))
    why = draw(st.sampled_from([why for why, alter in _LOOK_ALIKES.items() if alter(owner) != owner]))
    return Owner(owner), Owner(_LOOK_ALIKES[why](owner)), why


# --- Digests ---------------------------------------------------------------------------------------------------------


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


md5s: SearchStrategy[Md5] = st.binary(min_size=16, max_size=16).map(_base64).map(Md5)
sha256s: SearchStrategy[Sha256] = st.binary(min_size=32, max_size=32).map(_base64).map(Sha256)

_BASE64_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


@composite
def near_miss_digests(draw: DrawFn, size: int) -> NearMiss:
    """What is almost the canonical base64 of `size` bytes."""
    raw = draw(st.binary(min_size=size, max_size=size))
    text = _base64(raw)
    bare = text.rstrip("=")
    stray = draw(st.integers(1, 15 if len(text) - len(bare) == 2 else 3))
    last = _BASE64_ALPHABET[_BASE64_ALPHABET.index(bare[-1]) + stray]
    tricky = _base64(b"\xfb\xff" + raw[2:])
    misses = [
        NearMiss(raw.hex(), "hexadecimal"),
        NearMiss(raw.hex().upper(), "hexadecimal"),
        NearMiss(text.replace(bare, bare[:-1] + last), "stray low bits"),
        NearMiss(tricky.replace("+", "-").replace("/", "_"), "the URL-safe alphabet"),
        NearMiss(bare, "no padding"),
        NearMiss(text[:-1] if text.endswith("==") else f"{text}=", "half the padding, or twice"),
        NearMiss(f"{text}====", "too much padding"),
        *(NearMiss(f"{text}{space}", "white space behind") for space in " \n\r\t\u00a0"),
        *(NearMiss(f"{space}{text}", "white space before") for space in " \n\r\t\u00a0"),
        NearMiss(f"{text[:10]}\n{text[10:]}", "a line break inside"),
        NearMiss(_base64(raw[:-1]), "a byte too few"),
        NearMiss(_base64(raw + b"\0"), "a byte too many"),
        NearMiss("", "empty"),
        NearMiss(text + text, "twice"),
        NearMiss(text.translate(_FULL_WIDTH), "full-width letters"),
        NearMiss(f'"{text}"', "quoted, like an ETag"),
        NearMiss(text.encode("ascii"), "bytes"),
        NearMiss([text], "a list"),
        NearMiss(int.from_bytes(raw, "big"), "a number"),
        NearMiss(False, "a boolean"),
    ]
    # Some digests are their own near miss: one that is all digits stays itself in upper case, and so on.
    return draw(st.sampled_from([miss for miss in misses if miss.value != text]))


# --- Lengths, media types, names -------------------------------------------------------------------------------------

lengths: SearchStrategy[int] = st.one_of(st.sampled_from([0, 1, MAX_BYTES - 1, MAX_BYTES]), st.integers(0, MAX_BYTES))

near_miss_lengths: SearchStrategy[NearMiss] = st.one_of(
    st.booleans().map(lambda value: NearMiss(value, "a boolean")),
    st.floats().map(lambda value: NearMiss(value, "a float")),
    st.integers(0, MAX_BYTES).map(lambda value: NearMiss(float(value), "a float that is whole")),
    st.integers(0, MAX_BYTES).map(lambda value: NearMiss(str(value), "a string of digits")),
    st.integers(max_value=-1).map(lambda value: NearMiss(value, "negative")),
    st.integers(min_value=MAX_BYTES + 1).map(lambda value: NearMiss(value, "over the limit")),
    st.sampled_from([NearMiss(10**400, "far over the limit"), NearMiss(None, "absent")]),
    st.one_of(st.lists(st.integers(), max_size=2), st.just({})).map(lambda value: NearMiss(value, "not a number")),
)

_TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters
_tokens: SearchStrategy[str] = st.text(_TOKEN_CHARACTERS, min_size=1, max_size=15)
_quoted: SearchStrategy[str] = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=15).map(
    lambda text: '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))
)
_parameters: SearchStrategy[str] = st.tuples(
    st.sampled_from([";", "; ", " ;", " ; "]), _tokens, st.just("="), st.one_of(_tokens, _quoted)
).map("".join)

_generated_media_types: SearchStrategy[str] = st.tuples(
    _tokens, st.just("/"), _tokens, st.lists(_parameters, max_size=3).map("".join)
).map("".join)

_usual_media_types: SearchStrategy[str] = st.sampled_from(
    ["text/csv", "application/json", "text/plain; charset=utf-8", "application/vnd.ms-excel", 'a/b; c="d\\"e"']
)
media_types: SearchStrategy[MediaType] = st.one_of(_usual_media_types, _generated_media_types).map(MediaType)

near_miss_media_types: SearchStrategy[NearMiss] = st.one_of(
    _planted(_generated_media_types, st.sampled_from("\r\n\x00\x0b\x0c\x1f\x7f"), "a control character"),
    _planted(_generated_media_types, st.just("\r\nX-Evil: 1"), "another header"),
    _planted(_generated_media_types, st.characters(min_codepoint=0x80), "not ASCII"),
    _generated_media_types.map(lambda text: NearMiss(f"{text} ", "white space behind")),
    _generated_media_types.map(lambda text: NearMiss(f" {text}", "white space before")),
    _generated_media_types.map(lambda text: NearMiss(f"{text};", "a semicolon with no parameter")),
    _generated_media_types.map(lambda text: NearMiss(f"{text}; charset", "a parameter with no value")),
    _generated_media_types.map(lambda text: NearMiss(f"{text}; charset=", "a parameter with an empty value")),
    _generated_media_types.map(lambda text: NearMiss(f"{text}; =utf-8", "a parameter with no name")),
    _generated_media_types.map(lambda text: NearMiss(f"{text}; a = b", "spaces around '='")),
    _generated_media_types.map(lambda text: NearMiss(f'{text}; a="b', "an open quotation")),
    _generated_media_types.map(lambda text: NearMiss(f"{text}, text/html", "two types")),
    _generated_media_types.map(lambda text: NearMiss(f"{text}/x; a=b/c", "too many slashes")),
    _tokens.map(lambda text: NearMiss(text, "no slash")),
    _tokens.map(lambda text: NearMiss(f"{text}/", "no subtype")),
    _tokens.map(lambda text: NearMiss(f"/{text}", "no type")),
    st.integers(256, 400).map(lambda size: NearMiss("a/".ljust(size, "b"), "more than 255 characters")),
    not_a_string.filter(lambda value: value is not None).map(lambda value: NearMiss(value, "not a string")),
    st.just(NearMiss("", "empty")),
)

file_names: SearchStrategy[FileName] = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=40
).map(FileName)

near_miss_file_names: SearchStrategy[NearMiss] = st.one_of(
    _planted(file_names, st.sampled_from(C0_CONTROLS + "\x7f" + C1_CONTROLS), "a control character"),
    _planted(file_names, _surrogates, "a surrogate"),
    _planted(file_names, st.sampled_from("\ufffe\uffff"), "a non-character"),
    st.just(NearMiss("\u00e9" * 513, "more than 1,024 bytes, in fewer characters")),
    st.just(NearMiss("x" * 1025, "more than 1,024 bytes")),
    not_a_string.filter(lambda value: value is not None).map(lambda value: NearMiss(value, "not a string")),
)


# --- Declared files --------------------------------------------------------------------------------------------------

Declaration = dict[str, object]


@composite
def declarations(draw: DrawFn, *, both_digests: bool = False) -> Declaration:
    """What a client may say of one file, in JSON: at least one digest, the rest as it likes."""
    declaration: Declaration = {"length": draw(lengths)}
    digests = {"md5", "sha256"} if both_digests else draw(st.sampled_from([{"md5"}, {"sha256"}, {"md5", "sha256"}]))
    if "md5" in digests:
        declaration["md5"] = str(draw(md5s))
    if "sha256" in digests:
        declaration["sha256"] = str(draw(sha256s))
    if draw(st.booleans()):
        declaration["type"] = draw(_usual_media_types)
    if draw(st.booleans()):
        declaration["name"] = str(draw(file_names))
    return declaration


@composite
def declared_files(
    draw: DrawFn, files_at: SearchStrategy[RelativePath] = short_paths, *, both_digests: bool = False
) -> DeclaredFile:
    """Declared files whose paths make legal keys under every usual pattern."""
    return DeclaredFile.parse(draw(files_at), draw(declarations(both_digests=both_digests)), RULES)


@composite
def near_miss_declarations(draw: DrawFn) -> NearMiss:
    """Declarations of a file with exactly one fault."""
    declaration = draw(declarations(both_digests=True))
    member, misses = draw(
        st.sampled_from(
            [
                ("length", near_miss_lengths),
                ("md5", near_miss_digests(16)),
                ("sha256", near_miss_digests(32)),
                ("type", near_miss_media_types),
                ("name", near_miss_file_names),
            ]
        )
    )
    miss = draw(misses)
    return NearMiss(declaration | {member: miss.value}, f"{member}: {miss.why}")


@composite
def filedatas(draw: DrawFn, max_size: int = 4) -> dict[str, object]:
    """The `filedata` of a request: declarations by relative path."""
    return draw(st.dictionaries(short_paths.map(str), declarations(), min_size=1, max_size=max_size))


# --- Key patterns ----------------------------------------------------------------------------------------------------

_literals: SearchStrategy[str] = (
    st.text(st.sampled_from(string.ascii_letters + string.digits + "-_. +%$\u00e9\u4e2d"), min_size=1, max_size=6)
    .filter(is_legal_segment)
    .map(lambda text: f"{text}-")
)
_middles: SearchStrategy[str] = st.one_of(
    st.sampled_from(["{name}", "{dataset}", "{dirname}", "v1-{name}", "{name}.d", "{owner}", "{basename}"]), _literals
)
_places: SearchStrategy[str] = st.one_of(
    st.sampled_from(["{path}", "{basename}", "{dirname}/{basename}", "f-{path}", "{path}.bin", "{path}{extension}"]),
    _literals.map(lambda text: f"{text}{{path}}"),
)
_contents: SearchStrategy[str] = st.sampled_from(
    ["{md5}", "{md5_hex}", "{sha256_hex}", "{md5_hex}{extension}", "{sha256_hex}/{basename}", "blob-{md5_hex}"]
)


def _template(parts: tuple[list[str], str]) -> str:
    middles, last = parts
    return "/".join([*middles, last])


owner_scoped_templates: SearchStrategy[str] = (
    st.tuples(st.lists(_middles, max_size=2), st.one_of(_places, _contents))
    .map(_template)
    .map(lambda rest: f"{{owner}}/{rest}")
)
content_addressed_templates: SearchStrategy[str] = (
    st.tuples(st.lists(_middles, max_size=2), _contents)
    .map(_template)
    .filter(lambda template: not template.startswith("{owner}/"))
)

owner_scoped_patterns: SearchStrategy[KeyPattern] = owner_scoped_templates.map(KeyPattern.parse)
content_addressed_patterns: SearchStrategy[KeyPattern] = content_addressed_templates.map(KeyPattern.parse)
"""Patterns whose keys need not start with the owner, because they contain a digest."""
patterns: SearchStrategy[KeyPattern] = st.one_of(owner_scoped_patterns, content_addressed_patterns)

near_miss_templates: SearchStrategy[NearMiss] = st.sampled_from(
    [
        NearMiss("", "empty"),
        NearMiss("{owner}", "one key for all files"),
        NearMiss("{owner}/{name}", "one key for all files"),
        NearMiss("{owner}/{dirname}/{extension}", "one key for many files"),
        NearMiss("{owner}-{path}", "owners can collide"),
        NearMiss("{owner}{path}", "owners can collide"),
        NearMiss("{owner}{name}/{path}", "owners can collide"),
        NearMiss("x{owner}/{path}", "the first segment is more than the owner"),
        NearMiss(" {owner}/{path}", "the first segment is more than the owner"),
        NearMiss("{owner} /{path}", "the first segment is more than the owner"),
        NearMiss("data/{owner}/{path}", "the owner isn't first"),
        NearMiss("{name}/{owner}/{path}", "the owner isn't first"),
        NearMiss("{path}", "no owner"),
        NearMiss("{path}{md5_hex}{name}", "a digest that could stand elsewhere"),
        NearMiss("{name}{md5}{path}", "a digest that could stand elsewhere"),
        NearMiss("{basename}-{sha256_hex}{extension}", "a digest that could stand elsewhere"),
        NearMiss("{path}/{md5_hex}/{path}", "a digest that could stand elsewhere"),
        NearMiss("{dirname}/{basename}", "no owner"),
        NearMiss("/{owner}/{path}", "a leading slash"),
        NearMiss("{owner}/{path}/", "a trailing slash"),
        NearMiss("{owner}//{path}", "an empty segment"),
        NearMiss("{owner}/../{path}", "a dot segment"),
        NearMiss("{owner}/./{path}", "a dot segment"),
        NearMiss("{owner}/ . /{path}", "a dot segment in white space"),
        NearMiss("{owner}/ /{path}", "a blank segment"),
        NearMiss("{owner}\\{path}", "a backslash"),
        NearMiss("{owner}/\\{path}", "a backslash"),
        NearMiss("{owner}/\x00{path}", "a control character"),
        NearMiss("{owner}/{path}\n", "a line break"),
        NearMiss("{owner}/\u202e{path}", "a bidirectional control"),
        NearMiss("{owner}/\udc80{path}", "a surrogate"),
        NearMiss("{owner}/e\u0301/{path}", "not in NFC"),
        NearMiss("{owner}/" + "x" * 256 + "/{path}", "a segment of more than 255 bytes"),
        NearMiss("{owner}/" + "x/" * 600 + "{path}", "more than 1,024 bytes"),
        NearMiss("{Owner}/{path}", "an unknown field"),
        NearMiss("{owner}/{size}", "an unknown field"),
        NearMiss("{owner}/{path}{}", "an unnamed field"),
        NearMiss("{}/{path}", "an unnamed field"),
        NearMiss("{owner}/{0}", "a numbered field"),
        NearMiss("{owner }/{path}", "a space in a field"),
        NearMiss("{owner}/{path.__class__}", "attribute access"),
        NearMiss("{owner}/{path[0]}", "index access"),
        NearMiss("{owner}/{path!r}", "a conversion"),
        NearMiss("{owner}/{path:>10}", "a format specification"),
        NearMiss("{owner}/{path:{name}}", "a nested field"),
        NearMiss("{{owner}}/{path}", "an escaped brace"),
        NearMiss("{owner}/{path}}", "a stray brace"),
        NearMiss("{owner}/{{path}", "a stray brace"),
        NearMiss("{owner}/{path", "an open field"),
        NearMiss("{owner}/${filename}", "the store's variable"),
        NearMiss("{owner}/$FILENAME}/{path}", "a stray brace"),
        NearMiss("{owner}/{dirname}{basename}", "a dirname with nothing behind it"),
        NearMiss("{owner}/x{dirname}/{basename}", "a dirname that is half a segment"),
        NearMiss("{owner}/{path}/{dirname}", "a dirname at the end"),
        NearMiss("%(owner)s/%(path)s", "no fields at all"),
        NearMiss("$owner/$path", "no fields at all"),
    ]
)
"""Templates that an operator might try, and that must not start."""


# --- Principals and claims -------------------------------------------------------------------------------------------

Claims = dict[str, object]


@composite
def principals(draw: DrawFn, userids: SearchStrategy[Owner] = short_owners) -> Principal:
    """Users who may upload, without a quota."""
    return Principal(userid=draw(userids), service=SERVICE, may_upload=True)


@composite
def claims(draw: DrawFn, now: datetime = NOW) -> Claims:
    """What a good token says at `now`, with the default rules: every optional claim may be there or not."""
    seconds = now.timestamp()
    future = st.one_of(st.integers(1, 86_400), st.floats(1, 86_400)).map(lambda span: seconds + span)
    past = st.one_of(st.integers(0, 10**9), st.floats(0, 10**9)).map(lambda span: seconds - span)
    permissions = draw(
        st.fixed_dictionaries(
            {UPLOAD_PERMISSION: st.just(value=True)},
            optional={
                "max_public_storage_mb": st.integers(0, 10**6),
                "max_private_storage_mb": st.integers(0, 10**6),
                "another-permission": json_like,
            },
        )
    )
    required: dict[str, SearchStrategy[object]] = {
        "service": st.just(SERVICE),
        "userid": segments,
        "exp": future,
        "permissions": st.just(permissions),
    }
    optional: dict[str, SearchStrategy[object]] = {
        "iat": past,
        "nbf": past,
        "iss": any_text,
        "aud": any_text,
        "sub": json_like,
    }
    return draw(st.fixed_dictionaries(required, optional=optional))


def good_claims(userid: str = "alice", now: datetime = NOW, **changes: object) -> Claims:
    """Claims that prove `userid` at `now`, with some changed."""
    return {
        "service": SERVICE,
        "userid": userid,
        "exp": int((now + timedelta(hours=1)).timestamp()),
        "permissions": {UPLOAD_PERMISSION: True},
    } | changes
