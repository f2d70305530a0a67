"""Tables as text (csv, tsv) -> Markdown rows, so that they are read, split and shown as every other table.

Row n of the file is line n + 1 of the text: the line under the head is Markdown's.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from rag.load.blocks import Blocks
from rag.load.decode import decode
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_DELIMITERS = ",;\t|"
_SAMPLE = 65_536  # characters that the delimiter is told from


def load(data: bytes, relative: str, config: Load) -> Source:
    text, encoding, warnings = decode(data)
    lines = text.split("\n")
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    if lines[0].lower().startswith("sep=") and len(lines[0]) == 5:  # Excel's own word on it
        delimiter = lines.pop(0)[4]
    else:
        delimiter = "\t" if relative.lower().endswith(".tsv") else delimiter_of(lines)
    try:
        rows = _rows(lines, delimiter, csv.QUOTE_MINIMAL)
    except csv.Error:
        rows = _rows(lines, delimiter, csv.QUOTE_NONE)
        warnings = (*warnings, "its quotes don't match: read as if they were letters")
    blocks = Blocks()
    if max(map(len, rows), default=0) > 1:
        blocks.table(rows)
    else:
        blocks.add("\n".join(" ".join(cell.split()) for row in rows for cell in row))
    return Source(relative, blocks.text, "csv", metadata={"encoding": encoding}, warnings=warnings)


def _rows(lines: Iterable[str], delimiter: str, quoting: Literal[0, 3]) -> list[list[str]]:
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, quoting=quoting, strict=True)
    return [row for row in reader if any(map(str.strip, row))]


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
