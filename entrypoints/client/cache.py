"""What a rerun needn't do again, on disk: the digests of files, and the uploads in parts that are under way.

What the store holds is asked of the store, and a file that was modified is hashed anew. Only where a store can't tell a
digest is it believed that what was sent from here is still there.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from domain.errors import InvalidInput
from domain.files import DeclaredParts, Md5, Sha256
from entrypoints.client.errors import words_of
from entrypoints.client.folder import LocalFile
from entrypoints.client.hashing import Digests, Wanted

# "bits" in ASCII: by this a file is known to be ours (SQLite, "PRAGMA application_id").
_APPLICATION_ID = 0x62697473
_VERSION = 1
_TABLES = (
    """CREATE TABLE digests (
        source TEXT PRIMARY KEY, length INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        md5 TEXT NOT NULL, sha256 TEXT, part_size INTEGER, md5_of_parts TEXT
    ) WITHOUT ROWID""",
    "CREATE TABLE uploads (place TEXT PRIMARY KEY, file TEXT NOT NULL, upload_id TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE arrivals (place TEXT PRIMARY KEY, file TEXT NOT NULL) WITHOUT ROWID",
)
_WAIT_SECONDS = 10.0
# So much is lost at most when the process is killed, and so often is the disk asked to keep it.
_KEPT_BACK_SECONDS = 0.5
# A file that was modified within the last ticks of the clock may be modified again without any sign of it.
_SETTLED_NS = 50_000_000

Warn = Callable[[str], None]


def default_cache() -> Path | None:
    """Give the place of the cache: below `XDG_CACHE_HOME`, else `~/.cache` (XDG Base Directory Specification).

    None for somebody who has no home.
    """
    home = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(home) if home.startswith("/") else Path.home() / ".cache"
    except RuntimeError:
        return None
    return folder / "bitstore" / "transfers.sqlite3"


class Cache:
    """A file of SQLite, which several processes may use at once. All methods may be called from any thread.

    Digests are written together, every half second and at `flush`; uploads at once.
    """

    def __init__(self, connection: sqlite3.Connection, warn: Warn) -> None:
        self._connection = connection
        self._warn = warn
        self._lock = threading.Lock()
        self._kept_back: dict[str, tuple[Any, ...]] = {}
        self._flushed = time.monotonic()

    @classmethod
    def open(cls, file: Path | None, warn: Warn) -> Self:
        """Open a cache, or make one. One that can't be used is left alone, with a warning; None is kept in memory."""
        if file is not None:
            try:
                return cls(_opened(file), warn)
            except (OSError, sqlite3.Error) as error:
                warn(f"the cache {file} can't be used ({_words_for(error)}); going on without it")
        return cls(_prepared(sqlite3.connect(":memory:", check_same_thread=False)), warn)

    def digests(self, file: LocalFile, wanted: Wanted) -> Digests | None:
        """Give the digests of a file, if all that are wanted are known and it wasn't modified since."""
        source = os.path.realpath(file.source)
        with self._lock:
            row = self._kept_back.get(source) or self._one("SELECT * FROM digests WHERE source = ?", source)
        if row is None or row[1:3] != (file.length, file.mtime_ns):
            return None
        digests = _read_digests(row)
        return digests if digests is not None and digests.serve(wanted) else None

    def keep_digests(self, file: LocalFile, digests: Digests) -> None:
        """Remember the digests of a file, unless it was modified just now."""
        if time.time_ns() - file.mtime_ns < _SETTLED_NS:
            return
        parts = digests.parts
        of_parts = None if parts is None else " ".join(parts.md5 or ())
        source = os.path.realpath(file.source)
        row = (source, file.length, file.mtime_ns, digests.md5, digests.sha256, parts and parts.size, of_parts)
        with self._lock:
            self._kept_back[source] = row
            if time.monotonic() - self._flushed > _KEPT_BACK_SECONDS:
                self._flush()

    def forget_digests(self, file: LocalFile) -> None:
        """Forget what is known of a file: it is not so."""
        source = os.path.realpath(file.source)
        with self._lock:
            self._kept_back.pop(source, None)
            self._write("DELETE FROM digests WHERE source = ?", [(source,)])

    def flush(self) -> None:
        """Write what was kept back."""
        with self._lock:
            self._flush()

    def upload(self, place: str) -> tuple[str, str] | None:
        """Give the upload in parts that is under way to a place: of which file, and its id."""
        with self._lock:
            row = self._one("SELECT file, upload_id FROM uploads WHERE place = ?", place)
        return None if row is None else (str(row[0]), str(row[1]))

    def keep_uploads(self, uploads: Sequence[tuple[str, str, str]]) -> None:
        """Remember uploads in parts: where to, of which file, and the id."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO uploads VALUES (?, ?, ?)", uploads)

    def forget_upload(self, place: str) -> None:
        """Forget an upload that is no more."""
        with self._lock:
            self._write("DELETE FROM uploads WHERE place = ?", [(place,)])

    def has_arrived(self, place: str, file: str) -> bool:
        """Whether it is remembered that a file arrived at a place."""
        with self._lock:
            return self._one("SELECT 1 FROM arrivals WHERE place = ? AND file = ?", place, file) is not None

    def keep_arrivals(self, arrivals: Sequence[tuple[str, str]]) -> None:
        """Remember that files arrived: where, and which."""
        with self._lock:
            self._write("INSERT OR REPLACE INTO arrivals VALUES (?, ?)", arrivals)

    def close(self) -> None:
        """Write what was kept back, and close the file."""
        with self._lock:
            self._flush()
            self._connection.close()

    def _flush(self) -> None:
        self._flushed = time.monotonic()
        if self._kept_back:
            self._write("INSERT OR REPLACE INTO digests VALUES (?, ?, ?, ?, ?, ?, ?)", list(self._kept_back.values()))
            self._kept_back.clear()

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None
        return row

    def _write(self, query: str, rows: Sequence[tuple[Any, ...]]) -> None:
        try:
            with self._connection:
                self._connection.executemany(query, rows)
        except sqlite3.Error as error:
            self._give_up(error)

    def _give_up(self, error: sqlite3.Error) -> None:
        """Go on in memory."""
        self._warn(f"the cache failed ({_words_for(error)}); going on without it")
        self._connection.close()
        self._connection = _prepared(sqlite3.connect(":memory:", check_same_thread=False))


def _opened(file: Path) -> sqlite3.Connection:
    """Open the file. Raises OSError and `sqlite3.Error`: it can't be read or written, or is none of ours."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # The ids of uploads are nobody else's business.
    os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(file, timeout=_WAIT_SECONDS, check_same_thread=False)
    try:
        return _prepared(connection)
    except sqlite3.Error:
        connection.close()
        raise


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Make the tables, if the file is empty. Raises `sqlite3.Error`: it isn't ours."""
    connection.isolation_level = None
    connection.execute("BEGIN IMMEDIATE")
    application_id, version, schema = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("application_id", "user_version", "schema_version")
    )
    if schema == 0:
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        for table in _TABLES:
            connection.execute(table)
    elif (application_id, version) != (_APPLICATION_ID, _VERSION):
        raise sqlite3.DatabaseError("it is something else")
    connection.execute("COMMIT")
    connection.isolation_level = "DEFERRED"
    return connection


def _read_digests(row: tuple[Any, ...]) -> Digests | None:
    """Read a row of the table; None if it makes no sense."""
    _, length, _, md5, sha256, part_size, of_parts = row
    try:
        parts = None
        if part_size is not None:
            parts = DeclaredParts.parse({"size": part_size, "md5": str(of_parts).split()}, length)
        return Digests(Md5(md5), None if sha256 is None else Sha256(sha256), parts)
    except InvalidInput:
        return None


def _words_for(error: OSError | sqlite3.Error) -> str:
    if isinstance(error, OSError):
        return words_of(error)
    return str(error)
