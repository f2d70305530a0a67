"""How good is what was found? Every sentence of the passages is scored, and the question gets a confidence.

The confidence is a logistic regression on a few signals, fitted on questions of squad-train-du whose paragraph was,
or was taken out of, the index (training/extractive.py). It estimates how often the sentences picked hold the answer.
Its curve on sets it has not seen stands in docs/results.md.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rag.answer.lists import lists
from rag.generate import extractive
from rag.generate.extractive import Candidate, coverage
from rag.retrieve import Retrieval
from rag.sentences import COLONS, LABEL, QUESTION_MARKS, sentence_spans
from rag.types import Passage, Reading, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SIGNALS = ("best_cosine", "sentence_cosine", "coverage", "sentence_coverage", "passage", "margin", "lead")
WEIGHTS = (3.568, 2.518, 2.605, 0.922, -0.607, 5.405, 0.481)
BIAS = -6.24
# With a reading model: the logit of the above, and what the reader says (training/reader/choose.py, on questions that
# it was not taught on; those without an answer miss their paragraph, or were written to look as if one had it).
READER_SIGNALS = (*SIGNALS, "span", "answerable", "relevance")
READER_WEIGHTS = (0.191, 0.353, 0.053, -0.045)
READER_BIAS = -0.332


class Reader(Protocol):
    """What an answer needs of an index; rag.store.IndexReader has it."""

    @property
    def catalog(self) -> Any: ...
    def terms(self, text: str) -> list[str]: ...
    def query_terms(self, text: str) -> list[str]: ...
    def rarity(self, terms: Sequence[str], generation: int) -> dict[str, float]: ...


@dataclass(frozen=True)
class Evidence:
    """What the passages hold, measured once per question."""

    candidates: list[Candidate]
    vectors: Floats  # (n_candidates, dimension), unit length
    matrix: NDArray[np.float64]  # (n_candidates, len(extractive.FEATURES))
    scores: NDArray[np.float64]  # (n_candidates,)
    signals: tuple[float, ...]  # as SIGNALS, or READER_SIGNALS
    confidence: float  # 0..1
    readings: tuple[Reading, ...] = ()  # one a passage, where a reading model is at hand
    terms: tuple[str, ...] = ()  # of the question


def measure(
    retrieval: Retrieval,
    reader: Reader,
    embed: Callable[[Sequence[str]], Floats],
    read: Callable[[str, Sequence[str]], Sequence[Reading]] | None = None,
) -> Evidence:
    """embed: n texts -> (n, dimension) unit vectors. read: a question and texts -> a Reading of each."""
    question, passages = retrieval.question, retrieval.passages
    candidates = sentences(passages, reader.terms)
    if not candidates:
        nothing = np.empty((0, 0))
        return Evidence([], nothing.astype(np.float32), nothing, np.empty(0), (0.0,) * len(SIGNALS), 0.0)
    terms = reader.terms(question)
    with reader.catalog.snapshot() as generation:
        rarity = reader.rarity(terms, generation)
    telling = set(reader.query_terms(question))
    candidates = [replace(c, named=True) if extractive.is_named(c, telling, rarity) else c for c in candidates]
    texts = [c.meant for c in candidates]
    query = retrieval.query_vector
    if query is None:  # a lexical search embedded nothing
        query, *_ = embed([question])
    vectors = embed(texts)
    cosines = vectors @ query
    matrix = extractive.features(question, terms, rarity, candidates, cosines, {p.number: p.score for p in passages})
    scores = extractive.score(matrix)
    signals = _signals(passages, candidates, cosines, matrix, scores, set(terms), rarity)
    readings = tuple(read(question, [p.text for p in passages])) if read else ()
    if readings:
        signals += _read_signals(readings)
    return Evidence(candidates, vectors, matrix, scores, signals, confidence(signals), readings, tuple(terms))


def confidence(signals: Sequence[float]) -> float:
    """`signals` as SIGNALS or as READER_SIGNALS."""
    features = reader_features(signals)
    if len(features) == 1:
        return _logistic(features[0])
    return _logistic(READER_BIAS + sum(w * f for w, f in zip(READER_WEIGHTS, features, strict=True)))


def reader_features(signals: Sequence[float]) -> tuple[float, ...]:
    """The logit of the signals of retrieval, and the reader's signals as they are."""
    logit = BIAS + sum(w * s for w, s in zip(WEIGHTS, signals, strict=False))
    return (logit, *signals[len(SIGNALS) :])


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def _read_signals(readings: Sequence[Reading]) -> tuple[float, ...]:
    """The best of all passages, in logits within +-10."""
    spans = [r.spans[0].score for r in readings if r.spans]
    best = (max(spans, default=-10.0), max(r.answerable for r in readings), max(r.relevance for r in readings))
    return tuple(min(max(b, -10.0), 10.0) for b in best)


def _signals(
    passages: Sequence[Passage],
    candidates: Sequence[Candidate],
    cosines: Floats,
    matrix: NDArray[np.float64],
    scores: NDArray[np.float64],
    terms: set[str],
    rarity: Mapping[str, float],
) -> tuple[float, ...]:
    first = int(np.argmax(scores))
    held = {p.number: set().union(*(c.said for c in candidates if c.passage == p.number)) for p in passages}
    dense = [s.score for p in passages for s in p.stages if s.stage == "dense"]
    others = scores[[not c.overlaps(candidates[first]) for c in candidates]]  # a list and its items say the same
    return (
        max([*dense, float(cosines.max())]),
        float(cosines[first]),
        max(coverage(terms, words, rarity) for words in held.values()),
        float(matrix[first, 1]),
        passages[0].score,
        passages[0].score - (passages[1].score if len(passages) > 1 else 0.0),
        min(float(scores[first] - others.max()), 5.0) if len(others) else 5.0,
    )


_LEADING = re.compile(r"^(?:[#>|\s]|[-*+•](?=\s)|\d+[.)](?=\s)|(?:```|~~~)[^\s`]*\n|\"{3}|'{3})+")
_CLOSING = ("|", "\n```", "\n~~~", '"""', "'''")


def sentences(passages: Sequence[Passage], terms: Callable[[str], list[str]]) -> list[Candidate]:
    """Sentences of the passages, each once: overlapping chunks share some. Headings and crumbs aren't sentences.

    A question answers nothing, but the sentence behind it may: it is found by the question's words too, as in an FAQ.
    Behind a passage's sentences come its lists with what leads into them.
    """
    found: dict[tuple[str, int], Candidate] = {}  # by where they begin

    def add(passage: Passage, span: Span, asked: Sequence[str] = (), listed: bool = False) -> bool:
        place = Span(passage.span.start + span.start, passage.span.start + span.end)
        if (passage.source, place.start) in found:
            return False
        text = span.cut(passage.text)
        words, head = terms(text), "" if listed else passage.head_above(place.start)
        pairs = extractive.pairs(words) | extractive.pairs(asked)
        every, of_head = frozenset(words).union(asked), frozenset(terms(head) if head else ())
        name = _NAME.match(text) if not listed else None
        label = frozenset(terms(name[0]) if name else ())
        candidate = Candidate(passage.number, place, text, every, pairs, listed, head, of_head, label=label)
        found[passage.source, place.start] = candidate
        return True

    for passage in passages:
        asked: list[str] = []
        spans = sentence_spans(passage.text)
        for span in spans:
            span = _trim(passage.text, span)
            text = span.cut(passage.text)
            if text.endswith(QUESTION_MARKS):
                asked = terms(text)
                continue
            if not _is_crumb(passage.text, span) and add(passage, span, asked):
                asked = []
        for span in lists(passage.text, spans):
            add(passage, _trim(passage.text, span), listed=True)
    return [*found.values()]


def _trim(text: str, span: Span) -> Span:
    """Without marks of lists, tables, code blocks and docstrings around it, and without a half of a pair of Markdown's
    emphasis marks at either end."""
    start, end = span.start, span.end
    if match := _LEADING.match(text[start:end]):
        start += match.end()
    while mark := next((m for m in _CLOSING if text.endswith(m, start, end)), ""):
        if text.endswith("\\|", start, end):  # a bar of the cell's own
            break
        end -= len(mark)
        while start < end and text[end - 1].isspace():
            end -= 1
    for mark in ("**", "__", "*", "_", "`"):
        if text[start:end].count(mark) % 2:
            if text.startswith(mark, start):
                start += len(mark)
            elif text.endswith(mark, start, end):
                end -= len(mark)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


_RUN_IN_HEAD = re.compile(  # "**What it measures.** The cosine of …"
    r"(\*\*|__)(?:what|why|how|when|where|who|which)\b[^*_]*\1", re.IGNORECASE
)
_RULE = re.compile(r"[|\s:=_-]+")
_NAME = re.compile(LABEL)
_NAMED = re.compile(rf"{LABEL}\s+[\w\"']")  # `owner: Lena` says something, as short as it is


def _is_crumb(text: str, span: Span) -> bool:
    """Headings, lead-ins, table heads and bits of punctuation: they name what comes, they don't say it."""
    piece = span.cut(text)
    line_start = text.rfind("\n", 0, span.start) + 1
    rest_of_line = text[span.end : (text + "\n").index("\n", span.end)]
    if text[line_start : span.start].lstrip().startswith("#") or piece.endswith(COLONS):
        return True
    if _NAMED.match(piece):
        return False
    if sum(c.isalnum() for c in piece) < 2 or (piece.isupper() and len(piece) < 80):
        return True
    if _RUN_IN_HEAD.fullmatch(text[max(0, span.start - 2) : span.end + 2].strip()):
        return True
    if len(piece.split()) < 3 and piece.isascii() and not any(c.isdigit() for c in piece):
        return True
    below = text[span.end + len(rest_of_line) + 1 :].split("\n", 1)[0]
    underlined = bool(below.strip()) and _RULE.fullmatch(below) is not None and len(below.strip()) > 2
    return underlined or _RULE.fullmatch(piece) is not None
