"""`markdown`: sections whole where they fit, then their blocks; code fences and tables are blocks.

# Guide        fits whole? one chunk
## Install     else neighbouring sections under the same parent, as many as fit,
## Use         but no section is torn that fits whole into the next chunk
### Flags      a section too long for a chunk: its paragraphs, fences and tables, packed; the heading stays
               with the first of them. A fence or table too long for a chunk is cut between lines, a
               paragraph between sentences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from rag.split.pack import Range, as_ranges, pack
from rag.split.ruler import Ruler
from rag.split.sentence import sentence_units

_LINE = re.compile(r"\S[^\n]*")  # without its indentation; blank lines don't match
_LINES = re.compile(  # the same, but lines of plain text that follow each other, or of a table, are one match
    r"(?P<text>(?:[^\s#|`~][^\n]*+(?:\n[^\S\n]*+(?=[^\s#|`~]))?+)++)"
    r"|(?P<table>(?:\|[^\n]*+(?:\n[^\S\n]*+(?=\|))?+)++)"
    r"|\S[^\n]*"
)
_ATX = re.compile(r"(#{1,6})[ \t]+\S")
_ANY_ATX = re.compile(rf"^[^\S\n]*{_ATX.pattern}", re.MULTILINE)
_FENCE = re.compile(r"`{3,}|~{3,}")


@dataclass(frozen=True, slots=True)
class _Sections:
    """Parallel lists. `after[i]`: the first section behind i that is no part of it."""

    starts: list[int]
    ends: list[int]
    levels: list[int]
    parents: list[int]
    after: list[int]


def by_section(ruler: Ruler) -> Iterator[Range]:
    found = _sections(ruler)
    ends = np.asarray(found.ends, np.int64)
    section, count = 0, len(found.starts)
    while section < count:
        start = found.starts[section]
        until = int(ends.searchsorted(ruler.ahead(start), "right")) - 1
        until = min(until, _same_parent(found, section) - 1)
        while until >= section and not ruler.fits(start, found.ends[until]):
            until -= 1
        if until < section:
            yield from _blocks(ruler, start, found.ends[section])
            section += 1
            continue
        until = _untorn(ruler, found, section, until)
        yield start, found.ends[until]
        section = until + 1


def _sections(ruler: Ruler) -> _Sections:
    heads = [(h.start, h.level) for h in ruler.source.headings] or _atx_headings(ruler.text)
    if not heads or heads[0][0] > 0:
        heads = [(0, min((level for _, level in heads), default=1)), *heads]
    starts, levels = [s for s, _ in heads], [level for _, level in heads]
    ends = [ruler.strip(s, e)[1] for s, e in zip(starts, [*starts[1:], len(ruler.text)], strict=True)]
    parents, after, stack = [-1] * len(heads), [len(heads)] * len(heads), list[int]()
    for index, level in enumerate(levels):
        while stack and levels[stack[-1]] >= level:
            after[stack.pop()] = index
        parents[index] = stack[-1] if stack else -1
        stack.append(index)
    return _Sections(starts, ends, levels, parents, after)


def _same_parent(found: _Sections, section: int) -> int:
    """The first section behind `section` that stands under another parent."""
    parent = found.parents[section]
    return found.after[parent] if parent >= 0 else len(found.starts)


def _untorn(ruler: Ruler, found: _Sections, section: int, until: int) -> int:
    """`until`, or less where the chunk would end within a section that fits whole into the next chunk."""
    best, torn = until, found.parents[until + 1] if until + 1 < len(found.starts) else -1
    while torn > section and ruler.fits(found.starts[torn], found.ends[found.after[torn] - 1]):
        best, torn = torn - 1, found.parents[torn]
    return best


def _blocks(ruler: Ruler, start: int, end: int) -> Iterator[Range]:
    """The chunks of one long section."""
    found = list(_scan(ruler.text, start, end))
    blocks = as_ranges([(s, e) for _, s, e in found])
    kinds = np.asarray([kind for kind, _, _ in found])
    together = blocks[:, 0].copy()  # a block should stand with the heading before it
    together[1:] = np.where(kinds[:-1] == "heading", blocks[:-1, 0], together[1:])
    long = ruler.too_long(blocks[:, 0], blocks[:, 1])
    loose = ruler.too_long(together, blocks[:, 1]) & np.isin(kinds, ["text", "heading"])
    units: list[Range] = []
    for index in np.flatnonzero(long | loose).tolist():
        kind, block_start, block_end = found[index]
        if kind in {"text", "heading"}:
            units += [(s, e) for s, e in sentence_units(ruler, block_start, block_end).tolist()]
        else:
            units += [m.span() for m in _LINE.finditer(ruler.text, block_start, block_end)]
    whole = blocks[~(long | loose)]
    ranges = np.concatenate([whole, as_ranges(units)])
    return pack(ruler, ranges[np.argsort(ranges[:, 0], kind="stable")])


def _atx_headings(text: str) -> list[tuple[int, int]]:
    """(start, level) of `# ...` lines outside code fences, for sources that come without headings."""
    if not _ANY_ATX.search(text):
        return []
    found = (start for kind, start, _ in _scan(text, 0, len(text)) if kind == "heading")
    return [(start, len(text[start : start + 7].split()[0])) for start in found]


def _scan(text: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """("text" | "heading" | "fence" | "table", start, end) blocks of text[start:end].

    A block ends at a blank line, except a fence, which ends at its closing line (CommonMark 0.31, 4.5) or nowhere.
    `# ...` lines are blocks of their own.
    """
    kind, first, last = "", start, start
    fence = ""
    for lines in _LINES.finditer(text, start, end):
        begin, stop = lines.span()
        now = lines.lastgroup or "text"
        marks = None if lines.lastgroup else _FENCE.match(text, begin, stop)
        if fence:
            last = stop
            if marks and marks[0].startswith(fence) and not text[marks.end() : stop].strip():
                yield "fence", first, last
                kind, fence = "", ""
            continue
        if marks and "`" in marks[0] and "`" in text[marks.end() : stop]:
            marks = None  # `code` within a line
        if marks:
            now = "fence"
        elif text[begin] == "#" and _ATX.match(text, begin, stop):
            now = "heading"
        if kind != now or now in {"fence", "heading"} or text.count("\n", last, begin) > 1:
            if kind:
                yield kind, first, last
            kind, first = now, begin
        last = stop
        fence = marks[0] if marks else ""
    if kind:
        yield kind, first, last
