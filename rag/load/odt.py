"""OpenDocument texts: headings, paragraphs, lists, tables and notes in the order of reading, written as Markdown.

OASIS OpenDocument 1.3, https://docs.oasis-open.org/office/OpenDocument/v1.3/. Deletions kept by "track changes" and
comments are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, brief
from rag.load import needs_password
from rag.load.blocks import Blocks, number, unshown
from rag.load.container import member, open_container, parse_xml
from rag.load.decode import clean
from rag.load.edges import framed
from rag.load.odt_numbers import STYLE, TEXT, Numbers
from rag.load.raised import joined, raised
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
_CODE = "Preformatted_20_Text"  # the style of lines that stand as they are typed
_DRAW = "{urn:oasis:names:tc:opendocument:xmlns:drawing:1.0}"
_SVG = "{urn:oasis:names:tc:opendocument:xmlns:svg-compatible:1.0}"
_OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
_UNREAD = {f"{TEXT}tracked-changes", f"{_OFFICE}annotation", f"{_OFFICE}forms"}
_SKIPPED = _UNREAD | {f"{TEXT}note"}  # where its number stands; its words come below
_SHAPES = (
    "text-box custom-shape rect ellipse circle polygon polyline regular-polygon path line connector caption measure"
)
_BOXES = {f"{_DRAW}{name}" for name in _SHAPES.split()}
# In a paragraph, what isn't of it: words for who can't see a picture, and boxes, which come after it.
_BESIDE = _SKIPPED | _BOXES | {f"{_SVG}title", f"{_SVG}desc"}
_ROWS = {f"{_TABLE}{name}" for name in ("table-header-rows", "table-rows", "table-row-group")}
_SIGNS = {f"{TEXT}tab": "\t", f"{TEXT}line-break": "\n"}
_SPACE = re.compile(r"[ \t\r\n]+")
# A file may say that a cell, or a space, stands there a billion times.
_SAME_CELL, _SAME_CHARS = 64, 1_000_000  # times that one of them is repeated, and characters of all repeated
_SPACES = 1000
_LEAST_RAISED = 15  # percent of the letters' height above the line
_DIGITS = 8  # of a number of times; one with more is nonsense, and means once


def load(data: bytes, relative: str, config: Load) -> Source:
    from lxml import etree

    archive = open_container(data, "an OpenDocument text", config)
    if b"encryption-data" in (member(archive, "META-INF/manifest.xml") or b""):
        raise needs_password()
    try:
        root = parse_xml(member(archive, "content.xml") or b"")
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DocumentError(f"is no readable OpenDocument text: {brief(error)}", "open it and save it anew") from None
    try:
        styles = parse_xml(member(archive, "styles.xml") or b"<none/>")
    except (etree.XMLSyntaxError, ValueError):
        styles = parse_xml(b"<none/>")
    reader = _Reader(config.max_chars, styles, root)
    for body in root.iter(f"{_OFFICE}text"):
        reader.blocks_of(body)
    try:
        about = parse_xml(member(archive, "meta.xml") or b"<none/>")
        title = next((" ".join(clean(e.text or "").split()) for e in about.iter("{*}title")), "")
    except (etree.XMLSyntaxError, ValueError):
        title = ""
    blocks = framed(reader.edge(styles, "header"), reader.blocks, reader.edge(styles, "footer"), title)
    unseen = unshown(_hidden(root, {name for name, said in _said((styles, root), _unseen).items() if said}))
    return Source(relative, blocks.text, "odt", title=title or None, headings=blocks.headings, metadata=unseen)


class _Reader:
    def __init__(self, most: int, styles: Any, root: Any) -> None:
        self.blocks = Blocks()
        self._code_styles, self._code = _code_styles(root), list[str]()
        self._raised, self._struck = (_said((styles, root), says) for says in (_up, _struck))
        self._numbers = Numbers(styles, root)
        self._most = most
        self._left = _SAME_CHARS

    def blocks_of(self, parent: Any) -> None:
        for child in parent:
            if not isinstance(child.tag, str) or child.tag in _SKIPPED or len(self.blocks) > self._most:
                continue
            if child.tag == f"{TEXT}p" and child.get(f"{TEXT}style-name") in self._code_styles:
                self._code.append(self._text(child))
                self._hanging(child)
                continue
            self._end_code()
            if child.tag == f"{TEXT}h":
                self._heading(child)
            elif child.tag == f"{TEXT}p":
                self.blocks.add(self._text(child).strip())
            elif child.tag == f"{TEXT}list":
                self._items(child, 0, "")
            elif child.tag == f"{_TABLE}table":
                self._table(child)
            else:  # sections, indexes, frames
                self.blocks_of(child)
            if child.tag in (f"{TEXT}p", f"{TEXT}h", f"{TEXT}list", f"{_TABLE}table"):
                self._hanging(child)
        self._end_code()

    def _end_code(self) -> None:
        lines, self._code = self._code, []
        self.blocks.code("\n".join(lines))

    def _heading(self, heading: Any, mark: str = "") -> None:
        """`mark`: of a list that it is an item of, as OpenOffice wrote numbered headings."""
        said = heading.get(f"{TEXT}outline-level", "1")
        level = int(said) if said in map(str, range(1, 11)) else 1
        mark, title = mark or self._numbers.of_heading(heading, level), self._text(heading)
        self.blocks.heading(level, f"{mark} {title}" if title.strip() else "")

    def _items(self, parent: Any, depth: int, style: str) -> None:
        first, style = depth == 0, parent.get(f"{TEXT}style-name") or style
        if first:
            self._numbers.begin(parent, style)
        for item in parent.iterchildren(f"{TEXT}list-item", f"{TEXT}list-header"):
            mark = self._numbers.of_item(item, style, depth + 1)
            for heading in item.iterchildren(f"{TEXT}h"):
                self._heading(heading, mark)
            words = [self._text(p).strip() for p in item.iterchildren(f"{TEXT}p")]
            self.blocks.item("\n".join(filter(None, words)), depth=depth, first=first, mark=mark)
            first = False
            for inner in item.iterchildren(f"{TEXT}list"):
                self._items(inner, min(depth + 1, 20), style)

    def _table(self, table: Any) -> None:
        merged: dict[int, tuple[int, str]] = {}  # by column: down to which row the words of a cell go
        self.blocks.table([self._row(row, at, merged) for at, row in enumerate(_rows(table))])

    def _row(self, row: Any, at: int, merged: dict[int, tuple[int, str]]) -> list[str]:
        cells = list[str]()
        for cell in row.iterchildren(f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
            text = " ".join(self._text(p) for p in _paragraphs(cell))
            times = self._repeats(cell.get(f"{_TABLE}number-columns-repeated", "1"), len(text))
            if cell.tag == f"{_TABLE}covered-table-cell" and not text.strip():
                covering = (merged.get(column, (-1, "")) for column in range(len(cells), len(cells) + times))
                cells += [self._again(words) if at <= last else "" for last, words in covering]
                continue
            down, wide = (number(cell.get(f"{_TABLE}number-{way}-spanned", "1"), 1) for way in ("rows", "columns"))
            if max(down, wide) > 1:
                columns = range(len(cells), len(cells) + min(wide, _SAME_CELL))
                merged.update(dict.fromkeys(columns, (at + down - 1, text)))
            cells += [text] * times
        while cells and not cells[-1].strip():
            cells.pop()
        return cells

    def _repeats(self, times: str, length: int) -> int:
        """How often a cell stands there: its row makes each row of the table as wide."""
        allowed = max(1, min(number(times, 1, _DIGITS), _SAME_CELL, 1 + self._left // (length + 1)))
        self._left -= (allowed - 1) * (length + 1)
        return allowed

    def _again(self, text: str) -> str:
        """The words of a merged cell; none when a file makes too much of that."""
        if len(text) >= self._left:
            return ""
        self._left -= len(text) + 1
        return text

    def _hanging(self, parent: Any) -> None:
        """Foot and end notes and text boxes, below the block that they hang on."""
        for child in parent:
            if child.tag in _BOXES or child.tag == f"{TEXT}note-body":
                self.blocks_of(child)
            elif isinstance(child.tag, str) and child.tag not in _UNREAD:
                self._hanging(child)

    def _text(self, node: Any) -> str:
        """The words of a paragraph, spaces and line ends as they are shown."""
        pieces: list[tuple[str, bool]] = []

        def say(words: str | None, up: bool, struck: bool) -> None:
            if words:  # in the file white space is one space; more are written as elements
                words = _SPACE.sub(" ", words)
                pieces.append((raised(words) if up else words, struck))

        def walk(element: Any, up: bool, struck: bool) -> None:
            style = element.get(f"{TEXT}style-name")
            up, struck = self._raised.get(style, up), self._struck.get(style, struck)
            say(element.text, up, struck)
            for child in element:
                if child.tag in _SIGNS:
                    pieces.append((_SIGNS[child.tag], struck))
                elif child.tag == f"{TEXT}s":
                    count = child.get(f"{TEXT}c", "1")
                    pieces.append((" " * min(number(count, 1, _DIGITS), _SPACES), struck))
                elif isinstance(child.tag, str) and child.tag not in _BESIDE:
                    walk(child, up, struck)
                say(child.tail, up, struck)

        walk(node, False, False)
        return joined(pieces)

    def edge(self, styles: Any, which: str) -> Iterator[str]:
        """Lines of the headers, or footers, of all kinds of pages, without the pages' numbers."""
        for page in styles.iter(f"{STYLE}master-page"):
            for edge in page.iterchildren(*(f"{STYLE}{which}{kind}" for kind in ("", "-left", "-first"))):
                for number_of_page in edge.iter(f"{TEXT}page-number", f"{TEXT}page-count"):
                    number_of_page.text = ""
                if edge.get(f"{STYLE}display") != "false":
                    yield from self._lines(edge)

    def _lines(self, parent: Any) -> Iterator[str]:
        """A line for each of the paragraphs and of the rows of its tables."""
        for child in parent:
            if child.tag == f"{_TABLE}table-row":
                cells = (" ".join(map(self._text, _paragraphs(cell))) for cell in child)
                yield "\t".join(" ".join(cell.split()) for cell in cells)
            elif isinstance(child.tag, str) and child.tag not in _SKIPPED:
                if child.tag in (f"{TEXT}p", f"{TEXT}h"):
                    yield from self._text(child).split("\n")
                yield from self._lines(child)


def _rows(table: Any) -> Iterator[Any]:
    """Its own, not those of tables in its cells."""
    for child in table:
        if child.tag == f"{_TABLE}table-row":
            yield child
        elif child.tag in _ROWS:
            yield from _rows(child)


def _paragraphs(cell: Any) -> Iterator[Any]:
    for child in cell:
        if child.tag in (f"{TEXT}p", f"{TEXT}h"):
            yield child
        elif isinstance(child.tag, str) and child.tag not in _BESIDE:
            yield from _paragraphs(child)


def _code_styles(root: Any) -> frozenset[str]:
    """What paragraphs of code have for their style: LibreOffice's and pandoc's, and what the file derives from it."""
    styles = root.iter(f"{STYLE}style")
    derived = (s.get(f"{STYLE}name") for s in styles if s.get(f"{STYLE}parent-style-name") == _CODE)
    return frozenset({_CODE, *derived})


def _said(roots: Iterable[Any], says: Callable[[Any], bool | None]) -> dict[str, bool]:
    """By the names of styles: what the properties of their text, or of the first that they derive from and that says
    anything, say."""
    styles = {s.get(f"{STYLE}name", ""): s for root in roots for s in root.iter(f"{STYLE}style")}

    def of(style: Any) -> bool | None:
        for _ in range(12):
            if style is None:
                break
            properties = style.find(f"{STYLE}text-properties")
            if properties is not None and (said := says(properties)) is not None:
                return said
            style = styles.get(style.get(f"{STYLE}parent-style-name"))
        return None

    return {name: said for name, style in styles.items() if (said := of(style)) is not None}


def _unseen(properties: Any) -> bool | None:
    said = properties.get(f"{TEXT}display")
    return said == "none" if said else None


def _up(properties: Any) -> bool | None:
    """`super 58%` or `33% 58%`: how far above the line, and how large."""
    said = (properties.get(f"{STYLE}text-position") or "").split()
    if not said:
        return None
    return said[0] == "super" or number(said[0].rstrip("%").partition(".")[0], 0) >= _LEAST_RAISED


def _struck(properties: Any) -> bool | None:
    said = properties.get(f"{STYLE}text-line-through-style") or properties.get(f"{STYLE}text-line-through-type")
    return said != "none" if said else None


def _hidden(root: Any, styles: set[str]) -> int:
    """Characters, spaces aside, that aren't shown: by their style, their section or their field."""
    count = 0
    waiting = [(body, False) for body in root.iter(f"{_OFFICE}text")]
    while waiting:
        node, unseen = waiting.pop()
        unseen = (
            node.get(f"{TEXT}style-name") in styles
            or node.get(f"{TEXT}display") == "none"
            or node.get(f"{TEXT}is-hidden") == "true"
            or (unseen and node.tag != f"{TEXT}note")
        )
        count += len("".join((node.text or "").split())) if unseen else 0
        for child in node:
            count += len("".join((child.tail or "").split())) if unseen else 0
            if isinstance(child.tag, str) and child.tag not in _UNREAD:
                waiting.append((child, unseen))
    return count
