"""Which words of the passages support a sentence that a model wrote, if any do.

A sentence is supported when the passages' sentence that is nearest to it holds its content words (weighted by
rarity) and means the same, and when every number and every name in it stands in that passage. Numbers and names are
where small models invent.
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
LEAST_TERMS = 3  # fewer say nothing that could be supported, unless one is a figure

_MARKER = re.compile(r"\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_FIGURE = re.compile(r"\d+(?:[.,]\d+)*")
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


def support(
    sentence: str,
    sentence_terms: Sequence[str],
    cited: Sequence[int],
    candidates: Sequence[Candidate],
    cosines: NDArray[np.float32],
    rarity: Mapping[str, float],
    passage_texts: Mapping[int, str],
    terms: Callable[[str], Sequence[str]],
) -> Support | None:
    """The passages' sentence that supports this one, or None. A passage that the model cited wins a tie.

    cosines: (n_candidates,) of each candidate with the sentence.
    """
    content = set(sentence_terms)
    if len(content) < LEAST_TERMS and not _FIGURE.search(sentence):
        return None
    covered = [coverage(content, c.terms, rarity) for c in candidates]
    order = sorted(
        range(len(candidates)),
        key=lambda i: -(covered[i] + 0.5 * float(cosines[i]) + 0.05 * (candidates[i].passage in cited)),
    )
    for i in order[:5]:
        near = float(cosines[i])
        enough = (covered[i] >= COVERED and near >= NEAR) or (covered[i] >= LESS_COVERED and near >= NEARER)
        if enough and _facts_stand(sentence, passage_texts[candidates[i].passage], terms):
            return Support(candidates[i], covered[i], near)
    return None


def _facts_stand(sentence: str, passage: str, terms: Callable[[str], Sequence[str]]) -> bool:
    figures = set(_FIGURE.findall(sentence))
    if not figures <= set(_FIGURE.findall(passage)):
        return False
    held = set(terms(passage))
    return all(set(terms(name)) <= held for name in _NAMED.findall(sentence))
