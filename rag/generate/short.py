"""Short answers: the few words that a reading model points at, in the passages where they stand.

Each passage is read with the question (rag.read). A span counts by its own score and by what the model says of its
passage; the weights were chosen on articles of squad-train-du that the model was not taught on (training/reader/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rag.types import FoundSpan, Passage, Reading, Span

# Beside a span's own score: two logits, and its passage's score as a share of the best one's.
ANSWERABLE, RELEVANCE, RETRIEVAL = 0.5, 0.5, 4.0
LEAST = -4.0  # of score and answerable: below it the model says that the answer isn't there, and sentences answer
DIFFERS = 2.0  # another passage's answer is shown too when it is at most so much worse
ONE_OF_SEVERAL = 6.0  # the same for a question that asks for several things, within one passage
MOST = 3


@dataclass(frozen=True, slots=True)
class Short:
    passage: int  # the passage's number
    span: Span  # in the source's text
    text: str
    score: float


def short_answers(question: str, passages: Sequence[Passage], readings: Sequence[Reading]) -> list[Short]:
    """The best one first; more only when passages differ, or when the question asks for several. Empty when the model
    finds none."""
    best = max((p.score for p in passages), default=0.0) or 1.0
    found = [
        (Short(p.number, _in_source(p, s), s.span.cut(p.text), _score(p, r, s, best)), s, r)
        for p, r in zip(passages, readings, strict=True)
        for s in r.spans
    ]
    found.sort(key=lambda f: -f[0].score)
    if not found or found[0][1].score + found[0][2].answerable < LEAST:
        return []
    first = found[0][0]
    several = asks_for_several(question)
    chosen = [first]
    for short, span, reading in found[1:]:
        if len(chosen) == MOST or span.score + reading.answerable < LEAST:
            break
        same_passage = short.passage == first.passage
        margin = ONE_OF_SEVERAL if several and same_passage else -1.0 if same_passage else DIFFERS
        if first.score - short.score <= margin and not any(_alike(short.text, c.text) for c in chosen):
            chosen.append(short)
    return chosen


def _score(passage: Passage, reading: Reading, span: FoundSpan, best: float) -> float:
    judged = ANSWERABLE * reading.answerable + RELEVANCE * reading.relevance
    return span.score + judged + RETRIEVAL * passage.score / best


def _in_source(passage: Passage, span: FoundSpan) -> Span:
    return Span(passage.span.start + span.span.start, passage.span.start + span.span.end)


_SEVERAL = re.compile(
    r"\b(?:list|name (?:the|all|two|three|some)|(?:what|which|who) (?:\w+ )?(?:are|were|have been)|"
    r"which (?:two|three|four|five|\w+s)\b|what (?:two|three|four|five|kinds|types|sorts)|"
    r"welche|nenne)\b",
    re.IGNORECASE,
)


def asks_for_several(question: str) -> bool:
    """
    >>> asks_for_several("What are the three parts of an atom?"), asks_for_several("Who was the first president?")
    (True, False)
    """
    return _SEVERAL.search(question) is not None


def _alike(one: str, other: str) -> bool:
    """One says no more than the other: it holds all its words."""
    a, b = (set(re.findall(r"\w+", t.casefold())) for t in (one, other))
    return a <= b or b <= a
