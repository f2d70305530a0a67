"""precision_omega of the splitters on Chroma's corpora: the cheapest exact check of their offsets, without a model.

    python benchmarks/omega.py            (needs ../shared/data/chroma-chunking and ../shared/tiktoken)

The column "langchain" is what LangChain's own splitters get here, their chunks found again by searching: the
published figures are reached by neither theirs nor ours, so theirs is the reference for offsets.

Per question: of the chunks that touch one of its references (zero length counts), overlaps merged, the share of
characters that stand in a reference; references left uncovered count below the line. Mean over 472 questions.
Published: Smith and Troynikov, "Evaluating Chunking Strategies for Retrieval", 2024, and its repository.
"""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

SHARED = Path(__file__).resolve().parents[1].parent / "shared"
DATA = SHARED / "data" / "chroma-chunking"
os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(SHARED / "tiktoken"))

from rag.config import Split  # noqa: E402
from rag.evaluate.spans import precision_omega  # noqa: E402
from rag.split import TokenLimits, make_splitter  # noqa: E402
from rag.tokens import TiktokenTokenizer  # noqa: E402
from rag.types import Source, Span  # noqa: E402

# kind, max_tokens, overlap_tokens: precision_omega x100, mean tokens a chunk (None: not given)
PUBLISHED: dict[tuple[str, int, int], tuple[float, int | None]] = {
    ("recursive", 250, 125): (21.9, 180),
    ("token", 250, 125): (11.4, None),
    ("recursive", 250, 0): (26.7, 162),
    ("token", 250, 0): (16.4, None),
    ("recursive", 200, 0): (31.2, 128),
    ("token", 200, 0): (19.1, None),
}


def questions() -> list[tuple[str, list[Span]]]:
    """(corpus, references) of each question."""
    with (DATA / "questions_df.csv").open(encoding="utf-8", newline="") as file:
        return [
            (row["corpus_id"], [Span(r["start_index"], r["end_index"]) for r in json.loads(row["references"])])
            for row in csv.DictReader(file)
        ]


def langchain(kind: str, size: int, overlap: int, corpora: dict[str, str]) -> dict[str, list[Span]]:
    """Chunks of LangChain's splitters, each at the first place where its text stands."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter, TextSplitter, TokenTextSplitter

    splitter: TextSplitter
    if kind == "token":
        splitter = TokenTextSplitter(encoding_name="cl100k_base", chunk_size=size, chunk_overlap=overlap)
    else:
        splitter = RecursiveCharacterTextSplitter.from_tiktoken_encoder(
            "cl100k_base",
            chunk_size=size,
            chunk_overlap=overlap,
            separators=["\n\n", "\n", ".", "?", "!", " ", ""],
            keep_separator=True,
            disallowed_special=(),
        )
    spans = {}
    for name, text in corpora.items():
        pieces = splitter.split_text(text)
        spans[name] = [Span(at, at + len(p)) for p in pieces if (at := text.find(p)) >= 0]
    return spans


def mean_omega(asked: list[tuple[str, list[Span]]], spans: dict[str, list[Span]]) -> float:
    return 100 * sum(precision_omega(references, spans[corpus]) for corpus, references in asked) / len(asked)


def main() -> None:
    tokenizer = TiktokenTokenizer("cl100k_base")
    limits = TokenLimits(tokenizer)
    asked = questions()
    corpora = {c: (DATA / "corpora" / f"{c}.md").read_text(encoding="utf-8") for c, _ in asked}
    print("kind       size overlap | omega  langchain  published | tokens published")
    kinds = [*PUBLISHED, ("sentence", 200, 0), ("markdown", 200, 0)]
    for kind, size, overlap in kinds:
        splitter = make_splitter(
            Split.model_validate({"kind": kind, "max_tokens": size, "overlap_tokens": overlap}), limits
        )
        chunks = {name: splitter.split(Source(name, text, "md")) for name, text in corpora.items()}
        spans = {name: [c.span for c in found] for name, found in chunks.items()}
        sizes = [tokenizer.count(c.text) for found in chunks.values() for c in found]
        published, tokens = PUBLISHED.get((kind, size, overlap), (None, None))
        peer = f"{mean_omega(asked, langchain(kind, size, overlap, corpora)):.1f}" if published else "-"
        print(
            f"{kind:<10} {size:>4} {overlap:>7} | {mean_omega(asked, spans):5.1f} {peer:>10} {published or '-':>10} | "
            f"{sum(sizes) / len(sizes):6.0f} {tokens or '-':>9}"
        )


if __name__ == "__main__":
    main()
