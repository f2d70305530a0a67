"""`sentence` packs whole sentences; `document` keeps a page, or the whole source, together where it fits."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rag.sentences import sentence_ranges
from rag.split.pack import Range, as_ranges, pack
from rag.split.ruler import Ruler

_LINE = re.compile(r"\S[^\n]*")


def sentence_units(ruler: Ruler, start: int = 0, end: int | None = None) -> NDArray[np.int64]:
    """(n, 2) sentences of text[start:end]; headings of the source end one. Source code: lines."""
    end = len(ruler.text) if end is None else end
    text = ruler.text if (start, end) == (0, len(ruler.text)) else ruler.text[start:end]
    if ruler.source.kind == "code":
        units = as_ranges([m.span() for m in _LINE.finditer(text)]) + start
    else:
        units = as_ranges(sentence_ranges(text, ruler.language)) + start
    return cut_at(ruler, units, heading_edges(ruler, start, end))


def heading_edges(ruler: Ruler, start: int, end: int) -> NDArray[np.int64]:
    """Where headings begin, and where their lines end, within [start, end)."""
    edges = []
    for heading in ruler.source.headings:
        if start <= heading.start < end:
            line_end = ruler.text.find("\n", heading.start)
            edges += [heading.start, line_end if 0 <= line_end < end else end]
    return np.unique(np.asarray(edges, np.int64))


def cut_at(ruler: Ruler, units: NDArray[np.int64], edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Units without those edges inside; stripped again where one was cut."""
    inside = edges.searchsorted(units[:, 1], "left") > edges.searchsorted(units[:, 0], "right")
    if not inside.any():
        return units
    result: list[Range] = []
    for (start, end), cut in zip(units.tolist(), inside.tolist(), strict=True):
        if not cut:
            result.append((start, end))
            continue
        within = edges[edges.searchsorted(start, "right") : edges.searchsorted(end, "left")].tolist()
        parts = zip([start, *within], [*within, end], strict=True)
        result += [(s, e) for s, e in (ruler.strip(*part) for part in parts) if s < e]
    return as_ranges(result)


def heading_units(ruler: Ruler, units: NDArray[np.int64]) -> NDArray[np.int64]:
    """Indices of the units that begin with a heading of the source."""
    starts = np.asarray([h.start for h in ruler.source.headings], np.int64)
    found = units[:, 0].searchsorted(starts, "left")
    return np.unique(found[found < len(units)])


def by_sentence(ruler: Ruler) -> Iterator[Range]:
    units = sentence_units(ruler)
    return pack(ruler, units, heading_units(ruler, units))


def by_page(ruler: Ruler) -> Iterator[Range]:
    pages = ruler.source.pages or (0,)
    for start, end in zip(pages, [*pages[1:], len(ruler.text)], strict=True):
        if ruler.fits(start, end):
            yield start, end
        else:
            units = sentence_units(ruler, start, end)
            yield from pack(ruler, units, heading_units(ruler, units))
