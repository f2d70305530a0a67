"""Embedding 3,000 chunks of real text: CPU seconds against LangChain's HuggingFaceEmbeddings with its defaults.

Both run on the same texts in this process, alternating; the ratio of CPU seconds is the figure. Also: how far the
vectors are from each other.
"""

from __future__ import annotations

import argparse

import numpy as np
from common import DATA, read_squad, report, timed

from rag.config import Embed
from rag.embed import TextEmbedder, resolve_model


def texts(n: int) -> list[str]:
    """Chunks of the chunking set's corpora as the default splitter cuts them, then SQuAD's paragraphs."""
    from rag import Rag

    splitter = Rag.open().splitter
    from rag.types import Source

    corpora = sorted((DATA / "chroma-chunking" / "corpora").glob("*.md"))
    chunks = [c.text for p in corpora for c in splitter.split(Source(p.name, p.read_text(encoding="utf-8"), "text"))]
    paragraphs, _ = read_squad(DATA / "squad" / "dev-v1.1.json")
    return [*chunks, *paragraphs.values()][:n]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    import logging

    logging.disable(logging.WARNING)
    from langchain_huggingface import HuggingFaceEmbeddings

    given = texts(args.chunks)
    model = str(resolve_model("all-MiniLM-L6-v2").folder)
    theirs = HuggingFaceEmbeddings(model_name=model)
    ours = {p: TextEmbedder(Embed(precision=p)) for p in ("float32", "bfloat16")}
    systems = {"HuggingFaceEmbeddings": theirs.embed_documents} | {p: e.passage_vectors for p, e in ours.items()}
    for run in systems.values():
        run(given[:64] * 2)  # weights loaded, kernels chosen
    cpu: dict[str, list[float]] = {name: [] for name in systems}
    wall: dict[str, list[float]] = {name: [] for name in systems}
    vectors = {}
    for _ in range(args.rounds):
        for name, run in systems.items():
            with timed() as seconds:
                vectors[name] = np.asarray(run(given))
            cpu[name].append(seconds["cpu_s"])
            wall[name].append(seconds["wall_s"])
            print(name, seconds, flush=True)
    best = {name: min(values) for name, values in cpu.items()}
    reference = vectors["HuggingFaceEmbeddings"]
    tokens = sum(map(len, ours["float32"].tokenizer.encode_batch(given)))
    result = {"chunks": len(given), "tokens": tokens, "rounds": args.rounds}
    for name in systems:
        cosine = (vectors[name] * reference).sum(axis=1)
        result[name] = {
            "cpu_s": best[name],
            "wall_s": min(wall[name]),
            "cpu ratio": round(best["HuggingFaceEmbeddings"] / best[name], 2),
            "wall ratio": round(min(wall["HuggingFaceEmbeddings"]) / min(wall[name]), 2),
            "least cosine": round(float(cosine.min()), 6),
        }
    report("embedding", result)


if __name__ == "__main__":
    main()
