"""What an archive holds, in this order:

    manifest.json      format, and what the index was made with: embedding, splitting, limits
    vectors/00000.bin  parts of vectors, ascending by key: 16 bytes of key, then the vector, float32 little-endian
    images/00000.bin, audio/00000.bin  the same of pictures and recordings, whose vectors have another dimension
    contents/00000.jsonl  parts of contents, by key: text, its map, its chunks as spans, its pictures and windows
    files/00000.jsonl  parts of files, by path: size, hash, content, outcome
    end.json           how many there are of each

Keys of chunks and vectors are not stored: they are made of what they name, so a text that doesn't belong to its vector
finds none. A chunk's text isn't either: it is what its span cuts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from rag.errors import IndexDamaged, IndexMismatch
from rag.store.archive.container import ArchiveReader
from rag.store.catalog import Catalog, MediaRow
from rag.store.index import SPACES
from rag.store.keys import canonical, chunk_key, media_key, vector_key
from rag.types import Chunk, Cue, Heading, Location, Outcome, Source, Space, Span

FORMAT, VERSION = "rag index", 2
PART = 4 * 2**20  # bytes of a part, unless one row is longer
KEY = 16  # bytes of a vector's key

Row = list[Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Manifest:
    embedding: dict[str, Any]
    splitting: dict[str, Any]
    limits: dict[str, Any] | None
    spaces: dict[Space, dict[str, Any] | None]

    def dimension(self, space: Space | None = None) -> int:
        """0: the index holds nothing of that space."""
        made = self.spaces[space] if space else self.embedding
        return 0 if made is None else int(made["dimension"])


@dataclass(frozen=True, slots=True)
class VectorPart:
    keys: list[bytes]
    vectors: NDArray[np.float32]  # (len(keys), dimension)


@dataclass(frozen=True, slots=True)
class ContentPart:
    key: str
    source: Source  # its path is empty: files name it
    chunks: list[Chunk]
    chunk_keys: list[str]
    vector_keys: list[bytes]
    media: list[MediaRow]


@dataclass(frozen=True, slots=True)
class FilePart:
    path: str
    size: int
    hash: str | None
    content_key: str | None
    outcome: Outcome
    reason: str | None


Part = Manifest | VectorPart | ContentPart | FilePart


# ---- catalog -> members ----------------------------------------------------------------------------------------------


def members_of(catalog: Catalog, generation: int, counts: dict[str, int]) -> Iterator[tuple[str, bytes]]:
    """(name, data) of what `generation` sees, inside a snapshot; `counts` is filled on the way. Raises IndexDamaged
    where the catalog contradicts itself: nothing that is wrong is carried on."""
    settings = {name: catalog.meta(name) for name in ("embedding", "splitting", "limits", *SPACES)}
    yield "manifest.json", _line({"format": FORMAT, "version": VERSION, **settings})
    counts.update(files=0, contents=0, chunks=0, vectors=0, media=0)
    yield from _parts("vectors", "bin", _vectors(catalog, generation, settings["embedding"], counts))
    for space in SPACES:
        if settings[space]:
            yield from _parts(space, "bin", _vectors(catalog, generation, settings[space], counts, space))
    files = catalog.files(generation)
    yield from _parts("contents", "jsonl", _contents(catalog, files, canonical(settings["embedding"]), counts))
    counts["files"] = len(files)
    rows = ([f.path, f.size, f.hash, f.content_key, f.outcome.value, f.reason] for f in files)
    yield from _parts("files", "jsonl", map(_line, rows))


def _vectors(
    catalog: Catalog, generation: int, made: dict[str, Any], counts: dict[str, int], space: Space | None = None
) -> Iterator[bytes]:
    dimension = int(made["dimension"])
    for key, vector in catalog.vectors_seen(generation, space):
        if (len(key), len(vector)) != (KEY, 4 * dimension):
            raise IndexDamaged(f"{catalog.file}: a vector isn't {dimension} numbers long", "run `rag sync --reindex`")
        counts["vectors"] += 1
        yield key + vector


def _contents(catalog: Catalog, files: Iterable[Any], fingerprint: str, counts: dict[str, int]) -> Iterator[bytes]:
    seen = {f.content_key: f for f in files if f.content_id is not None}
    for key in sorted(seen):
        file = seen[key]
        source = catalog.source(file.content_id, file.path)
        rows = catalog.chunks_of(file.content_id)
        for row, held in zip(rows, catalog.vector_keys(file.content_id), strict=True):
            chunk = row.chunk
            same = chunk.span.cut(source.text) == chunk.text and row.key == chunk_key(key, chunk.span, chunk.prefix)
            if not same or held != vector_key(fingerprint, chunk.embedded_text):
                raise IndexDamaged(
                    f"{catalog.file}: chunk {row.key} of {file.path} isn't what its text says",
                    "run `rag sync --reindex`, then export again",
                )
        media = list(catalog.media_of([file.content_id]).values())
        counts["contents"] += 1
        counts["chunks"] += len(rows)
        counts["media"] += len(media)
        yield _line([
            key, source.kind, source.title, source.text, source.pages,
            [(h.start, h.level, h.title) for h in source.headings], source.metadata, source.warnings,
            [(cue.start, cue.seconds) for cue in source.times],
            [(c.span.start, c.span.end, c.prefix, *_place(c.location)) for c in (row.chunk for row in rows)],
            [(m.space, m.start, m.vector_key.hex(), *_place(m.location)) for m in media],
        ])  # fmt: skip


def _place(where: Location) -> tuple[Any, ...]:
    return where.page, where.line, where.headings, where.seconds


def _parts(name: str, suffix: str, rows: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    held: list[bytes] = []
    size = number = 0
    for row in rows:
        if held and size + len(row) > PART:
            yield f"{name}/{number:05}.{suffix}", b"".join(held)
            held, size, number = [], 0, number + 1
        held.append(row)
        size += len(row)
    if held:
        yield f"{name}/{number:05}.{suffix}", b"".join(held)


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


# ---- members -> rows -------------------------------------------------------------------------------------------------


def read_parts(archive: ArchiveReader) -> Iterator[Part]:
    """What the file holds, the manifest first. Raises ArchiveError and IndexMismatch; what came before an error must
    not be used."""
    counts = dict.fromkeys(("files", "contents", "chunks", "vectors", "media"), 0)
    order = iter(archive.members())
    name, data = next(order, ("nothing", b""))
    if name != "manifest.json":
        raise archive.altered(f"it begins with {name!r}")
    manifest = _manifest(archive, data)
    yield manifest
    fingerprint = canonical(manifest.embedding)
    binary = ("vectors", *SPACES)
    kinds = (*binary, "contents", "files")
    kind, number = 0, 0
    last: Any = None  # the key before, of this kind

    def in_order(name: str, key: bytes | str) -> None:
        nonlocal last
        if not key or (last is not None and not last < key):
            raise archive.altered(f"the rows of {name} are in no order")
        last = key

    for name, data in order:
        while kind < len(kinds) and not name.startswith(kinds[kind] + "/"):
            kind, number, last = kind + 1, 0, None
        what = kinds[kind] if kind < len(kinds) else ""
        space = next((s for s in SPACES if s == what), None)
        suffix = "bin" if what in binary else "jsonl"
        if name != f"{what}/{number:05}.{suffix}":
            raise archive.altered(f"{name!r} isn't expected there")
        number += 1
        if suffix == "bin":
            part = _checked(archive, name, _vector_part, data, manifest.dimension(space))
            counts["vectors"] += len(part.keys)
            for key in part.keys:
                in_order(name, key)
            yield part
            continue
        for line in data.splitlines():
            if what == "contents":
                content = _checked(archive, name, _content_part, line, fingerprint)
                in_order(name, content.key)
                counts["contents"] += 1
                counts["chunks"] += len(content.chunks)
                counts["media"] += len(content.media)
                yield content
            else:
                file = _checked(archive, name, _file_part, line)
                in_order(name, file.path)
                counts["files"] += 1
                yield file
    if archive.end != counts:
        raise archive.altered(f"it holds {counts}, and says {archive.end}")


def _manifest(archive: ArchiveReader, data: bytes) -> Manifest:
    def read(data: bytes) -> tuple[str, int, Manifest]:
        body = json.loads(data)
        manifest = Manifest(
            body["embedding"], body["splitting"], body["limits"], {space: body[space] for space in SPACES}
        )
        if not 0 < manifest.dimension() < 2**20 or not isinstance(manifest.splitting, dict):
            raise ValueError("settings")
        if not all(0 <= manifest.dimension(space) < 2**20 for space in SPACES):
            raise ValueError("settings of pictures or recordings")
        return body["format"], body["version"], manifest

    try:
        said = json.loads(data)
        found = said.get("format"), said.get("version")
    except (ValueError, AttributeError, RecursionError):
        raise archive.altered("its manifest can't be read") from None
    if found != (FORMAT, VERSION):
        raise IndexMismatch(
            f"{archive.name}: is {found[0]!r} in version {found[1]!r}, here {FORMAT!r} in version {VERSION} is read",
            "use the version of rag that wrote it",
        )
    return _checked(archive, "manifest.json", read, data)[2]


def _checked(archive: ArchiveReader, name: str, read: Callable[..., T], *given: Any) -> T:
    try:
        return read(*given)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise archive.altered(f"a row of {name} can't be used ({type(error).__name__}: {str(error)[:80]})") from None


def _vector_part(data: bytes, dimension: int) -> VectorPart:
    if not dimension:
        raise ValueError("vectors of a space that isn't told of")
    record = np.dtype([("key", f"V{KEY}"), ("vector", "<f4", (dimension,))])
    rows = np.frombuffer(data, record)
    vectors = np.ascontiguousarray(rows["vector"])
    if not np.isfinite(vectors).all():
        raise ValueError("a vector has numbers that are none")
    return VectorPart([key.tobytes() for key in rows["key"]], vectors)


def _content_part(line: bytes, fingerprint: str) -> ContentPart:
    key, kind, title, text, pages, headings, metadata, warnings, times, spans, held = json.loads(line)
    _are((key, kind, text), str)
    _are((title,), str | None)
    _are(pages, int)
    _are(warnings, str)
    _are((metadata,), dict)
    source = Source(
        "", text, kind, title, tuple(pages), tuple(Heading(*_heading(h)) for h in headings), metadata, tuple(warnings),
        tuple(_cue(*c) for c in times),
    )  # fmt: skip
    chunks = []
    for start, end, prefix, *place in spans:
        _are((start, end), int)
        _are((prefix,), str)
        if not 0 <= start <= end <= len(text):
            raise ValueError(f"a span [{start}, {end}) of {len(text)} characters")
        chunks.append(Chunk(text[start:end], Span(start, end), _location(*place), prefix))
    media: list[MediaRow] = []
    for space, start, vector, *place in held:
        _are((start,), int)
        if space not in SPACES or len(bytes.fromhex(vector)) != KEY:
            raise ValueError(f"{space!r}, {vector!r}")
        number = sum(row.space == space for row in media)
        key_of = media_key(key, space, number)
        media.append(MediaRow(key_of, space, start, _location(*place), bytes.fromhex(vector)))
    chunk_keys = [chunk_key(key, c.span, c.prefix) for c in chunks]
    if len(set(chunk_keys)) < len(chunk_keys):
        raise ValueError("a chunk stands there twice")
    vectors = [vector_key(fingerprint, c.embedded_text) for c in chunks]
    return ContentPart(key, source, chunks, chunk_keys, vectors, media)


def _location(page: Any, line: Any, headings: Any, seconds: Any) -> Location:
    _are((line,), int)
    _are((page,), int | None)
    _are(headings, str)
    return Location(page, line, tuple(headings), None if seconds is None else _seconds(seconds))


def _cue(start: Any, seconds: Any) -> Cue:
    _are((start,), int)
    return Cue(start, _seconds(seconds))


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
        raise ValueError(f"{value!r} seconds")
    return float(value)


def _heading(row: Row) -> Row:
    start, level, title = row
    _are((start, level), int)
    _are((title,), str)
    return [start, level, title]


def _file_part(line: bytes) -> FilePart:
    path, size, digest, content_key, outcome, reason = json.loads(line)
    _are((path,), str)
    _are((size,), int)
    _are((digest, content_key, reason), str | None)
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path:
        raise ValueError(f"no path within a folder: {path!r}")
    return FilePart(path, size, digest, content_key, Outcome(outcome), reason)


def _are(values: Iterable[Any], kind: Any) -> None:
    for value in values:
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{value!r} where {getattr(kind, '__name__', kind)} must be")
        if isinstance(value, str):
            value.encode()  # half a character is none
        elif isinstance(value, int) and abs(value) >= 2**63:
            raise OverflowError("a number too large")
