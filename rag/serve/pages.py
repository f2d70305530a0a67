"""PDF pages as pictures, with the places of a citation's words. PDFium runs in a process with limits, as parsers do."""

from __future__ import annotations

import base64
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from rag.build import Rag
from rag.errors import DocumentError, QueryError
from rag.load.child import Reply, failure
from rag.load.worker import Worker
from rag.types import Span

COMMAND = (sys.executable, "-P", "-m", "rag.serve.drawing")
TIMEOUT_S = 20.0  # for one page
MEMORY_MB = 1024
NOTE = {
    True: "the words were found on the page",
    False: "the words can't be found on the page as it is drawn, so nothing is marked",
    None: "no words were asked for",
}


@dataclass(frozen=True)
class Drawn:
    """`boxes`: left, top, width, height as fractions of the page. `png` is empty where no picture was asked for."""

    path: str
    page: int
    pages: int
    width: float  # points
    height: float
    boxes: list[list[float]]
    found: bool | None  # None: no words were asked for
    png: bytes

    def to_dict(self) -> dict[str, Any]:
        names = ("path", "page", "pages", "width", "height", "boxes", "found")
        return {**{name: getattr(self, name) for name in names}, "note": NOTE[self.found]}


class Drawing:
    """Draws one page at a time."""

    def __init__(self, rag: Rag) -> None:
        self._rag = rag
        limits = rag.config.load.model_copy(update={"timeout_s": TIMEOUT_S, "memory_mb": MEMORY_MB})
        self._closed = threading.Event()
        self._worker = Worker(limits, COMMAND, self._closed)
        self.thread = ThreadPoolExecutor(1, "rag-draw")

    def draw(self, path: str, page: int | None, span: Span | None, width: int, mark: bool) -> Drawn:
        """`page` None: the one on which `span` begins. `width`: of the picture in pixels; 0: none. `mark`: into it.

        Raises QueryError for what the index doesn't hold, DocumentError for what can't be drawn.
        """
        source = self._rag.source(path)
        if source.kind != "pdf":
            raise QueryError(f"{source.path} is no PDF: it has no pages to draw", "GET /documents/text shows its text")
        if span is not None and span.end > len(source.text):
            raise QueryError(
                f"{source.path} has {len(source.text)} characters, the span ends at {span.end}", "see `end`"
            )
        page = page or (source.page_at(span.start) if span else 1) or 1
        if not 1 <= page <= len(source.pages):
            raise QueryError(f"{source.path} has pages 1..{len(source.pages)}, asked for page {page}", "see `page`")
        whole = source.page_spans[page - 1]
        words, before = "", 0.0
        if span is not None:
            start, end = max(span.start, whole.start), min(span.end, whole.end)
            words = source.text[start:end] if start < end else ""
            before = (start - whole.start) / max(len(whole), 1)
        job = {"path": str(self._rag.original(source.path)), "page": page, "width": width, "mark": mark}
        reply = self._worker.run({**job, "words": words, "before": before}, lambda reply: failure(reply) or reply)
        if isinstance(reply, DocumentError):
            raise DocumentError(f"{source.path}: {reply.message}", reply.hint)
        return _drawn(reply, source.path, page, len(source.pages), None if span is None else bool(words))

    def close(self) -> None:
        self._closed.set()
        self._worker.kill()
        self.thread.shutdown(cancel_futures=True)
        self._worker.stop()


def _drawn(reply: Reply, path: str, page: int, pages: int, asked: bool | None) -> Drawn:
    """What comes from the process that reads a hostile file is taken apart by type."""
    boxes = [[float(v) for v in box][:4] for box in reply["boxes"]]
    found = None if asked is None else asked and bool(boxes)
    png = base64.b64decode(str(reply.get("png", "")))
    return Drawn(path, page, pages, float(reply["width"]), float(reply["height"]), boxes, found, png)
