"""Groups of things that lie near each other, named by their texts' most telling words."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never, get_args

import numpy as np

from rag.errors import QueryError
from rag.explore.points import Points, check_choice, drawn
from rag.explore.telling import telling_terms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Labels = NDArray[np.int64]

Kind = Literal["kmeans", "hdbscan"]
MOST = 20  # groups that "auto" tries
SAMPLE = 2000  # points whose distances to each other a silhouette takes: 32 MB
SEARCHED = 3000  # points that the search for k groups, nineteen times
FITTED = 10_000  # points that HDBSCAN looks at; the others join the nearest group. k-means takes more in small batches
DIMENSIONS = 16  # that HDBSCAN sees: in hundreds all points are equally far, and it calls nearly all of them noise


@dataclass(frozen=True)
class Member:
    id: str
    name: str
    score: float  # nearness to the group's centre: cosine similarity, or minus the Euclidean distance


@dataclass(frozen=True)
class Cluster:
    name: str
    terms: tuple[str, ...]  # most telling first; none where there is no text
    members: tuple[Member, ...]  # nearest to the centre first


@dataclass(frozen=True)
class Clusters:
    kind: Kind
    what: str  # the members are: "documents", "chunks", "vectors"
    clusters: tuple[Cluster, ...]  # largest first
    silhouette: float | None  # -1..1, mean over a sample; near 0: the groups run into each other. None: one group
    rest: tuple[str, ...] = ()  # ids in no group: HDBSCAN's noise

    @property
    def labels(self) -> dict[str, int]:
        """Id -> number of its cluster, from 0; those of `rest` are left out."""
        return {member.id: n for n, cluster in enumerate(self.clusters) for member in cluster.members}


def cluster(
    points: Points, kind: Kind = "kmeans", k: int | Literal["auto"] = "auto", stemmer: str = "none"
) -> Clusters:
    """Deterministic. `k` "auto": the number up to MOST with the best silhouette (Rousseeuw 1987). Raises QueryError for
    a k that can't be."""
    from threadpoolctl import threadpool_limits

    check_choice("kind", kind, get_args(Kind))
    if k != "auto" and (not isinstance(k, int) or isinstance(k, bool)):
        raise QueryError(f"k is {k!r}", 'a whole number, or "auto"')
    with threadpool_limits(1):  # short passes: threads would mostly wait for each other
        match kind:
            case "kmeans":
                labels = _kmeans(points, k)
            case "hdbscan":
                if k != "auto":
                    raise QueryError("hdbscan finds the number of groups itself", "leave -k out, or use kmeans")
                labels = _hdbscan(points.vectors)
            case _:
                assert_never(kind)
    numbers = sorted(
        set(labels.tolist()) - {-1}, key=lambda c: (-int((labels == c).sum()), int(np.argmax(labels == c)))
    )
    renamed = {old: new for new, old in enumerate(numbers)}
    own = np.asarray([renamed.get(c, -1) for c in labels.tolist()])
    pieces = ((int(own[row]), text) for row, text in points.texts() if own[row] >= 0)
    terms = telling_terms(pieces, len(numbers), stemmer)
    found = tuple(_cluster(points, np.flatnonzero(own == c), terms[c]) for c in range(len(numbers)))
    rest = tuple(points.ids[i] for i in np.flatnonzero(own < 0))
    return Clusters(kind, points.what, found, _silhouette(points.vectors, own), rest)


def _cluster(points: Points, rows: Labels, terms: list[str]) -> Cluster:
    vectors = points.vectors[rows].astype(np.float64)
    centre = vectors.mean(axis=0)
    if points.angular:
        scores = vectors @ (centre / max(float(np.linalg.norm(centre)), 1e-12))
    else:
        scores = -np.linalg.norm(vectors - centre, axis=1)
    order = np.argsort(-scores.round(4), kind="stable")  # of two, both are as near: float32 must not choose
    members = tuple(Member(points.ids[rows[i]], points.names[rows[i]], float(scores[i])) for i in order)
    return Cluster(", ".join(terms) or f"like {members[0].name}", tuple(terms), members)


# ---- k-means -------------------------------------------------------------------------------------------------------


def _kmeans(points: Points, k: int | Literal["auto"]) -> Labels:
    vectors = points.vectors
    n = len(vectors)
    different = len(np.unique(vectors[drawn(n, FITTED)], axis=0))
    if k != "auto":
        if k < 1 or k > n:
            raise QueryError(f"k is {k}, and there are {n} {points.what}", f"choose 1 to {n}, or auto")
        if n <= FITTED and k > different:
            raise QueryError(f"k is {k}, but only {different} of the {n} {points.what} differ", "choose fewer, or auto")
        return _fit(vectors, k)
    if different < 3:  # nothing to measure a choice by
        return np.zeros(n, np.int64)
    some = vectors[drawn(n, SEARCHED)]
    scored = []
    for choice in range(2, min(MOST, different - 1, max(2, n // 2)) + 1):
        value = _silhouette(some, _fit(some, choice))
        scored.append((-1.0 if value is None else round(value, 6), -choice))
    return _fit(vectors, -max(scored)[1])


def _fit(vectors: Floats, k: int) -> Labels:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if k == 1:
        return np.zeros(len(vectors), np.int64)
    large = len(vectors) > FITTED
    model = (MiniBatchKMeans if large else KMeans)(k, n_init=4, random_state=0, max_iter=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near-equal vectors: fewer groups than asked for
        return np.asarray(model.fit_predict(vectors), np.int64)


def _silhouette(vectors: Floats, labels: Labels) -> float | None:
    from sklearn.metrics import silhouette_score

    kept = np.flatnonzero(labels >= 0)
    rows = kept[drawn(len(kept), SAMPLE)]
    if not 2 <= len(set(labels[rows].tolist())) < len(rows):
        return None
    return float(silhouette_score(vectors[rows], labels[rows]))


# ---- HDBSCAN -------------------------------------------------------------------------------------------------------


def _hdbscan(vectors: Floats) -> Labels:
    """-1: in no group. Campello, Moulavi, Sander 2013, over the first principal components."""
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    rows = drawn(len(vectors), FITTED)
    some = vectors[rows].astype(np.float64)
    if len(some) < 4 or len(np.unique(some, axis=0)) < 2:
        return np.zeros(len(vectors), np.int64)
    wide = min(some.shape)
    if wide > DIMENSIONS:
        some = PCA(DIMENSIONS, svd_solver="full" if wide <= 500 else "randomized", random_state=0).fit_transform(some)
    smallest = 2 if len(some) < 50 else max(5, len(some) // 200)
    found = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(some)
    labels = np.full(len(vectors), -1, np.int64)
    labels[rows] = found
    if len(rows) < len(vectors) and found.max() >= 0:
        _join(vectors, labels, np.setdiff1d(np.arange(len(vectors)), rows))
    return labels


def _join(vectors: Floats, labels: Labels, others: Labels) -> None:
    """Each of `others` to the nearest centre, unless it is farther from it than any member."""
    numbers = range(int(labels.max()) + 1)
    centres = np.stack([vectors[labels == c].mean(axis=0) for c in numbers])
    reach = np.asarray([np.linalg.norm(vectors[labels == c] - centres[c], axis=1).max() for c in numbers])
    for start in range(0, len(others), 1000):
        part = others[start : start + 1000]
        far = np.stack([np.linalg.norm(vectors[part] - centre, axis=1) for centre in centres], axis=1)
        near = far.argmin(axis=1)
        labels[part] = np.where(far[np.arange(len(part)), near] <= reach[near], near, -1)
