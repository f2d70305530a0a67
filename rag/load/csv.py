"""Tables as text (csv, tsv) -> Markdown rows, so that they are read, split and shown as every other table.

Row n of the file is line n + 1 of the text: the line under the head is Markdown's. Lines above the table that say what
it is ("Account:;DE12", as banks write them) are lines, too.
"""

from __future__ import annotations

import csv
from collections import Counter
from itertools import takewhile
from typing import TYPE_CHECKING

from rag.load.blocks import Blocks
from rag.load.decode import decode
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_DELIMITERS = ",;\t|"
_MOST_ABOVE = 30  # rows above the head
_SAMPLE = 65_536  # characters that the delimiter is told from


def load(data: bytes, relative: str, config: Load) -> Source:
    text, encoding, warnings = decode(data)
    lines = text.split("\n")
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    if lines[0].lower().startswith("sep=") and len(lines[0]) == 5:  # Excel's own word on it
        delimiter = lines.pop(0)[4]
    else:
        delimiter = "\t" if relative.lower().endswith(".tsv") else delimiter_of(lines)
    rows, stray = _rows(lines, delimiter)
    if stray:
        warnings = (*warnings, f"quotes of {stray} lines don't match: read as if they were letters")
    blocks = Blocks()
    head = _head(rows)
    blocks.add("\n".join(" ".join(" ".join(row).split()) for row in rows[:head]))
    table = [row for row in rows[head:] if _filled(row)]
    if max(map(len, table), default=0) > 1:
        blocks.table(table)
    else:
        blocks.add("\n".join(" ".join(cell.split()) for row in table for cell in row))
    return Source(relative, blocks.text, "csv", metadata={"encoding": encoding}, warnings=warnings)


def _rows(lines: list[str], delimiter: str) -> tuple[list[list[str]], int]:
    """The rows, empty ones too, and how many lines have quotes that don't match. Those are letters then, in that line
    alone. The lines that a quote there seemed to reach over are read again, but all together not more than once."""
    rows, stray = list[list[str]](), 0
    begin, most = 0, sum(map(len, lines)) + len(lines)
    while begin < len(lines):
        reader = csv.reader((lines[at] + "\n" for at in range(begin, len(lines))), delimiter=delimiter, strict=True)
        done = begin
        try:
            for row in reader:
                rows.append(row)
                done = begin + reader.line_num
            break
        except csv.Error:
            most -= sum(len(lines[at]) + 1 for at in range(done, begin + reader.line_num))
        letters = lines[done : done + 1 if most > 0 else None]
        rows += [line.split(delimiter) for line in letters]
        stray += sum('"' in line for line in letters)
        begin = done + len(letters)
    return rows, stray


def _filled(row: list[str]) -> int:
    return sum(map(bool, map(str.strip, row)))


def _head(rows: list[list[str]]) -> int:
    """The row where the table begins: below what an empty row parts from a row that fills more cells, and below lines
    that fill their first cell only (not "name," which is a head, nor ",name" as pandas writes it)."""
    above, head = rows[:_MOST_ABOVE], 0
    for at, row in enumerate(above):
        below = next(filter(_filled, rows[at + 1 : at + _MOST_ABOVE]), [])
        if not _filled(row) and max(map(_filled, above[head:at]), default=0) < _filled(below):
            head = at + 1
    titles = list(takewhile(lambda row: _filled(row) == 1 and row[0].strip() and len(row) != 2, above[head:]))
    end = head + len(titles)
    return end if end < len(rows) and _filled(rows[end]) > 1 else head


def delimiter_of(lines: list[str]) -> str:
    r"""The sign that cuts most lines into the same number of cells.

    csv.Sniffer guesses from letters too, and takes seconds for some texts.

    >>> delimiter_of(["name;price", "Bolt, M6;0,12", "Nut;0,05"]), delimiter_of(["one", "two"])
    (';', ',')
    """
    sample, length = [], 0
    for line in lines:
        sample.append(line[:_SAMPLE])
        length += len(sample[-1])
        if length > _SAMPLE or len(sample) >= 200:
            break

    def agreement(delimiter: str) -> tuple[float, int]:
        widths: Counter[int] = Counter()
        try:
            widths.update(len(row) for row in csv.reader(sample, delimiter=delimiter) if row)
        except csv.Error:
            return 0.0, 0
        width, count = max(widths.items(), key=lambda item: (item[0] > 1, item[1]), default=(1, 1))
        return (count / widths.total(), width) if width > 1 else (0.0, 0)

    return max(_DELIMITERS, key=agreement)
