"""Word documents: headings, paragraphs, lists, tables and notes in the order of reading, written as Markdown.

python-docx opens the package and knows its styles; the body is walked here, because `Document.paragraphs`
passes over tables, content controls, tracked insertions and text boxes. Its XML parsers resolve no entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, brief
from rag.load.blocks import Blocks, number, unshown
from rag.load.container import open_container
from rag.load.decode import clean
from rag.load.docx_numbers import Numbers, level_of, related, value
from rag.load.docx_numbers import W as _W
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_TRANSPARENT = {f"{_W}{name}" for name in ("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag")}
_SKIPPED = {f"{_W}{name}" for name in ("pPr", "rPr", "del", "moveFrom", "sdtPr", "instrText", "delText", "softHyphen")}
_SKIPPED.add("{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback")  # the Choice beside it is read
_M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_MOST_SPANNED = 64  # columns of one cell
_REPEATED = 200  # characters of a merged cell's words, which stand in each cell that it covers; longer ones once
_SIGNS = {f"{_W}tab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
_HEADING_STYLE = re.compile(r"heading (\d)", re.IGNORECASE)


def load(data: bytes, relative: str, config: Load) -> Source:
    import docx

    open_container(data, "a Word document", config)
    try:
        document = docx.Document(BytesIO(data))
    except (KeyError, ValueError) as error:
        raise DocumentError(
            f"is no readable Word document: {brief(error)}", "open it in Word and save it anew"
        ) from None
    reader = _Reader(document)
    reader.blocks_of(document.element.body)
    title = " ".join(clean(document.core_properties.title or "").split()) or reader.title
    return Source(
        relative,
        reader.blocks.text,
        "docx",
        title=title,
        headings=reader.blocks.headings,
        metadata=unshown(reader.hidden(document.element.body)),
    )


class _Reader:
    """Walks the body; `title` is the paragraph of style Title, if there is one."""

    def __init__(self, document: Any) -> None:
        self.blocks = Blocks()
        self.title: str | None = None
        self._styles = {style.style_id: style for style in document.styles}
        self._notes = dict(_notes(document))
        self._numbers = Numbers(document)
        self._in_list = False

    def blocks_of(self, parent: Any) -> None:
        for child in parent:
            if child.tag == f"{_W}p":
                self._paragraph(child)
            elif child.tag == f"{_W}tbl":
                self._table(child)
            elif child.tag in _TRANSPARENT:
                self.blocks_of(child)

    def _paragraph(self, p: Any) -> None:
        text = _text(p).strip()
        level, style, listed, depth, numbering = self._shape(p)
        mark = self._numbers.mark(numbering, depth)  # counted where only a picture stands, too
        if style == "title" and text:
            self.title = self.title or " ".join(text.split())
            level = level or 1
        if level and text:
            self.blocks.heading(level, f"{mark} {text}")
        elif listed and text:
            self.blocks.item(text, depth=depth, first=not self._in_list, mark=mark)
        else:
            self.blocks.add(text)
        if text:
            self._in_list = listed and not level
        self._notes_of(p)

    def _notes_of(self, element: Any) -> None:
        for reference in element.iter(f"{_W}footnoteReference", f"{_W}endnoteReference"):
            self.blocks.add(self._notes.get((reference.tag, reference.get(f"{_W}id")), ""))

    def _shape(self, p: Any) -> tuple[int | None, str, bool, int, str]:
        """Outline level (1 is the outermost), name of the style, whether it is a list's item and how deep that lies,
        and the numbering that it takes part in."""
        own = p.find(f"{_W}pPr")
        level = None if own is None else _outline(own)
        numbering, depth = _numbering(own)
        style_id = None if own is None or own.find(f"{_W}pStyle") is None else own.find(f"{_W}pStyle").get(f"{_W}val")
        style = self._styles.get(style_id)
        first = (style.name or "").lower() if style is not None else ""
        named = first.startswith("list ")
        if named and first[-1] in "2345" and not depth:
            depth = int(first[-1]) - 1
        for _ in range(12):  # a style may be based on another; a damaged file may make that a circle
            if style is None or (level is not None and numbering):
                break
            properties = style.element.find(f"{_W}pPr")
            if not numbering:
                numbering, inherited = _numbering(properties)
                depth = max(depth, inherited)
            if level is None and (heading := _HEADING_STYLE.fullmatch(style.name or "")):
                level = int(heading[1])
            elif level is None and properties is not None:
                level = _outline(properties)
            style = style.base_style
        return level or None, first, numbering not in ("", "0") or (named and not numbering), depth, numbering

    def hidden(self, body: Any) -> int:
        """Characters, spaces aside, of runs that Word doesn't show (`w:vanish`). They are in the text all the same."""
        count = 0
        paragraph: bool | None = None  # what the paragraph's style says
        for element in body.iter(f"{_W}p", f"{_W}r"):
            if element.tag == f"{_W}p":
                paragraph = self._vanishes(element.find(f"{_W}pPr/{_W}pStyle"))
                continue
            own = element.find(f"{_W}rPr")
            said = None if own is None else _toggle(own.find(f"{_W}vanish"))
            if said is None and own is not None:
                said = self._vanishes(own.find(f"{_W}rStyle"))
            if paragraph if said is None else said:
                count += sum(len("".join((t.text or "").split())) for t in element.iterchildren(f"{_W}t"))
        return count

    def _vanishes(self, named: Any) -> bool | None:
        """What a style, or the first of those it is based on that says anything, says."""
        style = None if named is None else self._styles.get(named.get(f"{_W}val"))
        for _ in range(12):
            if style is None:
                break
            if (said := _toggle(style.element.find(f"{_W}rPr/{_W}vanish"))) is not None:
                return said
            style = style.base_style
        return None

    def _table(self, table: Any) -> None:
        rows = [list(_children(row, f"{_W}tc")) for row in _children(table, f"{_W}tr")]
        if len(rows) == 1 and len(rows[0]) == 1:  # a frame round ordinary text
            self.blocks_of(rows[0][0])
            return
        above: dict[int, str] = {}  # by column: what a cell that was merged downwards holds
        shown = []
        for element, cells in zip(_children(table, f"{_W}tr"), rows, strict=True):
            words = [""] * min(number(value(element.find(f"{_W}trPr"), "gridBefore"), 0), _MOST_SPANNED)
            for cell in cells:
                properties, column = cell.find(f"{_W}tcPr"), len(words)
                merged = None if properties is None else properties.find(f"{_W}vMerge")
                goes_on = merged is not None and merged.get(f"{_W}val", "continue") == "continue"
                text = above.get(column, "") if goes_on else self._cell(cell)
                again = text if len(text) <= _REPEATED else ""
                if merged is not None:
                    above[column] = again
                words += [text, *[again] * (min(number(value(properties, "gridSpan"), 1), _MOST_SPANNED) - 1)]
            shown.append(words)
        self.blocks.table(shown)
        self._notes_of(table)
        self._in_list = False

    def _cell(self, cell: Any) -> str:
        words = []
        for p in _paragraphs(cell):
            _, _, _, depth, numbering = self._shape(p)
            words.append(f"{self._numbers.mark(numbering, depth)} {_text(p)}".strip())
        return " ".join(filter(None, words))


def _paragraphs(cell: Any) -> Iterator[Any]:
    """Its own and those of tables in it; a text box belongs to the paragraph that it hangs on."""
    for child in cell:
        if child.tag == f"{_W}p":
            yield child
        elif child.tag in (*_TRANSPARENT, f"{_W}tbl", f"{_W}tr", f"{_W}tc"):
            yield from _paragraphs(child)


def _children(parent: Any, tag: str) -> Iterator[Any]:
    for child in parent:
        if child.tag == tag:
            yield child
        elif child.tag in _TRANSPARENT:
            yield from _children(child, tag)


def _numbering(properties: Any) -> tuple[str, int]:
    """Its id and the level, 0 the outermost. No id: nothing is said; "0" takes back what the style says."""
    found = None if properties is None else properties.find(f"{_W}numPr")
    return value(found, "numId"), level_of(value(found, "ilvl"))


def _toggle(element: Any) -> bool | None:
    """On where it stands, unless it says otherwise; None: it doesn't stand there."""
    return None if element is None else element.get(f"{_W}val", "1") not in ("0", "false", "off")


def _outline(properties: Any) -> int | None:
    """Level from `w:outlineLvl`: 0..8 are headings; 9, body text, becomes 0: it overrides the style."""
    level = value(properties, "outlineLvl")
    if not level.isdecimal():
        return None
    return int(level) + 1 if int(level) < 9 else 0


def _symbol(element: Any) -> str:
    """A sign of the font Symbol, whose codes lie at F000 (Greek) or are characters already; of other such fonts none is
    known."""
    code = element.get(f"{_W}char", "")
    if element.get(f"{_W}font") != "Symbol" or not re.fullmatch("[0-9A-Fa-f]{1,4}", code):
        return ""
    place = int(code, 16) & 0xFF
    return _SYMBOLS.get(place, "")


_SYMBOLS = {
    **dict(zip(range(0x41, 0x5B), "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", strict=True)),
    **dict(zip(range(0x61, 0x7B), "αβχδεφγηιϕκλμνοπθρστυϖωξψζ", strict=True)),
    0xA3: "≤", 0xA5: "∞", 0xAE: "→", 0xB0: "°", 0xB1: "±", 0xB3: "≥", 0xB4: "×", 0xB9: "≠", 0xBB: "≈", 0xB7: "•",
    0xD6: "√", 0xE5: "∑", 0xF2: "∫",
}  # fmt: skip


def _text(node: Any) -> str:
    """The text of a paragraph as shown: insertions taken, deletions and field codes not."""
    parts: list[str] = []

    def walk(element: Any) -> None:
        for child in element:
            if child.tag in (f"{_W}t", f"{_M}t"):
                parts.append(child.text or "")
            elif child.tag == f"{_W}sym":
                parts.append(_symbol(child))
            elif child.tag in _SIGNS:
                parts.append(_SIGNS[child.tag])
            elif child.tag == f"{_W}p":  # of a text box
                parts.append("\n")
                walk(child)
                parts.append("\n")
            elif child.tag not in _SKIPPED:
                walk(child)

    walk(node)
    return "".join(parts)


def _notes(document: Any) -> Iterator[tuple[tuple[str, str], str]]:
    """Footnotes and endnotes by the tag and id of the reference to them."""
    for kind, root in related(document, "footnotes", "endnotes"):
        name = kind.removesuffix("s")
        for note in root.iter(f"{_W}{name}"):
            text = " ".join(_text(note).split())
            if text and note.get(f"{_W}type") is None:  # typed ones are the separator lines
                yield (f"{_W}{name}Reference", note.get(f"{_W}id")), f"[Note: {text}]"
