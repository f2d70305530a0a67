"""What an element of a page shows, and what stands in its place where it has to be said in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rag.load.blocks import number
from rag.load.numerals import numeral

HIDDEN = {"script", "style", "noscript", "template", "head", "svg", "iframe", "object", "rt", "rp"}
INLINE = frozenset(
    "a abbr acronym b bdi bdo big button cite code del em font i img input ins kbd label mark q rb ruby s samp "  # noqa: SIM905
    "small span strike strong sub sup time tt u var wbr".split()
)
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")

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


def shown(node: Any) -> str:
    """The words of an element, with single spaces; those of blocks in it don't run together."""
    parts: list[str] = []

    def walk(part: Any) -> None:
        if not isinstance(part.tag, str) or part.tag in HIDDEN:
            return
        gap = "" if part.tag in INLINE else " "
        parts.extend((gap, part.text or ""))
        for child in part:
            walk(child)
            parts.append(child.tail or "")
        parts.append(gap)

    walk(node)
    return " ".join("".join(parts).split())


def only(node: Any, text: str | None) -> None:
    """That text is all that the element holds."""
    for inside in list(node):
        node.remove(inside)
    node.text = text


def put_mark(node: Any, mark: str) -> None:
    """In front of the item's first words."""
    while not (node.text or "").strip() and len(node) and isinstance(node[0].tag, str):
        node = node[0]
    node.text = f"⸢⸢{mark}⸣⸣{node.text or ''}"


def marks(node: Any) -> Iterator[tuple[Any, str]]:
    """The items of a list with the number that a browser shows in front of each."""
    items = list(node.iterchildren("li"))
    step, first = (-1, len(items)) if "reversed" in node.attrib else (1, 1)
    count = number(node.get("start", ""), first) - step
    for item in items:
        count = number(item.get("value", ""), count + step)
        style = _LIST_STYLE.search(f"{node.get('style', '')};{item.get('style', '')}")
        form = _FORMS.get(style[1].lower()) if style else None
        if form is None:
            form = item.get("type") or node.get("type") or "1"
        yield item, f"{numeral(count, form)}." if node.tag == "ol" and form else ""


def take_mark(text: str, otherwise: str) -> tuple[str, str]:
    """An item's text, and the number in front of it that `keep` put into it, or `otherwise`."""
    kept = _MARK.match(text)
    return (plain(text[kept.end() :]), kept[1]) if kept else (plain(text), otherwise)


def plain(text: str) -> str:
    """Numbers of items as they are shown, where no list came of them."""
    return _MARK.sub(r"\1 ", text)
