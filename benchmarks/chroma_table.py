"""Chroma's table for all-MiniLM-L6-v2: eight rows, five chunks by cosine, one collection over all five corpora.

    python benchmarks/chroma_table.py --rows recursive,token,cluster

Each row twice. "as published": chunks made as the authors' code makes them (LangChain's recursive splitter in the
model's tokens; for cluster its pieces, and our dynamic programming with their limit, a number of pieces), embedded by
us, nearest by exact cosine. "rag": our own splitter of that kind through the whole pipeline, at the same size in the
model's tokens, its two special tokens included. What the token rows were counted in isn't known (see omega.py), so
they have the second only.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from chroma import SET, SPECIAL_TOKENS, Asked, Spans, corpora, means, omega, questions, recursive, scores
from common import WORK, folder_of, need, open_rag, report

from rag.config import Embed
from rag.embed import TextEmbedder
from rag.split.semantic import PIECE_TOKENS, segment
from rag.tokens import TiktokenTokenizer
from rag.types import Span

K = 5
PRECISION = "float32"  # `auto` would differ between machines; an embedder knows its own only once it has computed
PUBLISHED = {  # kind, size, overlap -> recall, precision, precision_omega, IoU; mean size where it varies
    ("recursive", 250, 125): (78.7, 4.9, 21.9, 4.9, 180),
    ("token", 250, 125): (82.4, 3.6, 11.4, 3.5, None),
    ("recursive", 250, 0): (78.5, 5.4, 26.7, 5.4, 162),
    ("token", 250, 0): (77.1, 3.3, 16.4, 3.3, None),
    ("recursive", 200, 0): (75.7, 6.5, 31.2, 6.5, 128),
    ("token", 200, 0): (76.6, 4.1, 19.1, 4.1, None),
    ("cluster", 250, 0): (77.3, 6.1, 28.6, 6.0, 168),
    ("cluster", 200, 0): (75.2, 7.2, 33.6, 7.2, 102),
}
NAMES = ("recall", "precision", "omega", "iou", "mean tokens")
OURS = {"recursive": "recursive", "token": "token", "cluster": "semantic"}


class Vectors:
    """Embeds each text once, also across runs."""

    def __init__(self, embedder: TextEmbedder) -> None:
        self.embedder, self.file = embedder, WORK / f"chroma-vectors-{PRECISION}.npz"
        self.known: dict[str, Any] = {}
        if self.file.exists():
            kept = np.load(self.file)
            self.known = dict(zip(kept["keys"].tolist(), kept["vectors"], strict=True))

    def __call__(self, texts: Sequence[str]) -> Any:
        keys = [hashlib.sha256(t.encode()).hexdigest() for t in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in self.known}
        if new:
            self.known.update(zip(new, self.embedder.passage_vectors([*new.values()]), strict=True))
            self.file.parent.mkdir(parents=True, exist_ok=True)
            np.savez(self.file, keys=np.array([*self.known]), vectors=np.stack([*self.known.values()]))
        return np.stack([self.known[key] for key in keys])


def clusters(texts: dict[str, str], size: int, embed: Vectors) -> Spans:
    """Theirs: pieces of up to 50 of cl100k's tokens, at most size // 50 of them in a chunk."""
    pieces = recursive(texts, PIECE_TOKENS, 0, TiktokenTokenizer("cl100k_base").count)
    made = {}
    for name, spans in pieces.items():
        spans = _in_order(spans, texts[name])
        index = np.arange(len(spans))
        reach = np.minimum(index + size // PIECE_TOKENS - 1, len(spans) - 1)
        chosen = segment(embed([texts[name][s.start : s.end] for s in spans]), reach)
        made[name] = [Span(spans[first].start, spans[last].end) for first, last in chosen]
    return made


def _in_order(spans: list[Span], text: str) -> list[Span]:
    """A short piece may stand several times: each where it comes, not where it stands first."""
    placed, at = [], 0
    for span in spans:
        piece = span.cut(text)
        at = text.index(piece, at)
        placed.append(Span(at, at + len(piece)))
        at += len(piece)
    return placed


def nearest(asked: Asked, texts: dict[str, str], spans: Spans, embed: Vectors) -> list[list[tuple[str, Span]]]:
    """The K chunks of all corpora with the highest cosine, for each question."""
    chunks = [(name, span) for name, found in spans.items() for span in found]
    vectors = embed([span.cut(texts[name]) for name, span in chunks])
    queries = np.stack([embed.embedder.query_vector(question) for question, _, _ in asked])
    order = np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :K]
    return [[chunks[i] for i in row] for row in order.tolist()]


def measured(
    asked: Asked, texts: dict[str, str], spans: Spans, found: Sequence[Sequence[tuple[str, Span]]], count: Any
) -> dict[str, Any]:
    rows = [scores(refs, corpus, hits) for (_, corpus, refs), hits in zip(asked, found, strict=True)]
    sizes = [count(span.cut(texts[name])) + SPECIAL_TOKENS for name, some in spans.items() for span in some]
    sized = {"mean tokens": round(float(np.mean(sizes))), "chunks": len(sizes)}
    return {**means(rows), "omega": round(omega(asked, spans), 2), **sized}


def through_rag(kind: str, size: int, overlap: int, asked: Asked, texts: dict[str, str], count: Any) -> dict[str, Any]:
    folder = folder_of("chroma-chunking", {f"{n}.txt": t for n, t in texts.items()})  # txt: offsets are in plain text
    settings = {"kind": OURS[kind], "max_tokens": size - SPECIAL_TOKENS, "overlap_tokens": overlap}
    options = {f"split__{key}": value for key, value in settings.items()} | {"embed__precision": PRECISION}
    index = "-".join(["table", *map(str, settings.values())])
    with open_rag(folder, index, **options) as rag:
        spans = {}
        for name, text in texts.items():
            assert rag.source(f"{name}.txt").text == text, f"{name}: loading changed the text"
            spans[name] = [c.chunk.span for c in _chunks(rag, f"{name}.txt")]
        found = []
        for question, _, _ in asked:
            hits = rag.search(question, k=K, kind="dense", fold_duplicates=False)
            found.append([(p.source.removesuffix(".txt"), p.span) for p in hits])
    return measured(asked, texts, spans, found, count)


def _chunks(rag: Any, path: str) -> list[Any]:
    catalog = rag.reader.catalog
    with catalog.snapshot() as generation:
        rows: list[Any] = catalog.chunks_of(catalog.file_at(path, generation).content_id)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="recursive,token,cluster")
    wanted = parser.parse_args().rows.split(",")
    need(SET)
    asked, texts = questions(), corpora()
    embedder = TextEmbedder(Embed(precision=PRECISION))
    embed, count = Vectors(embedder), embedder.tokenizer.count
    table: dict[str, Any] = {}
    for (kind, size, overlap), published in PUBLISHED.items():
        if kind not in wanted:
            continue
        row: dict[str, Any] = {"published": dict(zip(NAMES, published, strict=True))}
        spans: Spans | None = None
        if kind == "recursive":
            spans = recursive(texts, size, overlap, lambda text: count(text) + SPECIAL_TOKENS)
        elif kind == "cluster":
            spans = clusters(texts, size, embed)
        if spans:
            row["as published"] = measured(asked, texts, spans, nearest(asked, texts, spans, embed), count)
        row["rag"] = through_rag(kind, size, overlap, asked, texts, count)
        table[f"{kind} {size}/{overlap}"] = row
        print(kind, size, overlap, row, flush=True)
    report("chroma-table", {"questions": len(asked), "rows": table})
    embedder.close()


if __name__ == "__main__":
    main()
