"""Documents as vectors: the mean of their chunks' vectors, scaled to length 1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rag.batched import batched
from rag.embed.similarity import nearest
from rag.errors import QueryError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rag.store import Catalog

    Floats = NDArray[np.float32]


PART = 5000  # vectors read at once


@dataclass(frozen=True)
class Documents:
    paths: tuple[tuple[str, ...], ...]  # of each document: files with equal content are one
    vectors: Floats  # (documents, dimension), each of length 1

    def at(self, path: str) -> int | None:
        return next((row for row, paths in enumerate(self.paths) if path in paths), None)


def document_vector(chunks: ArrayLike) -> Floats:
    """(n, d) vectors of chunks -> (d,) of length 1. Chunks that cancel each other out leave zeros."""
    mean = np.asarray(chunks, np.float32).mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), np.float32)


def documents(catalog: Catalog) -> Documents:
    """Every document of the published index, sorted by path. No model runs. Raises QueryError when there is none."""
    with catalog.snapshot() as generation:
        contents = catalog.contents_seen(catalog.chunk_counts(generation), generation)
        known = sorted(contents.values(), key=lambda c: c.paths)
        rows = catalog.content_chunks(contents)
        if not rows:
            raise QueryError("the index holds no document", "put files into the folder and run `rag sync`")
        place = {content.id: row for row, content in enumerate(known)}
        sums = None
        for some in batched(rows, PART):  # so that only the sums of a large index are in memory
            vectors = catalog.vectors_of([chunk for chunk, _, _ in some])
            sums = np.zeros((len(known), vectors.shape[1])) if sums is None else sums
            np.add.at(sums, [place[content] for _, content, _ in some], vectors)
    assert sums is not None
    lengths = np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return Documents(tuple(c.paths for c in known), np.asarray(sums / lengths, np.float32))


def similar(held: Documents, vector: ArrayLike, k: int, without: int | None = None) -> list[tuple[str, float]]:
    """(path, cosine similarity) of the k documents nearest to `vector` (d,), best first; not document `without`."""
    if k < 1:
        raise QueryError(f"k is {k}", "ask for 1 or more documents")
    hits = nearest("dot", vector, held.vectors, k + 1)  # of length 1, so it is the cosine; zeros have none
    return [(held.paths[row][0], score) for row, score in hits if row != without][:k]
