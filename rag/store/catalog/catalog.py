"""What is read from and written to the catalog's tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from rag.batched import batched
from rag.errors import IndexDamaged, StoreError
from rag.store.catalog.connection import Connection
from rag.store.catalog.rows import ChunkRow, ContentRow, FileRow, MediaRow
from rag.store.catalog.tables import KEYED, PAGE, PARTS, SEEN, SUMS
from rag.store.damage import MARKED, REPAIR, checksum, clear_errors, damaged
from rag.types import Chunk, Cue, Heading, Location, Outcome, Source, Space, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LACKING = f"parts != {PARTS} AND key NOT LIKE 'altered %'"  # rows that it had

Row = TypeVar("Row", ContentRow, ChunkRow, MediaRow)


class Catalog(Connection):
    """Files, contents, chunks, pictures and recordings, vectors: by generation, where one is given."""

    # ---- files --------------------------------------------------------------------------------------------

    def latest_files(self) -> dict[str, FileRow]:
        """By path, unpublished rows included: what the writer last knew."""
        return {f.path: f for f in self._files("f.removed IS NULL", {})}

    def files(self, generation: int) -> list[FileRow]:
        """Seen by `generation`, sorted by path."""
        return self._files(SEEN, {"g": generation})

    def file_at(self, path: str, generation: int) -> FileRow | None:
        """One file as `generation` sees it."""
        found = self._files(f"f.path = :path AND {SEEN}", {"g": generation, "path": path})
        return found[0] if found else None

    def _files(self, where: str, parameters: dict[str, Any]) -> list[FileRow]:
        columns = (
            "f.id, f.path, f.size, f.mtime_ns, f.seen_ns, f.hash, f.content_id, c.key, f.outcome, f.reason, f.ctime_ns"
        )
        joined = "files f LEFT JOIN contents c ON c.id = f.content_id"
        with self._reading():
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
        ctime_ns: int = 0,
    ) -> None:
        """The file as it is from `generation` on; the row before it ends there."""
        with self.transaction():
            self.remove_file(generation, path)
            self._db.execute(
                "INSERT INTO files (path, size, mtime_ns, seen_ns, hash, content_id, outcome, reason, added, "
                "ctime_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (path, size, mtime_ns, seen_ns, hash, content_id, outcome.value, reason, generation, ctime_ns),
            )

    def touch_file(self, file_id: int, size: int, mtime_ns: int, seen_ns: int, ctime_ns: int = 0) -> None:
        """Same content, other date: no new generation for that."""
        with self.transaction():
            self._db.execute(
                "UPDATE files SET size = ?, mtime_ns = ?, seen_ns = ?, ctime_ns = ? WHERE id = ?",
                (size, mtime_ns, seen_ns, ctime_ns, file_id),
            )

    def remove_file(self, generation: int, path: str) -> None:
        with self.transaction():
            self._db.execute(
                "UPDATE files SET removed = ? WHERE path = ? AND removed IS NULL AND added < ?",
                (generation, path, generation),
            )
            self._db.execute("DELETE FROM files WHERE path = ? AND removed IS NULL AND added = ?", (path, generation))

    def has_unpublished(self) -> bool:
        with self._reading():
            g = self.generation
            query = "SELECT 1 FROM files WHERE added > ? OR removed > ? LIMIT 1"
            return self._db.execute(query, (g, g)).fetchone() is not None

    # ---- contents, chunks, vectors ------------------------------------------------------------------------

    def find_content(self, key: str) -> int | None:
        with self._reading():
            row = self._db.execute("SELECT id FROM contents WHERE key = ?", (key,)).fetchone()
        return int(row[0]) if row else None

    def put_content(
        self, key: str, source: Source, chunks: Sequence[Chunk], chunk_keys: Sequence[str], vector_keys: Sequence[bytes]
    ) -> int:
        """A text and its chunks, whose vectors are stored already. Returns the content's id."""
        with self.transaction():
            values: tuple[Any, ...] = (
                source.kind,
                source.title,
                source.text,
                json.dumps(source.pages),
                json.dumps([(h.start, h.level, h.title) for h in source.headings]),
                json.dumps(source.metadata, default=str),
                json.dumps(source.warnings),
                json.dumps([(c.start, c.seconds) for c in source.times]),
            )
            columns = "kind, title, text, pages, headings, metadata, warnings, times, key, parts"
            content_id = self._insert("contents", columns, (*values, key, len(chunks)))
            columns = 'start, "end", page, line, headings, prefix, text, seconds, vector_key, key, content_id'
            for c, chunk_key, vector_key in zip(chunks, chunk_keys, vector_keys, strict=True):
                place = c.location
                self._insert("chunks", columns, (
                    c.span.start, c.span.end, place.page, place.line, json.dumps(place.headings), c.prefix, c.text,
                    place.seconds, vector_key, chunk_key, content_id,
                ))  # fmt: skip
            self._seal("contents", "id", content_id)
            self._seal("chunks", "content_id", content_id)
            return content_id

    def _insert(self, table: str, columns: str, row: tuple[Any, ...]) -> int:
        marks = ", ".join("?" * len(row))
        return self._db.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", row).lastrowid or 0

    def _seal(self, table: str, column: str, content_id: int) -> None:
        self._db.execute(f"UPDATE {table} SET sum = checksum({SUMS[table]}) WHERE {column} = ?", (content_id,))

    def put_media(self, content_id: int, rows: Sequence[MediaRow]) -> None:
        """What was seen or heard of a content, whose vectors are stored already."""
        if not rows:
            return
        with self.transaction():
            columns = "key, content_id, space, start, page, line, headings, seconds, vector_key"
            for row in rows:
                place = row.location
                self._insert("media", columns, (
                    row.key, content_id, row.space, row.start, place.page, place.line, json.dumps(place.headings),
                    place.seconds, row.vector_key,
                ))  # fmt: skip
            self._db.execute("UPDATE contents SET parts = parts + ? WHERE id = ?", (len(rows), content_id))
            self._seal("contents", "id", content_id)
            self._seal("media", "content_id", content_id)

    def media_ids(self, space: Space, generation: int) -> list[int]:
        """Of a space's rows that `generation` sees, ascending."""
        seen = f"(SELECT f.content_id FROM files f WHERE {SEEN})"
        query = f"SELECT id FROM media WHERE space = :space AND content_id IN {seen} ORDER BY id"
        with self._reading():
            return [r[0] for r in self._db.execute(query, {"g": generation, "space": space})]

    def media(self, ids: Sequence[int]) -> dict[int, MediaRow]:
        """By id. Raises IndexDamaged when one isn't there."""
        return self._complete("media", ids, self._media("id", ids))

    def media_of(self, content_ids: Iterable[int]) -> dict[int, MediaRow]:
        """By id, of these contents."""
        return self._media("content_id", sorted(set(content_ids)))

    def _media(self, column: str, values: Sequence[int]) -> dict[int, MediaRow]:
        found: dict[int, MediaRow] = {}
        with self._reading():
            for part in batched(values, PAGE):
                marks = ",".join("?" * len(part))
                query = f"SELECT {SUMS['media']}, sum FROM media WHERE {column} IN ({marks}) ORDER BY id"
                for *row, total in self._db.execute(query, part):
                    number, content, space, start, page, line, headings, seconds, vector, key = row
                    if checksum(*row) != total:
                        raise self._altered(f"row {number} of the media")
                    location = Location(page, line, tuple(json.loads(headings)), seconds)
                    found[number] = MediaRow(key, space, start, location, vector, number, content)
        return found

    def media_counts(self, generation: int) -> dict[int, dict[str, int]]:
        """Content id -> its number of rows in each space, for the contents that `generation` sees and that have any."""
        seen = f"(SELECT f.content_id FROM files f WHERE {SEEN})"
        query = f"SELECT content_id, space, count(*) FROM media WHERE content_id IN {seen} GROUP BY content_id, space"
        counts: dict[int, dict[str, int]] = {}
        with self._reading():
            for content, space, number in self._db.execute(query, {"g": generation}):
                counts.setdefault(content, {})[space] = number
        return counts

    def missing_vectors(self, keys: Sequence[bytes]) -> set[bytes]:
        found: set[bytes] = set()
        with self._reading():
            for page in batched(keys, PAGE):
                marks = ",".join("?" * len(page))
                found.update(r[0] for r in self._db.execute(f"SELECT key FROM vectors WHERE key IN ({marks})", page))
        return set(keys) - found

    def put_vectors(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """vectors: (len(keys), dimension) float32."""
        with self.transaction():
            self._db.executemany(
                "INSERT OR IGNORE INTO vectors (key, vector, sum) VALUES (?, ?, ?)", _vector_rows(keys, vectors)
            )

    def vectors_of(self, chunk_ids: Sequence[int], table: Literal["chunks", "media"] = "chunks") -> NDArray[np.float32]:
        """(len(chunk_ids), dimension) float32, in the order given. Each id must exist; of media, all of one space."""
        blobs: dict[int, bytes] = {}
        with self._reading():
            for page in batched(chunk_ids, PAGE):
                marks = ",".join("?" * len(page))
                joined = f"{table} c JOIN vectors v ON v.key = c.vector_key"
                query = f"SELECT c.id, v.key, v.vector, v.sum FROM {joined} WHERE c.id IN ({marks})"
                for chunk_id, key, vector, total in self._db.execute(query, page):
                    if checksum(key, vector) != total:
                        raise self._altered(f"the vector of chunk {chunk_id}")
                    blobs[chunk_id] = vector
            if len(blobs) < len(set(chunk_ids)):
                raise self._altered("vectors are missing, one")
            flat = np.frombuffer(b"".join(blobs[i] for i in chunk_ids), dtype="<f4")
            return flat.reshape(len(chunk_ids), -1) if chunk_ids else np.empty((0, 0), np.float32)

    def chunk_ids(self, generation: int) -> list[int]:
        """Of every chunk seen by `generation`, ascending."""
        query = f"SELECT id FROM chunks WHERE content_id IN (SELECT f.content_id FROM files f WHERE {SEEN}) ORDER BY id"
        with self._reading():
            return [r[0] for r in self._db.execute(query, {"g": generation})]

    def twins(self, generation: int, space: Space | None = None) -> dict[int, tuple[int, ...]]:
        """Rows that share a vector, of what `generation` sees: the lowest id of each such vector -> the others',
        ascending. None: of the chunks."""
        table, own = ("media", "r.space = :space AND ") if space else ("chunks", "")
        seen = f"(SELECT f.content_id FROM files f WHERE {SEEN})"
        shared = f"(SELECT vector_key AS key FROM {table} GROUP BY vector_key HAVING count(*) > 1)"  # the index's alone
        query = (
            f"SELECT r.vector_key, r.id FROM {shared} s JOIN {table} r ON r.vector_key = s.key "
            f"WHERE {own}r.content_id IN {seen} ORDER BY r.id"
        )
        rows: dict[bytes, list[int]] = {}
        with self._reading():
            for key, number in self._db.execute(query, {"g": generation, **({"space": space} if space else {})}):
                rows.setdefault(key, []).append(number)
        return {first: tuple(others) for first, *others in rows.values() if others}

    def vector_ids(self, generation: int, space: Space | None = None) -> list[int]:
        """Of what `generation` sees, one row of each different vector, ascending: those that a dense index holds."""
        ids = self.media_ids(space, generation) if space else self.chunk_ids(generation)
        return self.without_twins(ids, generation, space)

    def without_twins(self, ids: Sequence[int], generation: int, space: Space | None = None) -> list[int]:
        """Of all `ids` that `generation` sees, those of `vector_ids`."""
        others = {i for twins in self.twins(generation, space).values() for i in twins}
        return [i for i in ids if i not in others]

    def vector_keys(self, content_id: int) -> list[bytes]:
        """Of a content's chunks, in the order of `chunks_of`."""
        query = "SELECT vector_key FROM chunks WHERE content_id = ? ORDER BY start, id"
        with self._reading():
            return [r[0] for r in self._db.execute(query, (content_id,))]

    def vectors_seen(self, generation: int, space: Space | None = None) -> Iterator[tuple[bytes, bytes]]:
        """(key, float32 little-endian) of every vector that `generation` sees, by key; read as they are drawn. None:
        of the texts."""
        seen = f"(SELECT f.content_id FROM files f WHERE {SEEN})"
        rows = f"media WHERE space = :space AND content_id IN {seen}" if space else f"chunks WHERE content_id IN {seen}"
        keys = f"(SELECT DISTINCT vector_key AS key FROM {rows})"
        query = f"SELECT k.key, v.vector, v.sum FROM {keys} k LEFT JOIN vectors v ON v.key = k.key ORDER BY k.key"
        with self._reading():
            values = {"g": generation, **({"space": space} if space else {})}
            for key, vector, total in self._db.execute(query, values):
                if checksum(key, vector) != total:
                    raise self._altered("vectors are missing, one" if vector is None else "a vector")
                yield key, vector

    def _altered(self, what: str) -> IndexDamaged:
        return IndexDamaged(f"{self.file}: {what} isn't what was stored", REPAIR)

    def chunk_texts(self, chunk_ids: Sequence[int]) -> list[str]:
        """Text with its prefix, as the lexical index takes it, in the order given."""
        rows = self.chunks(chunk_ids)
        return [rows[i].chunk.embedded_text for i in chunk_ids]

    def chunks(self, chunk_ids: Sequence[int]) -> dict[int, ChunkRow]:
        """By id. Raises IndexDamaged when one isn't there: an id is found by other pages than its row lies on."""
        result: dict[int, ChunkRow] = {}
        with self._reading():
            for page in batched(chunk_ids, PAGE):
                marks = ",".join("?" * len(page))
                for row in self._db.execute(f"SELECT {SUMS['chunks']}, sum FROM chunks WHERE id IN ({marks})", page):
                    result[row[0]] = self._chunk_row(row)
        return self._complete("chunks", chunk_ids, result)

    def _complete(self, table: str, ids: Iterable[int], found: dict[int, Row]) -> dict[int, Row]:
        if len(found) < len(set(ids)):
            raise self._altered(f"{table} are missing, one")
        return found

    def chunks_of(self, content_id: int) -> list[ChunkRow]:
        """In reading order."""
        query = f"SELECT {SUMS['chunks']}, sum FROM chunks WHERE content_id = ? ORDER BY start, id"
        with self._reading():
            return [self._chunk_row(r) for r in self._db.execute(query, (content_id,))]

    def _chunk_row(self, row: tuple[Any, ...]) -> ChunkRow:
        chunk_id, content_id, start, end, page, line, headings, prefix, text, seconds, _, key, total = row
        if checksum(*row[:-1]) != total:
            raise self._altered(f"chunk {chunk_id}")
        location = Location(page, line, tuple(json.loads(headings)), seconds)
        return ChunkRow(chunk_id, key, content_id, Chunk(text, Span(start, end), location, prefix))

    def content_of_chunk(self, key: str) -> int | None:
        with self._reading():
            row = self._db.execute("SELECT content_id FROM chunks WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def contents(self, content_ids: Iterable[int], generation: int) -> dict[int, ContentRow]:
        """Of these contents those that `generation` sees, with the paths of the files that hold them."""
        result: dict[int, ContentRow] = {}
        with self._reading():
            for page in batched(sorted(set(content_ids)), PAGE):
                marks = ",".join(str(int(i)) for i in page)
                rows = self._db.execute(
                    f"SELECT c.id, c.kind, c.title, c.metadata, f.path "
                    f"FROM contents c JOIN files f ON f.content_id = c.id "
                    f"WHERE c.id IN ({marks}) AND {SEEN} ORDER BY f.path",
                    {"g": generation},
                )
                for content_id, kind, title, about, path in rows:
                    before = result.get(content_id)
                    scanned = frozenset(json.loads(about).get("ocr_pages", ())) if "ocr_pages" in about else frozenset()
                    paths = (*(before.paths if before else ()), path)
                    result[content_id] = ContentRow(content_id, paths, kind, title, scanned)
        return result

    def contents_seen(self, content_ids: Iterable[int], generation: int) -> dict[int, ContentRow]:
        """The same of contents that `generation` is known to see. Raises IndexDamaged when one isn't there."""
        wanted = set(content_ids)
        return self._complete("texts", wanted, self.contents(wanted, generation))

    def content_chunks(self, content_ids: Iterable[int]) -> list[tuple[int, int, int | None]]:
        """(chunk id, content id, page) of all chunks of these contents."""
        rows: list[tuple[int, int, int | None]] = []
        with self._reading():
            for page in batched(sorted(set(content_ids)), PAGE):
                marks = ",".join("?" * len(page))
                query = f"SELECT id, content_id, page FROM chunks WHERE content_id IN ({marks}) ORDER BY id"
                rows.extend(self._db.execute(query, page))
        return rows

    def chunk_counts(self, generation: int) -> dict[int, int]:
        """Content id -> number of its chunks, for the contents that `generation` sees."""
        seen = f"(SELECT f.content_id FROM files f WHERE {SEEN})"
        query = f"SELECT content_id, count(*) FROM chunks WHERE content_id IN {seen} GROUP BY content_id"
        with self._reading():
            return dict(self._db.execute(query, {"g": generation}).fetchall())

    def source(self, content_id: int, path: str) -> Source:
        """The text as loaded, with its map, under one of its paths."""
        with self._reading():
            query = f"SELECT {SUMS['contents']}, sum FROM contents WHERE id = ?"
            row = self._db.execute(query, (content_id,)).fetchone()
            if row is None:
                raise StoreError(f"{path}: its text is no longer in the catalog", "run `rag sync`")
            *values, total = row
            if checksum(*values) != total:
                raise self._altered(f"the text of {path}")
            _, kind, title, text, pages, headings, metadata, warnings, times, *_ = values
            return Source(
                path, text, kind, title, tuple(json.loads(pages)), tuple(Heading(*h) for h in json.loads(headings)),
                json.loads(metadata), tuple(json.loads(warnings)), tuple(Cue(*c) for c in json.loads(times)),
            )  # fmt: skip

    def text_at(self, path: str, generation: int, span: Span) -> str | None:
        """Characters [start, end) of a file's text; None when that generation has no such file."""
        joined = "files f JOIN contents c ON c.id = f.content_id"
        query = f"SELECT substr(c.text, :start, :length) FROM {joined} WHERE f.path = :path AND {SEEN}"
        values = {"start": span.start + 1, "length": len(span), "path": path, "g": generation}
        with self._reading():
            row = self._db.execute(query, values).fetchone()
        return row[0] if row else None

    def warnings(self, generation: int) -> dict[str, tuple[str, ...]]:
        """By path: what the loader could not read."""
        query = f"SELECT f.path, c.warnings FROM files f JOIN contents c ON c.id = f.content_id WHERE {SEEN}"
        with self._reading():
            rows = self._db.execute(query, {"g": generation}).fetchall()
            return {path: tuple(json.loads(text)) for path, text in rows if text != "[]"}

    def counts(self, generation: int) -> dict[str, int]:
        """Files with text, chunks and characters that `generation` sees."""
        seen = f"(SELECT f.content_id FROM files f WHERE {SEEN} AND f.content_id IS NOT NULL)"
        with self._reading():
            files = self._db.execute(
                f"SELECT count(*) FROM files f WHERE {SEEN} AND content_id IS NOT NULL", {"g": generation}
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
            # Of contents whose row is gone: their files are read again, and make the same chunks.
            lost = "NOT IN (SELECT id FROM contents)"
            text_lost = f"content_id IS NOT NULL AND content_id {lost}"  # NULL isn't in no rows, either
            self._db.execute(f"UPDATE files SET content_id = NULL, hash = NULL WHERE {text_lost}")
            for table in ("chunks", "media"):
                self._db.execute(f"DELETE FROM {table} WHERE content_id {lost}")
            held = "SELECT content_id FROM files WHERE content_id IS NOT NULL"
            stray = self._db.execute(f"SELECT id FROM contents WHERE id NOT IN ({held})").fetchall()
            if not gone and not stray:
                return
            self._db.executemany("DELETE FROM chunks WHERE content_id = ?", stray)
            self._db.executemany("DELETE FROM media WHERE content_id = ?", stray)
            self._db.executemany("DELETE FROM contents WHERE id = ?", stray)
            if not self.meta("unfinished", False):  # else vectors without a chunk are work that goes on
                used = "SELECT vector_key FROM chunks UNION SELECT vector_key FROM media"
                self._db.execute(f"DELETE FROM vectors WHERE key NOT IN ({used})")

    # ---- what isn't what was stored -----------------------------------------------------------------------

    def census(self, generation: int) -> int:
        """A checksum of what `generation` sees, by the ways that a search goes: its chunks' ids, its files with their
        hashes and the texts they share. Kept when it is published, so rows that a flipped bit hides are missed."""
        joined = f"files f ON f.content_id = c.id WHERE {SEEN}"
        with self._reading():
            chunks = np.asarray(self.chunk_ids(generation), np.int64).tobytes()
            query = (
                f"SELECT c.id, c.key, c.kind, c.title, f.path FROM contents c CROSS JOIN {joined} ORDER BY c.id, f.path"
            )
            texts = self._db.execute(query, {"g": generation}).fetchall()
            query = f"SELECT f.path, f.hash, f.outcome, f.content_id FROM files f WHERE {SEEN} ORDER BY f.path"
            return checksum(chunks, repr(texts), repr(self._db.execute(query, {"g": generation}).fetchall()))

    def check_census(self, generation: int) -> None:
        """Raises IndexDamaged where the published `generation` doesn't see what it saw when it was published."""
        with self.snapshot() as published:
            if generation == published and not self._is_as_published():
                told = f"{self.file}: files, texts or chunks that it held are missing, or others"
                raise IndexDamaged(told, "run `rag sync`: it reads again what was lost")

    def _is_as_published(self) -> bool:
        kept = self.meta("census")
        return kept is None or kept == self.census(self.generation)

    def mark_lost(self) -> bool:
        """For the writer, before it changes anything: what the published generation doesn't see any more, texts and
        vectors that lost something, and what is altered are marked for the sync to make anew. Whether that generation
        sees all that it did. Raises IndexDamaged when the file's pages aren't whole: then only a copy helps."""
        with self._reading():
            bare = "SELECT vector_key FROM {} EXCEPT SELECT key FROM vectors"
            lost = any(self._db.execute(f"{bare.format(t)} LIMIT 1").fetchone() for t in ("chunks", "media"))
            lost = lost or self._db.execute(f"SELECT 1 FROM contents WHERE {_LACKING} LIMIT 1").fetchone() is not None
            as_published = self._is_as_published()
            if not lost and as_published:
                return True
            if (said := self._db.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                raise damaged(self.file, said)
        with self.transaction():
            self.mark_altered()
            if not as_published:  # a file that had a text may be among those that seem to have failed
                self._db.execute("UPDATE files SET hash = NULL WHERE content_id IS NULL")
            self.set_meta(unfinished=True)  # so that no vector is given up before its chunk is back
        return as_published

    def altered(self) -> dict[str, int]:
        """How many rows of each table aren't what their sum says, but for texts that were read anew since. Reads all
        of it."""
        with self._reading():
            count = "SELECT count(*) FROM {} WHERE sum != checksum({}) AND key NOT LIKE 'altered %'"
            found = {t: self._db.execute(count.format(t, values)).fetchone()[0] for t, values in SUMS.items()}
            lacking = f"SELECT count(*) FROM contents WHERE {_LACKING} AND sum = checksum({SUMS['contents']})"
            found["contents"] += self._db.execute(lacking).fetchone()[0]
            return found

    def mark_altered(self) -> tuple[int, int]:
        """What `altered` finds, for the next sync to make anew: (vectors, texts). Of vectors that are missing, too."""
        with self.transaction(), clear_errors(self.file):
            execute, as_published = self._db.execute, self._is_as_published()
            execute("UPDATE vectors SET sum = ? WHERE sum != checksum(key, vector)", (MARKED,))
            wrong = [f"SELECT id FROM contents WHERE sum != checksum({SUMS['contents']})",
                     f"SELECT content_id FROM chunks WHERE sum != checksum({SUMS['chunks']})",
                     f"SELECT content_id FROM media WHERE sum != checksum({SUMS['media']})",
                     f"SELECT id FROM contents WHERE {_LACKING}",
                     # A picture's vector can't be made of a text: its file is read again.
                     "SELECT m.content_id FROM media m LEFT JOIN vectors v ON v.key = m.vector_key "
                     f"WHERE v.key IS NULL OR v.sum = {MARKED}"]  # fmt: skip
            held = "SELECT content_id FROM files"
            texts = execute(
                f"SELECT id FROM contents WHERE id IN ({' UNION '.join(wrong)}) AND id IN ({held})"
            ).fetchall()
            execute("DELETE FROM vectors WHERE sum = ? AND key NOT IN (SELECT vector_key FROM chunks)", (MARKED,))
            lost = "SELECT DISTINCT vector_key FROM chunks WHERE vector_key NOT IN (SELECT key FROM vectors)"
            execute(f"INSERT INTO vectors (key, vector, sum) SELECT vector_key, x'', ? FROM ({lost})", (MARKED,))
            vectors = execute("SELECT count(*) FROM vectors WHERE sum = -1").fetchone()[0]
            # Under another key it isn't found, so its files are read again; their chunks want the keys these had.
            for table, values in KEYED.items():
                other = f"CASE sum WHEN checksum({values}) THEN checksum({_renamed(values)}) ELSE sum END"
                where = "id" if table == "contents" else "content_id"
                change = f"UPDATE {table} SET sum = {other}, key = 'altered ' || id WHERE {where} = ?"
                self._db.executemany(change, texts)
            if as_published and self.meta("census") is not None:  # else what is missing would be forgotten
                self.set_meta(census=self.census(self.generation))
        return vectors, len(texts)

    def marked_vectors(self) -> dict[bytes, str]:
        """By key, the text that is to be embedded again."""
        joined = "vectors v JOIN chunks c ON c.vector_key = v.key"
        with self._reading():
            return dict(self._db.execute(f"SELECT v.key, c.prefix || c.text FROM {joined} WHERE v.sum = -1"))

    def replace_vectors(self, keys: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        with self.transaction():
            rows = ((data, total, key) for key, data, total in _vector_rows(keys, vectors))
            self._db.executemany("UPDATE vectors SET vector = ?, sum = ? WHERE key = ?", rows)

    # ---- what a Chroma server is known to hold ------------------------------------------------------------

    def server_rows(self) -> dict[int, bool]:
        """chunk id -> whether its vector is known to be there (False: it was about to be sent)."""
        with self._reading():
            return {i: bool(p) for i, p in self._db.execute("SELECT chunk_id, present FROM server_rows")}

    def mark_server_rows(self, chunk_ids: Sequence[int], present: bool | None) -> None:
        """None: no longer there."""
        with self.transaction():
            if present is None:
                self._db.executemany("DELETE FROM server_rows WHERE chunk_id = ?", ((i,) for i in chunk_ids))
            else:
                rows = ((i, int(present)) for i in chunk_ids)
                self._db.executemany("INSERT OR REPLACE INTO server_rows VALUES (?, ?)", rows)


def _renamed(values: str) -> str:
    return values.replace(", key", ", 'altered ' || id")


def _file_row(row: tuple[Any, ...]) -> FileRow:
    row_id, path, size, mtime_ns, seen_ns, hash_, content_id, content_key, outcome, reason, ctime_ns = row
    if not (isinstance(path, str) and isinstance(size, int) and isinstance(mtime_ns, int) and isinstance(seen_ns, int)):
        raise TypeError(f"the row of file {row_id}")
    if content_id is not None and not isinstance(content_key, str):
        raise TypeError(f"the text of file {row_id} is gone")
    known = row_id, path, size, mtime_ns, seen_ns, hash_, content_id, content_key, Outcome(outcome), reason, ctime_ns
    return FileRow(*known)


def _vector_rows(keys: Sequence[bytes], vectors: NDArray[np.float32]) -> Iterator[tuple[bytes, bytes, int]]:
    for key, vector in zip(keys, vectors, strict=True):
        data = vector.astype("<f4", copy=False).tobytes()
        yield key, data, checksum(key, data)
