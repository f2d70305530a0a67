"""HTML: the main text as trafilatura finds it, as Markdown; navigation, comments and adverts stay out.

trafilatura's own Markdown puts a backslash before every `<`, `*` and `_`, so that a quote of it isn't the
page's exact words. Its tree is walked instead: headings, lists, tables and code blocks get their signs,
running text gets none. It is only ever given a tree: nothing is fetched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from rag.load.blocks import Blocks, number, unshown
from rag.load.decode import clean, decode
from rag.load.numerals import numeral
from rag.types import Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rag.config import Load

_CHARSET = re.compile(rb"""(?i)<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]{1,40})""")

_UNSHOWN = re.compile(  # by a style of the element's own: what style sheets and scripts hide isn't known here
    r"(?i)display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|(?:font-size|opacity)\s*:\s*0*\.?0+\s*(?:[a-z%]+\s*)?(?:[;!]|$)"
)
_MOST_LOOKED_FOR = 100

_MARK = re.compile("⸢⸢([0-9A-Za-z]*\\.?)⸣⸣")  # how a list's number gets through trafilatura
_LIST_STYLE = re.compile(r"(?i).*\blist-style(?:-type)?\s*:\s*(?:inside\s+|outside\s+)?([a-z-]+)", re.DOTALL)
_FORMS = {
    "none": "",
    "decimal": "1",
    "decimal-leading-zero": "01",
    "lower-alpha": "a",
    "lower-latin": "a",
    "upper-alpha": "A",
    "upper-latin": "A",
    "lower-roman": "i",
    "upper-roman": "I",
}

_LITTLE = 250  # characters; below it trafilatura itself only gathers the paragraphs and loses what stands beside them
_MOST = 0.9  # of the words that are shown: a page with hardly anything beside its matter, as Writer exports it
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
_ANCHORS = {"", "¶", "#", "§", "🔗", "link"}  # what a link to a heading itself shows


def load(data: bytes, relative: str, config: Load) -> Source:
    """Where trafilatura finds hardly any main text (a short page), all visible text is taken, with a warning; also,
    without one, where it took most of the words but not one of the headings."""
    import trafilatura
    from trafilatura.metadata import extract_metadata

    declared = _CHARSET.search(data[:4096])
    page, encoding, warnings = decode(data, declared[1].decode("ascii") if declared else None)
    tree = trafilatura.load_html(page)  # None where it sees no HTML
    if tree is not None:
        _unlink_headings(tree)
        _keep_lines(tree)
        _keep_lists_of_cells(tree)
        _keep_marks(tree)
    title = None if tree is None else extract_metadata(tree, extensive=False).title
    main = None if tree is None else trafilatura.bare_extraction(tree, include_comments=False, include_formatting=True)
    blocks = Blocks()
    for element in list(getattr(main, "body", [])):
        _block(element, blocks)
    if len(blocks.text) < _LITTLE or not blocks.headings:
        whole = visible(page)
        taken, shown = _words(blocks.text), _words(whole.text)
        if len(blocks.text) < _LITTLE and shown > taken:
            blocks = whole
            warnings = (*warnings, "little or no main text found: all visible text was taken")
        elif not blocks.headings and whole.headings and taken >= _MOST * shown:
            blocks = whole
    return Source(
        relative,
        blocks.text,
        "html",
        title=" ".join(clean(title).split()) or None if title else None,
        headings=blocks.headings,
        metadata={"encoding": encoding, **unshown(hidden(page, blocks.text))},
        warnings=warnings,
    )


def _unlink_headings(tree: Any) -> None:
    """trafilatura takes a heading that is a link for navigation; in documentation many are a link to themselves."""
    for heading in tree.iter(*_HEADINGS):
        for link in list(heading.iter("a")):
            if not (link.get("href") or "#").startswith("#"):
                continue
            if "".join(link.itertext()).strip().casefold() in _ANCHORS:
                link.text = None
                for inside in list(link):
                    link.remove(inside)
            link.tag = "span"


def _keep_lines(tree: Any) -> None:
    """trafilatura takes a `pre` with one `span` in it for code, and keeps its lines; most others for a quote."""
    for block in list(tree.iter("pre")):
        for end in block.iter("br"):
            end.tail = f"\n{end.tail or ''}"
        text = block.xpath("string()")
        for inside in list(block):
            block.remove(inside)
        block.text = None
        span = block.makeelement("span")
        span.text = text
        block.append(span)


def _keep_lists_of_cells(tree: Any) -> None:
    """trafilatura takes no list out of a table's cell: such a cell becomes its words."""
    for table in tree.iter("table"):
        wide = sum(len(row.xpath("td | th")) > 1 for row in table.iter("tr"))
        if wide < 2 or next(table.iterdescendants("table", "h1", "h2", "h3"), None) is not None:
            continue  # it arranges a page
        for cell in list(table.iter("td", "th")):
            lists = list(cell.iterdescendants("ul", "ol", "dl"))
            for item, mark in [each for node in lists for each in _marks(node) if each[1]]:
                _put_mark(item, mark)
            if lists:
                words = _shown(cell)
                for inside in list(cell):
                    cell.remove(inside)
                cell.text = words


def _keep_marks(tree: Any) -> None:
    """trafilatura leaves out where a list begins and how it counts: what a browser shows goes into the items' text."""
    for node in tree.iter("ol"):
        marks = list(_marks(node))
        if [mark for _, mark in marks] == [f"{n}." for n in range(1, len(marks) + 1)]:
            continue
        for child, mark in marks:
            _put_mark(child, mark)


def _put_mark(node: Any, mark: str) -> None:
    """In front of the item's first words."""
    while not (node.text or "").strip() and len(node) and isinstance(node[0].tag, str):
        node = node[0]
    node.text = f"⸢⸢{mark}⸣⸣{node.text or ''}"


def _marks(node: Any) -> Iterator[tuple[Any, str]]:
    """The items of a list with the number that a browser shows in front of each."""
    items = list(node.iterchildren("li"))
    step, first = (-1, len(items)) if "reversed" in node.attrib else (1, 1)
    count = number(node.get("start", ""), first) - step
    for child in items:
        count = number(child.get("value", ""), count + step)
        style = _LIST_STYLE.search(f"{node.get('style', '')};{child.get('style', '')}")
        form = _FORMS.get(style[1].lower()) if style else None
        if form is None:
            form = child.get("type") or node.get("type") or "1"
        yield child, f"{numeral(count, form)}." if node.tag == "ol" and form else ""


def hidden(page: str, text: str) -> int:
    """Characters of `text`, spaces aside, that stand in elements which a browser doesn't show: `hidden`, or a style of
    their own. Of more than so many pieces the longest are looked for."""
    from lxml import etree

    if not re.search(r"(?i)\shidden|style\s*=", page):
        return 0
    tree = etree.fromstring(page.encode(), etree.HTMLParser(encoding="utf-8"))
    pieces: list[str] = []
    waiting = [] if tree is None else [(tree, False)]
    while waiting:
        node, unseen = waiting.pop()
        if isinstance(node.tag, str) and node.tag not in _HIDDEN:
            unseen = unseen or "hidden" in node.attrib or bool(_UNSHOWN.search(node.get("style", "")))
            pieces += [" ".join(node.text.split())] if unseen and node.text else []
            for child in node:
                pieces += [" ".join(child.tail.split())] if unseen and child.tail else []
                waiting.append((child, unseen))
    words = " ".join(text.split())
    longest = sorted(filter(None, pieces), key=len, reverse=True)[:_MOST_LOOKED_FOR]
    return sum(len(piece.replace(" ", "")) for piece in longest if piece in words)


def _block(element: Any, blocks: Blocks) -> None:
    """One element of trafilatura's tree: head, p, list/item, quote, table/row/cell, code, ..."""
    match element.tag:
        case "head":
            rend = element.get("rend", "")
            blocks.heading(int(rend[1]) if rend[1:2].isdigit() else 2, _inline(element))
        case "list":
            _items(element, blocks, depth=0)
        case "table":
            blocks.table([[_inline(cell) for cell in row.iterchildren("cell")] for row in element.iter("row")])
        case "code":
            blocks.code(_MARK.sub(r"\1 ", "".join(element.itertext())))
        case "quote":
            blocks.add("\n".join(f"> {line}" for line in _inline(element).split("\n") if line.strip()))
        case _:
            blocks.add(_inline(element))
    if element.tail and element.tail.strip():
        blocks.add(" ".join(element.tail.split()))


def _items(element: Any, blocks: Blocks, depth: int) -> None:
    ordered = element.get("rend") == "ol"
    for at, item in enumerate(element):
        nested = list(item.iterchildren("list"))
        for inner in nested:
            _take_out(inner)
        text, mark = _running(item), f"{at + 1}." if ordered else ""
        if kept := _MARK.match(text):
            text, mark = text[kept.end() :], kept[1]
        blocks.item(_MARK.sub(r"\1 ", text), depth=depth, first=depth == 0 and at == 0, mark=mark)
        for inner in nested:
            _items(inner, blocks, depth + 1)


def _take_out(element: Any) -> None:
    """Out of its parent; the words behind it stay."""
    parent, before = element.getparent(), element.getprevious()
    if element.tail and before is not None:
        before.tail = f"{before.tail or ''} {element.tail}"
    elif element.tail:
        parent.text = f"{parent.text or ''} {element.tail}"
    parent.remove(element)


def _inline(element: Any) -> str:
    return _MARK.sub(r"\1 ", _running(element))


def _running(element: Any) -> str:
    """Running text with single spaces; `lb` breaks the line, blocks inside (a paragraph in a cell) do too."""
    parts: list[str] = []

    def walk(node: Any) -> None:
        breaks = node.tag in ("lb", "p", "item", "head", "row", "quote", "list")
        if breaks:
            parts.append("\n")
        parts.append(" ".join(re.split(r"\s+", node.text or "")))
        for child in node:
            walk(child)
            if child.tag in ("p", "item", "head", "row", "quote", "list"):
                parts.append("\n")
            elif child.tag == "cell":
                parts.append(" ")
            parts.append(" ".join(re.split(r"\s+", child.tail or "")))

    walk(element)
    lines = (" ".join(line.split()) for line in "".join(parts).split("\n"))
    return "\n".join(line for line in lines if line)


_HIDDEN = {"script", "style", "noscript", "template", "head", "svg", "iframe", "object", "rt", "rp"}
_INLINE = frozenset(
    "a abbr acronym b bdi bdo big button cite code del em font i img input ins kbd label mark q rb ruby s samp "  # noqa: SIM905
    "small span strike strong sub sup time tt u var wbr".split()
)


def _words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def visible(page: str) -> Blocks:
    """All that is shown of a page, with its headings, lists, tables and code: for pages without anything beside the
    matter, such as a book's."""
    from lxml import etree

    blocks, line, level = Blocks(), [""], 0

    def end_line() -> None:
        text = " ".join("".join(line).split())
        line.clear()
        if level:
            blocks.heading(level, text)
        else:
            blocks.add(text)

    def item(node: Any, depth: int, first: bool, mark: str) -> None:
        words, inner = [node.text or ""], list[Any]()
        for child in node:
            if isinstance(child.tag, str) and child.tag not in _HIDDEN:
                if child.tag in ("ul", "ol"):
                    inner.append(child)
                else:
                    words.append(("" if child.tag in _INLINE else "\n") + _shown(child))
            words.append(child.tail or "")
        lines = (" ".join(part.split()) for part in "".join(words).split("\n"))
        blocks.item(" ".join(filter(None, lines)), depth=depth, first=first, mark=mark)
        for child in inner:
            items(child, depth + 1)

    def items(node: Any, depth: int) -> None:
        for at, (child, mark) in enumerate(_marks(node)):
            item(child, depth, depth == 0 and at == 0, mark)

    def walk(node: Any) -> None:
        nonlocal level
        block = node.tag not in _INLINE and not level  # what a heading holds is part of it
        if level and node.tag not in _INLINE:
            line.append(" ")
        if block:
            end_line()
            heading = re.fullmatch("h([1-6])", node.tag)
            level = int(heading[1]) if heading else 0
        if node.tag in ("ul", "ol") and next(node.iterchildren("li"), None) is not None:
            items(node, 0)
        elif node.tag == "table" and _is_data(node):
            blocks.add(" ".join(_shown(c) for c in node.iterchildren("caption")))
            blocks.table([[_shown(c) for c in row.iterchildren("td", "th")] for row in node.iter("tr")])
        elif node.tag == "pre":
            blocks.code("".join(node.itertext()))
        else:
            line.append(node.text or "")
            for child in node:
                if isinstance(child.tag, str) and child.tag not in _HIDDEN:  # comments have no name
                    walk(child)
                line.append(child.tail or "")
        if block:
            end_line()
            level = 0

    tree = etree.fromstring(page.encode(), etree.HTMLParser(encoding="utf-8"))
    if tree is not None:
        _unlink_headings(tree)
        walk(tree)
    return blocks


def _shown(node: Any) -> str:
    """The words of an element, with single spaces; those of blocks in it don't run together."""
    parts: list[str] = []

    def walk(part: Any) -> None:
        if not isinstance(part.tag, str) or part.tag in _HIDDEN:
            return
        gap = "" if part.tag in _INLINE else " "
        parts.extend((gap, part.text or ""))
        for child in part:
            walk(child)
            parts.append(child.tail or "")
        parts.append(gap)

    walk(node)
    return " ".join("".join(parts).split())


def _is_data(table: Any) -> bool:
    """No table that only arranges a page: none lies in it, and its cells hold no blocks but paragraphs."""
    rows = list(table.iter("tr"))
    return len(rows) > 1 and next(table.iterdescendants("table", "ul", "ol", "h1", "h2", "h3", "pre"), None) is None
