"""PDFium, by pypdfium2: the engine of Chrome. Fast, and it knows where each line stands, which shows paragraphs.

A line stands apart from the one above it when the space between their baselines is LOOSE times what is usual on
the page, or when it follows a heading: a line in larger or bolder type that doesn't read like a table's row.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from rag.load import needs_password
from rag.load.pdf.flow import Line
from rag.load.pdf.forms import Field, fields
from rag.load.pdf.rows import Row, rows

if TYPE_CHECKING:
    import pypdfium2 as pdfium

LOOSE = 1.4  # paragraphs of the filings measured begin 1.5 to 2 lines below the one before; rows of tables, 1.1 to 1.35
FAR = 4  # sizes of the type: whatever is usual on the page
CELL = 20  # characters that a table's cell seldom has in a line
LARGER = 1.08
BOLDER = 100  # of weights: 400 is regular, 700 bold


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
        if document.get_formtype():
            document.init_forms()  # before a page is opened
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
            said = list(fields(page, self._document.formenv))
            with _text_of(page) as text:
                level = _is_level(text)
                if not (level and page.get_rotation()):
                    return _lines(text, level, said)
            page.set_rotation(
                0
            )  # PDFium reads lines as they are shown: those of a page on its side, from last to first
            with _text_of(page) as text:
                return _lines(text, level, said)
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


def _lines(page: Any, level: bool, said: list[Field]) -> list[Line]:
    alone = said if level else []
    found = list(rows(page, alone))
    rest = [Line(field.text, apart=True) for field in (alone if level else said)]
    if not (found and level):  # baselines tell nothing of it
        return [Line(row.text) for row in found] + rest
    usual, loud = _leading(found), _loud(found)
    apart = [False, *(_loose(a, b, usual) or _heads(a, b) for a, b in pairwise(found))]
    return [Line(row.text, *told) for row, *told in zip(found, apart, loud, strict=True)] + rest


def _leading(rows: list[Row]) -> float:
    """The usual distance of two baselines: between long lines where there are any, for rows of tables are wider."""
    longest = max((len(row.text) for row in rows), default=0)
    gaps = [(a.last.baseline - b.first.baseline, len(a.text)) for a, b in pairwise(rows) if _below(a, b)]
    running = [gap for gap, length in gaps if length >= 0.7 * longest]
    return median(running if len(running) > 2 else [gap for gap, _ in gaps] or [0.0])


def _loud(rows: list[Row]) -> list[bool]:
    """Which are set larger or bolder than most of the page's text."""
    sizes, weights = (sorted((getattr(r.first, of), len(r.text)) for r in rows) for of in ("size", "weight"))

    def usual(values: list[tuple[float, int]]) -> float:
        left = sum(length for _, length in values) / 2
        return next((value for value, length in values if (left := left - length) <= 0), 0.0)

    size, weight = usual(sizes), usual(weights)
    return [r.first.size > 1.1 * size or r.first.weight >= weight + 200 for r in rows]


def _below(above: Row, row: Row) -> bool:
    """Further down, by more than a raised sign and less than a picture's height."""
    size = max(above.last.size, row.first.size, 1)
    return 0.5 * size < above.last.baseline - row.first.baseline < FAR * size


def _loose(above: Row, row: Row, usual: float) -> bool:
    """Also where the next line stands higher up: a new column, or text below a foot note drawn first."""
    gap, size = above.last.baseline - row.first.baseline, max(above.last.size, 1)
    if gap < -2 * size:
        return not _next_column(above, row)
    return gap > LOOSE * usual > 0 or gap > FAR * size


def _next_column(above: Row, row: Row) -> bool:
    """Whether a line further up goes on where one that is no cell of a table left off."""
    unfinished = above.text[-1] in ",-" or above.text[-1].isalpha()
    return unfinished and min(len(above.text), len(row.text)) >= CELL and above.last[2:] == row.first[2:]


def _heads(above: Row, row: Row) -> bool:
    """Whether `above` is a heading of `row`, by its type."""
    if above.first[2:] != above.last[2:] or not above.text[-1].isalpha() or not _below(above, row):
        return False
    return above.last.size > LARGER * row.first.size or above.last.weight >= row.first.weight + BOLDER
