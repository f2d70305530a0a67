"""Chroma's chunking evaluation through the real pipeline: recall, precision and IoU of characters, five chunks.

Published, all-MiniLM-L6-v2, about 200 cl100k tokens without overlap: recursive 75.7 recall / 6.5 IoU (DATA.md's table).

    python benchmarks/chroma_chunking.py --split recursive --tokens 200 --count tiktoken:cl100k_base
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict

import numpy as np
from common import DATA, KINDS, folder_of, need, open_rag, report

from rag.evaluate.spans import union
from rag.types import Span


def questions() -> list[dict]:
    with need(DATA / "chroma-chunking" / "questions_df.csv").open(encoding="utf-8", newline="") as stream:
        return [
            {
                "question": row["question"],
                "corpus": row["corpus_id"],
                "references": [Span(r["start_index"], r["end_index"]) for r in json.loads(row["references"])],
            }
            for row in csv.DictReader(stream)
        ]


def measure(references: list[Span], retrieved: list[Span]) -> tuple[float, float, float]:
    """Recall, precision, IoU as the report defines them: retrieved characters counted as often as they come."""
    covered = sum(r.overlap(c) for r in union(references) for c in union(retrieved))
    total = sum(len(r) for r in union(references))
    shown = sum(len(c) for c in retrieved)
    return covered / total, covered / shown if shown else 0.0, covered / (shown + total - covered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", default="recursive")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--overlap", type=int, default=0)
    parser.add_argument("--count", default="tiktoken:cl100k_base", help="or: embedder")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--prepend", default="none")
    args = parser.parse_args()
    texts = {p.name: p.read_text(encoding="utf-8") for p in sorted((DATA / "chroma-chunking" / "corpora").glob("*.md"))}
    # txt, since the report's splitters know nothing of Markdown and its offsets are into the plain file
    folder = folder_of("chroma-chunking", {n.replace(".md", ".txt"): t for n, t in texts.items()})
    setting = (args.split, args.tokens, args.overlap, args.count.replace(":", "_"), args.precision, args.prepend)
    index = "-".join(["index", *map(str, setting)])
    settings = {
        "split__kind": args.split,
        "split__max_tokens": args.tokens,
        "split__overlap_tokens": args.overlap,
        "split__tokenizer": args.count,
        "split__prepend": args.prepend,
        "embed__precision": args.precision,
    }
    asked = questions()
    rows = {}
    with open_rag(folder, index, **settings) as rag:
        for name in texts:
            assert rag.source(name.replace(".md", ".txt")).text == texts[name], f"{name}: loading changed the text"
        chunks = rag.status()["chunks"]
        for kind, override in KINDS.items():
            scores = defaultdict(list)
            for q in asked:
                found = rag.search(q["question"], k=5, **override)
                mine = [p.span for p in found if p.source == f"{q['corpus']}.txt"]
                others = sum(len(p.text) for p in found) - sum(map(len, mine))
                recall, _, _ = measure(q["references"], mine)
                shown = sum(map(len, mine)) + others
                total = sum(map(len, union(q["references"])))
                scores["recall"].append(recall)
                scores["precision"].append(recall * total / shown if shown else 0.0)
                scores["iou"].append(recall * total / (shown + total - recall * total))
            row = {m: round(100 * float(np.mean(v)), 2) for m, v in scores.items()}
            rows[kind] = {**row, "recall_se": round(100 * float(np.std(scores["recall"]) / len(asked) ** 0.5), 2)}
            print(kind, rows[kind], flush=True)
    report(f"chroma-chunking-{index.removeprefix('index-')}", {"chunks": chunks, "questions": len(asked), **rows})


if __name__ == "__main__":
    main()
