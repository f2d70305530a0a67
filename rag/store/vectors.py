"""Dense search: chunk id -> vector in Chroma, cosine space, our own vectors only.

What is worked around here was measured (docs/decisions/0002): the stored embedding function is never built (it runs
code of the collection's choosing), the space is asserted after opening, calls stay under Chroma's row limit, and a
handle is reopened rather than trusted to notice other processes. Chroma's own exceptions end here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rag.config import Store
from rag.errors import IndexDamaged, IndexMismatch, StoreError
from rag.store.index import MEND
from rag.types import Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS = 5000  # per call; Chroma refuses more than 5,461
ROWS_PER_WIDTH = 125
MOST_WIDTH = 10_000
DIGITS = 6  # of a cosine: what float32 sums hold. Beyond, Chroma, numpy and each processor differ, and ties with them


class VectorIndex(Protocol):
    def add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None: ...
    def widen(self, rows: int) -> None:
        """From its next opening on it is searched as far as so many rows want."""
        ...

    def remove(self, ids: Sequence[int]) -> None: ...
    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """(chunk id, cosine similarity), best first."""
        ...

    def count(self) -> int: ...
    def ids(self) -> list[int]:
        """Of every row, ascending."""
        ...

    def close(self) -> None: ...


def exact_search(
    vectors: NDArray[np.float32], ids: Sequence[int], query: NDArray[np.float32], k: int
) -> list[tuple[int, float]]:
    """Cosine similarity against every row of (n, dimension) `vectors`; (id, score), best first."""
    if not len(ids):
        return []
    norms = np.linalg.norm(vectors, axis=1) * max(float(np.linalg.norm(query)), 1e-12)
    scores = np.round((vectors @ query / np.maximum(norms, 1e-12)).astype(np.float64), DIGITS)
    order = np.lexsort((np.asarray(ids), -scores))[:k]
    return [(ids[i], float(scores[i])) for i in order]


def _chromadb() -> Any:
    os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
    import chromadb
    import chromadb.utils.embedding_functions as functions

    functions.known_embedding_functions.clear()  # CVE-2026-45829, -45833: opening a collection may build one of them
    return chromadb


def _id(chunk_id: int) -> str:
    return f"1-{chunk_id}"


def width(least: int, rows: int) -> int:
    """hnswlib's ef_search for a collection of so many rows: `least`, and more where it is large, as recall falls with
    size. With 400 at 100,000 rows one question of 300 missed 4 of its 10 nearest (benchmarks/ann_recall.py).

    >>> width(400, 50_000), width(400, 100_000)
    (400, 800)
    """
    return min(MOST_WIDTH, max(least, rows // ROWS_PER_WIDTH))


Failure = Callable[[Exception], StoreError]  # what Chroma raised -> what we say


class _Collection:
    """What the embedded and the server form share: one Chroma collection of chunk ids."""

    def __init__(
        self,
        client: Any,
        name: str,
        dimension: int,
        ef_search: int,
        where: str,
        create: bool,
        failure: Failure,
        saves: bool = False,
    ) -> None:
        self._client, self._failure, self._ef_search = client, failure, ef_search
        # Embedded, it is saved at every call. Chroma's own way, once in 1,000 rows, has readers replay the rest from
        # its log, and write its vector files as it opens: with what lay in its memory (docs/decisions/0015).
        saving = {"sync_threshold": 1, "batch_size": 1} if saves else {}
        settings = {"hnsw": {"space": "cosine", "ef_search": ef_search, "ef_construction": 200, **saving}}
        if create:
            made = client.get_or_create_collection(
                name, embedding_function=None, configuration=settings, metadata={"dimension": dimension}
            )
        else:
            made = client.get_collection(name, embedding_function=None)
        space = (made.configuration_json.get("hnsw") or {}).get("space")
        if space != "cosine":
            raise IndexMismatch(
                f"{where}: the collection {name} measures {space!r}, not cosine", "run `rag sync --rebuild`"
            )
        self._collection = made

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            raise
        except Exception as error:  # Chroma's own tree, pyo3's, sqlite's, httpx's
            raise self._failure(error) from error

    def add(self, ids: Sequence[int], vectors: NDArray[np.float32]) -> None:
        with self._asking():
            for start in range(0, len(ids), ROWS):
                part = slice(start, start + ROWS)
                self._collection.upsert(ids=[_id(i) for i in ids[part]], embeddings=vectors[part])

    def widen(self, rows: int) -> None:
        wanted = width(self._ef_search, rows)
        with self._asking():
            if self._collection.configuration_json["hnsw"]["ef_search"] != wanted:
                self._collection.modify(configuration={"hnsw": {"ef_search": wanted}})

    def remove(self, ids: Sequence[int]) -> None:
        with self._asking():
            for start in range(0, len(ids), ROWS):
                self._collection.delete(ids=[_id(i) for i in ids[start : start + ROWS]])

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        if not k:
            return []
        with self._asking():  # fewer rows than k are all returned; asking for their number first costs a third more
            found = self._collection.query(query_embeddings=[vector], n_results=k, include=["distances"])
        distances = zip(found["ids"][0], found["distances"][0], strict=True)
        hits = [(int(i[2:]), round(1.0 - float(d), DIGITS)) for i, d in distances]
        return sorted(hits, key=lambda hit: (-hit[1], hit[0]))  # equal scores in a fixed order

    def count(self) -> int:
        with self._asking():
            return int(self._collection.count())

    def ids(self) -> list[int]:
        found: list[int] = []
        with self._asking():
            while page := self._collection.get(include=[], limit=ROWS, offset=len(found))["ids"]:
                found += [int(i[2:]) for i in page]
        return sorted(found)

    def close(self) -> None:
        self._client.close()


def open_embedded(
    folder: Path, dimension: int, store: Store, create: bool = False, space: Space | None = None
) -> VectorIndex:
    """The collection of the chunks, or of `space`, in a PersistentClient on `folder`. Any failure is damage: the
    catalog can rebuild it."""

    def failure(error: Exception) -> StoreError:
        return IndexDamaged(f"{folder}: Chroma can't use it: {error}", MEND)

    if not create and not folder.is_dir():  # Chroma would make it, and it would look whole
        raise IndexDamaged(f"{folder}: the dense index is missing", MEND)
    chromadb = _chromadb()
    folder.mkdir(parents=True, exist_ok=True)
    client = None
    try:
        client = chromadb.PersistentClient(str(folder), settings=chromadb.config.Settings(anonymized_telemetry=False))
        return _Collection(
            client, space or "chunks", dimension, store.ef_search, str(folder), create, failure, saves=True
        )
    except Exception as error:
        if client is not None:
            client.close()
        else:  # Chroma keeps a client whose start failed, and would hand it out for this path from now on
            from chromadb.api.shared_system_client import SharedSystemClient

            SharedSystemClient._identifier_to_system.pop(str(folder), None)
        raise error if isinstance(error, StoreError) else failure(error) from error


def drop_from_server(name: str, store: Store) -> None:
    """Remove a collection that nobody needs. What can't be reached now stays, and costs only room."""
    with suppress(Exception):
        client = _chromadb().HttpClient(host=store.host, port=store.port, ssl=store.ssl)
        try:
            client.delete_collection(name)
        finally:
            client.close()


_HEADER = struct.Struct("<iQQQQ")  # hnswlib's: version, offset, elements there is room for, elements, bytes of one


def blank_unused(folder: Path) -> None:
    """Zero what hnswlib wrote behind the last element: memory as it found it, in which anything may lie that this
    process ever held, a deleted vector or a key among it. For a dense index that is closed. Raises StoreError where the
    files aren't laid out as they are known to be.
    """
    for header in folder.glob("*/header.bin"):
        found = header.read_bytes()[: _HEADER.size].ljust(_HEADER.size, b"\0")
        version, _, room, elements, size = _HEADER.unpack(found)
        if version != 1 or elements > room:
            raise StoreError(
                f"{header}: isn't laid out as Chroma's files were", "use the version of chromadb asked for"
            )
        for name, bytes_each in (("data_level0.bin", size), ("length.bin", 4)):
            file = header.with_name(name)
            total = file.stat().st_size
            if total > elements * bytes_each:
                os.truncate(file, elements * bytes_each)
                os.truncate(file, total)  # grown again: zeros


def open_server(
    name: str, dimension: int, store: Store, create: bool = False, emptied: bool = False
) -> VectorIndex | None:
    """A collection on a running `chroma run`, which is safe for several writers; None: the server hasn't got it.

    `emptied`: what it held is dropped.
    """
    chromadb = _chromadb()
    from chromadb.errors import NotFoundError

    where = f"{store.host}:{store.port}"

    def failure(error: Exception) -> StoreError:
        if isinstance(error, NotFoundError):  # dropped while we held it
            return IndexDamaged(f"{where}: the collection {name} is gone", "run `rag sync`")
        return StoreError(
            f"the Chroma server at {where} can't be used: {error}",
            f"start one (chroma run --host {store.host} --port {store.port}), or set store.kind: chroma",
        )

    client = None
    try:
        client = chromadb.HttpClient(
            host=store.host,
            port=store.port,
            ssl=store.ssl,
            settings=chromadb.config.Settings(anonymized_telemetry=False),
        )
        if emptied:
            with suppress(NotFoundError):
                client.delete_collection(name)
        return _Collection(client, name, dimension, store.ef_search, where, create, failure)
    except NotFoundError:
        assert client is not None
        client.close()
        return None
    except Exception as error:
        if client is not None:
            client.close()
        raise error if isinstance(error, StoreError) else failure(error) from error
