"""Choose the weights of hybrid search on squad-train-du alone: `dense_weight`, `proximity`, its window and depth.

    python training/fusion.py [--questions 1000]

Every paragraph is in the index; a setting is judged by the rank of the question's own. No test set is read.
"""

from __future__ import annotations

import argparse
import sys
from functools import lru_cache
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
from common import folder_of, open_rag, rank_of_file, ranking_metrics
from extractive import load

from rag.retrieve import search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=1000)
    args = parser.parse_args()
    paragraphs, questions = load()
    chosen = np.random.default_rng(1).choice(len(questions), args.questions, replace=False)
    asked = [questions[i] for i in sorted(chosen)]
    folder = folder_of("squad-train-all", {f"{i:05d}.txt": text for i, text in enumerate(paragraphs)})
    grid = [
        *product((0.5, 0.6, 0.7), (0.0, 0.5, 0.75, 1.0), (25,), (20,)),
        *product((0.6,), (0.75,), (15, 40, 1_000_000), (20,)),
        *product((0.6,), (0.75,), (25,), (10, 40)),
    ]
    with open_rag(folder) as rag:
        rag.retriever._embed = lru_cache(maxsize=None)(rag.retriever._embed)  # a question is embedded once
        for weight, proximity, window, read in grid:
            search.WINDOW, search.READ = window, read
            settings = {"dense_weight": weight, "proximity": proximity}
            ranks = [rank_of_file(rag, q["question"], f"{q['paragraph']:05d}.txt", **settings) for q in asked]
            print({**settings, "window": window, "read": read}, ranking_metrics(ranks), flush=True)


if __name__ == "__main__":
    main()
