"""What a damaged catalog does to whoever reads it: one clear error, whatever byte was hit.

SQLite notices a page that can't be, at the latest when it is read. It doesn't notice a value that became another, so
rows that answers are made of have a checksum of their own (`checksum`), compared whenever they are read.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rag.errors import IndexDamaged, RagError, StoreError

MARKED = -1  # in place of a checksum: known to be wrong, made anew by the next sync
REPAIR = "run `rag doctor --repair`, then `rag sync`: it makes anew what was altered"
ROOM = "check the disk's free space and permissions"

# Not the file's fault: https://www.sqlite.org/rescode.html
_OTHER = {
    sqlite3.SQLITE_PERM, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN,
}  # fmt: skip


@contextmanager
def clear_errors(file: Path, decoding: bool = True) -> Iterator[None]:
    """What SQLite raises, and (`decoding`) what a value raises that isn't what was written, as IndexDamaged; a full
    disk, a lock and their like as StoreError, and so a connection that another thread closed."""
    try:
        yield
    except RagError:
        raise
    except sqlite3.ProgrammingError as error:
        if "closed database" not in str(error):
            raise
        hint = "ask again, and close it when all is answered"
        raise StoreError(f"{file} was closed while it was used", hint) from error
    except sqlite3.DatabaseError as error:
        if is_of_the_disk(error):
            raise StoreError(f"{file}: {error}", ROOM) from error
        raise damaged(file, error) from error
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError) as error:
        if not decoding:
            raise
        raise damaged(file, error) from error


def is_of_the_disk(error: Exception) -> bool:
    """Whether the disk, a lock or a permission is to blame for what SQLite raised, not the file."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in _OTHER


def folder_in_place(file: Path) -> str:
    """The name of what should be the catalog, its log or the log's index, and is a folder; else ""."""
    names = (file.name, f"{file.name}-wal", f"{file.name}-shm")
    return next((name for name in names if file.with_name(name).is_dir()), "")


def damaged(file: Path, why: object) -> IndexDamaged:
    return IndexDamaged(f"{file}: the catalog can't be read: {why}", ways_out(file))


def ways_out(file: Path) -> str:
    """Of a catalog that can't be read: its last copy, where there is one."""
    try:
        copy = newest_copy(file.parent)
        made = datetime.fromtimestamp(copy.stat().st_mtime).strftime("%Y-%m-%d %H:%M") if copy else ""
    except OSError:
        copy = None
    if copy:
        return f"`rag doctor --repair --from-copy` puts back {copy} of {made}; then run `rag sync`"
    return "restore it from a copy or `rag import`, or delete the index folder and run `rag sync` to build it anew"


def copies(folder: Path) -> list[Path]:
    """The catalog's copies in an index folder, the newest first."""
    found = (folder / "copies").glob("catalog-*.sqlite3")
    numbered = ((int(p.stem.removeprefix("catalog-")), p) for p in found if p.stem[8:].isdigit())
    return [p for _, p in sorted(numbered, reverse=True)]


def newest_copy(folder: Path) -> Path | None:
    return next(iter(copies(folder)), None)


def checksum(*values: object) -> int:
    """CRC-32 of a row's values and their types: bytes, text, numbers and None."""
    crc = 0
    for value in values:
        match value:
            case bytes():
                crc = zlib.crc32(value, zlib.crc32(b"b", crc))
            case str():
                crc = zlib.crc32(value.encode("utf-8", "surrogatepass"), zlib.crc32(b"s", crc))
            case _:
                crc = zlib.crc32(repr(value).encode(), zlib.crc32(b"n", crc))
    return crc


class SameProcess:
    """Notices that this process is a fork of the one that opened something. There, locks that another thread held stay
    locked for ever, and SQLite's and Chroma's handles must not be used."""

    def __init__(self) -> None:
        self._pid = os.getpid()

    def __bool__(self) -> bool:
        return os.getpid() == self._pid

    def check(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                f"the index was opened by process {self._pid}, of which this one ({os.getpid()}) is a fork",
                "open it after the fork, once in each process (Rag.open), or start processes with spawn",
            )
