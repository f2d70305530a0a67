"""Points in many dimensions -> a map: two coordinates, a colour, and the question's place among them."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never, get_args

import numpy as np

from rag.errors import ConfigError, QueryError
from rag.explore.points import Points, check_choice, drawn

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from rag.explore.clusters import Clusters

    Floats = NDArray[np.float32]

Kind = Literal["pca", "tsne", "umap"]
SHOWN = 3000  # dots: a browser moves so many smoothly
COLOURS = 10
MOST_GROUPS = 40  # more colours and shapes than that nobody tells apart: the smallest are one
FEW = 5  # things that t-SNE and UMAP need at least; below, PCA
OTHERS, NOWHERE = "(others)", "(in no group)"


@dataclass(frozen=True)
class Dot:
    id: str
    name: str
    excerpt: str
    x: float  # 0..1, from the left
    y: float  # 0..1, from the top
    group: int  # of Map.groups


@dataclass(frozen=True)
class Asked:
    """The question on the map, and the dots that answer it best."""

    text: str
    x: float
    y: float
    near: tuple[tuple[int, float], ...]  # (row of Map.dots, score), best first


@dataclass(frozen=True)
class Map:
    title: str
    what: str  # the dots are: "documents", "chunks", "vectors"
    color: str  # the groups are: "cluster", "folder", or a key of metadata
    dots: tuple[Dot, ...]
    groups: tuple[str, ...]  # largest first
    asked: Asked | None
    notes: tuple[str, ...]  # how to read it


def draw_map(
    points: Points,
    title: str,
    kind: Kind = "pca",
    color: str = "folder",
    clusters: Clusters | None = None,
    question: tuple[str, ArrayLike, Sequence[tuple[str, float]]] | None = None,
) -> Map:
    """`clusters`: of these points, where they are the colour. `question`: its text, its vector (d,) and what it found
    as (id, score). Deterministic. Raises QueryError for a colour that isn't there, ConfigError without umap-learn."""
    check_choice("kind", kind, get_args(Kind))
    groups = _groups(points, color, clusters)
    notes = []
    if len(points) > SHOWN:
        found = {id_ for id_, _ in question[2]} if question else set()
        hits = {row for row, id_ in enumerate(points.ids) if id_ in found}
        rows = sorted({*drawn(len(points), SHOWN - len(hits)), *hits})
        notes.append(f"{len(rows):,} of {len(points):,} {points.what} are shown, drawn at random")
        points, groups = points.only(rows), [groups[row] for row in rows]
    names, numbers = _numbered(groups)
    vectors = points.vectors if question is None else np.vstack([points.vectors, np.asarray(question[1], np.float32)])
    places, told = layout(vectors, kind, asked=question is not None)
    places = _into_frame(places)
    dots = tuple(
        Dot(id_, name, excerpt, float(x), float(y), number)
        for id_, name, excerpt, (x, y), number in zip(
            points.ids, points.names, points.excerpts, places, numbers, strict=False
        )
    )
    asked = None
    if question is not None:
        row = {id_: n for n, id_ in enumerate(points.ids)}
        near = tuple((row[id_], score) for id_, score in question[2] if id_ in row)
        asked = Asked(question[0], float(places[-1, 0]), float(places[-1, 1]), near)
    return Map(title, points.what, color, dots, names, asked, (*told, *notes))


# ---- colours -------------------------------------------------------------------------------------------------------


def _groups(points: Points, color: str, clusters: Clusters | None) -> list[str]:
    if color == "cluster" and clusters is not None:
        labels = clusters.labels
        return [clusters.clusters[labels[i]].name if i in labels else NOWHERE for i in points.ids]
    if color not in points.fields:
        choices = ", ".join(["cluster", *points.fields])
        raise QueryError(f"{points.what} have no {color!r} to colour by", f"choices: {choices}")
    return list(points.fields[color])


def _numbered(groups: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Names, largest group first, and for each dot the number of its own."""
    ranked = [name for name, _ in sorted(Counter(groups).items(), key=lambda item: (-item[1], item[0]))]
    if len(ranked) > MOST_GROUPS:
        ranked = [*ranked[: MOST_GROUPS - 1], OTHERS]
    place = {name: n for n, name in enumerate(ranked)}
    return tuple(ranked), [place.get(name, len(ranked) - 1) for name in groups]


# ---- places --------------------------------------------------------------------------------------------------------


def layout(vectors: Floats, kind: Kind, asked: bool = False) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(n, d) -> (n, 2), and words on how to read it. `asked`: the last row is a question, which no axis is made for."""
    fitted = vectors[:-1] if asked else vectors
    if len(fitted) < FEW or not np.ptp(fitted, axis=0).any():  # t-SNE never returns from equal vectors
        kind = "pca"
    match kind:
        case "pca":
            return _pca(vectors, fitted)
        case "tsne":
            return _tsne(vectors), (
                "t-SNE: neighbours are near; the width of a gap and the size of a group say little",
            )
        case "umap":
            return _umap(vectors), ("UMAP: neighbours are near; the width of a gap says little",)
        case _:
            assert_never(kind)


def _pca(vectors: Floats, fitted: Floats) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    mean = fitted.mean(axis=0, dtype=np.float64)
    centred = fitted - mean
    if len(fitted) < vectors.shape[1]:
        _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
        values, axes = lengths**2, directions[:2].T
    else:
        found, directions = np.linalg.eigh(centred.T @ centred)  # (d, d): no (n, n) matrix
        values, axes = found[::-1], directions[:, ::-1][:, :2]
    axes = axes * np.where(
        axes[np.abs(axes).argmax(axis=0), range(axes.shape[1])] < 0, -1, 1
    )  # else as the library likes
    places = (vectors - mean) @ axes
    if places.shape[1] < 2:
        places = np.column_stack([places, np.zeros(len(places))])
    total = float(values.sum())
    share = 100 * float(values[:2].sum()) / total if total > 1e-9 else 100
    return places, (f"PCA: the two axes hold {share:.0f} % of the variance; what is near here may be far in the rest",)


def _tsne(vectors: Floats) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    model = TSNE(2, perplexity=min(30.0, (len(vectors) - 1) / 3), init="pca", random_state=0)
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nan_to_num(np.asarray(model.fit_transform(vectors.astype(np.float64)), np.float64))


def _umap(vectors: Floats) -> NDArray[np.float64]:
    try:
        from umap import UMAP
    except ImportError:
        raise ConfigError("umap needs the package umap-learn", "pip install 'rag-folder[umap]', or use tsne") from None
    few = len(vectors) < 20  # its spectral start wants more
    model = UMAP(n_neighbors=min(15, len(vectors) - 1), init="random" if few else "spectral", random_state=0, n_jobs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.nan_to_num(np.asarray(model.fit_transform(vectors), np.float64))


def _into_frame(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """To 0..1, each axis by itself, a margin left; y from the top."""
    low, high = places.min(axis=0), places.max(axis=0)
    wide = high - low
    within = np.where(wide > 1e-9, (places - low) / np.where(wide > 1e-9, wide, 1), 0.5)
    return np.column_stack([0.03 + 0.94 * within[:, 0], 0.97 - 0.94 * within[:, 1]]).round(5)
