"""The numbers that an OpenDocument text shows in front of headings and items of lists and keeps nowhere in their text.

OASIS OpenDocument 1.3, part 3: `text:list-style` for how the levels of a list look, `text:outline-style` for headings,
`text:continue-list` and `text:continue-numbering` for lists that go on where another one ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rag.load.blocks import number
from rag.load.numerals import numeral

TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
STYLE = "{urn:oasis:names:tc:opendocument:xmlns:style:1.0}"
_ID = "{http://www.w3.org/XML/1998/namespace}id"
_MOST = 40  # characters of a mark


@dataclass(frozen=True)
class _Level:
    form: str  # 1, a, A, i, I; empty for none
    before: str
    after: str
    start: int
    shown: int  # of how many levels the numbers are shown


class Numbers:
    """The marks of one document, asked for in the order of reading. Depths count from 1, the outermost."""

    def __init__(self, *roots: Any) -> None:
        """`roots`: what may hold styles; what a later one says is taken."""
        self._lists: dict[str, dict[int, _Level]] = {}
        self._headings: dict[int, _Level] = {}
        for root in roots:
            for style in root.iter(f"{TEXT}list-style"):
                self._lists[style.get(f"{STYLE}name", "")] = _levels(style, "list-level-style-number")
            for style in root.iter(f"{TEXT}outline-style"):
                self._headings = _levels(style, "outline-level-style")
        self._counts: dict[int, int] = {}  # of the list that is being read: its last number at each depth
        self._ended: dict[str, dict[int, int]] = {}  # of those before, by id and by style
        self._sections: dict[int, int] = {}

    def begin(self, element: Any, style: str) -> None:
        """An outermost list."""
        goes_on = element.get(f"{TEXT}continue-numbering") == "true"
        before = style if goes_on else element.get(f"{TEXT}continue-list")
        self._counts = self._ended.get(before, {}) if before else {}
        for name in (style, element.get(_ID)):
            if name:
                self._ended[name] = self._counts

    def of_item(self, item: Any, style: str, depth: int) -> str:
        """Empty for a bullet and for an item that only heads its list."""
        levels = self._lists.get(style, {})
        return "" if item.tag == f"{TEXT}list-header" else _next(levels, self._counts, depth, item)

    def of_heading(self, heading: Any, depth: int) -> str:
        if heading.get(f"{TEXT}is-list-header") == "true":
            return ""
        return _next(self._headings, self._sections, depth, heading)


def _next(levels: dict[int, _Level], counts: dict[int, int], depth: int, element: Any) -> str:
    level = levels.get(depth)
    start = level.start if level else 1
    if element.get(f"{TEXT}restart-numbering") == "true":
        counts.pop(depth, None)
    counts[depth] = number(element.get(f"{TEXT}start-value", ""), counts.get(depth, start - 1) + 1)
    for deeper in [d for d in counts if d > depth]:
        del counts[deeper]
    if level is None or not level.form:
        return ""
    shown = ((d, levels.get(d)) for d in range(max(1, depth - level.shown + 1), depth + 1))
    numbers = ".".join(numeral(counts.get(d, at.start), at.form) for d, at in shown if at and at.form)
    return f"{level.before}{numbers}{level.after}"[:_MOST].strip()


def _levels(style: Any, name: str) -> dict[int, _Level]:
    def one(e: Any) -> _Level:
        before, after = (e.get(f"{STYLE}num-{side}", "") for side in ("prefix", "suffix"))
        start, shown = (number(e.get(f"{TEXT}{what}", ""), 1) for what in ("start-value", "display-levels"))
        return _Level(e.get(f"{STYLE}num-format", ""), before, after, start, min(shown, 10))

    return {number(e.get(f"{TEXT}level", ""), 1): one(e) for e in style.iterchildren(f"{TEXT}{name}")}
