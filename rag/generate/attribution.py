"""Which words of the passages support a sentence that a model wrote, if any do.

A sentence is supported when the passages' sentence that is nearest to it holds its content words (weighted by
rarity) and means the same, and when every number and every name in it stands in that passage. Numbers and names are
where small models invent.

A short answer ("384.", "The answer is 10 ms.") says little that could be near in meaning: it is supported by a sentence
that holds all it adds to the question, if that sentence is one of those that answer the question best.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rag.generate.extractive import Candidate, coverage

if TYPE_CHECKING:
    from numpy.typing import NDArray

COVERED, NEAR = 0.7, 0.6  # share of the sentence's content in the supporting sentence, and their cosine; or
LESS_COVERED, NEARER = 0.5, 0.8  # fewer of its words, but nearer in meaning
LEAST_TERMS = 3  # fewer say nothing that could be alike, unless one is a figure
MOST_ADDED = 8  # terms that a short answer adds to its question

_FRAME = re.compile(
    r"^(?:(?:based on|according to|in) the (?:text|passages?|documents?|context)\b[^,]{0,40},\s*)?"
    r"(?:the (?:correct )?answer\b(?: to (?:the|this|your) question)?(?:\s+is\b)?\s*[:,]?\s*)?",
    re.IGNORECASE,
)
_MARKER = re.compile(r"\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_FIGURE = re.compile(
    r"\d+(?:[.,]\d+)*(?:\s?(?:%|percent|hundred|thousand|million|billion|trillion)(?!\w))?", re.IGNORECASE
)
_NAMED = re.compile(r"(?<![.!?] )(?<!^)\b[A-Z][\w-]+")


@dataclass(frozen=True, slots=True)
class Support:
    candidate: Candidate
    covered: float
    cosine: float


def strip_markers(sentence: str) -> tuple[str, tuple[int, ...]]:
    """The sentence without its [1] or [2, 3], and those numbers.

    >>> strip_markers("Cosine ignores length [2, 3].")
    ('Cosine ignores length.', (2, 3))
    """
    numbers = [int(n) for group in _MARKER.findall(sentence) for n in group.split(",")]
    return _MARKER.sub("", sentence).strip(), tuple(dict.fromkeys(numbers))


def without_frame(sentence: str) -> str:
    """What a sentence says, without the words that only announce it.

    >>> without_frame("According to the text, the answer is 384."), without_frame("The answer: yes")
    ('384.', 'yes')
    """
    return sentence[_FRAME.match(sentence).end() :]  # type: ignore[union-attr]  # it matches nothing at least


def support(
    sentence: str,
    sentence_terms: Sequence[str],
    added: Sequence[str],
    cited: Sequence[int],
    candidates: Sequence[Candidate],
    likely: Sequence[int],
    cosines: NDArray[np.float32],
    rarity: Mapping[str, float],
    passage_texts: Mapping[int, str],
    terms: Callable[[str], Sequence[str]],
) -> Support | None:
    """The passages' sentence that supports this one, or None. A passage that the model cited wins a tie.

    added: the sentence's content terms that the question doesn't have. likely: rows of the candidates that answer the
    question best, best first. cosines: (n_candidates,) of each candidate with the sentence.
    """
    content = set(sentence_terms)
    covered = [coverage(content, c.terms, rarity) for c in candidates]
    if len(content) >= LEAST_TERMS or _FIGURE.search(sentence):
        found = _said_alike(sentence, cited, candidates, covered, cosines, passage_texts, terms)
        if found:
            return found
    if not 0 < len(added) <= MOST_ADDED:
        return None
    if all(term[0].isdigit() for term in added):  # a bare number stands in many sentences: only the best one will do
        likely = likely[:1]
    for i in sorted(likely, key=lambda i: candidates[i].passage not in cited):
        candidate = candidates[i]
        if set(added) <= candidate.terms and _facts_stand(
            sentence, candidate.text, passage_texts[candidate.passage], terms
        ):
            return Support(candidate, covered[i], float(cosines[i]))
    return None


def _said_alike(
    sentence: str,
    cited: Sequence[int],
    candidates: Sequence[Candidate],
    covered: Sequence[float],
    cosines: NDArray[np.float32],
    passage_texts: Mapping[int, str],
    terms: Callable[[str], Sequence[str]],
) -> Support | None:
    """The candidate that holds most of the sentence's words and means the same."""
    order = sorted(
        range(len(candidates)),
        key=lambda i: -(covered[i] + 0.5 * float(cosines[i]) + 0.05 * (candidates[i].passage in cited)),
    )
    for i in order[:5]:
        near = float(cosines[i])
        enough = (covered[i] >= COVERED and near >= NEAR) or (covered[i] >= LESS_COVERED and near >= NEARER)
        passage = passage_texts[candidates[i].passage]
        if enough and _facts_stand(sentence, passage, passage, terms):
            return Support(candidates[i], covered[i], near)
    return None


def figures(text: str) -> set[str]:
    """Numbers with the word that scales them: ten isn't ten million.

    >>> sorted(figures("From 50,000 to 10 million, or 7.5 Percent."))
    ['10million', '50,000', '7.5%']
    """
    found = (re.sub(r"\s+", "", f).casefold().replace("percent", "%") for f in _FIGURE.findall(text))
    return set(found)


def _facts_stand(sentence: str, figures_in: str, passage: str, terms: Callable[[str], Sequence[str]]) -> bool:
    if not figures(sentence) <= figures(figures_in):
        return False
    held = set(terms(passage))
    return all(set(terms(name)) <= held for name in _NAMED.findall(sentence))
