"""precision_omega on Chroma's corpora: the cheapest exact check of our measure and of our offsets, without a model.

Three things are held against figures that were published. LangChain's splitters, counted in cl100k's tokens, against
the notebook in the authors' repository, which gives six decimals: is our measure theirs? The same with the tokens
of all-MiniLM-L6-v2 against the report's table for that model: what did it count? And our own splitters, with those
tokens.

Per question: of the chunks that touch one of its references (zero length counts), overlaps merged, the share of
characters that stand in a reference; references left uncovered count below the line. Mean over 472 questions.
"""

from __future__ import annotations

from chroma import SPECIAL_TOKENS, Spans, corpora, fixed, omega, questions, recursive
from common import report

from rag.config import Split
from rag.embed import TextEmbedder
from rag.split import TokenLimits, make_splitter
from rag.tokens import TiktokenTokenizer, Tokenizer
from rag.types import Source

NOTEBOOK = {  # kind, size, overlap in cl100k's tokens -> precision_omega x100
    ("recursive", 800, 400): 6.6825,
    ("token", 800, 400): 4.6589,
    ("recursive", 400, 200): 13.9428,
    ("token", 400, 200): 8.4455,
    ("recursive", 400, 0): 17.7430,
    ("token", 400, 0): 12.5022,
    ("recursive", 200, 0): 29.9416,
    ("token", 200, 0): 20.9799,
}
REPORT = {  # all-MiniLM-L6-v2 -> precision_omega x100, mean size where it varies
    ("recursive", 250, 125): (21.9, 180),
    ("token", 250, 125): (11.4, 250),
    ("recursive", 250, 0): (26.7, 162),
    ("token", 250, 0): (16.4, 250),
    ("recursive", 200, 0): (31.2, 128),
    ("token", 200, 0): (19.1, 200),
}


def ours(kind: str, size: int, overlap: int, tokenizer: Tokenizer, texts: dict[str, str]) -> Spans:
    config = Split.model_validate({"kind": kind, "max_tokens": size, "overlap_tokens": overlap})
    splitter = make_splitter(config, TokenLimits(tokenizer))
    return {name: [c.span for c in splitter.split(Source(name, text, "text"))] for name, text in texts.items()}


def main() -> None:
    asked, texts = questions(), corpora()
    cl100k, own = TiktokenTokenizer("cl100k_base"), TextEmbedder().tokenizer

    def own_length(text: str) -> int:
        return own.count(text) + SPECIAL_TOKENS

    notebook = {}
    for (kind, size, overlap), published in NOTEBOOK.items():
        theirs = fixed(texts, size, overlap) if kind == "token" else recursive(texts, size, overlap, cl100k.count)
        mine = ours(kind, size, overlap, cl100k, texts)
        values = {"published": published, "LangChain": omega(asked, theirs), "rag": omega(asked, mine)}
        notebook[f"{kind} {size}/{overlap}"] = {name: round(value, 4) for name, value in values.items()}
    minilm = {}
    for (kind, size, overlap), (published, mean) in REPORT.items():
        row: dict[str, float] = {"published": published, "mean tokens published": mean}
        if kind == "recursive":
            spans = recursive(texts, size, overlap, own_length)
            row["LangChain, the model's tokens"] = round(omega(asked, spans), 2)
            sizes = [own_length(texts[name][s.start : s.end]) for name, found in spans.items() for s in found]
            row["its mean tokens"] = round(sum(sizes) / len(sizes))
            row["LangChain, cl100k"] = round(omega(asked, recursive(texts, size, overlap, cl100k.count)), 2)
        else:
            row["LangChain, cl100k"] = round(omega(asked, fixed(texts, size, overlap)), 2)
        row["rag, the model's tokens"] = round(omega(asked, ours(kind, size - SPECIAL_TOKENS, overlap, own, texts)), 2)
        row["rag, cl100k"] = round(omega(asked, ours(kind, size, overlap, cl100k, texts)), 2)
        minilm[f"{kind} {size}/{overlap}"] = row
    shipped = {kind: round(omega(asked, ours(kind, 200, 0, own, texts)), 2) for kind in ("sentence", "markdown")}
    report("omega", {"questions": len(asked), "notebook": notebook, "all-MiniLM-L6-v2": minilm, "200, ours": shipped})


if __name__ == "__main__":
    main()
