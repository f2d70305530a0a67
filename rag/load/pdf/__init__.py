"""PDF: text page by page, by one of two engines, with lines joined so that sentences read on.

    engine.py   by_pypdfium2.py   by_pypdf.py     a file -> lines of pages, title, outline
    rows.py                                       a page of PDFium's -> its lines and how they are set
    flow.py                                       lines of pages -> the running text
    forms.py                                      what was filled in or written over a page
    hidden.py                                     what a page has and doesn't show
    ocr.py                                        a page without text -> lines, where load.ocr says so

The final text is the text: pages, headings and all spans count in it, never in what the parser gave.

What one engine can't read, the other tries: a file that it can't open, and single pages that it fails on. Either is
said in a warning. Their time and memory are held by worker.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING

from rag.errors import DocumentError, EmptyError, brief
from rag.load.decode import clean
from rag.load.pdf.engine import Engine, Opened, opened
from rag.load.pdf.flow import Line, flow, tidy
from rag.types import Heading, Source

if TYPE_CHECKING:
    from rag.config import Load

OTHER: dict[Engine, Engine] = {"pypdfium2": "pypdf", "pypdf": "pypdfium2"}

MOST_ENTRIES = 10_000  # of an outline


def load(data: bytes, relative: str, config: Load) -> Source:
    with ExitStack() as stack:
        try:
            engine: Engine = config.pdf
            document, warnings = stack.enter_context(opened(engine, data)), []
        except (DocumentError, MemoryError, RecursionError):
            raise
        except Exception as error:
            try:
                document = stack.enter_context(opened(OTHER[engine], data))
            except DocumentError:
                raise
            except Exception:
                raise error from None
            warnings = [f"read by {OTHER[engine]}, {engine} can't open it: {brief(error, named=True)}"]
            engine = OTHER[engine]
        pages = _Pages(stack, data, engine, document)
        pages.read(config)
        return _source(pages, relative, warnings, config)


class _Pages:
    """The lines of each page, and what is to be said about it. Pages count from 0."""

    def __init__(self, stack: ExitStack, data: bytes, engine: Engine, document: Opened) -> None:
        self.engine, self.document = engine, document
        self.lines: list[list[Line]] = []
        self.empty: list[int] = []  # no text, though something is drawn
        self.failed: dict[int, str] = {}  # why
        self.rescued: dict[int, str] = {}  # read by the other engine, and why
        self.by_ocr: list[int] = []
        self.ocr_failed: dict[int, str] = {}  # why
        self.hidden = self.over_scan = 0  # characters that pages don't show
        self._stack, self._data = stack, data
        self._second: Opened | None = None
        self._hopeless = False

    def read(self, config: Load) -> None:
        length = 0
        for number in range(min(self.document.count, config.max_pages)):
            lines = self._page(number)
            self.lines.append(lines)
            length += sum(len(line.text) + 1 for line in lines)
            if length > config.max_chars:
                break
        if self.empty and config.ocr != "none":
            self._ocr(config)

    def _ocr(self, config: Load) -> None:
        from rag.load.pdf.ocr import Ocr

        ocr = Ocr(self._data, config)
        for number in self.empty:
            lines, why = ocr.lines(number)
            if lines:
                self.lines[number] = lines
                self.by_ocr.append(number)
            elif why:
                self.ocr_failed[number] = why
        read = set(self.by_ocr)
        self.empty = [number for number in self.empty if number not in read and number not in self.ocr_failed]

    def _page(self, number: int) -> list[Line]:
        try:
            lines = self.document.lines(number)
            if not lines and not self.document.is_blank(number):
                self.empty.append(number)
            if lines:
                self._look_for_hidden(number)
            return lines
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # whatever a damaged page makes the library stumble over
            why = brief(error, named=True)
            lines = self._by_the_other(number)
            (self.rescued if lines else self.failed)[number] = why
            return lines

    def _look_for_hidden(self, number: int) -> None:
        try:
            hidden, over_scan = self.document.hidden(number)
        except (MemoryError, RecursionError):
            raise
        except Exception:  # its text was read; what can be said about it is an extra
            return
        self.hidden += hidden
        self.over_scan += over_scan

    def _by_the_other(self, number: int) -> list[Line]:
        try:
            if self._second is None and not self._hopeless:
                self._second = self._stack.enter_context(opened(OTHER[self.engine], self._data))
            return self._second.lines(number) if self._second else []
        except (MemoryError, RecursionError):
            raise
        except Exception:
            self._hopeless = self._second is None
            return []


def _source(pages: _Pages, relative: str, warnings: list[str], config: Load) -> Source:
    total, document, failed = pages.document.count, pages.document, pages.failed
    if failed and len(failed) == len(pages.lines):
        first = next(iter(failed.values()))
        raise DocumentError(f"none of {total} pages can be read: {first}", "open it and print it to a new PDF")
    if not any(pages.lines):
        why = next(iter(pages.ocr_failed.values()), "")
        raise EmptyError(f"no text on any of {total} pages, scanned?{f' {why}' if why else ''}", _hint(why, config))
    if pages.empty:
        warnings.append(f"{_numbers(pages.empty)}no text, scanned?")
    if len(pages.lines) < total:
        left = _numbers(range(len(pages.lines), total))
        few = len(pages.lines) == config.max_pages
        limit = (
            f"load.max_pages is {config.max_pages}"
            if few
            else f"the text is longer than load.max_chars ({config.max_chars})"
        )
        warnings.append(f"{left}left out: {limit}")
    warnings += _by_reason(pages.rescued, f"read by {OTHER[pages.engine]}, {pages.engine} can't")
    warnings += _by_reason(failed, "can't be read")
    if pages.by_ocr:
        warnings.append(f"{_numbers(pages.by_ocr)}read by OCR")
    warnings += _by_reason(pages.ocr_failed, "no text, scanned?")
    text, starts = flow(pages.lines)
    return Source(
        relative,
        text,
        "pdf",
        title=_title(document),
        pages=starts,
        headings=tuple(_headings(document, text, starts)),
        metadata={
            "pages": total,
            **({"ocr_pages": [n + 1 for n in pages.by_ocr]} if pages.by_ocr else {}),
            **{name: count for name in ("hidden", "over_scan") if (count := getattr(pages, name))},
        },
        warnings=tuple(warnings),
    )


def _hint(why: str, config: Load) -> str:
    from rag.load.pdf.ocr import HINTS

    if config.ocr == "none":
        return "run it through OCR first, or set load.ocr to tesseract"
    return HINTS.get(why, "run it through another OCR first")


def _by_reason(pages: dict[int, str], what: str) -> Iterator[str]:
    for reason in dict.fromkeys(pages.values()):
        yield f"{_numbers(n for n, why in pages.items() if why == reason)}{what}: {reason}"


def _headings(document: Opened, text: str, starts: tuple[int, ...]) -> Iterator[Heading]:
    """The outline's entries whose title really stands on the page they point to; the others are left out."""
    try:
        entries = [(level, tidy(clean(title)), page) for level, title, page in islice(document.outline(), MOST_ENTRIES)]
    except Exception:  # an outline is an extra: a damaged one costs nothing but itself
        return
    found = []
    for level, title, page in entries:
        if not title or len(title) > 300 or not 0 <= page < len(starts):
            continue
        end = starts[page + 1] if page + 1 < len(starts) else len(text)
        pattern = re.compile(r"\s+".join(map(re.escape, title.split())), re.IGNORECASE)
        if match := pattern.search(text, starts[page], end):
            found.append(Heading(match.start(), level, title))
    yield from sorted(found, key=lambda heading: heading.start)


_NO_TITLE = re.compile(
    r"untitled.*|\(?(?:anonymous|unspecified)\)?|document\d*|microsoft \w+ - .*"
    r"|.*\.(?:pdf|docx?|tex|dvi|indd|pptx?|xlsx?|html?)",
    re.IGNORECASE,
)


def _title(document: Opened) -> str | None:
    """The metadata's title, unless it is a file's name, a number or a program's default."""
    try:
        title = " ".join(clean(document.title()).split())
    except Exception:  # damaged metadata
        return None
    sane = 3 <= len(title) <= 300 and any(map(str.isalpha, title)) and "\ufffd" not in title
    return title if sane and not _NO_TITLE.fullmatch(title) else None


def _numbers(pages: Iterable[int]) -> str:
    """Page numbers (from 0) in words, counted from 1.

    >>> _numbers([6]), _numbers([2, 3, 4, 8])
    ('page 7: ', 'pages 3-5, 9: ')
    """
    ranges: list[list[int]] = []
    for page in pages:
        if ranges and ranges[-1][1] == page:
            ranges[-1][1] = page + 1
        else:
            ranges.append([page + 1, page + 1])
    words = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
    return f"page{'s' if any(a != b for a, b in ranges) or len(ranges) > 1 else ''} {words}: "
