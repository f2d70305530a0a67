"""Rows of the catalog as the rest of the store sees them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rag.types import Chunk, Location, Outcome, Space


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
    ctime_ns: int  # the inode's change time, 0: not known


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


@dataclass(frozen=True, slots=True)
class MediaRow:
    """A picture, or a window of a recording. Its vector is stored like any other."""

    key: str  # public id, as a chunk's
    space: Space
    start: int  # where in the content's text it stands
    location: Location
    vector_key: bytes
    id: int = 0
    content_id: int = 0
