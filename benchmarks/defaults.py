"""Are the defaults the best choice? Splitters and retrieval crossed at the shipped length, on four public sets.

    python benchmarks/defaults.py

A setting is kept as default unless another is shown to be better, beyond the noise, on the sets together: for each set
the table says which cells are worse than its best one. A second sweep varies the length alone: longer chunks hold more
answers and show more in vain, so it can't be ranked by recall; its char_iou@5 stands beside. Interrupted, it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from common import DATA, ROOT, WORK, folder_of, need, report

from rag import Rag
from rag.config import apply_settings, load_config
from rag.evaluate.formats import read_dataset
from rag.evaluate.judgements import cleaned
from rag.evaluate.sweep import Sweep, cells, sweep
from rag.load.decode import clean

KINDS = ("sentence", "recursive", "markdown", "semantic")
SEARCHES = ("dense", "lexical", "hybrid")
DEFAULT = ("sentence", "200", "hybrid")
SAME_LENGTH = {"split.kind": KINDS, "split.max_tokens": ("200",), "retrieve.kind": SEARCHES}
LENGTHS = {"split.kind": ("sentence",), "split.max_tokens": ("120", "200", "254"), "retrieve.kind": ("hybrid",)}


@dataclass(frozen=True)
class Data:
    name: str
    file: str
    by: str  # the figure that ranks
    documents: int | None = None  # so many, drawn
    questions: int | None = None


SETS = (
    Data("Chroma's chunking set", "chroma-chunking/questions_df.csv", "char_recall@5"),
    Data("COVID-QA, 40 papers", "covid-qa/covid-qa.json", "span_recall@5", documents=40),
    Data("XQuAD-en", "xquad/xquad.en.json", "recall@1", questions=600),
    Data("SQuAD v1.1", "squad/dev-v1.1.json", "recall@1", questions=600),
)


def measured(data: Data) -> tuple[Sweep, Sweep]:
    dataset = cleaned(read_dataset(need(DATA / data.file)), clean)
    assert dataset.documents is not None
    draw = np.random.default_rng(0)
    names = sorted(dataset.documents)
    chosen = set(draw.permutation(names)[: data.documents].tolist()) if data.documents else set(names)
    asked = [j for j in dataset.judgements if all(e.source in chosen for e in j.places)]
    if data.questions:
        asked = [asked[i] for i in sorted(draw.permutation(len(asked))[: data.questions])]
    place = f"defaults-{Path(data.file).parts[0]}"
    folder = folder_of(place, {name: text for name, text in dataset.documents.items() if name in chosen})
    config = apply_settings(load_config(ROOT / "config.yaml"), {"documents.path": folder})
    dataset = replace(dataset, judgements=tuple(asked), documents=None)
    metrics = " ".join(dict.fromkeys((data.by, "span_recall@5", "char_iou@5")))

    def run(grid: Mapping[str, Sequence[str]]) -> Sweep:
        wanted = cells(grid, lambda settings: apply_settings(config, settings))
        return sweep(Rag, dataset, wanted, WORK / place / "sweep", by=data.by, metrics=metrics, answers=False)

    return run(SAME_LENGTH), run(LENGTHS)


def table(found: Sweep) -> dict[str, Any]:
    rows = {}
    for s in found.standings:
        figures = {f.name: [round(100 * v, 2) for v in (f.value, f.low, f.high)] for f in s.measured.report.figures}
        rows[" ".join(value for _, value in s.measured.cell.settings)] = {
            "value": figures[found.by],
            "char_iou@5": figures["char_iou@5"][0],
            "difference": [round(100 * v, 2) for v in (s.difference, s.low, s.high)],
            "worse": s.behind,
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    result: dict[str, Any] = {"default": " ".join(DEFAULT)}
    for data in SETS:
        same, lengths = measured(data)
        asked = same.best.measured.report.counts["questions"]
        result[data.name] = {"by": data.by, "questions": asked, "cells": table(same), "lengths": table(lengths)}
        print(data.name, result[data.name], flush=True)
    report("defaults", result)


if __name__ == "__main__":
    main()
