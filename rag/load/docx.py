"""Word documents: headings, paragraphs, lists, tables and notes in the order of reading, written as Markdown.

python-docx opens the package and knows its styles; the body is walked here, because `Document.paragraphs`
passes over tables, content controls, tracked insertions and text boxes. Its XML parsers resolve no entities.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, brief
from rag.load.blocks import Blocks, number, unshown
from rag.load.container import open_container
from rag.load.decode import clean
from rag.load.docx_numbers import Numbers, level_of, related, toggle, value
from rag.load.docx_numbers import W as _W
from rag.load.edges import framed
from rag.load.equation import PARTS, M, in_line
from rag.load.raised import LEAST_RAISED, joined, raised
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_TRANSPARENT = {f"{_W}{name}" for name in ("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag")}
_UNREAD = ("pPr", "rPr", "del", "moveFrom", "sdtPr", "instrText", "delText", "softHyphen", "rt")  # rt: how it is said
_SKIPPED = {f"{_W}{name}" for name in _UNREAD}
_SKIPPED.add("{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback")  # the Choice beside it is read
_BOX = f"{_W}txbxContent"
_SKIPPED.add(_BOX)  # it stands beside its paragraph, and is read after it
_REFERENCES = (f"{_W}footnoteReference", f"{_W}endnoteReference")
_SIGNS = {f"{_W}tab": "\t", f"{_W}ptab": "\t", f"{_W}br": "\n", f"{_W}cr": "\n", f"{_W}noBreakHyphen": "-"}
# What a font shows for the bytes of a `w:sym`; those of Symbol from 20 to 3F are ASCII's, but for a few.
_SYMBOL = dict(enumerate("ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", 0x41)) | dict(enumerate("αβχδεφγηιϕκλµνοπθρστυϖωξψζ", 0x61))
_SYMBOL |= {code: chr(code) for code in (*range(0x20, 0x40), 0x5B, 0x5D, 0x5F, 0x7B, 0x7C, 0x7D)}
_SYMBOL |= dict(zip((0x22, 0x24, 0x27, 0x2A, 0x2D, 0x7E), "∀∃∋∗−∼", strict=True))
_SYMBOL |= dict(enumerate("€ϒ′≤⁄∞ƒ♣♦♥♠↔←↑→↓°±″≥×∝∂•÷≠≡≈…", 0xA0))
_SYMBOL |= dict(enumerate("∅∩∪⊃⊇⊄⊂⊆∈∉∠∇®©™∏√⋅¬∧∨⇔⇐⇑⇒⇓", 0xC6)) | {0xE5: "∑", 0xF2: "∫"}
_WINGDINGS = {0xA8: "☐", 0xE0: "→", 0xFB: "✗", 0xFC: "✓", 0xFD: "☒", 0xFE: "☑"}
_FONTS = {"symbol": _SYMBOL, "wingdings": _WINGDINGS}
_SAME_CHARS = 1_000_000  # of merged cells: characters repeated, in all
_MOST_SPANNED = 63  # columns of a table, says Word
_MACROS = "application/vnd.ms-word.document.macroEnabled.main+xml"  # the main part of a .docm
_OFFICE = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_MOST_CODE = 40  # characters of a field's code that say what it is
_PAGE_FIELD = re.compile(r"\s*(?:PAGE|NUMPAGES|SECTIONPAGES)\b", re.IGNORECASE)
_HEADING_STYLE = re.compile(r"heading (\d)", re.IGNORECASE)


def load(data: bytes, relative: str, config: Load) -> Source:
    open_container(data, "a Word document", config)
    try:
        document = opened(data)
    except (KeyError, ValueError) as error:
        raise DocumentError(
            f"is no readable Word document: {brief(error)}", "open it in Word and save it anew"
        ) from None
    reader = _Reader(document)
    reader.blocks_of(document.element.body)
    title = " ".join(clean(document.core_properties.title or "").split()) or reader.title
    blocks = framed(_edges(document, "header"), reader.blocks, _edges(document, "footer"), title)
    return Source(
        relative,
        blocks.text,
        "docx",
        title=title,
        headings=blocks.headings,
        metadata=unshown(reader.hidden(document.element.body)),
    )


def opened(data: bytes) -> Any:
    """python-docx's document, also of a file with macros, which it knows nothing of. Raises KeyError, ValueError."""
    from docx.opc.part import PartFactory
    from docx.package import Package
    from docx.parts.document import DocumentPart

    PartFactory.part_type_for[_MACROS] = DocumentPart
    main = Package.open(BytesIO(data)).main_document_part
    if not isinstance(main, DocumentPart):
        raise ValueError(f"its content type is {main.content_type}")
    return main.document


class _Reader:
    """Walks the body; `title` is the paragraph of style Title, if there is one."""

    def __init__(self, document: Any) -> None:
        self.blocks = Blocks()
        self.title: str | None = None
        self._styles = {style.style_id: style for style in document.styles}
        self._notes = dict(_notes(document))
        self._numbers = Numbers(document)
        self._in_list = False
        self._left = _SAME_CHARS

    def blocks_of(self, parent: Any) -> None:
        for run in _run_on(_children(parent, f"{_W}p", f"{_W}tbl")):
            if run[-1].tag == f"{_W}tbl":
                self._table(run[-1])
            else:
                self._paragraph(run)

    def _paragraph(self, run: list[Any]) -> None:
        """One as it reads, whose looks are the last one's."""
        p, text = run[-1], "".join(map(text_of, run)).strip()
        level, style, listed, depth, numbering = self._shape(p)
        mark = self._mark(p, text, numbering, depth)
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
        for p in run:
            self._notes_of(p)
            for box in _own(p, _BOX):
                self.blocks_of(box)

    def _mark(self, p: Any, text: str, numbering: str, depth: int) -> str:
        """The number in front of a paragraph. One without text counts, unless it is a deleted one."""
        if not numbering:
            return ""
        return "" if not text and _mark_is_gone(p) else self._numbers.mark(numbering, depth)

    def _notes_of(self, p: Any) -> None:
        for reference in _own(p, *_REFERENCES):
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
            said = None if own is None else toggle(own.find(f"{_W}vanish"))
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
            if (said := toggle(style.element.find(f"{_W}rPr/{_W}vanish"))) is not None:
                return said
            style = style.base_style
        return None

    def _table(self, table: Any) -> None:
        rows = [list(_children(row, f"{_W}tc")) for row in _children(table, f"{_W}tr")]
        if len(rows) == 1 and len(rows[0]) == 1:  # a frame round ordinary text
            self.blocks_of(rows[0][0])
            return
        grid: list[list[str]] = []
        read: list[Any] = []
        above: dict[int, str] = {}  # by column: the words of the cell that goes on downwards
        for row in _children(table, f"{_W}tr"):
            words = [""] * _columns(row.find(f"{_W}trPr"), "gridBefore", 0)
            for cell in _children(row, f"{_W}tc"):
                properties, column = cell.find(f"{_W}tcPr"), len(words)
                merged = None if properties is None else properties.find(f"{_W}vMerge")
                if merged is not None and merged.get(f"{_W}val") != "restart" and column in above:
                    text = self._again(above[column], 1)[0]
                else:
                    paragraphs = list(_paragraphs(cell))
                    text = " ".join(map(self._in_cell, _run_on(paragraphs)))
                    read += paragraphs
                spanned = max(1, _columns(properties, "gridSpan", 1))
                words += [text, *self._again(text, spanned - 1)]
                for at in range(column, len(words)):
                    above.pop(at, None)
                if merged is not None:
                    above[column] = text
            grid.append(words)
        self.blocks.table(grid)
        self._in_list = False
        for p in read:
            self._notes_of(p)

    def _in_cell(self, run: list[Any]) -> str:
        p, text = run[-1], "".join(map(text_of, run)).strip()
        _, _, _, depth, numbering = self._shape(p)
        mark = self._mark(p, text, numbering, depth)
        return f"{mark} {text}" if mark and text else text

    def _again(self, text: str, times: int) -> list[str]:
        """A merged cell's words for so many more cells; blank ones when a file makes too much of that."""
        if (length := times * len(text)) > self._left:
            return [""] * times
        self._left -= length
        return [text] * times


def _children(parent: Any, *tags: str) -> Iterator[Any]:
    for child in parent:
        if child.tag in tags:
            yield child
        elif child.tag in _TRANSPARENT:
            yield from _children(child, *tags)


def _run_on(elements: Iterable[Any]) -> Iterator[list[Any]]:
    """Each table, and each paragraph with those before it that run on into it, as their marks are deleted."""
    run: list[Any] = []
    for element in elements:
        if run and element.tag != f"{_W}p":
            yield run
            run = []
        run.append(element)
        if not _mark_is_gone(element):
            yield run
            run = []
    if run:
        yield run


def _mark_is_gone(p: Any) -> bool:
    """Tracked as deleted, or as moved away."""
    own = p.find(f"{_W}pPr/{_W}rPr")
    return own is not None and any(own.find(f"{_W}{name}") is not None for name in ("del", "moveFrom"))


def _columns(properties: Any, name: str, default: int) -> int:
    return min(number(value(properties, name), default), _MOST_SPANNED)


def _own(p: Any, *tags: str) -> Iterator[Any]:
    """What of these kinds a paragraph shows itself: nothing that stands in its text boxes."""

    def walk(element: Any) -> Iterator[Any]:
        for child in element:
            if child.tag in tags:
                yield child
            elif child.tag not in _SKIPPED:
                yield from walk(child)

    if next(p.iter(*tags), None) is not None:  # mostly there are none
        yield from walk(p)


def _paragraphs(parent: Any) -> Iterator[Any]:
    """Those of a cell or a note, with its tables' and its text boxes'."""
    for child in parent:
        if child.tag == f"{_W}p":
            yield child
            for box in _own(child, _BOX):
                yield from _paragraphs(box)
        elif child.tag in _TRANSPARENT or child.tag in (f"{_W}tbl", f"{_W}tr", f"{_W}tc"):
            yield from _paragraphs(child)


def _numbering(properties: Any) -> tuple[str, int]:
    """Its id and the level, 0 the outermost. No id: nothing is said; "0" takes back what the style says."""
    found = None if properties is None else properties.find(f"{_W}numPr")
    return value(found, "numId"), level_of(value(found, "ilvl"))


def _outline(properties: Any) -> int | None:
    """Level from `w:outlineLvl`: 0..8 are headings; 9, body text, becomes 0: it overrides the style."""
    level = value(properties, "outlineLvl")
    if not level.isdecimal():
        return None
    return int(level) + 1 if int(level) < 9 else 0


def text_of(node: Any) -> str:
    """The text of a paragraph as shown: insertions taken, deletions and field codes not."""
    pieces: list[tuple[str, bool]] = []
    form: int | None = None  # the piece of the form field that was last begun

    def walk(element: Any, up: bool, struck: bool) -> None:
        nonlocal form
        for child in element:
            if child.tag == f"{_W}r":
                walk(child, *_look(child.find(f"{_W}rPr")))
            elif child.tag in (f"{_W}t", f"{M}t"):
                words = child.text or ""
                pieces.append((raised(words) if up else words, struck))
            elif child.tag in _SIGNS:
                pieces.append((_SIGNS[child.tag], struck))
            elif child.tag == f"{_W}sym":
                pieces.append((_symbol(child), struck))
            elif child.tag == f"{_W}fldChar" and child.get(f"{_W}fldCharType") == "begin":
                form = len(pieces) if (filled := _filled_in(child)) else None
                pieces.append((filled, struck))
            elif child.tag == f"{_W}fldChar" and child.get(f"{_W}fldCharType") == "end" and form is not None:
                if any(words.strip() for words, _ in pieces[form + 1 :]):
                    pieces[form] = ("", False)  # what was chosen stands there as text, too
                form = None
            elif child.tag in PARTS:
                pieces.append((in_line(child, text_of), struck))
            elif child.tag not in _SKIPPED:
                walk(child, up, struck)

    walk(node, False, False)
    return joined(pieces)


def _look(own: Any) -> tuple[bool, bool]:
    """Whether a run stands above the line, and whether it is struck out."""
    if own is None:
        return False, False
    up = value(own, "vertAlign") == "superscript" or number(value(own, "position"), 0) >= LEAST_RAISED
    return up, any(toggle(own.find(f"{_W}{name}")) for name in ("strike", "dstrike"))


def _filled_in(field: Any) -> str:
    """What a form's box shows, or a list that something is chosen from; neither stands in the text."""
    box, choices = field.find(f"{_W}ffData/{_W}checkBox"), field.find(f"{_W}ffData/{_W}ddList")
    if box is not None:
        said = toggle(box.find(f"{_W}checked"))
        return "☒" if (toggle(box.find(f"{_W}default")) if said is None else said) else "☐"
    if choices is not None:
        entries = [entry.get(f"{_W}val", "") for entry in choices.iterchildren(f"{_W}listEntry")]
        chosen = number(value(choices, "result") or value(choices, "default"), 0)
        return entries[chosen] if chosen < len(entries) else ""
    return ""


def _symbol(sym: Any) -> str:
    """A character of a font for signs; of any other font it is Unicode, unless private to that font."""
    char = sym.get(f"{_W}char", "")
    code = int(char, 16) if re.fullmatch("[0-9A-Fa-f]{1,4}", char) else 0
    if font := _FONTS.get(sym.get(f"{_W}font", "").lower()):
        return font.get(code & 0xFF, "")
    return chr(code) if code >= 0x20 and not 0xD800 <= code < 0xF900 else ""


def _notes(document: Any) -> Iterator[tuple[tuple[str, str], str]]:
    """Footnotes and endnotes by the tag and id of the reference to them."""
    for kind, root in related(document, "footnotes", "endnotes"):
        name = kind.removesuffix("s")
        for note in root.iter(f"{_W}{name}"):
            text = " ".join(" ".join(map(text_of, _paragraphs(note))).split())
            if text and note.get(f"{_W}type") is None:  # typed ones are the separator lines
                yield (f"{_W}{name}Reference", note.get(f"{_W}id")), f"[Note: {text}]"


def _edges(document: Any, kind: str) -> Iterator[str]:
    """The lines of the headers, or footers, that the sections show."""
    from docx.oxml.parser import parse_xml

    even, wanted = document.settings.odd_and_even_pages_header_footer, dict[str, None]()
    for section in document.element.body.iter(f"{_W}sectPr"):
        first = toggle(section.find(f"{_W}titlePg"))
        for reference in section.iterchildren(f"{_W}{kind}Reference"):
            if {"first": first, "even": even}.get(reference.get(f"{_W}type"), True):
                wanted[reference.get(f"{_OFFICE}id")] = None
    for name in wanted:
        relation = document.part.rels.get(name)
        if relation is not None and not relation.is_external and relation.reltype.endswith(f"/{kind}"):
            with suppress(SyntaxError):  # a damaged one costs nothing but itself
                root = parse_xml(relation.target_part.blob)
                _empty_page_fields(root)
                yield from _lines(root)


def _lines(parent: Any) -> Iterator[str]:
    """A line for each of the paragraphs and of the rows of its tables."""
    for child in _children(parent, f"{_W}p", f"{_W}tbl"):
        if child.tag == f"{_W}p":
            yield from text_of(child).split("\n")
            for box in _own(child, _BOX):
                yield from _lines(box)
        else:
            for row in _children(child, f"{_W}tr"):
                cells = (" ".join(map(text_of, _paragraphs(cell))) for cell in _children(row, f"{_W}tc"))
                yield "\t".join(" ".join(cell.split()) for cell in cells)


def _empty_page_fields(root: Any) -> None:
    """What pages are numbered with is of none of them."""
    for field in root.iter(f"{_W}fldSimple"):
        if _PAGE_FIELD.match(field.get(f"{_W}instr", "")):
            for text in field.iter(f"{_W}t"):
                text.text = ""
    fields: list[str] = []  # codes of those that are open
    inside = 0  # how many of them number pages
    for element in root.iter(f"{_W}fldChar", f"{_W}instrText", f"{_W}t"):
        kind = element.get(f"{_W}fldCharType")
        if kind == "begin":
            fields.append("")
        elif kind == "end" and fields:
            inside -= bool(_PAGE_FIELD.match(fields.pop()))
        elif element.tag == f"{_W}instrText" and fields and not _PAGE_FIELD.match(fields[-1]):
            fields[-1] = (fields[-1] + (element.text or ""))[:_MOST_CODE]
            inside += bool(_PAGE_FIELD.match(fields[-1]))
        elif element.tag == f"{_W}t" and inside:
            element.text = ""
