"""Headings, paragraphs, tables and code -> Markdown text and its map of headings.

For formats that know their structure (html, docx, slides, sheets): their text becomes Markdown, so that one splitter,
one prompt and one reader cope with all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from rag.load.decode import clean
from rag.types import Heading

_NUMBER = re.compile(r"\d{1,9}[.)]")
MOST_FILLED = 8  # times the cells that a table has, with those that fill it up


def number(text: str, default: int, digits: int = 6) -> int:
    """What an attribute of a file says; `default` where it is none, or has more than so many digits.

    >>> number("12", 1), number("-3", 1), number("99999999", 1)
    (12, 1, 1)
    """
    return int(text) if text.isdecimal() and len(text) <= digits else default


def unshown(characters: int) -> dict[str, int]:
    """How a source's metadata say that so many characters of its text aren't shown by the document."""
    return {"hidden": characters} if characters else {}


class Blocks:
    r"""Text put together block by block.

    >>> b = Blocks()
    >>> b.heading(2, "Sizes"); b.table([["name", "tokens"], ["MiniLM", "256"]])
    >>> b.text
    '## Sizes\n\n| name | tokens |\n| --- | --- |\n| MiniLM | 256 |'
    >>> b.headings
    (Heading(start=0, level=2, title='Sizes'),)
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._headings: list[Heading] = []
        self._pages: list[int] = []
        self._fresh = False  # a page has begun, and nothing stands on it yet

    def __len__(self) -> int:
        return self._length

    @property
    def text(self) -> str:
        return "".join(self._parts)

    @property
    def headings(self) -> tuple[Heading, ...]:
        return tuple(self._headings)

    @property
    def pages(self) -> tuple[int, ...]:
        return tuple(min(start, self._length) for start in self._pages)

    def page(self) -> None:
        """What is added from here on stands on the next page."""
        self._pages.append(self._next)
        self._fresh = True

    @property
    def _next(self) -> int:
        """Where the next block will begin, after an empty line."""
        return self._length + (2 if self._parts else 0)

    def add(self, text: str, *, gap: str = "\n\n") -> None:
        """A block as it stands, `gap` after the one before; blank ones are passed over."""
        text = clean(text).strip("\n")
        if not text.strip():
            return
        gap, self._fresh = "\n\n" if self._fresh else gap, False
        for part in (gap, text) if self._parts else (text,):
            self._parts.append(part)
            self._length += len(part)

    def heading(self, level: int, title: str) -> None:
        title = " ".join(clean(title).split())
        if title:
            self._headings.append(Heading(self._next, level, title))
            self.add(f"{'#' * min(level, 6)} {title}")

    def marked(self, text: str, headings: Iterable[Heading], deeper: int = 0) -> None:
        """A text that is Markdown already, or has its own map; its headings lie `deeper` levels down. No `clean` may
        change it and it begins with no empty line: the map counts in it."""
        if not text.strip():
            return
        start = self._next
        self._headings += [Heading(start + h.start, h.level + deeper, h.title) for h in headings]
        self.add(text)

    def item(self, text: str, *, depth: int = 0, first: bool = False, mark: str = "") -> None:
        """A list's item; `first` of its list. `mark`: the number that is shown in front of it."""
        if not text.strip():
            return
        indent, sign = "  " * depth, "-"
        first_line, *more = text.strip().split("\n")
        if _NUMBER.fullmatch(mark):
            sign = mark
        elif mark:  # `(a)` begins no list in Markdown
            first_line = f"{mark} {first_line}"
        lines = [f"{indent}{sign} {first_line}", *(f"{indent}{' ' * len(sign)} {line}" for line in more)]
        self.add("\n".join(lines), gap="\n\n" if first else "\n")

    def table(self, rows: Sequence[Sequence[str]]) -> None:
        """Markdown rows; the first one is taken for the head. Ragged rows are filled up, unless one wide row would make
        the table many times what it is."""
        cells = [[" ".join(c.split()).replace("|", r"\|") for c in row] for row in rows]
        cells = [row for row in cells if any(row)]
        if not cells:
            return
        width = max(map(len, cells))
        fill = width if width * len(cells) <= MOST_FILLED * sum(map(len, cells)) else 0
        lines = [f"| {' | '.join(row + [''] * (fill - len(row)))} |" for row in cells]
        self.add("\n".join([lines[0], f"|{' --- |' * width}", *lines[1:]]))

    def quote(self, text: str) -> None:
        if text:
            self.add("\n".join(f"> {line}".rstrip() for line in text.split("\n")))

    def code(self, text: str) -> None:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        body = text.strip("\n").rstrip()
        if body.strip():
            self.add(f"{fence}\n{body}\n{fence}")
