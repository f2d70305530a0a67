"""What the benchmarks on Chroma's chunking set share: its questions, the splitters it was published with, its measures.

Smith and Troynikov, "Evaluating Chunking Strategies for Retrieval", Chroma technical report, 2024.

Sizes there are tokens. With text-embedding-3-large they are cl100k's. With all-MiniLM-L6-v2 they are the model's own,
and each string that the recursive splitter measures counts with its two special tokens: only so do mean sizes and
figures come out as published. A chunk stands where its text, without a final full stop, is first found.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import numpy as np
from common import DATA, need

from rag.evaluate.spans import covered, precision_omega, union
from rag.types import Span

SET = DATA / "chroma-chunking"
SEPARATORS = ["\n\n", "\n", ".", "?", "!", " ", ""]
SPECIAL_TOKENS = 2  # [CLS] and [SEP]

Spans = dict[str, list[Span]]  # corpus -> its chunks
Asked = list[tuple[str, str, list[Span]]]  # question, corpus, references


def questions() -> Asked:
    with need(SET / "questions_df.csv").open(encoding="utf-8", newline="") as stream:
        return [
            (
                row["question"],
                row["corpus_id"],
                [Span(r["start_index"], r["end_index"]) for r in json.loads(row["references"])],
            )
            for row in csv.DictReader(stream)
        ]


def corpora() -> dict[str, str]:
    return {p.stem: p.read_text(encoding="utf-8") for p in sorted(need(SET / "corpora").glob("*.md"))}


# ---- the splitters it was published with -------------------------------------------------------------------------


def recursive(texts: Mapping[str, str], size: int, overlap: int, length: Callable[[str], int]) -> Spans:
    """LangChain's RecursiveCharacterTextSplitter. `length`: of any string, in tokens."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size,
        chunk_overlap=overlap,
        length_function=lru_cache(maxsize=None)(length),
        separators=SEPARATORS,
        keep_separator=True,
    )
    return {name: located(splitter.split_text(text), text) for name, text in texts.items()}


def fixed(texts: Mapping[str, str], size: int, overlap: int) -> Spans:
    """LangChain's TokenTextSplitter, in cl100k's tokens."""
    from langchain_text_splitters import TokenTextSplitter

    splitter = TokenTextSplitter(encoding_name="cl100k_base", chunk_size=size, chunk_overlap=overlap)
    return {name: located(splitter.split_text(text), text) for name, text in texts.items()}


def located(pieces: Sequence[str], text: str) -> list[Span]:
    spans = []
    for piece in pieces:
        piece = piece.removesuffix(".")
        start = text.find(piece)
        if start >= 0:  # a token that holds half a character is no text
            spans.append(Span(start, start + len(piece)))
    return spans


# ---- its measures ------------------------------------------------------------------------------------------------


def omega(asked: Asked, spans: Spans) -> float:
    """Mean precision_omega, x100."""
    return 100 * float(np.mean([precision_omega(references, spans[corpus]) for _, corpus, references in asked]))


def scores(
    references: Sequence[Span], corpus: str, retrieved: Sequence[tuple[str, Span]]
) -> tuple[float, float, float]:
    """Recall, precision, IoU of (corpus, span) pairs. Retrieved characters count as often as they come."""
    wanted = union(references)
    hit = covered(wanted, union([span for name, span in retrieved if name == corpus]))
    shown, total = sum(len(span) for _, span in retrieved), sum(map(len, wanted))
    return hit / total, hit / shown if shown else 0.0, hit / (shown + total - hit)


def means(rows: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    """x100, with the standard error of recall."""
    columns = np.asarray(rows)
    recall, precision, iou = 100 * columns.mean(axis=0)
    error = 100 * columns[:, 0].std() / len(rows) ** 0.5
    named = {"recall": recall, "recall_se": error, "precision": precision, "iou": iou}
    return {name: round(float(value), 2) for name, value in named.items()}
