"""Searching the last published generation, from any number of processes while another one writes."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rag.config import Store
from rag.errors import IndexDamaged, IndexMissing
from rag.store.analyze import Analyzer
from rag.store.catalog import Catalog
from rag.store.damage import SameProcess, copies, damaged
from rag.store.files import can_change, copy_to_change
from rag.store.index import (
    MEND,
    chroma_folder,
    compare_fingerprint,
    generation_folder,
    served_name,
    texts_of,
)
from rag.store.lexical import Lexical
from rag.store.seal import SIZES, is_whole
from rag.store.vectors import VectorIndex, exact_search, open_embedded, open_server
from rag.types import Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


logger = logging.getLogger(__name__)

T = TypeVar("T")


class IndexReader:
    """The last published generation, reopened when a new one appears. Safe to share between threads."""

    def __init__(self, folder: Path, store: Store, fingerprint: dict[str, Any] | None = None) -> None:
        """With `fingerprint`, an index made with another embedding is refused (IndexMismatch)."""
        self.folder, self.store = folder, store
        if not (folder / "catalog.sqlite3").exists():
            if copies(folder):
                raise damaged(folder / "catalog.sqlite3", "it is gone")
            raise IndexMissing(f"there is no index at {folder}", "run `rag sync` first")
        self.catalog = Catalog(folder / "catalog.sqlite3", readonly=True)
        self._counted = 0  # the last generation whose census was taken
        try:
            if self.catalog.generation == 0:
                raise IndexMissing(f"the index at {folder} was never finished", "run `rag sync`")
            if fingerprint is not None:
                compare_fingerprint(self.catalog.made("embedding"), fingerprint, folder)
            self._count(self.catalog.generation)
        except BaseException:
            self.catalog.close()
            raise
        self._fingerprint = fingerprint
        self._lock = threading.RLock()
        self._process = SameProcess()
        self._opened: dict[str, tuple[int, Any]] = {}
        self._told = set[str]()  # which damage was, once

    def close(self) -> None:
        if not self._process:  # a fork must touch neither Chroma nor a lock that another thread may have held
            return
        with self._lock:
            for name in list(self._opened):
                self._drop(name)
        self.catalog.close()

    def dense(
        self, vector: NDArray[np.float32], k: int, generation: int, allowed: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """(chunk id, cosine similarity), best first: of the `k` nearest vectors, and at most `k` more chunks that share
        one of them. With `allowed` the search is exact, over the catalog's vectors, and gives `k`: Chroma's own filters
        cost 10-40 times the search (measured) and their recall is reported to fall with size."""
        if allowed is not None:
            return exact_search(self.catalog.vectors_of(allowed), allowed, vector, k)
        return self._dense(None, vector, k, generation)

    def nearest(
        self,
        space: Space,
        vectors: NDArray[np.float32],
        k: int,
        generation: int,
        fingerprint: dict[str, Any],
        allowed: Sequence[int] | None = None,
    ) -> list[tuple[int, float]]:
        """(id of a picture or window, cosine similarity to the nearest of `vectors`, (n, dimension)), best first: the
        `k` nearest of each, and those that share a vector with one. With `allowed` the search is exact.

        Raises IndexMismatch when another `fingerprint` made the space's vectors.
        """
        made = self.catalog.meta(space)
        if made is None:
            return []
        compare_fingerprint(made, fingerprint, self.folder, f"other {space} vectors")
        among = None if allowed is None else _Exact(allowed, self.catalog.vectors_of(allowed, "media"))
        best: dict[int, float] = {}
        for vector in vectors:
            hits = self._dense(space, vector, k, generation) if among is None else among.search(vector, k)
            for number, score in hits:
                best[number] = max(score, best.get(number, -1.0))
        return sorted(best.items(), key=lambda hit: (-hit[1], hit[0]))

    def _dense(
        self, space: Space | None, vector: NDArray[np.float32], k: int, generation: int
    ) -> list[tuple[int, float]]:
        """Of the texts' space (None) or another one, by Chroma; exact where that is damaged."""
        hits = self._nearest(space, vector, k, generation)
        twins: dict[int, tuple[int, ...]]
        twins = self._open(f"twins of {space}", generation, lambda g: self.catalog.twins(g, space))
        if not twins:
            return hits
        found = dict(hits)
        for number, score in hits:
            for twin in twins.get(number, ())[: max(0, 2 * k - len(found))]:
                found.setdefault(twin, score)
        return sorted(found.items(), key=lambda hit: (-hit[1], hit[0]))

    def _nearest(
        self, space: Space | None, vector: NDArray[np.float32], k: int, generation: int
    ) -> list[tuple[int, float]]:
        """A row for each of the `k` nearest vectors."""
        name = "vectors" if space is None else f"vectors {space}"
        try:
            index: VectorIndex = self._open(name, generation, lambda g: self._open_vectors(g, space))
            published = self._served and space is None
            hits = self._published(index, vector, k, generation) if published else index.search(vector, k)
            # On a server, rows that aren't published may be equal, and HNSW then reaches few others (decision 0016).
            if len(hits) == k or len(hits) == (len(self._visible(generation)) if published else index.count()):
                return hits
            name = f"exact {name}"  # Chroma's stays open: it is whole
        except IndexDamaged as error:
            self._leave_to_writer(name, generation, error)
        exact: _Exact = self._open(name, generation, lambda g: _Exact.whole(self.catalog, g, space))
        return exact.search(vector, k)

    def lexical(
        self, text: str, k: int, generation: int, allowed: Sequence[int] | None = None
    ) -> list[tuple[int, float]]:
        """(chunk id, BM25), best first."""
        return self._lexical(generation).search(text, k, allowed)

    def terms(self, text: str) -> list[str]:
        """As the lexical index was made, so they compare."""
        return self._analyzer().terms(text)

    def query_terms(self, text: str) -> list[str]:
        """The different terms that a lexical search for `text` looks for."""
        return self._analyzer().query_terms(text)

    def rarity(self, terms: Iterable[str], generation: int) -> dict[str, float]:
        """BM25's inverse document frequency of each term, over chunks: a term that stands everywhere is near 0."""
        return self._lexical(generation).rarity(terms)

    @property
    def _served(self) -> bool:
        return self.store.kind == "chroma-server"

    def _published(
        self, index: VectorIndex, vector: NDArray[np.float32], k: int, generation: int
    ) -> list[tuple[int, float]]:
        """A server holds the rows of a sync before it is published, and those it removed for a moment after."""
        visible = self._visible(generation)
        hits = [hit for hit in index.search(vector, k) if hit[0] in visible]
        if len(hits) < min(k, len(visible)):
            surplus = index.count() - len(visible)
            if surplus <= 0:
                raise IndexDamaged("the Chroma server has lost rows of the index", "run `rag sync`")
            hits = [hit for hit in index.search(vector, k + surplus) if hit[0] in visible]
        return hits[:k]

    def _visible(self, generation: int) -> frozenset[int]:
        ids: frozenset[int] = self._open("visible", generation, lambda g: frozenset(self.catalog.vector_ids(g)))
        return ids

    def _analyzer(self) -> Analyzer:
        """That of the lexical index in use, so terms compare; before one was opened, that of the catalog."""
        held = self._opened.get("lexical")
        return held[1].analyzer if held else self._stored_analyzer()

    def _stored_analyzer(self) -> Analyzer:
        return Analyzer(self.catalog.made("analyzer").partition(":")[2])

    def _lexical(self, generation: int) -> Lexical:
        try:
            found: Lexical = self._open("lexical", generation, self._open_lexical)
        except IndexDamaged as error:
            self._leave_to_writer("lexical", generation, error)
            found = self._open("lexical", generation, self._lexical_in_memory)
        return found

    def _open_vectors(self, generation: int, space: Space | None) -> VectorIndex:
        dimension = int(self.catalog.made(space or "embedding")["dimension"])
        if self._served:
            name = served_name(self.catalog, space)
            index = open_server(name, dimension, self.store) if name else None
            if index is None:
                raise IndexDamaged(f"the Chroma server has lost the {space or 'index'}", "run `rag sync`")
            return index
        folder = generation_folder(self.folder, generation)
        here = chroma_folder(folder, space)
        if not is_whole(folder, f"{here.name}/"):
            raise IndexDamaged(f"{here}: the dense index isn't whole", MEND)
        return _to_change(here, lambda own: open_embedded(own, dimension, self.store, space=space))

    def _open_lexical(self, generation: int) -> Lexical:
        folder = generation_folder(self.folder, generation)
        if not is_whole(folder, "lexical/"):
            raise IndexDamaged(f"{folder / 'lexical'}: the lexical index isn't whole", MEND)
        return _to_change(folder / "lexical", lambda own: Lexical(own, self._stored_analyzer()))

    def _lexical_in_memory(self, generation: int) -> Lexical:
        index, ids = Lexical(None, self._stored_analyzer()), self.catalog.chunk_ids(generation)
        index.change([], texts_of(self.catalog, ids))
        return index

    def _leave_to_writer(self, name: str, generation: int, error: IndexDamaged) -> None:
        """Forget an index that can't be used; without its list of sizes the next sync makes the generation anew."""
        if name not in self._told:
            self._told.add(name)
            logger.warning("%s: until `rag sync` has made it anew the catalog answers, more slowly", error.message)
        with self._lock, contextlib.suppress(OSError):
            self._drop(name)
            (generation_folder(self.folder, generation) / SIZES).unlink()

    def _drop(self, name: str) -> None:
        held = self._opened.pop(name, None)
        if held is not None and name.startswith("vectors"):
            held[1].close()

    def _count(self, generation: int) -> None:
        if self._counted != generation:
            self.catalog.check_census(generation)
            self._counted = generation

    def _open(self, name: str, generation: int, make: Callable[[int], Any]) -> Any:
        self._process.check()
        with self._lock:
            held = self._opened.get(name)
            if held is None or held[0] != generation:
                if self._fingerprint is not None:  # another process may have re-indexed with another model
                    compare_fingerprint(self.catalog.made("embedding"), self._fingerprint, self.folder)
                self._count(generation)
                made = make(generation)
                self._drop(name)
                self._opened[name] = held = (generation, made)
            return held[1]


def _to_change(folder: Path, make: Callable[[Path], T]) -> T:
    """What `make` opens in a folder, or in its copy where it can't be written: Chroma and tantivy write as they open.
    The copy goes with what was opened."""
    if can_change(folder):
        return make(folder)
    own, process = Path(tempfile.mkdtemp(prefix="rag-index-")), SameProcess()

    def forget() -> None:
        if process:  # a fork leaves it to its parent
            shutil.rmtree(own, ignore_errors=True)

    try:
        copy_to_change(folder, own / folder.name)
        made = make(own / folder.name)
    except BaseException as error:
        forget()
        if isinstance(error, OSError):  # no room there: the catalog answers
            raise IndexDamaged(f"{folder}: can neither be written nor copied: {error}", MEND) from error
        raise
    weakref.finalize(made, forget)
    return made


class _Exact:
    """The catalog's own vectors, in memory: stands in for a damaged Chroma until the next sync mends it."""

    def __init__(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        self._ids, self._vectors = ids, vectors

    @classmethod
    def whole(cls, catalog: Catalog, generation: int, space: Space | None) -> _Exact:
        ids = catalog.vector_ids(generation, space)
        return cls(ids, catalog.vectors_of(ids, "chunks" if space is None else "media"))

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        return exact_search(self._vectors, self._ids, vector, k)

    def count(self) -> int:
        return len(self._ids)

    def close(self) -> None:
        pass
