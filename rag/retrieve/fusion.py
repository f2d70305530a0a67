"""Ways to make one ranking of several. Pure functions over {id: score}; higher is better; ties go to the lower id."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def ranked(scores: Mapping[int, float]) -> list[int]:
    """Ids, best first.

    >>> ranked({7: 0.5, 3: 0.9, 5: 0.5})
    [3, 5, 7]
    """
    return sorted(scores, key=lambda i: (-scores[i], i))


def reciprocal_rank(rankings: Sequence[Sequence[int]], k: int = 60) -> dict[int, float]:
    """Sum of 1 / (k + rank) over the rankings that hold an id (Cormack, Clarke & Büttcher, SIGIR 2009).

    >>> scores = reciprocal_rank([[1, 2], [2, 3]])
    >>> ranked(scores), round(scores[2], 5)
    ([2, 1, 3], 0.03252)
    """
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, item in enumerate(ranking, 1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (k + rank)
    return scores


def convex(dense: Mapping[int, float], lexical: Mapping[int, float], dense_weight: float) -> dict[int, float]:
    """weight * cosine + (1 - weight) * words (after Bruch, Gai & Ingber, arXiv:2210.11934).

    `lexical` must lie in 0..1, as `share_of_best` makes it, so the sum is at most 1 and its size still says how good
    the best hit is. An id that one side lacks counts 0 there.

    >>> convex({1: 0.8, 2: 0.4}, {2: 1.0}, 0.5)
    {1: 0.4, 2: 0.7}
    """
    return {
        i: dense_weight * dense.get(i, 0.0) + (1 - dense_weight) * lexical.get(i, 0.0)
        for i in sorted({*dense, *lexical})
    }


def share_of_best(scores: Mapping[int, float]) -> dict[int, float]:
    """Each score divided by the best one: BM25 has no scale of its own.

    >>> share_of_best({1: 6.0, 2: 12.0})
    {1: 0.5, 2: 1.0}
    """
    best = max(scores.values(), default=0.0) or 1.0
    return {i: score / best for i, score in scores.items()}


def best_window(terms: Sequence[str], wanted: Mapping[str, float], width: int) -> float:
    """Greatest share of `wanted` (term -> weight) that stands within `width` terms of each other; 0..1.

    BM25 counts a question's words wherever they stand in a chunk; those that stand together mostly speak of each other
    (Tao & Zhai, SIGIR 2007; Büttcher, Clarke & Lushman, SIGIR 2006).

    >>> best_window("a x b y y y y c".split(), {"a": 1.0, "b": 1.0, "c": 2.0}, width=3)
    0.5
    """
    total = sum(wanted.values())
    inside: dict[str, int] = {}  # how often each wanted term stands in the window
    places: deque[tuple[int, str]] = deque()
    best = held = 0.0
    for place, term in enumerate(terms):
        if term not in wanted:
            continue
        places.append((place, term))
        inside[term] = inside.get(term, 0) + 1
        held += wanted[term] if inside[term] == 1 else 0.0
        while places[0][0] <= place - width:
            _, left = places.popleft()
            inside[left] -= 1
            held -= wanted[left] if not inside[left] else 0.0
        best = max(best, held)
    return min(best / total, 1.0) if total else 0.0


def maximal_marginal_relevance(
    relevance: Sequence[float], vectors: NDArray[np.float32], k: int, lambda_mult: float
) -> list[int]:
    """Rows to keep, in order: each maximises lambda * relevance - (1 - lambda) * greatest cosine to those before it
    (Carbonell & Goldstein, SIGIR 1998). vectors: (n, dimension), any length but 0.

    >>> near = np.asarray([[1, 0], [1, 0.01], [0, 1]], np.float32)
    >>> maximal_marginal_relevance([0.9, 0.89, 0.5], near, 2, lambda_mult=0.5)
    [0, 2]
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    likeness = unit @ unit.T
    score = np.asarray(relevance, dtype=np.float64)
    nearest = np.full(len(score), -np.inf)
    chosen: list[int] = []
    for _ in range(min(k, len(score))):
        penalty = np.where(np.isfinite(nearest), nearest, 0.0)
        value = lambda_mult * score - (1 - lambda_mult) * penalty
        value[chosen] = -np.inf
        best = int(np.argmax(value))
        chosen.append(best)
        nearest = np.maximum(nearest, likeness[best])
    return chosen
