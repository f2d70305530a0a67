"""From a start and an end score of each token to the words that may be the answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from rag.sentences import sentence_ranges
from rag.types import FoundSpan, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

LONGEST = 30  # tokens of an answer, as in BERT's own SQuAD script


def best_pairs(
    start: Floats, end: Floats, most: int, longest: int = LONGEST, sentences: NDArray[np.int64] | None = None
) -> list[tuple[int, int, float]]:
    """(first token, last token, score) of the best spans, best first, none touching a better one.

    start, end: (tokens,) scores. A span's score is the sum of its start and its end. sentences: (tokens,) the number of
    the sentence that each stands in; no span goes from one into another.

    >>> best_pairs(np.float32([0, 5, 0, 1]), np.float32([0, 1, 4, 3]), most=2)
    [(1, 2, 9.0), (3, 3, 4.0)]
    """
    n = len(start)
    width = min(longest, n)
    # sums[i, d]: from token i to token i + d; beyond the end: never
    ends = np.concatenate([end, np.full(width, -np.inf, np.float32)])
    sums = start[:, None] + np.lib.stride_tricks.sliding_window_view(ends, width)[:n]
    if sentences is not None:
        held = np.lib.stride_tricks.sliding_window_view(np.pad(sentences, (0, width), constant_values=-1), width)[:n]
        sums = np.where(held == sentences[:, None], sums, -np.inf)
    found: list[tuple[int, int, float]] = []
    for place in np.argsort(-sums, axis=None, kind="stable")[: 40 * most]:
        first, more = divmod(int(place), width)
        last = first + more
        score = float(sums[first, more])
        if np.isfinite(score) and all(last < a or first > b for a, b, _ in found):
            found.append((first, last, score))
            if len(found) == most:
                break
    return found


def sentence_of(text: str, offsets: Sequence[tuple[int, int]]) -> NDArray[np.int64]:
    """(tokens,) the number of the sentence that each token begins in."""
    ends = np.asarray([end for _, end in sentence_ranges(text)], np.int64)
    return ends.searchsorted(np.asarray([begin for begin, _ in offsets], np.int64), "right")


def whole_words(text: str, span: Span) -> Span:
    """Widened to the words it begins and ends in: a model's token may be a piece of one.

    >>> whole_words("in unbreakable glass", Span(5, 8)).cut("in unbreakable glass")
    'unbreakable'
    """
    start, end = span.start, span.end
    while start > 0 and text[start - 1].isalnum() and text[start].isalnum():
        start -= 1
    while end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
        end += 1
    return Span(start, end)


def trimmed(text: str, span: Span) -> Span:
    """Without white space, quotes, brackets that aren't paired inside, and final punctuation.

    >>> trimmed('of ("Lourdes, France").', Span(3, 23)).cut('of ("Lourdes, France").')
    'Lourdes, France'
    """
    start, end = span.start, span.end
    while start < end and (
        text[start].isspace() or (text[start] in "\"'“”‘’«»([{,;:*_`" and not _paired(text, start, end))
    ):
        start += 1
    while end > start and (
        text[end - 1].isspace() or (text[end - 1] in "\"'“”‘’«»)]},;:.!?*_`" and not _ends_well(text, start, end))
    ):
        end -= 1
    return Span(start, end) if start < end else span


_PAIRS = {"(": ")", "[": "]", "{": "}", "“": "”", "«": "»"}


def _paired(text: str, start: int, end: int) -> bool:
    close = _PAIRS.get(text[start])
    return close is not None and close in text[start + 1 : end - 1]


def _ends_well(text: str, start: int, end: int) -> bool:
    """A closing bracket whose opening one is inside, or the dot of an abbreviation such as U.S."""
    last = text[end - 1]
    for opening, closing in _PAIRS.items():
        if last == closing:
            return text.count(opening, start, end) >= text.count(closing, start, end)
    return last == "." and "." in text[max(start, end - 4) : end - 1]


def in_passage(
    text: str, offsets: Sequence[tuple[int, int]], pairs: Sequence[tuple[int, int, float]], nowhere: float
) -> list[FoundSpan]:
    """Tokens -> characters of the passage. `nowhere`: the score of there being no answer in it."""
    found = []
    for first, last, score in pairs:
        words = trimmed(text, whole_words(text, Span(offsets[first][0], offsets[last][1])))
        if any(c.isalnum() for c in words.cut(text)):
            found.append(FoundSpan(words, score - nowhere))
    return found
