"""The lines of a page's text as PDFium has them: what each says and how its ends are set.

Raised figures become characters of their own, what was filled in comes into its line, and what PDFium cut behind a
raised sign is put together.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from rag.load.decode import clean
from rag.load.pdf.flow import tidy
from rag.load.pdf.forms import Field
from rag.load.raised import raised

RAISED = 0.85  # of the size of what is beside it

_HYPHEN = "\ufffe"  # stands for a hyphen at a line's end and the line's end
_LINE = re.compile(f"[^\r\n{_HYPHEN}]+")


class Type(NamedTuple):
    """How a character is set. Distances in points, from the lower left corner."""

    x: float
    baseline: float
    size: float
    weight: int


class Row(NamedTuple):
    text: str
    first: Type
    last: Type


class _Units:
    """A page's text in units of UTF-16, which PDFium counts in; `clean` joins them."""

    def __init__(self, page: Any) -> None:
        import pypdfium2.raw as pdfium_c

        self._page, self._c = page, pdfium_c
        count = max(page.count_chars(), 0)
        buffer = (ctypes.c_ushort * (2 * count + 2))()
        length = pdfium_c.FPDFText_GetText(page, 0, count, buffer) if count else 0  # with the zero at its end
        self.text = "".join(map(chr, buffer[: max(length - 1, 0)]))
        self._x, self._y = ctypes.c_double(), ctypes.c_double()
        self._name, self._flags = ctypes.create_string_buffer(100), ctypes.c_int()

    def type_at(self, unit: int) -> Type:
        index = self._c.FPDFText_GetCharIndexFromTextIndex(self._page, unit)
        self._c.FPDFText_GetCharOrigin(self._page, index, self._x, self._y)
        weight = self._c.FPDFText_GetFontWeight(self._page, index)
        if weight <= 0:  # of the standard fonts PDFium knows the name only
            self._c.FPDFText_GetFontInfo(self._page, index, self._name, len(self._name), self._flags)
            weight = 700 if b"bold" in self._name.value.lower() else 400
        return Type(self._x.value, self._y.value, self._c.FPDFText_GetFontSize(self._page, index), weight)

    def is_raised(self, unit: int, other: int) -> bool:
        """Above the line that another character stands on, and smaller than it."""
        (high, small), (low, size) = (self.type_at(at)[1:3] for at in (unit, other))
        return small < RAISED * size and high > low + 0.1 * size


def rows(page: Any, alone: list[Field]) -> Iterator[Row]:
    """`page`: PDFium's text page. What was filled in beside a line is taken from `alone` into it."""
    return _whole(_rows(_Units(page), alone))


def _rows(units: _Units, alone: list[Field]) -> Iterator[Row]:
    for found in _LINE.finditer(units.text):
        start, first = found.start(), units.type_at(found.start())
        line = _with_raised(found[0], start, units.is_raised)
        if alone and line.strip():
            line = _filled(line, start, units, [f for f in alone if f.bottom - 3 <= first.baseline < f.top], alone)
        cut = units.text[found.end() : found.end() + 1] == _HYPHEN
        if text := tidy(clean(line).replace("\n", " ") + ("-" if cut else "")):
            yield Row(text, first, units.type_at(found.end() - 1))


def _filled(line: str, start: int, units: _Units, level: list[Field], alone: list[Field]) -> str:
    if not level:
        return line
    places = [units.type_at(start + n).x for n in range(len(line))]
    for field in sorted(level, key=lambda field: -field.left):  # from the right, so that places stay what they are
        alone.remove(field)
        at = next((n for n, x in enumerate(places) if x >= field.left), len(places))
        line = f"{line[:at]} {field.text} {line[at:]}"
    return line


def _whole(rows: Iterable[Row]) -> Iterator[Row]:
    """PDFium ends a line behind a raised sign: what follows stands on the same baseline."""
    held: Row | None = None
    for row in rows:
        if held is not None:
            raised_end = held.last.size < RAISED * held.first.size and held.last.baseline > held.first.baseline
            if raised_end and abs(row.first.baseline - held.first.baseline) < 0.1 * held.first.size:
                gap = "" if row.text[0] in ".,;:!?)]" else " "
                row = Row(f"{held.text}{gap}{row.text}", held.first, row.last)
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
