"""Scanned pages -> lines, by the system's `tesseract`. Only for pages without text, and only when `load.ocr` says so.

PDFium draws the page in the worker, at RESOLUTION or less: no picture has more than PIXELS. The picture goes through a
pipe: nothing of a document is left on the disk by a worker that is killed. (That is why no library stands between:
pytesseract goes by files.) The child has the worker's limits on memory and CPU, and together the pages get SHARE of
`load.timeout_s`: those left over are named, instead of the file being lost to the clock.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from io import BytesIO
from typing import TYPE_CHECKING

from rag.errors import brief
from rag.load.pdf.flow import Line, tidy

if TYPE_CHECKING:
    from rag.config import Load

RESOLUTION = 300  # dots per inch; tesseract's own advice
PIXELS = 12_000_000  # A4 at 300 dpi has 8.7 million
SHARE = 0.7
MISSING = "no OCR: there is no program `tesseract` on the PATH"
LATE = "not read by OCR: load.timeout_s is too short for all pages"
HINTS = {
    MISSING: "install it (Debian: apt-get install tesseract-ocr), or set load.ocr to none",
    LATE: "raise load.timeout_s",
}
_MOST_CHARS = 1_000_000  # of one page


class Ocr:
    """Reads pages of one file."""

    def __init__(self, data: bytes, config: Load) -> None:
        self._data = data
        self._language = config.ocr_language
        self._until = time.monotonic() + SHARE * config.timeout_s
        self._program = shutil.which("tesseract")

    def lines(self, number: int) -> tuple[list[Line], str]:
        """The lines of page `number` (from 0), or why there are none. An empty reason: it holds no words."""
        if self._program is None:
            return [], MISSING
        left = self._until - time.monotonic()
        if left <= 0:
            return [], LATE
        try:
            picture = draw(self._data, number)
            done = subprocess.run(
                [self._program, "stdin", "stdout", "-l", self._language],
                input=picture,
                capture_output=True,
                timeout=left,
                check=False,
                env={
                    **_kept("PATH", "TESSDATA_PREFIX", "LD_LIBRARY_PATH"),
                    "OMP_THREAD_LIMIT": "1",
                    "LC_ALL": "C.UTF-8",
                },
            )
        except subprocess.TimeoutExpired:
            return [], LATE
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a page that can't be drawn, a program that can't be started
            return [], f"OCR failed: {brief(error)}"
        if done.returncode:
            told = " ".join(done.stderr.decode("utf-8", "replace").split())[:200]
            return [], f"OCR failed: {told or f'tesseract ended with status {done.returncode}'}"
        return list(_lines(done.stdout[:_MOST_CHARS].decode("utf-8", "replace"))), ""


def draw(data: bytes, number: int) -> bytes:
    """Page `number` as a PGM picture, whatever size it claims. Raises pypdfium2.PdfiumError."""
    import pypdfium2 as pdfium

    document = pdfium.PdfDocument(data)
    try:
        page = document[number]
        width, height = (min(max(side, 1.0), 20_000.0) for side in page.get_size())  # points
        scale = min(RESOLUTION / 72, (PIXELS / (width * height)) ** 0.5)
        if max(page.get_size()) > 20_000:
            raise pdfium.PdfiumError("the page is too large to be drawn")
        picture = page.render(scale=scale, grayscale=True).to_pil().convert("L")
        out = BytesIO()
        picture.save(out, "PPM")
        return out.getvalue()
    finally:
        document.close()


def _kept(*names: str) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def _lines(text: str) -> list[Line]:
    found, apart = list[Line](), False
    for line in text.replace("\f", "\n").split("\n"):
        if words := tidy(line):
            found.append(Line(words, apart))
            apart = False
        else:
            apart = True
    return found
