"""Pictures and recordings nearest to a vector of their own space, and one ranking of several spaces.

A cosine of one space says nothing about a cosine of another, so spaces are put together by rank alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from rag.retrieve.filters import Filter
from rag.retrieve.fusion import ranked, reciprocal_rank
from rag.types import Passage, Space, Span, StageScore

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

CANDIDATES = 4  # times k: windows of one recording, and equal pictures, are one hit


class Reader(Protocol):
    """What this needs of an index; rag.store.IndexReader has it."""

    @property
    def catalog(self) -> Any: ...
    def nearest(
        self,
        space: Space,
        vectors: Floats,
        k: int,
        generation: int,
        fingerprint: dict[str, Any],
        allowed: Sequence[int] | None = None,
    ) -> list[tuple[int, float]]: ...


def nearest_media(
    reader: Reader, space: Space, vectors: Floats, fingerprint: dict[str, Any], k: int, wanted: Filter | None = None
) -> list[Passage]:
    """At most `k` pictures, or recordings with the window that is nearest, best first. Their score is the cosine to the
    nearest of `vectors`, (n, dimension): a clip of several windows has several.

    Equal pictures of several documents are one hit, which names the others. Raises IndexMismatch.
    """
    catalog = reader.catalog
    with catalog.snapshot() as generation:
        held = catalog.media_ids(space, generation)
        if not held:
            return []
        allowed, depth = _allowed(catalog, held, wanted, generation), CANDIDATES * k
        while True:
            scores = dict(reader.nearest(space, vectors, depth, generation, fingerprint, allowed))
            passages = _passages(catalog, space, scores, k, wanted, generation)
            if len(passages) >= k or depth >= len(held):
                return passages
            depth *= 4


def fuse_spaces(rankings: Sequence[Sequence[Passage]], k: int, rrf_k: int = 60) -> list[Passage]:
    """One ranking of several, by reciprocal rank: scores of different spaces aren't comparable. One alone stays as it
    is."""
    rankings = [ranking for ranking in rankings if ranking]
    if len(rankings) < 2:
        return list(rankings[0][:k]) if rankings else []
    numbers: dict[str, int] = {}
    passages: dict[int, Passage] = {}
    for place in range(max(map(len, rankings))):  # equal scores: in the order of the spaces
        for ranking in rankings:
            if place < len(ranking):
                passage = ranking[place]
                passages.setdefault(numbers.setdefault(passage.chunk_id, len(numbers)), passage)
    scores = reciprocal_rank([[numbers[p.chunk_id] for p in ranking] for ranking in rankings], rrf_k)
    best = ranked(scores)[:k]
    return [
        replace(
            passages[i], number=n, score=scores[i], stages=(*passages[i].stages, StageScore("spaces", scores[i], n))
        )
        for n, i in enumerate(best, 1)
    ]


def _allowed(catalog: Any, held: Sequence[int], wanted: Filter | None, generation: int) -> list[int] | None:
    if wanted is None:
        return None
    rows = catalog.media(held)
    contents = catalog.contents_seen({row.content_id for row in rows.values()}, generation)
    return [
        number
        for number, row in rows.items()
        if any(
            wanted.allows(path, contents[row.content_id].kind, row.location.page)
            for path in contents[row.content_id].paths
        )
    ]


def _passages(
    catalog: Any, space: Space, scores: dict[int, float], k: int, wanted: Filter | None, generation: int
) -> list[Passage]:
    rows = catalog.media(list(scores))
    contents = catalog.contents_seen({row.content_id for row in rows.values()}, generation)
    kept: dict[Any, Passage] = {}
    for number in ranked(scores):
        row = rows[number]
        content = contents[row.content_id]
        named = [
            p for p in content.paths if wanted is None or wanted.allows(p, content.kind, row.location.page)
        ] or list(content.paths)
        same = row.content_id if space == "audio" else row.vector_key
        if before := kept.get(same):
            others = dict.fromkeys((*before.also_in, *(p for p in content.paths if p != before.source)))
            kept[same] = replace(before, also_in=tuple(others))
            continue
        if len(kept) >= k:
            continue  # goes on for `also_in` alone
        path, score, rank = named[0], scores[number], len(kept) + 1
        kept[same] = Passage(
            rank, row.key, path, content.kind, Span(row.start, row.start), "", row.location, score,
            (StageScore(space, score, rank),), content.title,
            tuple(p for p in content.paths if p != path), space=space,
        )  # fmt: skip
    return list(kept.values())
