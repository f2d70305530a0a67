"""Evidence against passages by character: who holds a span, and Chroma's recall, precision, IoU, precision_omega.

Definitions: Smith & Troynikov, Evaluating Chunking Strategies for Retrieval, Chroma technical report, 2024.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rag.evaluate.judgements import Evidence, Judgement
from rag.types import Span


class Found(Protocol):
    """What was retrieved or cited: rag.types.Passage has these, and more."""

    @property
    def source(self) -> str: ...
    @property
    def span(self) -> Span: ...
    @property
    def also_in(self) -> tuple[str, ...]: ...


def span_ranks(judgement: Judgement, passages: Sequence[Found]) -> list[int | None]:
    """For each nugget: rank (from 1) of the first passage that holds one of its places whole, None: no passage does."""
    return [
        next((rank for rank, p in enumerate(passages, 1) if any(_holds(p, e) for e in nugget)), None)
        for nugget in judgement.evidence
    ]


def _holds(p: Found, e: Evidence) -> bool:
    if e.span is None or not (e.source == p.source or e.source in p.also_in):
        return False
    return p.span.start <= e.span.start and e.span.end <= p.span.end


# ---- characters --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CharacterScores:
    """Chroma's: covered / wanted, covered / retrieved, covered / (retrieved + missed).

    Retrieved characters are counted as often as they come, so that overlapping chunks cost something.
    """

    recall: float
    precision: float
    iou: float


def character_scores(judgement: Judgement, passages: Sequence[Found]) -> CharacterScores:
    """Over all passages given. Of a nugget's places the one counts that is covered best (by share)."""
    wanted: dict[str, list[Span]] = {}
    shown: dict[str, list[Span]] = {}
    sources = {e.source for e in judgement.places}
    for p in passages:  # under one name, so that no character is covered twice
        name = next((n for n in (p.source, *p.also_in) if n in sources), p.source)
        shown.setdefault(name, []).append(p.span)
    merged = {name: union(spans) for name, spans in shown.items()}

    def share(place: tuple[str, Span]) -> float:
        source, span = place
        return covered([span], merged.get(source, [])) / max(1, len(span))

    for nugget in judgement.evidence:
        places = [(e.source, e.span) for e in nugget if e.span]
        if not places:
            raise judgement.error("evidence", "has no span", "characters can't be counted in whole documents")
        source, span = max(places, key=share)
        wanted.setdefault(source, []).append(span)
    total = hit = 0
    for name, spans in wanted.items():
        references = union(spans)
        total += sum(map(len, references))
        hit += covered(references, merged.get(name, []))
    if not total:
        raise judgement.error("evidence", "its spans are empty", "give spans with characters in them")
    retrieved = sum(len(p.span) for p in passages)
    return CharacterScores(hit / total, hit / retrieved if retrieved else 0.0, hit / (retrieved + total - hit))


def precision_omega(references: Sequence[Span], chunks: Iterable[Span]) -> float:
    """IoU of the references and all chunks of their source that touch one, overlaps merged: what a perfect retriever
    would reach with these chunks. A chunk that ends where a reference begins touches it, as in Chroma's report.
    """
    wanted = union(references)
    touching = union([c for c in chunks if any(c.start <= r.end and r.start <= c.end for r in wanted)])
    hit = covered(wanted, touching)
    either = sum(map(len, touching)) + sum(map(len, wanted)) - hit
    return hit / either if either else 0.0


def union(spans: Iterable[Span]) -> list[Span]:
    """The same characters in ascending spans that neither overlap nor touch.

    >>> union([Span(5, 9), Span(0, 3), Span(2, 5)])
    [Span(start=0, end=9)]
    """
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def covered(a: Iterable[Span], b: Sequence[Span]) -> int:
    """Characters in both; neither list overlaps itself."""
    return sum(x.overlap(y) for x in a for y in b)
