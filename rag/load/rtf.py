r"""Rich Text Format: paragraphs, headings, lists, tables and notes, as RTF 1.9.1 of Microsoft says.

Our own reader, of one pass: the library there is (striprtf) takes 61 s for 47 KB of nested fields, drops notes and
knows no headings. Groups are a list, not recursion; nothing in the file is a path, an object or a program here.

    \f1 \'e9 \u8364?      bytes in the code page of the font, characters with `\uc` stand-ins behind each
    \s2, \outlinelevel1   headings, by the paragraph or its style
    \cell \row            tables; a table in a cell is words of that cell
    {\footnote ...}       below the paragraph that it belongs to, as the text of a box is
    {\header ...}         above the text, once; {\footer ...} below it
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rag.load.blocks import Blocks
from rag.load.decode import clean
from rag.load.edges import framed
from rag.load.raised import LEAST_RAISED, joined, raised
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_TOKEN = re.compile(
    r"\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})? ?|\\'(?P<hex>[0-9a-fA-F]{2})|\\(?P<sign>[^a-zA-Z])"
    r"|(?P<brace>[{}])|(?P<text>[^\\{}\r\n]+)"
)
_SIGNS = {"~": "\xa0", "_": "-", "-": "", "\\": "\\", "{": "{", "}": "}", "\n": "\n", "\r": "\n"}
_WORDS = {
    "tab": "\t", "line": "\n", "lbr": "\n", "emdash": "—", "endash": "–", "emspace": " ", "enspace": " ",
    "qmspace": " ", "bullet": "•", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”",
    "nestcell": " ", "nestrow": "\n",
}  # fmt: skip
# groups that hold no text of the page: tables of the file's own, pictures and what shapes look like
_SILENT = frozenset(
    "colortbl listtable listoverridetable revtbl rsidtbl pict objdata xe tc tcn sp"  # noqa: SIM905 - three lines, not forty
    " ftnsep ftnsepc aftnsep aftnsepc pn pnseclvl annotation atnid"
    " atnauthor bkmkstart bkmkend datafield filetbl private nonesttables upr template themedata".split()
)
_LOUD = frozenset({"ud", "shpinst", "nesttableprops"})  # text, though a `\*` stands before them
_KNOWN = frozenset({"footnote", "shptxt", "fldinst"})  # not all programs write that `\*`
_FLOWS = frozenset({"page", "note", "box", "head", "foot"})
_PAGE_FIELD = re.compile(r"\s*(?:PAGE|NUMPAGES|SECTIONPAGES)\b", re.IGNORECASE)
_CHARSETS = {
    77: "mac_roman", 128: "cp932", 129: "cp949", 130: "cp1361", 134: "gbk", 136: "cp950", 161: "cp1253", 162: "cp1254",
    163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250",
    254: "cp437", 255: "cp850",
}  # fmt: skip
_PAGES = {"mac": "mac_roman", "pc": "cp437", "pca": "cp850"}
_BULLETS = str.maketrans({"\uf0b7": "•", "\uf0a7": "▪", "\uf0d8": "•"})
_MARK = 40  # characters of a mark
_TYPED = re.compile(r"(?:[•◦▪–-]|(\(?\w{1,4}[.)]))\t")  # a list's sign that is a part of the text, as pandoc writes it
_STEP = 360  # by which each level of such a list is indented
_SAME_CHARS = 1_000_000  # of merged cells: characters repeated, in all
_HEADING = re.compile(r"heading (\d)", re.IGNORECASE)


@dataclass(frozen=True)
class _Group:
    """What a closing brace takes back."""

    into: str = "page"  # one of _FLOWS, mark, code (of a field), fonts, styles, title, info or nowhere
    skip: int = 1  # stand-ins behind a \u
    font: int = -1
    hidden: bool = False
    raised: bool = False
    struck: bool = False
    starred: bool = False


@dataclass
class _Paragraph:
    style: int = 0
    level: int | None = None  # as \outlinelevel has it
    listed: bool = False
    depth: int = 0
    indent: int = 0  # in twentieths of a point
    in_table: bool = False


@dataclass
class _Style:
    name: list[str] = field(default_factory=list)
    level: int | None = None


def load(data: bytes, relative: str, config: Load) -> Source:
    reader = _Reader(config.max_chars)
    reader.read(data.decode("latin-1"))
    title = " ".join(clean("".join(reader.title)).split()) or None
    blocks = framed(reader.edge("head"), reader.blocks, reader.edge("foot"), title)
    return Source(relative, blocks.text, "rtf", title=title, headings=blocks.headings)


class _Reader:
    def __init__(self, most: int) -> None:
        self.blocks = Blocks()
        self.title: list[str] = []
        self._most = most
        self._group = _Group()
        self._stack: list[_Group] = []
        self._page = "cp1252"
        self._fonts: dict[int, str] = {}
        self._defining = 0  # the font or style that is being defined
        self._styles: dict[int, _Style] = {}
        self._shape = _Paragraph()
        self._words: list[tuple[str, bool]] = []  # with whether they are struck out
        self._mark: list[str] = []  # what stands in front of a list's item, or of a heading
        self._typed_out = False  # the paragraph is an item as WordPad and Word 6 write it
        self._beside: list[list[tuple[str, bool]]] = []  # notes and boxes of the paragraph
        self._edges: dict[str, list[tuple[str, bool]]] = {"head": [], "foot": []}
        self._code = ""  # of the field that was last begun
        self._bytes = bytearray()  # of a code page, not yet text
        self._pass = 0  # stand-ins that are left to pass over
        self._cells: list[str] = []
        self._rows: list[list[str]] = []
        self._columns: list[tuple[int, bool]] = []  # where each ends, and whether its cell goes on from the row above
        self._goes_on = False  # the cell that is being defined
        self._above: dict[int, str] = {}  # the words of the row above, by where the cells end
        self._left = _SAME_CHARS
        self._in_list = False

    def read(self, text: str) -> None:
        at = 0
        while len(self.blocks) <= self._most and (token := _TOKEN.search(text, at)):
            at = token.end()
            if token["hex"]:
                self._stand_in_or(bytes.fromhex(token["hex"]))
                continue
            if token["text"] is not None:
                self._stand_in_or(token["text"].encode("latin-1"))
                continue
            self._flush()
            if token["brace"] == "{":
                self._pass = 0
                self._stack.append(self._group)
                if self._group.starred:
                    self._group = replace(self._group, starred=False)
            elif token["brace"]:
                self._pass = 0
                if not self._stack:
                    break
                self._group = self._stack.pop()
                if not self._stack:  # what stands behind the document is none of it
                    break
            elif token["sign"]:
                self._sign(token["sign"])
            else:
                number = int(token["number"]) if token["number"] else None
                if token["word"] == "bin":
                    at += max(0, number or 0)
                else:
                    self._word(token["word"], number)
        self._flush()
        self._end()
        self._end_table()

    def edge(self, which: str) -> list[str]:
        return joined(self._edges[which]).translate(_BULLETS).split("\n")

    def _stand_in_or(self, data: bytes) -> None:
        passed = min(self._pass, len(data))
        self._pass -= passed
        self._bytes += data[passed:]

    def _flush(self) -> None:
        if self._bytes:
            page = self._fonts.get(self._group.font, self._page)
            self._say(self._bytes.decode(page, "replace"))
            self._bytes.clear()

    def _say(self, text: str) -> None:
        group = self._group
        if group.hidden:
            return
        piece = (raised(text) if group.raised else text, group.struck)
        match group.into:
            case "page":
                self._words.append(piece)
            case "note":
                self._beside[-1].append((piece[0].replace("\n", " "), group.struck))
            case "box":
                self._beside[-1].append(piece)
            case "head" | "foot":
                self._edges[group.into].append(piece)
            case "code":
                self._code = self._code or text
            case "mark":
                self._mark.append(text)
            case "title":
                self.title.append(text)
            case "styles":
                self._styles.setdefault(self._defining, _Style()).name.append(text)

    def _sign(self, sign: str) -> None:
        if self._pass:
            self._pass -= 1
        elif sign == "*":
            self._group = replace(self._group, starred=True)
        elif sign in "\r\n":
            self._word("par", None)
        elif sign in _SIGNS:
            self._say(_SIGNS[sign])

    def _word(self, word: str, number: int | None) -> None:
        group = self._group
        if group.starred and word in _KNOWN:
            self._group = group = replace(group, starred=False)
        elif group.starred:
            self._group = group = replace(group, starred=False, into=group.into if word in _LOUD else "nowhere")
            if word == "ud" and self._stack:
                self._group = replace(group, into="page")
            return
        self._pass = 0
        if word == "u":
            code = (number or 0) % 0x10000
            self._say(chr(code))
            self._pass = group.skip
        elif word in _WORDS:
            self._say(_WORDS[word])
        elif word == "uc":
            self._group = replace(group, skip=min(max(0, number or 0), 32))
        elif word == "f":
            self._group = replace(group, font=number or 0)
            if group.into == "fonts":
                self._defining = number or 0
        elif word in ("v", "deleted"):
            self._group = replace(group, hidden=number != 0)
        elif word == "plain":
            self._group = replace(group, hidden=False, raised=False, struck=False)
        elif word in ("super", "sub", "nosupersub", "up", "dn"):
            up = number if word == "up" and number is not None else LEAST_RAISED if word in ("super", "up") else 0
            self._group = replace(group, raised=up >= LEAST_RAISED)
        elif word in ("strike", "striked"):
            self._group = replace(group, struck=number != 0)
        elif word == "ansicpg":
            self._page = _known(f"cp{number}")
        elif word in _PAGES:
            self._page = _PAGES[word]
        elif word == "fcharset" and group.into == "fonts":
            self._fonts[self._defining] = _CHARSETS.get(number or 0, self._page)
        elif word in _SILENT:
            self._group = replace(group, into="nowhere")
        elif word == "field":
            self._code = ""
        elif word == "fldinst":
            self._group = replace(group, into="code")
        elif word == "fldrslt" and group.into in self._edges and _PAGE_FIELD.match(self._code):
            self._group = replace(group, into="nowhere")
        elif group.into in _FLOWS:
            self._on_page(word, number)
        elif group.into == "styles":
            self._of_style(word, number)
        elif word == "title" and group.into == "info":
            self._group = replace(group, into="title")

    def _of_style(self, word: str, number: int | None) -> None:
        if word in ("s", "cs", "ds", "ts"):
            self._defining = number or 0 if word == "s" else -1
        elif word == "outlinelevel":
            self._styles.setdefault(self._defining, _Style()).level = number

    def _on_page(self, word: str, number: int | None) -> None:
        group, shape = self._group, self._shape
        match word:
            case "fonttbl":
                self._group = replace(group, into="fonts")
            case "stylesheet":
                self._group, self._defining = replace(group, into="styles"), 0
            case "info":
                self._group = replace(group, into="info")
            case "listtext" | "pntext" if group.into == "page":
                self._mark, self._group = [], replace(group, into="mark")
                self._typed_out = word == "pntext"
            case "footnote" | "shptxt" if group.into == "page":
                self._beside.append([])
                self._begin("note" if word == "footnote" else "box")
            case "header" | "headerl" | "headerr" | "headerf" | "footer" | "footerl" | "footerr" | "footerf":
                self._begin("head" if word.startswith("header") else "foot")
                self._say("\n")
            case "par" | "sect" | "page" | "column" if group.into != "page" or (shape.in_table and word == "par"):
                self._say("\n")
            case "cell" | "row" if group.into != "page":
                self._say("\t" if word == "cell" else "\n")
            case _ if group.into != "page":  # their paragraphs have shapes of their own, which nobody needs
                pass
            case "par" | "sect" | "page" | "column":
                self._end()
            case "pard":
                self._shape = _Paragraph()
            case "s":
                shape.style = number or 0
            case "outlinelevel":
                shape.level = number
            case "ls":
                shape.listed = bool(number)
            case "li":
                shape.indent = number or 0
            case "ilvl":
                shape.depth = min(max(0, number or 0), 8)
            case "intbl":
                shape.in_table = True
            case "cell":
                self._cells.append(joined(self._words))
                self._words = []
            case "trowd":
                self._columns = []
            case "clvmrg":
                self._goes_on = True
            case "cellx":
                self._columns.append((number or 0, self._goes_on))
                self._goes_on = False
            case "row":
                if self._cells:
                    self._rows.append(self._whole(self._cells))
                self._cells = []

    def _whole(self, cells: list[str]) -> list[str]:
        """A row with the words of merged cells, unless a file makes too much of that."""
        for at, (end, goes_on) in enumerate(self._columns[: len(cells)]):
            words = self._above.get(end, "") if goes_on and not cells[at].strip() else ""
            if words and len(words) < self._left:
                self._left -= len(words)
                cells[at] = words
        self._above = {end: cell for (end, _), cell in zip(self._columns, cells, strict=False)}
        return cells

    def _begin(self, into: str) -> None:
        self._group = replace(self._group, into=into, raised=False, struck=False)

    def _end(self) -> None:
        """The end of a paragraph."""
        text = clean(joined(self._words).translate(_BULLETS)).strip()
        self._words = []
        mark, self._mark = clean("".join(self._mark).translate(_BULLETS)).strip(), []
        typed_out, self._typed_out = self._typed_out, False
        if not any(map(str.isalnum, mark)) or len(mark) > _MARK:
            mark = ""
        if text or not self._shape.in_table:
            self._end_table()
        level, listed, depth = self._level(), self._shape.listed, self._shape.depth
        if not listed and typed_out:
            listed, depth = True, min(max(0, self._shape.indent // _STEP - 2), 8)  # they begin two steps in
        if not listed and (typed := _TYPED.match(text)):
            mark = mark or (typed[1] or "")
            text, listed, depth = text[typed.end() :], True, min(max(0, self._shape.indent // _STEP - 1), 8)
        if text and level:
            self.blocks.heading(level, f"{mark} {text}")
        elif text and listed:
            self.blocks.item(text, depth=depth, first=not self._in_list, mark=mark)
        else:
            self.blocks.add(text)
        self._in_list = bool(text) and listed and not level
        beside, self._beside = self._beside, []
        for pieces in beside:
            for line in clean(joined(pieces).translate(_BULLETS)).split("\n"):
                self.blocks.add(" ".join(line.split()))

    def _level(self) -> int | None:
        """1 is the outermost."""
        style = self._styles.get(self._shape.style)
        level = self._shape.level
        if level is None and style is not None:
            level = style.level
            if level is None and (found := _HEADING.match("".join(style.name).strip())):
                level = int(found[1]) - 1
        return level + 1 if level is not None and 0 <= level < 9 else None

    def _end_table(self) -> None:
        rows, self._rows, self._above = self._rows, [], {}
        if self._cells:  # cut off in the middle of a row
            rows.append(self._cells)
            self._cells = []
        self.blocks.table([[clean(cell.translate(_BULLETS)) for cell in row] for row in rows])


def _known(page: str) -> str:
    import codecs

    try:
        codecs.lookup(page)
    except LookupError:
        return "utf-8" if page == "cp65001" else "cp1252"
    return page
