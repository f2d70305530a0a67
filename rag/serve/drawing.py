"""The child's side of drawing: a PDF page as PNG, and where words stand on it. Runs in a process with limits.

Where words stand: the letters and digits of the wanted text, NFKC and case-folded, are looked for among those of the
page as PDFium reads it. Spaces, hyphens and line ends, which every reader joins differently, don't count. Of several
places the one nearest to where the text stands on its page is taken. Where PDFium reads columns or tables in another
order, pieces of at least PIECE letters are matched one by one and must cover SHARE of the text; otherwise nothing is
marked. The characters' own boxes, joined along each line, are the marks.
"""

from __future__ import annotations

import base64
import struct
import unicodedata
import zlib
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError
from rag.load.child import Reply, work

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag.config import Load

PIXELS = 4_000_000  # of one picture, whatever its page's size and the width that was asked for
WIDEST = 2400
LONGEST = 5_000  # letters that are looked for in pieces
PIECE = 12
SHARE = 0.8
GRID = 100_000  # device units that positions are asked in
AIR = 0.15  # of a line's height, around a mark

Box = tuple[float, float, float, float]  # left, top, width, height as fractions of the page


def draw(job: Reply, config: Load) -> Reply:
    """job: path, page (from 1), width in pixels (0: no picture), words (""), before: share of the page's text that
    stands before the words."""
    import pypdfium2 as pdfium

    try:
        pdf = pdfium.PdfDocument(job["path"])
    except pdfium.PdfiumError as error:
        raise DocumentError(f"can't be drawn: {error}", "open it and print it to a new PDF") from None
    number = int(job["page"])
    if not 1 <= number <= len(pdf):
        raise DocumentError(f"has pages 1..{len(pdf)}, asked for page {number}")
    try:
        page = pdf[number - 1]
        width, height = page.get_size()
    except pdfium.PdfiumError as error:
        raise DocumentError(f"page {number} can't be drawn: {error}") from None
    boxes = _find(page, str(job["words"]), float(job["before"])) if job["words"] else []
    reply: Reply = {"width": width, "height": height, "boxes": boxes}
    if wanted := int(job["width"]):
        pixels = _render(page, width, height, min(wanted, WIDEST), [*boxes] if job["mark"] else [])
        reply["png"] = base64.b64encode(png(pixels)).decode("ascii")
    pdf.close()
    return reply


def _render(page: Any, width: float, height: float, wanted: int, boxes: list[Box]) -> NDArray[np.uint8]:
    """(rows, columns, 3)"""
    import numpy as np

    if not (width > 0 and height > 0):
        raise DocumentError("the page has no size")
    scale = min(wanted / width, (PIXELS / (width * height)) ** 0.5)
    bitmap = page.render(scale=scale, rev_byteorder=True, draw_annots=True)
    pixels = np.array(bitmap.to_numpy()[:, :, :3], np.uint8)
    rows, columns = pixels.shape[:2]
    for left, top, wide, tall in boxes:  # as with a marker pen: dark stays dark
        ys = slice(int(top * rows), max(int((top + tall) * rows), int(top * rows) + 1))
        xs = slice(int(left * columns), max(int((left + wide) * columns), int(left * columns) + 1))
        pixels[ys, xs] = (pixels[ys, xs] * np.array([1.0, 0.9, 0.35])).astype(np.uint8)
    return pixels


def _find(page: Any, words: str, before: float) -> list[Box]:
    import pypdfium2.raw as pdfium_c

    text = page.get_textpage()
    letters: list[str] = []
    places: list[int] = []  # of each letter: the index of its character
    for index in range(text.count_chars()):
        for letter in folded(chr(pdfium_c.FPDFText_GetUnicode(text, index) or 32)):
            letters.append(letter)
            places.append(index)
    found = match("".join(letters), folded(words), before)
    return _boxes(page, text, sorted({places[i] for i in found}))


def folded(text: str) -> str:
    """
    >>> folded("The ﬁrst co-\\nsine: Straße 5!")
    'thefirstcosinestrasse5'
    """
    return "".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum())


def match(page: str, words: str, before: float) -> list[int]:
    """Indices of `page` at which `words` stand; none when they can't be found. Both are folded.

    >>> match("abcabc", "abc", before=0.5)
    [3, 4, 5]
    """
    if not words:
        return []
    starts = []
    at = page.find(words)
    while at >= 0:
        starts.append(at)
        at = page.find(words, at + 1)
    if starts:
        start = min(starts, key=lambda s: abs(s - before * len(page)))
        return list(range(start, start + len(words)))
    found: list[int] = []
    at = 0
    while at + PIECE <= len(words) <= LONGEST:
        length = _longest(page, words[at:])
        if length < PIECE:
            at += 1
            continue
        start = page.find(words[at : at + length])
        found += range(start, start + length)
        at += length
    return found if len(found) >= SHARE * len(words) else []


def _longest(page: str, words: str) -> int:
    """How many letters of the beginning of `words` stand together on the page."""
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if words[:middle] in page else (low, middle - 1)
    return low


def _boxes(page: Any, text: Any, characters: list[int]) -> list[Box]:
    """A box for each run of characters along a line. Lines are told apart before the page is turned."""
    lines: list[list[float]] = []  # left, bottom, right, top, in points
    last = -2
    for index in characters:
        left, bottom, right, top = text.get_charbox(index, loose=True)
        if right <= left or top <= bottom:
            continue
        line, tall = (lines[-1] if lines else None), top - bottom
        if (
            line is not None
            and index - last <= 3  # a space and a line end may lie between
            and min(line[3], top) - max(line[1], bottom) > 0.5 * min(line[3] - line[1], tall)
            and line[0] <= left <= line[2] + 2 * tall  # and not the next column of a table
        ):
            lines[-1] = [line[0], min(line[1], bottom), max(line[2], right), max(line[3], top)]
        else:
            lines.append([left, bottom, right, top])
        last = index
    boxes = []
    for left, bottom, right, top in lines:
        air = AIR * (top - bottom)
        (x0, y0), (x1, y1) = _on_device(page, left - air, top), _on_device(page, right + air, bottom)
        x0, x1, y0, y1 = (min(max(v, 0.0), 1.0) for v in (min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)))
        boxes.append((round(x0, 5), round(y0, 5), round(x1 - x0, 5), round(y1 - y0, 5)))
    return boxes


def _on_device(page: Any, x: float, y: float) -> tuple[float, float]:
    """Of a point of the page, fractions from the left and the top as the page is shown: turned and cropped."""
    import ctypes

    import pypdfium2.raw as pdfium_c

    across, down = ctypes.c_int(), ctypes.c_int()
    pdfium_c.FPDF_PageToDevice(page, 0, 0, GRID, GRID, 0, x, y, across, down)
    return across.value / GRID, down.value / GRID


def png(pixels: NDArray[np.uint8]) -> bytes:
    """(rows, columns, 3) as a PNG. Each row is stored as its difference to the one above, which text packs well."""
    import numpy as np

    rows, columns, _ = pixels.shape
    flat = pixels.reshape(rows, columns * 3)
    differences = np.diff(flat, axis=0, prepend=np.zeros((1, columns * 3), np.uint8))
    lines = np.concatenate([np.full((rows, 1), 2, np.uint8), differences], axis=1)

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(lines.tobytes(), 6))
        + part(b"IEND", b"")
    )


if __name__ == "__main__":
    work(draw)
