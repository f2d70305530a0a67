"""The catalog: one SQLite file that holds files, texts, chunks and vectors.

Visibility is by generation, on `files` alone: a row is seen by generation g when added <= g < removed. A content (a
file's text as loaded and split) is seen when a seen file points to it, so a moved file keeps its chunks, and two
equal files share them. Rows of the next generation are committed while a sync runs: work done isn't done again
after a crash, and nobody sees it before it is published.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from rag.errors import IndexDamaged, IndexMismatch, IndexMissing, StoreError
from rag.types import Chunk, Cue, Heading, Location, Outcome, Source, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

T = TypeVar("T")

FORMAT = 2  # of the tables
PAGE = 5000  # rows per statement: SQLite allows 32,766 variables in one

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE contents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,          -- hash of the file's bytes, its kind and the settings that cut it
    kind TEXT NOT NULL, title TEXT, text TEXT NOT NULL,
    pages TEXT NOT NULL, headings TEXT NOT NULL, metadata TEXT NOT NULL, warnings TEXT NOT NULL,
    times TEXT NOT NULL DEFAULT '[]'
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, seen_ns INTEGER NOT NULL,
    hash TEXT, content_id INTEGER REFERENCES contents(id), outcome TEXT NOT NULL, reason TEXT,
    added INTEGER NOT NULL, removed INTEGER
);
CREATE INDEX files_path ON files(path);
CREATE INDEX files_content ON files(content_id);
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used again for another chunk
    key TEXT NOT NULL UNIQUE,              -- '1' + hash of content, span and prefix: the public id
    content_id INTEGER NOT NULL REFERENCES contents(id),
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, page INTEGER, line INTEGER NOT NULL,
    headings TEXT NOT NULL, prefix TEXT NOT NULL, text TEXT NOT NULL, vector_key BLOB NOT NULL,
    seconds REAL
);
CREATE INDEX chunks_content ON chunks(content_id, start);
CREATE INDEX chunks_vector ON chunks(vector_key);
CREATE TABLE vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE server_rows (chunk_id INTEGER PRIMARY KEY, present INTEGER NOT NULL);
"""

_UPGRADES = {  # from an older format to the next: columns are only ever added, so nothing is read or embedded again
    1: (
        "ALTER TABLE contents ADD COLUMN times TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE chunks ADD COLUMN seconds REAL",
    ),
}

_SEEN = "f.added <= :g AND (f.removed IS NULL OR f.removed > :g)"


@dataclass(frozen=True, slots=True)
class FileRow:
    id: int
    path: str
    size: int
    mtime_ns: int
    seen_ns: int  # when it was read: a change within the clock's grain of that may have gone unnoticed
    hash: str | None
    content_id: int | None
    content_key: str | None  # the content's own key: which settings cut it
    outcome: Outcome
    reason: str | None


@dataclass(frozen=True, slots=True)
class ContentRow:
    id: int
    paths: tuple[str, ...]  # files with this content, sorted; the first names it
    kind: str
    title: str | None
    ocr_pages: frozenset[int] = frozenset()

    def place(self, chunk: Chunk) -> Location:
        """A chunk's, with whether its page was read by OCR."""
        return replace(chunk.location, ocr=chunk.location.page in self.ocr_pages)


@dataclass(frozen=True, slots=True)
class ChunkRow:
    id: int
    key: str
    content_id: int
    chunk: Chunk


class Catalog:
    """One connection, shared by threads under a lock. `readonly` connections never create or change anything."""

    def __init__(self, file: Path, readonly: bool = False) -> None:
        self.file = file
        self._lock = threading.RLock()
        try:
            uri = f"{file.resolve().as_uri()}?mode={'ro' if readonly else 'rwc'}"
            self._db = sqlite3.connect(uri, uri=True, check_same_thread=False, isolation_level=None, timeout=10)
            if readonly:
                self._db.execute("PRAGMA query_only = 1")
            else:
                self._db.execute("PRAGMA journal_mode = WAL")
                self._db.execute("PRAGMA synchronous = FULL")
                self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA cache_size = -32000")
            if not self._has_tables():  # a new file, or one whose maker was killed before it had any
                if readonly:
                    self.close()
                    raise IndexMissing(f"the index at {file.parent} was never finished", "run `rag sync`")
                with self.transaction():
                    for statement in _SCHEMA.split(";\n"):
                        if statement.strip():
                            self._db.execute(statement)
                    self.set_meta(format=FORMAT, generation=0)
            found = self.meta("format")
            while not readonly and isinstance(found, int) and found in _UPGRADES:
                with self.transaction():
                    for statement in _UPGRADES[found]:
                        self._db.execute(statement)
                    found += 1
                    self.set_meta(format=found)
        except sqlite3.DatabaseError as error:
            raise IndexDamaged(
                f"{file}: the catalog can't be read: {error}",
                "restore it from a copy, or delete the index folder and run `rag sync` to build it anew",
            ) from None
        if found != FORMAT:
            self.close()
            way_out = "run `rag sync`: it brings the index up to date" if found in _UPGRADES else None
            raise IndexMismatch(
                f"{file}: written in format {found}, this version reads {FORMAT}",
                way_out or "use the version that wrote it",
            )

    def _has_tables(self) -> bool:
        return self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone() is not None

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and on disk when it returns. Nested ones join the outer one."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            try:  # Ctrl-C may come between any two steps
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                self._rollback()
                raise StoreError(f"{self.file}: {error}", "check the disk's free space and permissions") from error
            except BaseException:
                self._rollback()
                raise

    def _rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    @contextmanager
    def snapshot(self) -> Iterator[int]:
        """Everything read inside belongs to one instant; yields that instant's published generation."""
        with self._lock:
            if self._db.in_transaction:
                yield self.generation
                return
            try:
                self._db.execute("BEGIN")
                yield self.generation
            finally:
                self._rollback()

    # ---- meta ---------------------------------------------------------------------------------------------

    def meta(self, key: str, default: Any = None) -> Any:
        with self._lock:
            row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return json.loads(row[0]) if row else default

    def set_meta(self, **values: Any) -> None:
        with self.transaction():
            rows = [(k, json.dumps(v)) for k, v in values.items()]
            self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", rows)

    @property
    def generation(self) -> int:
        """The published one; 0 before the first."""
        return int(self.meta("generation", 0))

    # ---- files --------------------------------------------------------------------------------------------

    def latest_files(self) -> dict[str, FileRow]:
        """By path, unpublished rows included: what the writer last knew."""
        return {f.path: f for f in self._files("f.removed IS NULL", {})}

    def files(self, generation: int) -> list[FileRow]:
        """Seen by `generation`, sorted by path."""
        return self._files(_SEEN, {"g": generation})

    def file_at(self, path: str, generation: int) -> FileRow | None:
        """One file as `generation` sees it."""
        found = self._files(f"f.path = :path AND {_SEEN}", {"g": generation, "path": path})
        return found[0] if found else None

    def _files(self, where: str, parameters: dict[str, Any]) -> list[FileRow]:
        columns = "f.id, f.path, f.size, f.mtime_ns, f.seen_ns, f.hash, f.content_id, c.key, f.outcome, f.reason"
        joined = "files f LEFT JOIN contents c ON c.id = f.content_id"
        with self._lock:
            rows = self._db.execute(f"SELECT {columns} FROM {joined} WHERE {where} ORDER BY f.path", parameters)
            return [_file_row(r) for r in rows]

    def put_file(
        self,
        generation: int,
        path: str,
        size: int,
        mtime_ns: int,
        seen_ns: int,
        hash: str | None,
        content_id: int | None,
        outcome: Outcome,
        reason: str | None,
    ) -> None:
        """The file as it is from `generation` on; the row before it ends there."""
        with self.transaction():
            self.remove_file(generation, path)
            self._db.execute(
                "INSERT INTO files (path, size, mtime_ns, seen_ns, hash, content_id, outcome, reason, added) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (path, size, mtime_ns, seen_ns, hash, content_id, outcome.value, reason, generation),
            )

    def touch_file(self, file_id: int, size: int, mtime_ns: int, seen_ns: int) -> None:
        """Same content, other date: no new generation for that."""
        with self.transaction():
            self._db.execute(
                "UPDATE files SET size = ?, mtime_ns = ?, seen_ns = ? WHERE id = ?", (size, mtime_ns, seen_ns, file_id)
            )

    def remove_file(self, generation: int, path: str) -> None:
        with self.transaction():
            self._db.execute(
                "UPDATE files SET removed = ? WHERE path = ? AND removed IS NULL AND added < ?",
                (generation, path, generation),
            )
            self._db.execute("DELETE FROM files WHERE path = ? AND removed IS NULL AND added = ?", (path, generation))

    def has_unpublished(self) -> bool:
        with self._lock:
            g = self.generation
            query = "SELECT 1 FROM files WHERE added > ? OR removed > ? LIMIT 1"
            return self._db.execute(query, (g, g)).fetchone() is not None

    # ---- contents, chunks, vectors ------------------------------------------------------------------------

    def find_content(self, key: str) -> int | None:
        with self._lock:
            row = self._db.execute("SELECT id FROM contents WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else None

    def put_content(
        self, key: str, source: Source, chunks: Sequence[Chunk], chunk_keys: Sequence[str], vector_keys: Sequence[bytes]
    ) -> int:
        """A text and its chunks, whose vectors are stored already. Returns the content's id."""
        with self.transaction():
            cursor = self._db.execute(
                "INSERT INTO contents (key, kind, title, text, pages, headings, metadata, warnings, times) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    source.kind,
                    source.title,
                    source.text,
                    json.dumps(source.pages),
                    json.dumps([(h.start, h.level, h.title) for h in source.headings]),
                    json.dumps(source.metadata, default=str),
                    json.dumps(source.warnings),
                    json.dumps([(c.start, c.seconds) for c in source.times]),
                ),
            )
            content_id = int(cursor.lastrowid or 0)
            self._db.executemany(
                'INSERT INTO chunks (key, content_id, start, "end", page, line, headings, prefix, text, vector_key, '
                "seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        chunk_key,
                        content_id,
                        c.span.start,
                        c.span.end,
                        c.location.page,
                        c.location.line,
                        json.dumps(c.location.headings),
                        c.prefix,
                        c.text,
                        vector_key,
                        c.location.seconds,
                    )
                    for c, chunk_key, vector_key in zip(chunks, chunk_keys, vector_keys, strict=True)
                ],
            )
            return content_id

    def missing_vectors(self, keys: Sequence[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        with self._lock:
            for page in _pages(keys):
                marks = ",".join("?" * len(page))
                found.update(r[0] for r in self._db.execute(f"SELECT key FROM vectors WHERE key IN ({marks})", page))
        return set(keys) - found

    def put_vectors(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """vectors: (len(keys), dimension) float32."""
        with self.transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO vectors VALUES (?, ?)",
                ((k, v.astype("<f4", copy=False).tobytes()) for k, v in zip(keys, vectors, strict=True)),
            )

    def vectors_of(self, chunk_ids: Sequence[int]) -> NDArray[np.float32]:
        """(len(chunk_ids), dimension) float32, in the order given. Each id must exist."""
        blobs: dict[int, bytes] = {}
        with self._lock:
            for page in _pages(chunk_ids):
                marks = ",".join("?" * len(page))
                joined = "chunks c JOIN vectors v ON v.key = c.vector_key"
                blobs.update(self._db.execute(f"SELECT c.id, v.vector FROM {joined} WHERE c.id IN ({marks})", page))
        if len(blobs) < len(set(chunk_ids)):
            raise self._vectors_missing()
        flat = np.frombuffer(b"".join(blobs[i] for i in chunk_ids), dtype="<f4")
        return flat.reshape(len(chunk_ids), -1) if chunk_ids else np.empty((0, 0), np.float32)

    def chunk_ids(self, generation: int) -> list[int]:
        """Of every chunk seen by `generation`, ascending."""
        query = (
            f"SELECT id FROM chunks WHERE content_id IN (SELECT f.content_id FROM files f WHERE {_SEEN}) ORDER BY id"
        )
        with self._lock:
            return [r[0] for r in self._db.execute(query, {"g": generation})]

    def vector_keys(self, content_id: int) -> list[bytes]:
        """Of a content's chunks, in the order of `chunks_of`."""
        query = "SELECT vector_key FROM chunks WHERE content_id = ? ORDER BY start, id"
        with self._lock:
            return [r[0] for r in self._db.execute(query, (content_id,))]

    def vectors_seen(self, generation: int) -> Iterator[tuple[bytes, bytes]]:
        """(key, float32 little-endian) of every vector that `generation` sees, by key; read as they are drawn."""
        seen = f"(SELECT f.content_id FROM files f WHERE {_SEEN})"
        keys = f"(SELECT DISTINCT vector_key AS key FROM chunks WHERE content_id IN {seen})"
        query = f"SELECT k.key, v.vector FROM {keys} k LEFT JOIN vectors v ON v.key = k.key ORDER BY k.key"
        with self._lock:
            for key, vector in self._db.execute(query, {"g": generation}):
                if vector is None:
                    raise self._vectors_missing()
                yield key, vector

    def _vectors_missing(self) -> IndexDamaged:
        return IndexDamaged(f"{self.file}: vectors are missing from the catalog", "run `rag sync --reindex`")

    def chunk_texts(self, chunk_ids: Sequence[int]) -> list[str]:
        """Text with its prefix, as the lexical index takes it, in the order given."""
        found: dict[int, str] = {}
        with self._lock:
            for page in _pages(chunk_ids):
                marks = ",".join("?" * len(page))
                query = f"SELECT id, prefix || text FROM chunks WHERE id IN ({marks})"
                found.update(self._db.execute(query, page))
        return [found[i] for i in chunk_ids]

    def chunks(self, chunk_ids: Sequence[int]) -> dict[int, ChunkRow]:
        """By id; ids that are gone are left out."""
        result: dict[int, ChunkRow] = {}
        with self._lock:
            for page in _pages(chunk_ids):
                marks = ",".join("?" * len(page))
                for row in self._db.execute(f"SELECT {_CHUNK} FROM chunks WHERE id IN ({marks})", page):
                    result[row[0]] = _chunk_row(row)
        return result

    def chunks_of(self, content_id: int) -> list[ChunkRow]:
        """In reading order."""
        query = f"SELECT {_CHUNK} FROM chunks WHERE content_id = ? ORDER BY start, id"
        with self._lock:
            return [_chunk_row(r) for r in self._db.execute(query, (content_id,))]

    def content_of_chunk(self, key: str) -> int | None:
        with self._lock:
            row = self._db.execute("SELECT content_id FROM chunks WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def contents(self, content_ids: Iterable[int], generation: int) -> dict[int, ContentRow]:
        """Those that `generation` sees, with the paths of the files that hold them."""
        result: dict[int, ContentRow] = {}
        with self._lock:
            for page in _pages(sorted(set(content_ids))):
                marks = ",".join(str(int(i)) for i in page)
                rows = self._db.execute(
                    f"SELECT c.id, c.kind, c.title, c.metadata, f.path "
                    f"FROM contents c JOIN files f ON f.content_id = c.id "
                    f"WHERE c.id IN ({marks}) AND {_SEEN} ORDER BY f.path",
                    {"g": generation},
                )
                for content_id, kind, title, about, path in rows:
                    before = result.get(content_id)
                    scanned = frozenset(json.loads(about).get("ocr_pages", ())) if "ocr_pages" in about else frozenset()
                    paths = (*(before.paths if before else ()), path)
                    result[content_id] = ContentRow(content_id, paths, kind, title, scanned)
        return result

    def content_chunks(self, content_ids: Iterable[int]) -> list[tuple[int, int, int | None]]:
        """(chunk id, content id, page) of all chunks of these contents."""
        rows: list[tuple[int, int, int | None]] = []
        with self._lock:
            for page in _pages(sorted(set(content_ids))):
                marks = ",".join("?" * len(page))
                query = f"SELECT id, content_id, page FROM chunks WHERE content_id IN ({marks}) ORDER BY id"
                rows.extend(self._db.execute(query, page))
        return rows

    def chunk_counts(self, generation: int) -> dict[int, int]:
        """Content id -> number of its chunks, for the contents that `generation` sees."""
        seen = f"(SELECT f.content_id FROM files f WHERE {_SEEN})"
        query = f"SELECT content_id, count(*) FROM chunks WHERE content_id IN {seen} GROUP BY content_id"
        with self._lock:
            return dict(self._db.execute(query, {"g": generation}).fetchall())

    def source(self, content_id: int, path: str) -> Source:
        """The text as loaded, with its map, under one of its paths."""
        with self._lock:
            row = self._db.execute(
                "SELECT kind, title, text, pages, headings, metadata, warnings, times FROM contents WHERE id = ?",
                (content_id,),
            ).fetchone()
        if row is None:
            raise StoreError(f"{path}: its text is no longer in the catalog", "run `rag sync`")
        kind, title, text, pages, headings, metadata, warnings, times = row
        return Source(
            path, text, kind, title, tuple(json.loads(pages)), tuple(Heading(*h) for h in json.loads(headings)),
            json.loads(metadata), tuple(json.loads(warnings)), tuple(Cue(*c) for c in json.loads(times)),
        )  # fmt: skip

    def text_at(self, path: str, generation: int, span: Span) -> str | None:
        """Characters [start, end) of a file's text; None when that generation has no such file."""
        joined = "files f JOIN contents c ON c.id = f.content_id"
        query = f"SELECT substr(c.text, :start, :length) FROM {joined} WHERE f.path = :path AND {_SEEN}"
        values = {"start": span.start + 1, "length": len(span), "path": path, "g": generation}
        with self._lock:
            row = self._db.execute(query, values).fetchone()
        return row[0] if row else None

    def warnings(self, generation: int) -> dict[str, tuple[str, ...]]:
        """By path: what the loader could not read."""
        query = f"SELECT f.path, c.warnings FROM files f JOIN contents c ON c.id = f.content_id WHERE {_SEEN}"
        with self._lock:
            rows = self._db.execute(query, {"g": generation}).fetchall()
        return {path: tuple(json.loads(text)) for path, text in rows if text != "[]"}

    def counts(self, generation: int) -> dict[str, int]:
        """Files with text, chunks and characters that `generation` sees."""
        seen = f"(SELECT f.content_id FROM files f WHERE {_SEEN} AND f.content_id IS NOT NULL)"
        with self._lock:
            files = self._db.execute(
                f"SELECT count(*) FROM files f WHERE {_SEEN} AND content_id IS NOT NULL", {"g": generation}
            )
            totals = "count(*), coalesce(sum(length(text)), 0)"
            chunks = self._db.execute(f"SELECT {totals} FROM chunks WHERE content_id IN {seen}", {"g": generation})
            (n_chunks, characters), (n_files,) = chunks.fetchone(), files.fetchone()
        return {"files": n_files, "chunks": n_chunks, "characters": characters}

    def collect_garbage(self) -> None:
        """Drop what the published generation no longer sees. Run when a sync starts, not when it ends, so a reader
        that is still answering from the generation before finds its rows."""
        g = self.generation
        with self.transaction():
            gone = self._db.execute("DELETE FROM files WHERE removed <= ?", (g,)).rowcount
            held = "SELECT content_id FROM files WHERE content_id IS NOT NULL"
            stray = self._db.execute(f"SELECT id FROM contents WHERE id NOT IN ({held})").fetchall()
            if not gone and not stray:
                return
            self._db.executemany("DELETE FROM chunks WHERE content_id = ?", stray)
            self._db.executemany("DELETE FROM contents WHERE id = ?", stray)
            if not self.meta("unfinished", False):  # else vectors without a chunk are work that goes on
                self._db.execute("DELETE FROM vectors WHERE key NOT IN (SELECT vector_key FROM chunks)")

    def vacuum(self) -> bool:
        """Write the file anew without what was deleted, and empty the log. False: somebody still reads, so the log
        couldn't be."""
        with self._lock:
            try:
                self._db.execute("VACUUM")
            except sqlite3.OperationalError as error:
                raise StoreError(f"{self.file}: can't be compacted: {error}", "see that the disk has room") from None
            busy, *_ = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    # ---- what a Chroma server is known to hold ------------------------------------------------------------

    def server_rows(self) -> dict[int, bool]:
        """chunk id -> whether its vector is known to be there (False: it was about to be sent)."""
        with self._lock:
            return {i: bool(p) for i, p in self._db.execute("SELECT chunk_id, present FROM server_rows")}

    def mark_server_rows(self, chunk_ids: Sequence[int], present: bool | None) -> None:
        """None: no longer there."""
        with self.transaction():
            if present is None:
                self._db.executemany("DELETE FROM server_rows WHERE chunk_id = ?", ((i,) for i in chunk_ids))
            else:
                rows = ((i, int(present)) for i in chunk_ids)
                self._db.executemany("INSERT OR REPLACE INTO server_rows VALUES (?, ?)", rows)


_CHUNK = 'id, key, content_id, start, "end", page, line, headings, prefix, text, seconds'


def _file_row(row: tuple[Any, ...]) -> FileRow:
    row_id, path, size, mtime_ns, seen_ns, hash_, content_id, content_key, outcome, reason = row
    return FileRow(row_id, path, size, mtime_ns, seen_ns, hash_, content_id, content_key, Outcome(outcome), reason)


def _chunk_row(row: tuple[Any, ...]) -> ChunkRow:
    chunk_id, key, content_id, start, end, page, line, headings, prefix, text, seconds = row
    location = Location(page, line, tuple(json.loads(headings)), seconds)
    return ChunkRow(chunk_id, key, content_id, Chunk(text, Span(start, end), location, prefix))


def _pages(items: Sequence[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), PAGE):
        yield list(items[start : start + PAGE])
