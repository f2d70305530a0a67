"""The tables of a page, made plain before anything reads them: each row has words for each of its columns.

A merged cell stands in each place that it covers, as those of Office files do; what is said over the whole width at a
table's head stands above it. A table that arranges a page is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rag.load.blocks import MOST_FILLED, number
from rag.load.elements import marks, only, plain, put_mark, shown

_MOST_ACROSS, _MOST_DOWN = 1000, 65534  # says the standard
_LONGEST = 500  # characters of a cell that is repeated: what is longer is no label

Rows = list[tuple[Any, list[Any]]]  # each with its cells


def plain_tables(tree: Any) -> None:
    for table in list(tree.iter("table")):
        for caption in list(table.iterchildren("caption")):
            _set_above(table, caption, shown(caption))
        rows = _rows(table)
        if next(table.iterancestors("li", "dd"), None) is not None:
            _spell_rows(table, rows)
        elif is_data(table):
            for _, cells in rows:
                for cell in cells:
                    _spell_lists(cell)
            _repeat_merged(_without_titles(table, rows))


def is_data(table: Any) -> bool:
    """No table that only arranges a page: no other one lies in it, nor what has a place of its own."""
    wide = sum(len(cells) > 1 for _, cells in _rows(table))
    return wide > 1 and next(table.iterdescendants("table", "h1", "h2", "h3", "pre"), None) is None


def _rows(table: Any) -> Rows:
    return [(row, list(row.iterchildren("td", "th"))) for row in table.iter("tr")]


def _set_above(table: Any, part: Any, words: str) -> None:
    """As a paragraph: of a caption trafilatura makes a row."""
    paragraph = table.makeelement("p")
    paragraph.text = words
    table.addprevious(paragraph)
    part.getparent().remove(part)


def _spell_rows(table: Any, rows: Rows) -> None:
    """In a list's item, lines of it."""
    for row, cells in rows:
        only(row, "  ".join(filter(None, map(shown, cells))))
        row.tag = "p"
    table.tag = "div"


def _spell_lists(cell: Any) -> None:
    lists = list(cell.iterdescendants("ul", "ol", "dl"))
    for item, mark in [each for node in lists for each in marks(node) if each[1]]:
        put_mark(item, mark)
    if lists:
        only(cell, plain(shown(cell)))


def _without_titles(table: Any, rows: Rows) -> Rows:
    """Rows of one cell at its head stand above it."""
    while len(rows[0][1]) == 1 and "rowspan" not in rows[0][1][0].attrib:
        row, cells = rows.pop(0)
        _set_above(table, row, shown(cells[0]))
    return rows


def _repeat_merged(rows: Rows) -> None:
    spanning = [cell for _, cells in rows for cell in cells if {"colspan", "rowspan"} & set(cell.attrib)]
    merged = {cell: words if len(words := shown(cell)) <= _LONGEST else "" for cell in spanning}
    for (row, cells), line in zip(rows, list(_lines(rows, merged)) if merged else (), strict=False):
        own = set(cells)
        for cell in cells:
            row.remove(cell)
        for cell in line:
            row.append(cell if cell in own else _copied(cell, merged[cell]))
            own.discard(cell)
    for cell in merged:  # or trafilatura would add blank ones
        for name in ("colspan", "rowspan"):
            cell.attrib.pop(name, None)


def _copied(cell: Any, words: str) -> Any:
    copy = cell.makeelement(cell.tag)
    copy.text = words
    return copy


def _lines(rows: Rows, words: Mapping[Any, str]) -> Iterator[list[Any]]:
    """Of each row the cells that cover its columns, until the table would be many times what it is. `words`: of merged
    cells, which are repeated."""
    left = MOST_FILLED * (sum(len(cells) for _, cells in rows) + sum(map(len, words.values())))
    across = (sum(_span(cell, "colspan", _MOST_ACROSS) for cell in cells) for _, cells in rows if len(cells) > 1)
    width = min(left, max(across))
    below: dict[int, tuple[Any, int]] = {}  # by column: a cell that goes on downwards, and the row behind its last
    group = None
    for at, (row, cells) in enumerate(rows):
        if row.getparent() is not group:
            below, group = {}, row.getparent()
        line: list[Any] = []
        for cell in (*cells, None):
            while at < below.get(len(line), (None, 0))[1]:
                line.append(below[len(line)][0])
            if cell is not None:
                end = at + _span(cell, "rowspan", _MOST_DOWN)
                for _ in range(min(_span(cell, "colspan", _MOST_ACROSS), max(1, width - len(line)))):
                    below[len(line)] = (cell, end)
                    line.append(cell)
        left -= sum(1 + len(words.get(cell, "")) for cell in line)
        if left < 0:
            return
        yield line


def _span(cell: Any, name: str, most: int) -> int:
    return max(1, min(number(cell.get(name, ""), 1), most))
