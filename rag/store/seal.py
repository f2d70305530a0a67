"""A generation's seal: the size and checksum of each of its files, so that damage is noticed before it is opened.

Chroma answers wrongly, or ends the process, when one of its vector files is missing, cut short or altered, and a
flipped bit in one is a wrong neighbour that nobody sees. Nothing of a generation changes once it is published, but for
one thing: whoever opens Chroma's SQLite file leaves a row in its table `acquire_write`. So that table's page, the first
page (its counter) and pages that were free are left out of that file's checksum.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import zlib
from contextlib import closing
from pathlib import Path

from rag.store.files import to_disk

SIZES = "sizes.json"
BLOCK = 2**20

Skip = list[tuple[int, int]]  # byte ranges [start, end), ascending


def seal(folder: Path) -> None:
    """Put every file of a generation on the disk, and note its size and CRC-32. All must be closed."""
    told: dict[str, list[object]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        skip = _marks(path) if path.name == "chroma.sqlite3" else []
        size = path.stat().st_size
        told[path.relative_to(folder).as_posix()] = [size, None if skip is None else checksum(path, size, skip), skip]
    (folder / SIZES).write_text(json.dumps(told), encoding="utf-8")
    for path in (*folder.rglob("*"), folder, folder.parent):
        to_disk(path)


def is_whole(folder: Path, part: str = "", quick: bool = False, sealed: Path | None = None) -> bool:
    """Whether the files of a generation (of its `part`) are what they were. `quick`: only that none is missing or
    shorter. `sealed`: another folder whose seal is meant: `folder` is a copy of it.

    Not quick, it must not run while this process has that part open: closing Chroma's file gives its locks back.
    """
    try:
        told = json.loads(((sealed or folder) / SIZES).read_text(encoding="utf-8"))
        for name, (size, crc, skip) in told.items():
            if not name.startswith(part):
                continue
            file = folder / name
            if file.stat().st_size < size or not file.is_file():
                return False
            if not quick and crc is not None and checksum(file, size, skip) != crc:
                return False
    except (OSError, ValueError, TypeError, AttributeError):
        return False
    return True


def checksum(file: Path, size: int, skip: Skip) -> int:
    """CRC-32 of the first `size` bytes, without those of `skip`."""
    crc, at = 0, 0
    with file.open("rb") as stream:
        for start, end in [*skip, (size, size)]:
            stream.seek(at)
            while at < start:
                piece = stream.read(min(BLOCK, start - at))
                if not piece:
                    return -1
                crc, at = zlib.crc32(piece, crc), at + len(piece)
            at = max(at, end)
    return crc


def _marks(file: Path) -> Skip | None:
    """What may change in Chroma's SQLite file when it is opened; None where that can't be told: then its size is all
    that is noted."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            size = int(database.execute("PRAGMA page_size").fetchone()[0])
            found = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'acquire_write'").fetchone()
        with file.open("rb") as stream:
            pages = {1, int(found[0]), *_free_pages(stream.read(100)[32:36], file, size)}
            stream.seek((int(found[0]) - 1) * size)
            if stream.read(1) != b"\x0d":  # the table has outgrown its page
                return None
    except (sqlite3.DatabaseError, TypeError, struct.error):
        return None
    skip: Skip = []
    for start in sorted((p - 1) * size for p in pages):
        if skip and skip[-1][1] == start:
            skip[-1] = (skip[-1][0], start + size)
        else:
            skip.append((start, start + size))
    return skip


def _free_pages(first: bytes, file: Path, size: int) -> set[int]:
    """https://www.sqlite.org/fileformat2.html#the_freelist: trunk pages, each with its next and a list of leaves."""
    free: set[int] = set()
    trunk = int.from_bytes(first)
    with file.open("rb") as stream:
        while trunk and trunk not in free:
            free.add(trunk)
            stream.seek((trunk - 1) * size)
            page = stream.read(size)
            trunk, count = struct.unpack_from(">II", page)
            free.update(struct.unpack_from(f">{count}I", page, 8))
    return free
