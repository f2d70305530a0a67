"""Warm search at 10,000 chunks of real text: median and 95th percentile of `Rag.search`, hybrid, top 5.

The same run times an exact dense search and the embedding of the question alone, so the parts can be compared.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from common import DATA, folder_of, open_rag, read_squad, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=300)
    args = parser.parse_args()
    paragraphs, asked = read_squad(DATA / "squad" / "dev-v1.1.json")
    more, _ = read_squad(DATA / "squad" / "dev-v2.0.json")
    text = " ".join([*paragraphs.values(), *more.values()]).split()
    size = max(40, len(text) // args.chunks)  # words: few enough that a file is a chunk
    texts = {f"{i:05d}.txt": " ".join(text[i * size : (i + 1) * size]) for i in range(args.chunks)}
    texts = {name: body or f"empty {name}" for name, body in texts.items()}
    folder = folder_of("latency", texts)
    with open_rag(folder) as rag:
        questions = [q["question"] for q in asked[:: max(1, len(asked) // args.questions)]][: args.questions]
        for q in asked[1:21]:  # others: a vector that was made once is kept
            rag.search(q["question"])
        seconds: dict[str, list[float]] = {"search": []}
        cpu = time.process_time()
        for q in questions:
            start = time.perf_counter()
            found = rag.retrieve(q)
            seconds["search"].append(time.perf_counter() - start)
            for name, value in found.timings.items():
                seconds.setdefault(name, []).append(value)
        cpu = time.process_time() - cpu
        chunks = rag.status()["chunks"]
    ms = {k: {"p50": round(1000 * float(np.percentile(v, 50)), 2), "p95": round(1000 * float(np.percentile(v, 95)), 2)}
          for k, v in seconds.items()}  # fmt: skip
    report("search-latency", {"chunks": chunks, "questions": len(questions), "ms": ms,
                              "cpu ms per search": round(1000 * cpu / len(questions), 2)})  # fmt: skip


if __name__ == "__main__":
    main()
