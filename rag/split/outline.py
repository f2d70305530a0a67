"""Where each character of a source stands, and the words put before a chunk when it is embedded.

Says what `Source.locate` says, in O(log headings) instead of O(headings): a source of a million headings has as
many chunks.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import lru_cache

from rag.split.limits import Prepend
from rag.types import Location, Source

_DELIMITER = re.compile(  # the line under a table's head; no part of it can match what another could: linear
    r"\n(?=[^\n]*\|)[ \t]{0,8}\|?(?:[ \t]*:?-+:?[ \t]*\|)*[ \t]*(?::?-+:?)?[ \t]*(?=\n)"
)
_CELL = re.compile(r"(?<!\\)\|")
_WITHOUT_TABLES = ("text", "code")  # there, rows of bars and dashes are no Markdown


class Outline:
    """`most` is the number of tokens that the headings of a prefix may have, and a table's head as well; `count` and
    `shorten` measure in the same tokens."""

    def __init__(
        self,
        source: Source,
        prepend: Prepend,
        most: int,
        count: Callable[[str], int],
        shorten: Callable[[str, int], str],
    ) -> None:
        self.source = source
        self._prepend = prepend
        self._most = most
        self._count = count
        self._shorten = shorten
        self._starts = [h.start for h in source.headings]
        self._tables = [] if source.kind in _WITHOUT_TABLES else list(tables(source.text))
        self._bodies = [body for body, _, _ in self._tables]
        self._head = lru_cache(maxsize=64)(self._head_of)
        self._parents = self._find_parents()
        self._path = lru_cache(maxsize=64)(self._path_of)
        self._prefix = lru_cache(maxsize=256)(self._prefix_of)
        self._prefix_tokens = lru_cache(maxsize=256)(count)

    def _find_parents(self) -> list[int]:
        """Index of the heading each heading stands under, -1 for none."""
        parents: list[int] = []
        stack: list[int] = []
        headings = self.source.headings
        for index, heading in enumerate(headings):
            while stack and headings[stack[-1]].level >= heading.level:
                stack.pop()
            parents.append(stack[-1] if stack else -1)
            stack.append(index)
        return parents

    def _path_of(self, index: int) -> tuple[str, ...]:
        titles = []
        while index >= 0:
            titles.append(self.source.headings[index].title)
            index = self._parents[index]
        return tuple(reversed(titles))

    def locate(self, offset: int) -> Location:
        index = bisect_right(self._starts, offset) - 1
        source = self.source
        page = source.page_at(offset)
        return Location(
            page, source.line_at(offset), self._path(index), source.seconds_at(offset), page in source.ocr_pages
        )

    def prefix(self, offset: int) -> str:
        """What is put before a chunk that begins at `offset`: `Title: Outer > Inner` and a line end, or nothing; then,
        for one that begins in a table, the row at the table's head.

        The heading that the chunk itself begins with is left out.
        """
        table = bisect_right(self._bodies, offset) - 1
        head = self._head(table) if table >= 0 and offset < self._tables[table][1] else ""
        if self._prepend == "none":
            return head
        index = bisect_right(self._starts, offset) - 1
        if index >= 0 and self._starts[index] == offset:
            index = self._parents[index]
        return self._prefix(index) + head

    @property
    def parts(self) -> int:
        """How many parts of at most `most` tokens a prefix may have."""
        return (self._prepend != "none") + bool(self._tables)

    def _head_of(self, table: int) -> str:
        """The row as `| a | b |` and a line end; shortened to `most` tokens where it is longer."""
        row = f"| {' | '.join(_cells(self._tables[table][2]))} |"
        for room in range(self._most, 0, -1):
            if self._count(row) <= self._most:
                return row + "\n" if row.startswith("| ") else ""
            row = self._shorten(row, room)
        return ""

    def prefix_tokens(self, offset: int) -> int:
        text = self.prefix(offset)
        return self._prefix_tokens(text) if text else 0

    def _prefix_of(self, index: int) -> str:
        """Shortened to `most` tokens: outer headings go first, then the title is cut, then the innermost heading."""
        title = _one_line(self.source.title or "") if "title" in self._prepend else ""
        path = [_one_line(t) for t in self._path(index)] if "headings" in self._prepend else []
        path = [t for t in path if t][-8:]
        if title and path and path[0] == title:
            path = path[1:]
        while len(path) > 1 and self._count(_joined(title, path)) > self._most:
            path = path[1:]
        for room in range(self._most, 0, -1):
            if self._count(_joined(title, path)) <= self._most:
                return _joined(title, path)
            if title and path:
                title = self._shorten(title, max(0, room - 1 - self._count(" > ".join(path))))
            elif title:
                title = self._shorten(title, room - 1)
            else:
                path = [self._shorten(path[0], room - 1)] if path[0] else []
        return ""


def _joined(title: str, path: list[str]) -> str:
    headings = " > ".join(t for t in path if t)
    both = ": ".join(part for part in (title, headings) if part)
    return both + "\n" if both else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())[:1000].lstrip("| ")  # a line of bars is a table's head: `Chunk.table_head`


def _cells(row: str) -> list[str]:
    row = row.strip().removeprefix("|")
    if row.endswith("|") and not row.endswith("\\|"):
        row = row[:-1]
    return [" ".join(cell.split()) for cell in _CELL.split(row)]


def tables(text: str) -> Iterator[tuple[int, int, str]]:
    r"""The Markdown tables: (where the rows below the head begin, where they end, the head's row), in order.

    >>> list(tables("x\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\ny"))
    [(27, 46, '| a | b |')]
    """
    done = 0
    for found in _DELIMITER.finditer(text):
        if found.start() < done:
            continue
        head = text[text.rfind("\n", 0, found.start()) + 1 : found.start()]
        if len(head) > 5000 or "|" not in head or len(_cells(head)) != len(_cells(found[0])):
            continue
        body = done = found.end() + 1
        while done < len(text):
            end = text.find("\n", done)
            end = len(text) if end < 0 else end
            if text.find("|", done, end) < 0:
                break
            done = end + 1
        if done > body:
            yield body, min(done, len(text)), head
