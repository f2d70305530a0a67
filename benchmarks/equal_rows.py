"""Do rows of one vector hide the others from Chroma's search? Recall@10 of 200 random vectors beside n equal ones.

    python benchmarks/equal_rows.py

As Chroma takes them (a row each) and as a dense index holds them (docs/decisions/0016: each vector once); and behind
them rows that differ by so much in each number, of about 1, as near copies of a text may, and are kept. 32
dimensions, the index's own settings; a question is one of the 200.
"""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from common import report

from rag.config import Store
from rag.store.vectors import exact_search, open_embedded

OTHERS, DIMENSION, K, ASKED = 200, 32, 10, 50


def recall(vectors: np.ndarray[Any, np.dtype[np.float32]], others: range) -> float:
    """The mean share of the exact ten that is found, equal rows aside: which of those come is a matter of order."""
    ids = range(len(vectors))
    with tempfile.TemporaryDirectory() as folder, closing(
        open_embedded(Path(folder) / "chroma", DIMENSION, Store(), create=True)
    ) as index:  # fmt: skip
        index.add(ids, vectors)
        shares = []
        for number in others[:ASKED]:
            wanted = {i for i, _ in exact_search(vectors, ids, vectors[number], K) if i in others}
            found = {i for i, _ in index.search(vectors[number], K)}
            shares.append(len(wanted & found) / len(wanted))
    return round(float(np.mean(shares)), 3)


def main() -> None:
    draw = np.random.default_rng(0)
    found: dict[str, Any] = {}
    for equal in (100, 1000, 5000):
        others = draw.normal(size=(OTHERS, DIMENSION)).astype(np.float32)
        one = draw.normal(size=(1, DIMENSION)).astype(np.float32)
        many = np.tile(one, (equal, 1))
        found[f"{equal:,} equal rows"] = {
            "before the others": recall(np.concatenate([many, others]), range(equal, equal + OTHERS)),
            "behind them": recall(np.concatenate([others, many]), range(OTHERS)),
            "kept once": recall(np.concatenate([others, one]), range(OTHERS)),
        }
        for apart in (1e-7, 1e-3, 1e-2):
            nearly = (many + apart * draw.normal(size=many.shape)).astype(np.float32)
            found[f"{equal:,} equal rows"][f"{apart:g} apart"] = recall(np.concatenate([others, nearly]), range(OTHERS))
    report("equal-rows", found)


if __name__ == "__main__":
    main()
