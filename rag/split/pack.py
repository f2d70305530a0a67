"""Units in, chunks out: whole units are packed while they fit. Every kind ends here.

Ranges travel as (n, 2) arrays of characters, so that two million blank lines are no two million objects.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from rag.split.ruler import Ruler
from rag.types import Chunk, Span

if TYPE_CHECKING:
    from numpy.typing import NDArray

Range = tuple[int, int]
NO_UNITS: NDArray[np.int64] = np.empty(0, np.int64)


def as_ranges(spans: Iterable[Span] | Iterable[Range]) -> NDArray[np.int64]:
    """(n, 2)"""
    pairs = ((s.start, s.end) if isinstance(s, Span) else s for s in spans)
    return np.fromiter(chain.from_iterable(pairs), np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class _Headings:
    units: NDArray[np.int64]  # which units are headings
    edges: NDArray[np.int64]  # where the unit before each of them ends
    among: NDArray[np.bool_]  # (n + 1,) the same as flags


def pack(
    ruler: Ruler, units: NDArray[np.int64], headings: NDArray[np.int64] = NO_UNITS, most: int | None = None
) -> Iterator[Range]:
    """Greedy: each chunk takes as many whole units as fit. A unit that fits nowhere is cut by `ruler.longest`.

    `units` are (n, 2), ascending, without overlap. `headings` are indices of units that begin a section: a chunk
    that is half full ends before one, and none ends on one. `most` tokens are aimed at instead of the limit.
    With an overlap a chunk begins with the last whole units of the chunk before it, except at a heading.
    """
    starts, ends = units[:, 0], units[:, 1]
    size = min(ruler.max_tokens, most or ruler.max_tokens)
    last, unit = len(units) - 1, 0
    start = int(starts[0]) if len(units) else 0
    headings = headings[headings > 0]
    among = np.zeros(len(units) + 1, np.bool_)
    among[headings] = True
    cuts = _Headings(headings, ends[headings - 1], among)
    while unit <= last:
        reach = ruler.ahead(start, most)
        until = max(unit, int(ends.searchsorted(reach, "right")) - 1)
        if len(headings):
            until = _before_heading(ruler, cuts, unit, until, start, size)
        while until > unit and not ruler.fits(start, int(ends[until])):
            until -= 1
        if until == unit and not ruler.fits(start, int(ends[unit])):
            if start < starts[unit]:  # the overlap leaves no room
                start = int(starts[unit])
                continue
            cut = ruler.longest(start, int(ends[unit]))
            yield start, cut
            start = cut
            unit += cut >= ends[unit]
            start = max(start, int(starts[unit])) if unit <= last else start
            continue
        yield start, int(ends[until])
        begun = ruler.strip(start, int(ends[until]))[0]
        unit = until + 1
        if unit <= last:
            start = int(starts[unit])
            if ruler.overlap_tokens and not among[unit]:
                start = _overlap(ruler, units, unit, begun)


def _before_heading(ruler: Ruler, cuts: _Headings, first: int, until: int, start: int, size: int) -> int:
    """`until`, or less: the unit before the first heading that comes when half of `size` is used."""
    half = ruler.scale.ahead(start, (size + 1) // 2 - 1)  # start of the token that makes it half full
    at = max(int(cuts.units.searchsorted(first, "right")), int(cuts.edges.searchsorted(half, "right")))
    if at < len(cuts.units) and cuts.units[at] <= until:
        until = int(cuts.units[at]) - 1
    held = until
    while first < held < len(cuts.among) - 2 and cuts.among[held]:
        held -= 1
    return until if cuts.among[held] else held  # nothing but headings: take them


def _overlap(ruler: Ruler, units: NDArray[np.int64], unit: int, begun: int) -> int:
    """Where the chunk of units[unit:] begins so that it repeats the whole units before it, as many as allowed.

    `begun`: where the chunk before begins.
    """
    edge = int(units[unit - 1, 1])
    first = int(units[:, 0].searchsorted(ruler.scale.back(edge, ruler.overlap_tokens), "left"))
    while first < unit:
        start = int(units[first, 0])
        if ruler.strip(start, edge)[0] > begun and ruler.ahead(start) >= units[unit, 1] and ruler.overlaps(start, edge):
            return start
        first += 1
    return int(units[unit, 0])


def cut_to_fit(ruler: Ruler, ranges: Iterable[Range]) -> Iterator[Range]:
    """Whatever doesn't fit is cut; what fits passes as it is."""
    for start, end in ranges:
        while start < end:
            start, end = ruler.strip(start, end)
            if start == end:
                break
            cut = end if ruler.fits(start, end) else ruler.longest(start, end)
            yield start, cut
            start = cut


def chunks_of(ruler: Ruler, ranges: Iterable[Range]) -> list[Chunk]:
    """Ranges -> chunks without outer white space, none empty, each within the limits, ascending."""
    chunks: list[Chunk] = []
    done = 0
    for start, end in cut_to_fit(ruler, ranges):
        start, end = ruler.strip(start, end)
        if start < end and end > done:  # a range within the one before says nothing new
            text = ruler.text[start:end]
            chunks.append(Chunk(text, Span(start, end), ruler.locate(start), ruler.outline.prefix(start)))
            done = end
    return chunks
