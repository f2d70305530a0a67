"""What was answered, against what is right: EM and F1 as SQuAD scores them, and citations against evidence."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.evaluate.judgements import Evidence, Judgement
from rag.types import Span

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """SQuAD's (Rajpurkar et al., 2016): lower case, no ASCII punctuation, no English article, single blanks.

    >>> normalize("The  U.S. Army's")
    'us armys'
    """
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(prediction: str, golds: Sequence[str]) -> float:
    """1.0 if it is one of the golds, normalised. No gold: the right answer is to say nothing."""
    return float(normalize(prediction) in _golds(golds))


def f1(prediction: str, golds: Sequence[str]) -> float:
    """The best gold's harmonic mean of word precision and recall. No gold: the right answer is to say nothing.

    >>> f1("in the year 1995", ["1995", "May 1995"])
    0.5
    """
    predicted = normalize(prediction).split()
    return max(_word_f1(predicted, gold.split()) for gold in _golds(golds))


def _golds(golds: Sequence[str]) -> set[str]:
    """Normalised. As in SQuAD 2.0's script a gold that is nothing but articles and punctuation doesn't count."""
    return {text for gold in golds if (text := normalize(gold))} or {""}


def _word_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    if not predicted or not gold:
        return float(predicted == gold)
    shared = (Counter(predicted) & Counter(gold)).total()
    return 2 * shared / (len(predicted) + len(gold))


@dataclass(frozen=True, slots=True)
class AnswerScores:
    """A value a question, in the order of the judgements."""

    exact_match: list[float]
    f1: list[float]
    missing: tuple[str, ...]  # ids without a prediction: scored 0, as SQuAD 1.1's script does


def score_answers(judgements: Sequence[Judgement], predictions: Mapping[str, str]) -> AnswerScores:
    """`predictions`: id -> answer, "" for none."""
    said = [predictions.get(j.id) for j in judgements]
    pairs = list(zip(said, judgements, strict=True))
    return AnswerScores(
        [0.0 if p is None else exact_match(p, j.answers) for p, j in pairs],
        [0.0 if p is None else f1(p, j.answers) for p, j in pairs],
        tuple(j.id for p, j in pairs if p is None),
    )


# ---- sentences ---------------------------------------------------------------------------------------------------


def answer_within(sentences: Sequence[str], golds: Sequence[str], n: int) -> bool:
    """One of the first n sentences holds a gold, normalised, as whole words. No gold: no sentence does.

    >>> answer_within(["It was founded in 1995.", "Or was it?"], ["1995"], 1), answer_within(["In 1995."], ["5"], 1)
    (True, False)
    """
    if n < 1:
        raise ValueError(f"n is a number of sentences, 1 or more, got {n}")
    wanted = [_as_words(g) for g in map(normalize, golds) if g]
    return any(w.search(normalize(s)) for s in sentences[:n] for w in wanted)


def _as_words(gold: str) -> re.Pattern[str]:
    """Whole words in scripts that have blanks between them; from Thai (U+0E00) on, most have none.

    So 5 isn't found in 1995, and 308 is found in 丢了308分.
    """
    letter = "[^\\W_\u0e00-\U0010ffff]"
    left, right = (
        f"(?{side}{letter})" if re.match(letter, end) else "" for side, end in (("<!", gold[0]), ("!", gold[-1]))
    )
    return re.compile(left + re.escape(gold) + right)


# ---- citations ---------------------------------------------------------------------------------------------------


class Cited(Protocol):
    """A cited place: rag.types.Citation has these, and more."""

    @property
    def source(self) -> str: ...
    @property
    def span(self) -> Span: ...


@dataclass(frozen=True, slots=True)
class CitationScores:
    precision: float  # share of citations that overlap evidence; 0 without citations: nothing was shown
    recall: float  # share of nuggets that a citation overlaps


def score_citations(judgement: Judgement, citations: Sequence[Cited]) -> CitationScores:
    """Overlap of one character counts: a quote is a sentence, evidence may be a word of it."""
    if not judgement.evidence:
        raise judgement.error("evidence", "there is none to cite", "leave such questions out of citation metrics")
    places = list(judgement.places)
    right = sum(any(_shows(c, e) for e in places) for c in citations)
    shown = sum(any(_shows(c, e) for c in citations for e in nugget) for nugget in judgement.evidence)
    return CitationScores(right / len(citations) if citations else 0.0, shown / len(judgement.evidence))


def _shows(c: Cited, e: Evidence) -> bool:
    return c.source == e.source and (e.span is None or c.span.overlap(e.span) > 0)
