"""PDFium, by pypdfium2: the engine of Chrome. Fast, and it knows where each line stands, which shows paragraphs.

A line stands apart from the one above it when the space between their baselines is LOOSE times what is usual on
the page, or when it follows a heading: a line in larger or bolder type that doesn't read like a table's row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from rag.load import needs_password
from rag.load.decode import clean
from rag.load.pdf.flow import Line, tidy
from rag.load.raised import raised

if TYPE_CHECKING:
    import pypdfium2 as pdfium

LOOSE = 1.4  # paragraphs of the filings measured begin 1.5 to 2 lines below the one before; rows of tables, 1.1 to 1.35
FAR = 4  # sizes of the type: whatever is usual on the page
RAISED = 0.85  # of the size of what is beside it
CELL = 20  # characters that a table's cell seldom has in a line
LARGER = 1.08
BOLDER = 100  # of weights: 400 is regular, 700 bold

_HYPHEN = "\ufffe"  # stands for a hyphen at a line's end and the line's end
_LINE = re.compile(f"[^\r\n{_HYPHEN}]+")


@contextmanager
def opened(data: bytes) -> Iterator[Opened]:
    import pypdfium2 as pdfium
    import pypdfium2.raw as pdfium_c

    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium_c.FPDF_ERR_PASSWORD:
            raise needs_password() from None
        raise
    try:
        if not len(document):
            raise pdfium.PdfiumError("it has no pages")
        yield Opened(document)
    finally:
        document.close()


class Opened:
    def __init__(self, document: pdfium.PdfDocument) -> None:
        self._document = document

    @property
    def count(self) -> int:
        return len(self._document)

    def lines(self, number: int) -> list[Line]:
        page = self._document[number]
        try:
            with _text_of(page) as text:
                level = _is_level(text)
                if not (level and page.get_rotation()):
                    return _lines(text, level)
            page.set_rotation(
                0
            )  # PDFium reads lines as they are shown: those of a page on its side, from last to first
            with _text_of(page) as text:
                return _lines(text, level)
        finally:
            page.close()

    def is_blank(self, number: int) -> bool:
        import pypdfium2.raw as pdfium_c

        page = self._document[number]
        try:
            return not pdfium_c.FPDFPage_CountObjects(page)
        finally:
            page.close()

    def hidden(self, number: int) -> tuple[int, int]:
        from rag.load.pdf.hidden import hidden

        page = self._document[number]
        try:
            with _text_of(page) as text:
                return hidden(page, text)
        finally:
            page.close()

    def title(self) -> str:
        return str(self._document.get_metadata_value("Title"))

    def outline(self) -> Iterator[tuple[int, str, int]]:
        for bookmark in self._document.get_toc():
            place = bookmark.get_dest()
            page = place.get_index() if place else None
            yield bookmark.level + 1, bookmark.get_title(), -1 if page is None else page


class _Type(NamedTuple):
    """How a character is set. Distances in points."""

    baseline: float
    size: float
    weight: int


class _Row(NamedTuple):
    text: str
    first: _Type
    last: _Type


@contextmanager
def _text_of(page: Any) -> Iterator[Any]:
    text = page.get_textpage()
    try:
        yield text
    finally:
        text.close()


def _is_level(page: Any) -> bool:
    """Whether most of the text runs from left to right of the paper, before the page is turned."""
    import pypdfium2.raw as pdfium_c

    count = page.count_chars()
    looked_at = range(0, count, max(1, count // 50))
    turned = [1 < pdfium_c.FPDFText_GetCharAngle(page, i) < 5.3 for i in looked_at]  # radians
    return bool(2 * sum(turned) <= len(turned))


def _lines(page: Any, level: bool) -> list[Line]:
    rows = list(_whole(_rows(page)))
    if not (rows and level):  # baselines tell nothing of it
        return [Line(row.text) for row in rows]
    usual, loud = _leading(rows), _loud(rows)
    apart = [False, *(_loose(a, b, usual) or _heads(a, b) for a, b in pairwise(rows))]
    return [Line(row.text, *told) for row, *told in zip(rows, apart, loud, strict=True)]


def _rows(page: Any) -> Iterator[_Row]:
    """The lines of the text, each with the type of its first and last character."""
    import ctypes

    import pypdfium2.raw as pdfium_c

    count = page.count_chars()
    if count <= 0:
        return
    buffer = (ctypes.c_ushort * (2 * count + 2))()
    length = pdfium_c.FPDFText_GetText(page, 0, count, buffer)  # with the zero at its end
    units = "".join(map(chr, buffer[: max(length - 1, 0)]))  # of UTF-16, which PDFium counts in; `clean` joins them
    x, y = ctypes.c_double(), ctypes.c_double()
    name, flags = ctypes.create_string_buffer(100), ctypes.c_int()

    def type_at(unit: int) -> _Type:
        index = pdfium_c.FPDFText_GetCharIndexFromTextIndex(page, unit)
        pdfium_c.FPDFText_GetCharOrigin(page, index, x, y)
        weight = pdfium_c.FPDFText_GetFontWeight(page, index)
        if weight <= 0:  # of the standard fonts PDFium knows the name only
            pdfium_c.FPDFText_GetFontInfo(page, index, name, len(name), flags)
            weight = 700 if b"bold" in name.value.lower() else 400
        return _Type(y.value, pdfium_c.FPDFText_GetFontSize(page, index), weight)

    def is_raised(unit: int, other: int) -> bool:
        """Above the line that another character stands on, and smaller than it."""
        (high, small), (low, size) = (type_at(at)[:2] for at in (unit, other))
        return small < RAISED * size and high > low + 0.1 * size

    for found in _LINE.finditer(units):
        cut = units[found.end() : found.end() + 1] == _HYPHEN
        line = _with_raised(found[0], found.start(), is_raised)
        if text := tidy(clean(line).replace("\n", " ") + ("-" if cut else "")):
            yield _Row(text, type_at(found.start()), type_at(found.end() - 1))


def _whole(rows: Iterable[_Row]) -> Iterator[_Row]:
    """PDFium ends a line behind a raised sign: what follows stands on the same baseline."""
    held: _Row | None = None
    for row in rows:
        if held is not None:
            raised_end = held.last.size < RAISED * held.first.size and held.last.baseline > held.first.baseline
            if raised_end and abs(row.first.baseline - held.first.baseline) < 0.1 * held.first.size:
                gap = "" if row.text[0] in ".,;:!?)]" else " "
                row = _Row(f"{held.text}{gap}{row.text}", held.first, row.last)
            else:
                yield held
        held = row
    if held is not None:
        yield held


_MAYBE_RAISED = re.compile(
    r"(?<=[^\W\d_])[-+−]?\d{1,4}(?![\d.,]*\d)|(?<=[)\]%.;!?'\"”»’])\d{1,2}(?![\d.,]*\d)"
    r"|(?<=\d)[-+−]\d{1,3}(?![\d.,]*\d)|(?<![\w.,])\d{2,6}(?![.,]?\d)"
)


def _with_raised(line: str, offset: int, is_raised: Callable[[int, int], bool]) -> str:
    """`10³`, which would read as 103: of numbers behind a word or another number. `offset`: of the line in the units
    that `is_raised` compares two of."""
    parts, at = [], 0
    for found in _MAYBE_RAISED.finditer(line):
        start, end = found.span()
        behind = start > 0 and not line[start - 1].isspace()
        base = start - 1 if behind else start
        if not is_raised(offset + end - 1, offset + base):
            continue
        first = start if behind else next(i for i in range(start + 1, end) if is_raised(offset + i, offset + base))
        while (
            behind and first < end - 1 and not is_raised(offset + first, offset + base)
        ):  # a sign or figure on the line
            first += 1
        parts += [line[at:first], raised(line[first:end])]
        at = end
    return "".join([*parts, line[at:]]) if parts else line


def _leading(rows: list[_Row]) -> float:
    """The usual distance of two baselines: between long lines where there are any, for rows of tables are wider."""
    longest = max((len(row.text) for row in rows), default=0)
    gaps = [(a.last.baseline - b.first.baseline, len(a.text)) for a, b in pairwise(rows) if _below(a, b)]
    running = [gap for gap, length in gaps if length >= 0.7 * longest]
    return median(running if len(running) > 2 else [gap for gap, _ in gaps] or [0.0])


def _loud(rows: list[_Row]) -> list[bool]:
    """Which are set larger or bolder than most of the page's text."""
    sizes, weights = (sorted((getattr(r.first, of), len(r.text)) for r in rows) for of in ("size", "weight"))

    def usual(values: list[tuple[float, int]]) -> float:
        left = sum(length for _, length in values) / 2
        return next((value for value, length in values if (left := left - length) <= 0), 0.0)

    size, weight = usual(sizes), usual(weights)
    return [r.first.size > 1.1 * size or r.first.weight >= weight + 200 for r in rows]


def _below(above: _Row, row: _Row) -> bool:
    """Further down, by more than a raised sign and less than a picture's height."""
    size = max(above.last.size, row.first.size, 1)
    return 0.5 * size < above.last.baseline - row.first.baseline < FAR * size


def _loose(above: _Row, row: _Row, usual: float) -> bool:
    """Also where the next line stands higher up: a new column, or text below a foot note drawn first."""
    gap, size = above.last.baseline - row.first.baseline, max(above.last.size, 1)
    if gap < -2 * size:
        return not _next_column(above, row)
    return gap > LOOSE * usual > 0 or gap > FAR * size


def _next_column(above: _Row, row: _Row) -> bool:
    """Whether a line further up goes on where one that is no cell of a table left off."""
    unfinished = above.text[-1] in ",-" or above.text[-1].isalpha()
    return unfinished and min(len(above.text), len(row.text)) >= CELL and above.last[1:] == row.first[1:]


def _heads(above: _Row, row: _Row) -> bool:
    """Whether `above` is a heading of `row`, by its type."""
    if above.first[1:] != above.last[1:] or not above.text[-1].isalpha() or not _below(above, row):
        return False
    return above.last.size > LARGER * row.first.size or above.last.weight >= row.first.weight + BOLDER
