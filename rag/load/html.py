"""HTML: the main text as trafilatura finds it, as Markdown; navigation, comments and adverts stay out.

trafilatura's own Markdown puts a backslash before every `<`, `*` and `_`, so that a quote of it isn't the
page's exact words. Its tree is walked instead: headings, lists, tables and code blocks get their signs,
running text gets none. It is only ever given a tree: nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rag.load.blocks import Blocks, unshown
from rag.load.decode import clean, decode
from rag.load.elements import HEADINGS, HIDDEN, INLINE, marks, plain, shown, take_mark
from rag.load.html_tables import is_data
from rag.load.keep import is_matter_alone, keep, simplify
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

_CHARSET = re.compile(rb"""(?i)<(?:meta|\?xml)[^>]{0,200}?(?:charset|encoding)\s*=\s*["']?([\w.:-]{1,40})""")

_UNSHOWN = re.compile(  # by a style of the element's own: what style sheets and scripts hide isn't known here
    r"(?i)display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|(?:font-size|opacity)\s*:\s*0*\.?0+\s*(?:[a-z%]+\s*)?(?:[;!]|$)"
)
_MOST_LOOKED_FOR = 100

_LITTLE = 250  # characters; below it trafilatura itself only gathers the paragraphs and loses what stands beside them
_MOST = 0.9  # of the words that are shown: a page with hardly anything beside its matter, as Writer exports it


def load(data: bytes, relative: str, config: Load) -> Source:
    """All visible text is taken of a page that has nothing beside its matter, such as a word processor's."""
    import trafilatura
    from trafilatura.metadata import extract_metadata

    declared = _CHARSET.search(data[:4096])
    page, encoding, warnings = decode(data, declared[1].decode("ascii") if declared else None)
    tree = trafilatura.load_html(page)  # None where it sees no HTML
    whole = tree is not None and is_matter_alone(tree)
    if tree is not None and not whole:
        keep(tree)
    title = None if tree is None else extract_metadata(tree, extensive=False).title
    blocks, told = (visible(page), ()) if whole else _main(page, tree)
    return Source(
        relative,
        blocks.text,
        "html",
        title=" ".join(clean(title).split()) or None if title else None,
        headings=blocks.headings,
        metadata={"encoding": encoding, **unshown(hidden(page, blocks.text))},
        warnings=(*warnings, *told),
    )


def _main(page: str, tree: Any) -> tuple[Blocks, tuple[str, ...]]:
    """What trafilatura takes for the main text, and warnings. All visible text where that is hardly any (a short page),
    with a warning, and where it took most of the words but not one of the headings."""
    import trafilatura

    main = None if tree is None else trafilatura.bare_extraction(tree, include_comments=False, include_formatting=True)
    blocks = Blocks()
    for element in list(getattr(main, "body", [])):
        _block(element, blocks)
    if len(blocks.text) >= _LITTLE and blocks.headings:
        return blocks, ()
    every = visible(page)
    taken, there = _words(blocks.text), _words(every.text)
    if len(blocks.text) < _LITTLE and there > taken:
        return every, ("little or no main text found: all visible text was taken",)
    if not blocks.headings and every.headings and taken >= _MOST * there:
        return every, ()
    return blocks, ()


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
        if isinstance(node.tag, str) and node.tag not in HIDDEN:
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
            blocks.code(plain("".join(element.itertext())))
        case "quote":
            blocks.quote(_inline(element))
        case _:
            blocks.add(_inline(element))
    if element.tail and element.tail.strip():
        blocks.add(" ".join(element.tail.split()))


def _items(element: Any, blocks: Blocks, depth: int) -> None:
    ordered = element.get("rend") == "ol"
    found: list[tuple[bool, str, list[Any]]] = []
    for item in element:
        nested = list(item.iterchildren("list"))
        for inner in nested:
            _take_out(inner)
        found.append((item.get("rend", "").startswith("dt"), _running(item), nested))
    for at, (words, nested) in enumerate(_explained(found)):
        text, mark = take_mark(words, f"{at + 1}." if ordered else "")
        blocks.item(text, depth=depth, first=depth == 0 and at == 0, mark=mark)
        for inner in nested:
            _items(inner, blocks, depth + 1)


def _explained(items: Iterable[tuple[bool, str, list[Any]]]) -> Iterator[tuple[str, list[Any]]]:
    """Terms in front of what explains them, as either says nothing alone; other items as they are.

    `items`: whether it is a term, its words, the lists in it.
    """
    groups: list[tuple[list[str], list[str], list[Any]]] = []
    for is_term, text, inner in items:
        if not groups or (groups[-1][1] if is_term else not groups[-1][0]):
            groups.append(([], [], []))
        terms, words, nested = groups[-1]
        (terms if is_term else words).append(" ".join(text.split()) if is_term else text)
        nested += inner
    for terms, words, nested in groups:
        term, said = ", ".join(filter(None, terms)), "\n".join(filter(None, words))
        colon = ":" if term and said and term[-1] not in ".:?!" else ""
        yield f"{term}{colon} {said}".strip(), nested


def _take_out(element: Any) -> None:
    """Out of its parent; the words behind it stay."""
    parent, before = element.getparent(), element.getprevious()
    if element.tail and before is not None:
        before.tail = f"{before.tail or ''} {element.tail}"
    elif element.tail:
        parent.text = f"{parent.text or ''} {element.tail}"
    parent.remove(element)


def _inline(element: Any) -> str:
    return plain(_running(element))


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


_BREAK = "\0"  # where `br` ends a line; no text of a page holds it
_LISTS = ("ul", "ol", "dl")


def _words(text: str) -> int:
    return len(re.findall(r"\w+", text))


def visible(page: str) -> Blocks:
    """All that is shown of a page, with its headings, lists, tables and code: for pages without anything beside the
    matter, such as a book's."""
    from lxml import etree

    blocks, line, level = Blocks(), [""], 0

    def end_line() -> None:
        lines = [" ".join(part.split()) for part in "".join(line).split(_BREAK)]
        line.clear()
        if level:
            blocks.heading(level, " ".join(filter(None, lines)))
        else:  # an empty line parts paragraphs
            for _, paragraph in groupby(lines, bool):
                blocks.add("\n".join(paragraph))

    def words_of(node: Any) -> tuple[str, list[Any]]:
        """An item's words and the lists in it."""
        words, inner = [node.text or ""], list[Any]()
        for child in node:
            if isinstance(child.tag, str) and child.tag not in HIDDEN:
                end = "" if child.tag in INLINE else _BREAK
                if child.tag in _LISTS:
                    inner.append(child)
                elif child.tag == "pre":
                    words.append(_BREAK + "".join(child.itertext()).replace("\n", _BREAK))
                else:
                    words.append(end + shown(child))
                words.append(end)
            words.append(child.tail or "")
        lines = (" ".join(part.split()) for part in "".join(words).split(_BREAK))
        return "\n".join(filter(None, lines)), inner

    def item(words: str, inner: list[Any], depth: int, first: bool, mark: str = "") -> None:
        blocks.item(words, depth=depth, first=first, mark=mark)
        for child in inner:
            items(child, depth + 1)

    def items(node: Any, depth: int) -> None:
        if node.tag == "dl":
            found = ((part.tag == "dt", *words_of(part)) for part in node.xpath("(.|div)/*[self::dt or self::dd]"))
            for at, (words, inner) in enumerate(_explained(found)):
                item(words, inner, depth, depth == 0 and at == 0)
            return
        for at, (child, mark) in enumerate(marks(node)):
            item(*words_of(child), depth, depth == 0 and at == 0, mark)

    def quote(node: Any) -> None:
        nonlocal blocks
        outer, blocks = blocks, Blocks()
        node.tag = "div"
        walk(node)
        inner, blocks = blocks, outer
        blocks.quote(inner.text)

    def walk(node: Any) -> None:
        nonlocal level
        if node.tag == "br":
            line.append(_BREAK)
            return
        block = node.tag not in INLINE and not level  # what a heading holds is part of it
        if level and node.tag not in INLINE:
            line.append(" ")
        if block:
            end_line()
            heading = re.fullmatch("h([1-6])", node.tag)
            level = int(heading[1]) if heading else 0
        if node.tag in _LISTS and _has_items(node):
            items(node, 0)
        elif node.tag == "table" and is_data(node):
            blocks.table([[shown(c) for c in row.iterchildren("td", "th")] for row in node.iter("tr")])
        elif node.tag == "pre":
            blocks.code("".join(node.itertext()))
        elif node.tag == "blockquote" and not level:
            quote(node)
        else:
            line.append(node.text or "")
            for child in node:
                if isinstance(child.tag, str) and child.tag not in HIDDEN:  # comments have no name
                    walk(child)
                line.append(child.tail or "")
        if block:
            end_line()
            level = 0

    tree = etree.fromstring(page.encode(), etree.HTMLParser(encoding="utf-8"))
    if tree is not None:
        simplify(tree)
        walk(tree)
    return blocks


def _has_items(node: Any) -> bool:
    """Also terms and what explains them, unless that is a page's parts: with headings, tables or code."""
    if node.tag != "dl":
        return next(node.iterchildren("li"), None) is not None
    inside = next(node.iterdescendants("table", "pre", *HEADINGS), None)
    return inside is None and next(node.iterdescendants("dt", "dd"), None) is not None
