"""How near vectors are: two scores (higher is nearer) and two distances (lower is nearer), all pairs at once.

    cosine      score     cosine of the angle, -1 to 1; length doesn't count
    dot         score     inner product; length counts
    euclidean   distance  straight line, 0 and up
    manhattan   distance  sum of the differences of the coordinates, 0 and up

None has a unit: a vector's numbers have none. The cat, the dog and the car as points of a plane:

>>> cat, dog, car = [1.2, 0.8], [1.0, 0.9], [0.3, -1.5]
>>> round(float(cosine(cat, dog)[0, 0]), 3), round(float(cosine(cat, car)[0, 0]), 3)
(0.99, -0.381)
>>> round(float(euclidean(cat, dog)[0, 0]), 3), round(float(euclidean(cat, car)[0, 0]), 3)
(0.224, 2.47)
>>> round(float(manhattan(cat, dog)[0, 0]), 3), round(float(manhattan(cat, car)[0, 0]), 3)
(0.3, 3.2)

So the cat is nearer to the dog by each of them. Every function takes (n, d) and (m, d), or one vector (d,), and gives
(n, m) float64. Raises VectorError for NaN or infinity, other dimensions, and (cosine only) a vector of zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, assert_never, get_args

import numpy as np

from rag.errors import QueryError, VectorError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

Metric = Literal["cosine", "dot", "euclidean", "manhattan"]
METRICS: tuple[Metric, ...] = get_args(Metric)
BLOCK = 2_000_000  # numbers of an intermediate result: 16 MB


def cosine(a: ArrayLike, b: ArrayLike) -> Floats:
    """Cosine similarity, (n, d) x (m, d) -> (n, m) in [-1, 1]."""
    left, right = _pair(a, b)
    return np.clip(_unit(left) @ _unit(right).T, -1.0, 1.0)


def dot(a: ArrayLike, b: ArrayLike) -> Floats:
    """Inner product, (n, d) x (m, d) -> (n, m)."""
    left, right = _pair(a, b)
    return np.asarray(left @ right.T, np.float64)


def euclidean(a: ArrayLike, b: ArrayLike) -> Floats:
    """Euclidean distance, (n, d) x (m, d) -> (n, m). From the differences themselves: the quicker |a|² + |b|² - 2ab
    loses the distance of near points to rounding."""
    return _by_differences(a, b, lambda d: np.sqrt(np.einsum("nmd,nmd->nm", d, d)))


def manhattan(a: ArrayLike, b: ArrayLike) -> Floats:
    """Manhattan distance, (n, d) x (m, d) -> (n, m)."""
    return _by_differences(a, b, lambda d: np.abs(d).sum(axis=2))


def measure(metric: Metric, a: ArrayLike, b: ArrayLike) -> Floats:
    """By the metric's name."""
    match metric:
        case "cosine":
            return cosine(a, b)
        case "dot":
            return dot(a, b)
        case "euclidean":
            return euclidean(a, b)
        case "manhattan":
            return manhattan(a, b)
        case _:
            assert_never(metric)


def higher_is_nearer(metric: Metric) -> bool:
    return metric in ("cosine", "dot")


def metrics(names: str) -> tuple[Metric, ...]:
    """`"cosine, euclidean"` -> their names, each once. Raises QueryError for an unknown one.

    >>> metrics("cosine,dot,cosine")
    ('cosine', 'dot')
    """
    wanted = [name.strip().lower() for name in names.split(",") if name.strip()]
    known = {str(m): m for m in METRICS}
    for name in wanted:
        if name not in known:
            raise QueryError(f"there is no metric {name!r}", f"choices: {', '.join(METRICS)}")
    if not wanted:
        raise QueryError("no metric is named", f"choices: {', '.join(METRICS)}")
    return tuple(known[name] for name in dict.fromkeys(wanted))


def nearest(metric: Metric, query: ArrayLike, vectors: ArrayLike, k: int) -> list[tuple[int, float]]:
    """(row of (n, d) `vectors`, score or distance) of the k nearest to `query` (d,), nearest first; equals by row."""
    found = measure(metric, query, vectors)[0]
    order = np.argsort(-found if higher_is_nearer(metric) else found, kind="stable")[:k]
    return [(int(i), float(found[i])) for i in order]


def matrix(vectors: ArrayLike, what: str = "the vectors") -> Floats:
    """(n, d) float64, checked; one vector (d,) becomes (1, d). Raises VectorError, which names the first bad row."""
    try:
        found = np.atleast_2d(np.asarray(vectors, np.float64))
    except (TypeError, ValueError) as error:
        raise VectorError(f"{what} aren't rows of numbers of one length ({error})", "give an (n, d) array") from None
    if found.ndim != 2 or not found.shape[1]:
        raise VectorError(f"{what} have shape {found.shape}", "give an (n, d) array with d >= 1, or one vector (d,)")
    if not (finite := np.isfinite(found).all(axis=1)).all():
        row = int(np.flatnonzero(~finite)[0])
        raise VectorError(f"{what}: row {row} holds NaN or infinity", "leave such rows out, or make them anew")
    return found


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    left, right = matrix(a), matrix(b)
    if left.shape[1] != right.shape[1]:
        raise VectorError(
            f"vectors of {left.shape[1]} and of {right.shape[1]} dimensions can't be compared",
            "compare vectors of one model",
        )
    return left, right


def _unit(rows: Floats) -> Floats:
    """To length 1; by the largest number first, so that no square overflows or vanishes."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not largest.all():
        row = int(np.flatnonzero(largest == 0)[0])
        raise VectorError(f"row {row} is a vector of zeros, which has no angle", "use euclidean or manhattan instead")
    scaled = rows / largest
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True), np.float64)


def _by_differences(a: ArrayLike, b: ArrayLike, reduce: Callable[[Floats], Floats]) -> Floats:
    left, right = _pair(a, b)
    out = np.empty((len(left), len(right)))
    width = left.shape[1]
    columns = max(1, min(len(right), BLOCK // width))
    rows = max(1, BLOCK // (columns * width))
    for i in range(0, len(left), rows):
        for j in range(0, len(right), columns):
            out[i : i + rows, j : j + columns] = reduce(left[i : i + rows, None] - right[None, j : j + columns])
    return out
