"""An embedding model that can be read: hashed bags of words. And what an index holds, in one comparable value.

Fast, deterministic, with every attribute of rag.embed.TextEmbedder that sync, split and search use.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rag.build import Rag
from rag.config import Store
from rag.store import Catalog
from rag.store.analyze import Analyzer
from rag.store.index import generation_folder
from rag.store.lexical import Lexical
from rag.store.vectors import open_embedded
from rag.tokens import Tokenizer

DIMENSION = 32
_TOKEN = re.compile(r"\w+|[^\w\s]")


class FakeTokenizer(Tokenizer):
    name = "fake"

    def offsets(self, text: str) -> NDArray[np.int64]:
        return np.asarray([m.span() for m in _TOKEN.finditer(text)], np.int64).reshape(-1, 2)

    def count(self, text: str) -> int:
        return len(_TOKEN.findall(text))


class FakeEmbedder:
    """`embedded` lists the texts it was given; `before_batch` is called with each batch, to interrupt or to watch."""

    tokenizer = FakeTokenizer()
    limit, special_tokens = 256, 2
    precision = "float32"

    def __init__(self, version: int = 1, dimension: int = DIMENSION) -> None:
        self.dimension = dimension
        self.model = SimpleNamespace(name="fake")
        self.fingerprint: dict[str, Any] = {"model": "fake", "version": version, "dimension": dimension}
        self.embedded: list[str] = []
        self.before_batch: Callable[[Sequence[str]], None] = lambda texts: None

    def passage_vectors(
        self, texts: Sequence[str], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        self.before_batch(texts)
        self.embedded += texts
        if progress:
            progress(sum(map(self.tokenizer.count, texts)))
        return np.stack([self.query_vector(t) for t in texts]) if texts else np.empty((0, self.dimension), np.float32)

    def query_vector(self, text: str) -> NDArray[np.float32]:
        vector = np.full(self.dimension, 0.01, np.float32)  # never all zero
        for word in _TOKEN.findall(text.casefold()):
            vector[zlib.crc32(word.encode("utf-8", "replace")) % self.dimension] += 1
        return vector / np.float32(np.linalg.norm(vector))

    def forget_questions(self) -> None:
        pass

    def close(self) -> None:
        pass


def open_rag(docs: Path, index: Path, embedder: FakeEmbedder | None = None, **settings: Any) -> Rag:
    """A `Rag` whose embedder is the fake one."""
    settings = {"split__max_tokens": 24, "load__workers": 1, "embed__threads": 1, **settings}
    rag = Rag.open(docs=docs, store__path=index, **settings)
    rag._parts["embedder"] = embedder or FakeEmbedder()
    return rag


def index_state(folder: Path) -> dict[str, Any]:
    """What an index holds, comparable between indexes made in different ways: by path, the outcome and the chunks
    with their vectors. Asserts on the way that catalog, Chroma and lexical index hold the same chunks."""
    catalog = Catalog(folder / "catalog.sqlite3", readonly=True)
    try:
        generation = catalog.generation
        ids = catalog.chunk_ids(generation)
        assert generation == 0 or derived_ids(folder, generation) == (catalog.vector_ids(generation), ids)
        vectors = {i: v.tobytes() for i, v in zip(ids, catalog.vectors_of(ids), strict=True)}
        state = {}
        for file in catalog.files(generation):
            rows = catalog.chunks_of(file.content_id) if file.content_id is not None else []
            chunks = [(r.key, r.chunk, vectors[r.id]) for r in rows]
            state[file.path] = (file.outcome, file.reason, chunks)
        return state
    finally:
        catalog.close()


def derived_ids(folder: Path, generation: int) -> tuple[list[int], list[int]]:
    """Chunk ids in Chroma, and in the lexical index."""
    here = generation_folder(folder, generation)
    vectors = open_embedded(here / "chroma", DIMENSION, Store())
    dense = vectors.ids()
    vectors.close()
    return dense, lexical_ids(here / "lexical")


def lexical_ids(folder: Path) -> list[int]:
    return Lexical(folder, Analyzer()).ids()
