"""What a page has and doesn't show: drawn invisibly or without opacity, smaller than TINY, white on nothing.

White on nothing: no image, shading or coloured area lies where it stands. That is told by the bounds of what is drawn,
not by drawing it, which a page may make as dear as it likes; where it can't be told, the text counts as shown.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any, NamedTuple

TINY = 1.0  # points
WHITE = 0xF0  # of 0xFF, and above
SCAN = 0.5  # of the page's area, which an image covers
_MOST = 20_000  # objects that are looked at
_MOST_BEHIND = 300  # the largest
_DEPTH = 5  # of forms within forms


class _Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float

    @property
    def area(self) -> float:
        return max(0.0, self.right - self.left) * max(0.0, self.top - self.bottom)

    def holds(self, other: _Box) -> bool:
        x, y = (other.left + other.right) / 2, (other.bottom + other.top) / 2
        return self.left <= x <= self.right and self.bottom <= y <= self.top


def hidden(page: Any, text: Any) -> tuple[int, int]:
    """`text`: the page's. How many characters aren't shown, and how many lie invisibly over a scan, as OCR lays them:
    with an image over most of the page, and less text that is shown."""
    import pypdfium2.raw as pdfium_c

    unseen: dict[int, bool] = {}  # by the object's address: whether it is drawn invisibly, not just badly
    white: list[tuple[int, _Box]] = []
    behind: list[_Box] = []
    scanned = False
    for element, nested in _objects(page):
        kind = pdfium_c.FPDFPageObj_GetType(element)
        if kind == pdfium_c.FPDF_PAGEOBJ_TEXT:
            invisible, pale = _look(element)
            if invisible is not None:
                unseen[_address(element)] = invisible
            elif pale and not nested:  # a form has coordinates of its own
                white.append((_address(element), _bounds(element)))
        elif not nested and (kind != pdfium_c.FPDF_PAGEOBJ_PATH or not _is_pale(element)):
            behind.append(_bounds(element))
            covered = behind[-1].area >= SCAN * page.get_width() * page.get_height()
            scanned = scanned or (covered and kind == pdfium_c.FPDF_PAGEOBJ_IMAGE)
    largest = heapq.nlargest(_MOST_BEHIND, behind, key=lambda box: box.area)
    unseen |= {address: False for address, box in white if not any(area.holds(box) for area in largest)}
    return _count(text, unseen, scanned) if unseen else (0, 0)


def _count(text: Any, unseen: dict[int, bool], scanned: bool) -> tuple[int, int]:
    import pypdfium2.raw as pdfium_c

    shown = invisible = badly = 0
    for index in range(text.count_chars()):
        if pdfium_c.FPDFText_IsGenerated(text, index) or chr(pdfium_c.FPDFText_GetUnicode(text, index)).isspace():
            continue
        element = pdfium_c.FPDFText_GetTextObject(text, index)
        how = unseen.get(_address(element)) if element else None
        shown += how is None
        invisible += how is True
        badly += how is False
    return (badly, invisible) if scanned and invisible > shown else (badly + invisible, 0)


def _objects(page: Any) -> Iterator[tuple[Any, bool]]:
    """Each object of a page, and whether it is part of a form."""
    import pypdfium2.raw as pdfium_c

    left = _MOST

    def within(count: int, get: Any, owner: Any, depth: int) -> Iterator[tuple[Any, bool]]:
        nonlocal left
        for number in range(count):
            if left <= 0:
                return
            left -= 1
            element = get(owner, number)
            yield element, depth > 0
            if depth < _DEPTH and pdfium_c.FPDFPageObj_GetType(element) == pdfium_c.FPDF_PAGEOBJ_FORM:
                inner = pdfium_c.FPDFFormObj_CountObjects(element)
                yield from within(inner, pdfium_c.FPDFFormObj_GetObject, element, depth + 1)

    yield from within(pdfium_c.FPDFPage_CountObjects(page), pdfium_c.FPDFPage_GetObject, page, 0)


def _look(element: Any) -> tuple[bool | None, bool]:
    """Whether a text is drawn invisibly (True) or too small (False; None: neither), and whether it is white."""
    import ctypes

    import pypdfium2.raw as pdfium_c

    mode = pdfium_c.FPDFTextObj_GetTextRenderMode(element)
    if mode in (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP):
        return True, False
    size, matrix = ctypes.c_float(), pdfium_c.FS_MATRIX()
    if pdfium_c.FPDFTextObj_GetFontSize(element, size) and pdfium_c.FPDFPageObj_GetMatrix(element, matrix):
        height = size.value * (matrix.c**2 + matrix.d**2) ** 0.5
        if abs(height) < TINY:
            return False, False
    fills = mode == pdfium_c.FPDF_TEXTRENDERMODE_FILL
    colour = _colour(element) if fills else None
    if colour and not colour[3]:
        return True, False
    return None, bool(colour and min(colour[:3]) >= WHITE)


def _is_pale(path: Any) -> bool:
    """Whether an area leaves white behind it, as far as its own colour says."""
    import ctypes

    import pypdfium2.raw as pdfium_c

    mode, stroke = ctypes.c_int(), ctypes.c_int()
    if pdfium_c.FPDFPath_GetDrawMode(path, mode, stroke) and not mode.value:
        return True  # its outline at most
    colour = _colour(path)
    return bool(colour and (not colour[3] or min(colour[:3]) >= WHITE))


def _colour(element: Any) -> tuple[int, int, int, int] | None:
    import ctypes

    import pypdfium2.raw as pdfium_c

    red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
    if not pdfium_c.FPDFPageObj_GetFillColor(element, red, green, blue, alpha):
        return None
    return red.value, green.value, blue.value, alpha.value


def _bounds(element: Any) -> _Box:
    import ctypes

    import pypdfium2.raw as pdfium_c

    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    pdfium_c.FPDFPageObj_GetBounds(element, left, bottom, right, top)
    return _Box(left.value, bottom.value, right.value, top.value)


def _address(element: Any) -> int:
    import ctypes

    return ctypes.cast(element, ctypes.c_void_p).value or 0
