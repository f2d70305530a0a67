"""How long does an index take to mend itself from the catalog, and what do its safeguards cost?

    python benchmarks/mend.py [--chunks 20000] [--dimension 384]

An index of so many chunks, with vectors drawn around as many centres as documents have themes (HNSW takes longer over
vectors that have no neighbours). Then, in seconds: both derived indexes made anew (`rag doctor --repair`), search
meanwhile, the catalog read against its checksums, its copy made, and put back after the catalog was damaged. No model
runs. Anything else on the machine makes the figures worse; `load` is how many programs waited for a core meanwhile.
"""

from __future__ import annotations

import argparse
import os
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from common import report

from rag.config import Store
from rag.store import Catalog, IndexReader, IndexWriter
from rag.store.copies import keep_copy
from rag.store.index import generation_folder
from rag.store.repair import repair, restore_copy
from rag.store.seal import is_whole
from rag.types import Chunk, Location, Outcome, Source, Span

PER_FILE = 20
WORDS = [
    "heron",
    "river",
    "copper",
    "melts",
    "waits",
    "number",
    "fish",
    "apple",
    "shallow",
    "degree",
    "iron",
    "table",
    "frog",
    "stands",
    "thirty",
    "day",
    "refund",
]


def vectors_of(count: int, dimension: int, draw: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float32]]:
    centres = draw.normal(size=(max(1, count // 50), dimension))
    made = centres[draw.integers(len(centres), size=count)] + 0.7 * draw.normal(size=(count, dimension))
    return (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)


def put(writer: IndexWriter, count: int, vectors: np.ndarray[Any, Any], draw: np.random.Generator) -> None:
    catalog = writer.catalog
    for first in range(0, count, PER_FILE):
        texts = [" ".join(draw.choice(WORDS, 120)) + ".\n" for _ in range(min(PER_FILE, count - first))]
        starts = np.cumsum([0, *map(len, texts)])
        name = f"{first:06}.txt"
        chunks = [Chunk(t, Span(int(s), int(s) + len(t)), Location(None, i + 1)) for i, (s, t) in
                  enumerate(zip(starts, texts, strict=False))]  # fmt: skip
        keys = [f"{first + i:016}".encode() for i in range(len(texts))]
        with catalog.transaction():
            catalog.put_vectors(keys, vectors[first : first + len(texts)])
            content = catalog.put_content(
                name, Source(name, "".join(texts), "text"), chunks, [f"1{k.decode()}" for k in keys], keys
            )
            catalog.put_file(writer.next_generation, name, 1, 1, 1, name, content, Outcome.INDEXED, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--chunks", type=int, default=20_000)
    parser.add_argument("--dimension", type=int, default=384)
    given = parser.parse_args()
    draw = np.random.default_rng(1)
    vectors = vectors_of(given.chunks, given.dimension, draw)
    store, seconds = Store(), dict[str, float]()

    def clock(name: str, start: float) -> None:
        seconds[name] = round(time.perf_counter() - start, 3)

    with TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        with IndexWriter(index, store) as writer:
            put(writer, given.chunks, vectors, draw)
            writer.check_settings({"model": "none", "dimension": given.dimension}, {}, reindex=False)
            start = time.perf_counter()
            writer.publish()
            clock("first build", start)
            start = time.perf_counter()
            keep_copy(writer.catalog, store)
            clock("copy of the catalog, made and proven", start)
        file = index / "catalog.sqlite3"
        with closing(Catalog(file, readonly=True)) as catalog:
            start = time.perf_counter()
            catalog.altered()
            clock("every row against its checksum", start)
            here = generation_folder(index, 1)
            start = time.perf_counter()
            is_whole(here)
            clock("derived files against their checksums", start)
        next(here.glob("chroma/*/data_level0.bin")).write_bytes(b"")
        with closing(IndexReader(index, store)) as reader:
            start = time.perf_counter()
            reader.dense(vectors[0], 50, 1)
            clock("first search of the damaged index", start)
            start = time.perf_counter()
            reader.dense(vectors[1], 50, 1)
            clock("the next search of it", start)
        start = time.perf_counter()
        repair(index, store)
        clock("repair", start)
        size = file.stat().st_size
        data = bytearray(file.read_bytes())
        data[4096 * 3 : 4096 * 40] = bytes(4096 * 37)
        file.write_bytes(data)
        start = time.perf_counter()
        restore_copy(index, store)
        clock("catalog put back from its copy, and repair", start)
    result = {"chunks": given.chunks, "dimension": given.dimension, "catalog_mb": round(size / 2**20, 1)}
    report("mend", {**result, "load": round(os.getloadavg()[0], 1), "seconds": seconds})


if __name__ == "__main__":
    main()
