"""Excel workbooks: each visible sheet a heading, its tables, as the cells are shown, and the notes on its cells.

openpyxl reads row by row, so that a large sheet doesn't fill the memory. What a formula came to is what Excel stored
with it; nothing is calculated. Where nothing is stored (a program wrote the file), the formula itself stands there.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from itertools import accumulate, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rag.load.blocks import Blocks, number, unshown
from rag.load.cells import in_words
from rag.load.container import member, open_container, parse_xml, words
from rag.load.decode import clean
from rag.types import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

    from rag.config import Load

MOST_ROWS, MOST_COLUMNS = 1_048_576, 16_384  # Excel's own; a file that claims more is hostile
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell\s[^<>]*?ref="([A-Z]{1,3})(\d{1,7}):([A-Z]{1,3})(\d{1,7})"')
_FORMULA = re.compile(rb"<(?:\w+:)?f[\s>/]")
_UNSEEN = re.compile(rb"""<(?:\w+:)?(row|col)(?=\s)([^<>]*\shidden\s*=\s*["'](?:1|true)["'][^<>]*)""")
_ATTRIBUTE = re.compile(rb"""(?<![\w:])(r|min|max)\s*=\s*["'](\d{1,9})["']""")
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_MOST_MERGED = 10_000
_NAMED = 100  # characters of a cell by which its note names it

Row = list[str]
Place = tuple[int, int]  # row and column, from 1


def load(data: bytes, relative: str, config: Load) -> Source:
    import openpyxl

    archive = open_container(data, "an Excel workbook", config)
    shown = openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=True, keep_links=False)
    written = None  # the formulas: a second reading, for the files that have some
    blocks, warnings, unseen = Blocks(), list[str](), 0
    for at, sheet in enumerate(shown.worksheets):
        if sheet.sheet_state != "visible":
            warnings.append(f"sheet {sheet.title!r} is hidden: left out")
            continue
        if len(blocks) > config.max_chars:
            warnings.append(f"sheet {sheet.title!r} left out: the text is longer than load.max_chars")
            continue
        raw = _member(archive, sheet)
        formulas = None
        if _FORMULA.search(raw):
            written = written or openpyxl.load_workbook(BytesIO(data), read_only=True, keep_links=False)
            formulas = written.worksheets[at]
        notes = sorted(_notes(archive, sheet), key=itemgetter(0))
        found = _Sheet(sheet, formulas, raw, {place for place, *_ in notes}, config.max_chars)
        before = len(blocks)
        for count, table in enumerate(found.tables()):
            if not count:
                blocks.heading(1, sheet.title)
            _write(table, blocks)
        if notes and len(blocks) == before:
            blocks.heading(1, sheet.title)
        for place, ref, note in notes:
            named = " ".join(found.noted.get(place, "").split())[:_NAMED]
            if len(blocks) <= config.max_chars:
                blocks.add(f"[Note on {ref}{named and f' ({named})'}: {note}]")
        unseen += found.unseen
        if found.unknown:
            without = "formulas without a stored result, shown as written"
            warnings.append(f"sheet {sheet.title!r}: {without}: {found.unknown}")
        if found.cut:
            warnings.append(f"sheet {sheet.title!r}: rows after {found.cut} left out, longer than load.max_chars")
    title = " ".join(clean(shown.properties.title or "").split()) or None
    return Source(
        relative,
        blocks.text,
        "xlsx",
        title=title,
        headings=blocks.headings,
        metadata=unshown(unseen),
        warnings=tuple(warnings),
    )


def _member(archive: ZipFile, sheet: Any) -> bytes:
    """The sheet's XML: openpyxl's row reader passes over merged cells."""
    try:
        return archive.read(sheet._worksheet_path)
    except KeyError:
        return b""


def _merged(raw: bytes) -> dict[Place, Place]:
    """Each covered cell -> the cell whose value it shows."""
    from openpyxl.utils import column_index_from_string as index

    covered: dict[Place, Place] = {}
    for match in _MERGED.finditer(raw):
        left, top, right, bottom = index(match[1].decode()), int(match[2]), index(match[3].decode()), int(match[4])
        if (right - left + 1) * (bottom - top + 1) + len(covered) > _MOST_MERGED:
            continue
        cells = ((row, column) for row in range(top, bottom + 1) for column in range(left, right + 1))
        covered.update((cell, (top, left)) for cell in cells if cell != (top, left))
    return covered


def _hidden(raw: bytes) -> tuple[set[int], set[int]]:
    """Numbers of the rows and columns that aren't shown."""
    rows, changes = set[int](), [0] * (MOST_COLUMNS + 2)
    for match in _UNSEEN.finditer(raw):
        said = {name: number(value.decode(), 0, 7) for name, value in _ATTRIBUTE.findall(match[2])}
        if match[1] == b"row":
            rows.add(said.get(b"r", 0))
        else:
            changes[min(said.get(b"min", 0), MOST_COLUMNS)] += 1
            changes[min(said.get(b"max", 0), MOST_COLUMNS) + 1] -= 1
    return rows, {column for column, depth in enumerate(accumulate(changes)) if depth > 0}


def _notes(archive: ZipFile, sheet: Any) -> Iterator[tuple[Place, str, str]]:
    """Place and name of the cell that each is on, and what it says. A conversation is kept a second time, as a note for
    older programs."""
    from openpyxl.utils import column_index_from_string

    threads = list(_parts_beside(archive, sheet, "threadedComment"))
    conversed = {comment.get("ref") for root in threads for comment in root.iter("{*}threadedComment")}
    for root in (*threads, *_parts_beside(archive, sheet, "comments")):
        for comment in root.iter("{*}threadedComment", "{*}comment"):
            ref = comment.get("ref") or ""
            if not comment.tag.endswith("}comment") or ref not in conversed:
                text = " ".join(map(words, comment.iterchildren("{*}text")))
                if text and (found := _REFERENCE.fullmatch(ref)):
                    yield (int(found[2]), column_index_from_string(found[1])), ref, text


def _parts_beside(archive: ZipFile, sheet: Any, kind: str) -> Iterator[Any]:
    """Roots of what the sheet's relations name; what is damaged costs nothing but itself."""
    from lxml import etree

    folder, name = posixpath.split(sheet._worksheet_path)
    with suppress(etree.XMLSyntaxError):
        for relation in parse_xml(member(archive, f"{folder}/_rels/{name}.rels") or b"<none/>").iter("{*}Relationship"):
            if relation.get("Type", "").endswith(f"/{kind}"):
                target = posixpath.normpath(posixpath.join(f"/{folder}", relation.get("Target", "")))
                yield parse_xml(member(archive, target.lstrip("/")) or b"<none/>")


class _Sheet:
    """One sheet, read once by `tables`; after that `unknown` counts formulas without a result, `unseen` characters in
    hidden rows and columns, `noted` has the words of cells with notes, and `cut` is the last row taken where the text
    grew too long."""

    def __init__(self, sheet: Any, formulas: Any, raw: bytes, noted: Container[Place], most: int) -> None:
        self._rows = _rows(sheet, formulas)
        self._merged = _merged(raw)
        self._corners = dict.fromkeys(self._merged.values(), "")  # of merged cells: the words they share
        self._hidden_rows, self._hidden_columns = _hidden(raw)
        self._with_notes = noted
        self._most = most
        self.noted: dict[Place, str] = {}
        self.unknown = self.unseen = 0
        self.cut: int | None = None

    def tables(self) -> Iterator[list[Row]]:
        """Cut at empty rows, unless a row of figures follows: then the empty one was only for the eye."""
        table: list[Row] = []
        length, empty = 0, 0
        for at, (cells, written) in enumerate(self._rows, 1):
            if at > MOST_ROWS:
                break
            row = self._words(at, cells[:MOST_COLUMNS], written)
            if not any(row):
                empty += 1
                continue
            figures = any(cell.value is not None and not isinstance(cell.value, str) for cell in cells)
            if table and empty and (empty > 1 or not figures):
                yield table
                table = []
            empty = 0
            table.append(row)
            length += sum(map(len, row)) + 3 * len(row)
            if length > self._most:
                self.cut = at
                break
        if table:
            yield table

    def _words(self, number: int, cells: Sequence[Any], written: Sequence[Any] | None) -> Row:
        row = []
        for column, cell in enumerate(cells, 1):
            text = in_words(cell.value, getattr(cell, "number_format", None))
            # A stored result that is an empty text ("str") is shown as that; of a formula without one nothing is known.
            if not text and cell.data_type != "str" and written is not None and column <= len(written):
                formula = written[column - 1].value
                if isinstance(formula, str) and formula.startswith("="):
                    text = formula
                    self.unknown += 1
            if text and (number in self._hidden_rows or column in self._hidden_columns):
                self.unseen += len("".join(text.split()))
            place = (number, column)
            if place in self._with_notes:
                self.noted[place] = text
            if place in self._corners:
                self._corners[place] = text
            elif place in self._merged:
                text = self._corners[self._merged[place]]
            row.append(text)
        return row


def _rows(sheet: Any, formulas: Any) -> Iterator[tuple[Sequence[Any], Sequence[Any] | None]]:
    for each in (sheet, formulas):
        if each is not None:
            each.reset_dimensions()  # what the file says about its size is often wrong
    yield from zip(sheet.iter_rows(), repeat(None) if formulas is None else formulas.iter_rows(), strict=False)


def _write(rows: list[Row], blocks: Blocks) -> None:
    """One table: lines above it that fill one cell are its title; columns without a word go."""
    width = max(map(len, rows), default=0)
    used = [column for column in range(width) if any(column < len(row) and row[column] for row in rows)]
    table = [[row[column] if column < len(row) else "" for column in used] for row in rows]
    while table and len(used) > 1 and len(set(filter(None, table[0]))) == 1:
        blocks.add(next(filter(None, table.pop(0))))
    if len(used) == 1:
        blocks.add("\n".join(" ".join(row[0].split()) for row in table))
    else:
        blocks.table(table)
