"""COVID-QA, long papers: how often does one of five chunks hold the whole answer, per splitter?

A sweep over split.kind with everything else as shipped (`rag sweep` does the same for any folder). Longer chunks hold
more, so the mean length stands beside the recall, and char_iou@5 says what was shown in vain. `--papers N`: so many of
the 98, drawn with seed 0. `--rerank none,builtin`: each kind with each of these.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
from common import DATA, ROOT, WORK, folder_of, need, report

from rag import Rag
from rag.config import apply_settings, load_config
from rag.evaluate.formats import read_dataset
from rag.evaluate.judgements import cleaned
from rag.evaluate.sweep import cells, sweep
from rag.load.decode import clean

METRICS = "span_recall@1 span_recall@5 char_recall@5 char_iou@5"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default="sentence,recursive,markdown,token,document,semantic")
    parser.add_argument("--rerank", default="none")
    parser.add_argument("--papers", type=int, default=98)
    args = parser.parse_args()
    dataset = cleaned(read_dataset(need(DATA / "covid-qa" / "covid-qa.json")), clean)
    assert dataset.documents is not None
    names = sorted(dataset.documents)
    chosen = set(np.random.default_rng(0).permutation(names)[: args.papers].tolist())
    documents = {name: text for name, text in dataset.documents.items() if name in chosen}
    asked = tuple(j for j in dataset.judgements if all(e.source in chosen for e in j.places))
    folder = folder_of(f"covid-qa-{args.papers}", documents)
    config = apply_settings(load_config(ROOT / "config.yaml"), {"documents.path": folder})
    choices = {"split.kind": args.kinds.split(","), "retrieve.rerank": args.rerank.split(",")}
    wanted = cells(choices, lambda settings: apply_settings(config, settings))
    dataset = replace(dataset, judgements=asked, documents=None)
    found = sweep(Rag, dataset, wanted, WORK / f"covid-qa-{args.papers}" / "sweep", metrics=METRICS, answers=False)
    rows = {}
    for s in found.standings:
        r = s.measured.report
        figures = {f.name: [round(100 * v, 2) for v in (f.value, f.low, f.high)] for f in r.figures}
        kind, rerank = (value for _, value in s.measured.cell.settings)
        rows[kind if args.rerank == "none" else f"{kind}, rerank {rerank}"] = {
            **figures,
            "difference": [round(100 * v, 2) for v in (s.difference, s.low, s.high)],
            "worse than the first": s.behind,
            "chunks": r.counts["chunks"],
            "mean characters": round(r.counts["characters"] / r.counts["chunks"]),
        }
        print(rows, flush=True)
    name = "covid-qa" + ("" if args.papers >= len(names) else f"-{args.papers}-papers")
    report(
        name if args.rerank == "none" else f"{name}-rerank",
        {"papers": len(documents), "questions": len(asked), "by": found.by, "kinds": rows},
    )


if __name__ == "__main__":
    main()
