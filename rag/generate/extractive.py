"""The embedded default: an answer made of the documents' own sentences. No model but the embedder.

Each sentence of the found passages is scored by what it shares with the question in meaning (cosine), in words
(share of the question's rarity-weighted terms) and in phrases (pairs of terms side by side), by how good its passage
is, and by whether it holds the kind of thing that is asked for. The weights are a softmax regression on questions of
squad-train-du (training/extractive.py); no test set was looked at.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from rag.types import Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEATURES = ("cosine", "coverage", "phrases", "passage", "rank", "asked_for")
WEIGHTS = (4.78, 4.81, 2.57, 2.82, -0.55, 1.68)
WEAKER = 5.0  # a sentence scored so much below the best isn't shown: three are the most, not the norm
NAMED = 0.5  # of the question's words beside its table's head, by rarity, that a row has which is meant
WEAKER_LIST = 2.0  # nor is a list, which takes the room of several, nor an item, which says little by itself


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence of a passage, a table's row, or a list with what leads into it. `span` is in the source's text."""

    passage: int  # the passage's number
    span: Span
    text: str
    terms: frozenset[str]
    pairs: frozenset[tuple[str, str]] = frozenset()
    listed: bool = False
    head: str = ""  # of the table that it is a row of
    head_terms: frozenset[str] = frozenset()
    named: bool = False  # by the question: then the head says what its cells are
    label: frozenset[str] = frozenset()  # terms of the name in a line of `name: value`

    @property
    def meant(self) -> str:
        """What is embedded: a row that is meant below its head."""
        return f"{self.head}\n{self.text}" if self.named else self.text

    @property
    def said(self) -> frozenset[str]:
        """Its terms, and its head's if it is meant."""
        return self.terms | self.head_terms if self.named else self.terms

    def overlaps(self, other: Candidate) -> bool:
        return self.passage == other.passage and self.span.overlap(other.span) > 0


@dataclass(frozen=True, slots=True)
class Picked:
    candidate: Candidate
    score: float


def features(
    question: str,
    question_terms: Sequence[str],
    rarity: Mapping[str, float],
    candidates: Sequence[Candidate],
    cosines: NDArray[np.float32],
    passage_scores: Mapping[int, float],
) -> NDArray[np.float64]:
    """(n_candidates, len(FEATURES)). cosines: (n_candidates,) of sentence and question."""
    wanted = asked_for(question)
    known, phrases = set(question_terms), pairs(question_terms)
    best = max(passage_scores.values(), default=1.0) or 1.0
    ranks = {number: r for r, number in enumerate(sorted(passage_scores, key=lambda n: -passage_scores[n]))}
    rows = [
        (
            float(cosine),
            coverage(known, c.said, rarity),
            len(phrases & c.pairs) / max(len(phrases), 1),
            passage_scores[c.passage] / best,
            float(ranks[c.passage]),
            -0.5 if wanted is None else float(_holds(c.text, wanted, question)),
        )
        for c, cosine in zip(candidates, cosines, strict=True)
    ]
    return np.asarray(rows, dtype=np.float64).reshape(len(candidates), len(FEATURES))


def pairs(terms: Sequence[str]) -> frozenset[tuple[str, str]]:
    """Terms that stand side by side."""
    return frozenset(pairwise(terms))


def _holds(text: str, wanted: re.Pattern[str], question: str) -> bool:
    """Whether the sentence holds such a thing that the question doesn't name already."""
    asked = question.casefold()
    return any(m.group().casefold() not in asked for m in wanted.finditer(text))


def likely(scores: NDArray[np.float64]) -> list[int]:
    """Rows whose score is near the best one, best first: the sentences worth showing."""
    least = scores.max(initial=-np.inf) - WEAKER
    return [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] >= least]


def pick(
    candidates: Sequence[Candidate], scores: NDArray[np.float64], most: int, question_terms: Sequence[str] = ()
) -> list[Picked]:
    """The best sentence first, then the others in reading order; none that only repeats another, and no row of a table
    of which the question names another: it asked for HX-1077, and HX-1003 has a stock, too. A line of `name: value`
    that only repeats the question comes second."""
    chosen: list[int] = []
    lists, asked = [c for c in candidates if c.listed], frozenset(question_terms)
    for i in likely(scores):
        if len(chosen) == most:
            break
        if chosen and scores[i] < scores[chosen[0]] - WEAKER_LIST and any(map(candidates[i].overlaps, lists)):
            continue
        if any(_another_row(candidates[i], candidates[j], asked) for j in chosen):
            continue
        if not any(_repeats(candidates[i], candidates[j]) for j in chosen):
            chosen.append(i)
    if not chosen:
        return []
    first = next((i for i in chosen if not _echoes(candidates[i], asked)), chosen[0])
    rest = sorted((i for i in chosen if i != first), key=lambda i: (candidates[i].passage, candidates[i].span))
    order = [first, *rest]
    return [Picked(candidates[i], float(scores[i])) for i in order]


def score(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = matrix @ np.asarray(WEIGHTS)
    return scores


def coverage(question_terms: set[str], terms: frozenset[str] | set[str], rarity: Mapping[str, float]) -> float:
    """Share of the question's terms, each weighted by its rarity, that stand in `terms`; 0..1."""
    total = sum(rarity.get(t, 0.0) for t in question_terms)
    return sum(rarity.get(t, 0.0) for t in question_terms & terms) / total if total else 0.0


def _another_row(row: Candidate, better: Candidate, asked: frozenset[str]) -> bool:
    """Whether it lacks words of the question that a better one of its table has, and has none that the better one
    lacks: of "HX-1077 and HX-1003" both are meant."""
    if not row.head or row.head != better.head:
        return False
    return bool((better.terms & asked) - row.terms) and not (row.terms & asked) - better.terms


def _echoes(line: Candidate, asked: frozenset[str]) -> bool:
    """Whether it names what the question names, as `name: Circulation pump` does, and says nothing of it."""
    return bool(line.label) and line.terms - line.label <= asked


def is_named(row: Candidate, question_terms: set[str], rarity: Mapping[str, float]) -> bool:
    """Whether most words of the question that aren't in the head of a row's table are in the row, and all figures: a
    table of stocks doesn't hold the stock of what isn't in it."""
    rest = question_terms - row.head_terms
    if not row.head or any(c.isdigit() for term in rest - row.terms for c in term):
        return False
    return not rest or coverage(rest, row.terms, rarity) >= NAMED


def _repeats(a: Candidate, b: Candidate) -> bool:
    smaller = min(len(a.terms), len(b.terms)) or 1
    return len(a.terms & b.terms) / smaller >= 0.9


_NUMBER = re.compile(
    r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|dozen|hundred|thousand|million|billion|half|twice)\b",
    re.I,
)
_TIME = re.compile(
    r"\b(?:1[0-9]{3}|20[0-9]{2})\b|\b\d{1,2}(?:st|nd|rd|th)\b|\b(?:January|February|March|April|May|June|July|August|"
    r"September|October|November|December|Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|century|centuries|"
    r"years?|days?|months?|when|before|after|until|since|while|once)\b"
)
_NAME = re.compile(r"(?<=[a-z,;:] )(?:[A-Z][\w'’-]+)|^(?:[A-Z][\w'’-]+ ){2}")
_CAUSE = re.compile(
    r"\b(?:because|since|so that|due to|therefore|as a result|in order to|reasons?|caused?|leads? to|otherwise)\b", re.I
)
_HOW_MANY = re.compile(
    r"\b(?:how (?:many|much|long|old|far|large|big|high|often|fast)|which year|wie ?viele?|"
    r"what (?:percent|percentage|number|year|size|rate|share|fraction))\b",
    re.I,
)
_WHEN = re.compile(r"\b(?:when|what (?:date|day|month|decade|century)|wann)\b", re.I)
_WHO = re.compile(r"\b(?:who|whom|whose|where|what (?:city|country|team|person|company|name)|wer|wo)\b", re.I)
_WHY = re.compile(r"\b(?:why|warum)\b", re.I)
_KINDS = ((_HOW_MANY, _NUMBER), (_WHEN, _TIME), (_WHO, _NAME), (_WHY, _CAUSE))


def asked_for(question: str) -> re.Pattern[str] | None:
    """What an answer to this question usually holds: a number, a date, a name, a cause; None when it can't be told."""
    return next((answer for cue, answer in _KINDS if cue.search(question)), None)
