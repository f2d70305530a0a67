"""What a page sets above the line, powers in raised figures and marks of notes in brackets, and what it strikes out.

Without a sign of it `10<sup>3</sup>` reads as 103, the mark of a note behind a period joins two sentences, and a price
that is taken back still holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rag.load.elements import INLINE, only, shown
from rag.load.raised import raised

_FIGURES = re.compile(r"\d{1,3}(?:\s*[,–-]\s*\d{1,3})*")
_NEVER_RAISED = tuple(".!?…,;:”»")  # to a power


def spell_raised(tree: Any) -> None:
    for link in list(tree.iter("a")):
        if "noteref" in f"{link.get('epub:type')} {link.get('role')}":  # what raises it is a book's style sheet
            link.tag = "sup"
    for node in [node for node in tree.iter("sup") if next(node.iterancestors("sup"), None) is None]:
        words = shown(node)
        spelled = f"[{words}]" if words and _is_mark(node, words) else raised(words)
        if spelled != words:
            only(node, spelled)
        node.tag = "span"


def spell_struck(tree: Any) -> None:
    """What is struck out is there to be seen, but is taken back: `~~900~~ 950`."""
    for node in [
        n for n in tree.iter("s", "strike", "del") if next(n.iterancestors("s", "strike", "del"), None) is None
    ]:
        words = shown(node)
        if words and all(inside.tag in INLINE for inside in node.iterdescendants()):
            only(node, f"~~{words}~~")
            node.tag = "span"


def _is_mark(node: Any, words: str) -> bool:
    """Of a note: it holds or lies in a link to a place, or stands where no power can."""
    if words.startswith("["):
        return False  # it says so itself
    if any("#" in link.get("href", "") for link in (*node.iter("*"), *_around(node))):
        return True
    before = node.getprevious()
    behind = node.getparent().text if before is None else before.tail
    return bool(_FIGURES.fullmatch(words)) and (behind or "").endswith(_NEVER_RAISED)


def _around(node: Any) -> Iterator[Any]:
    """The elements that hold nothing else."""
    while (parent := node.getparent()) is not None and node.getprevious() is node.getnext() is None:
        if f"{parent.text or ''}{node.tail or ''}".strip():
            return
        yield parent
        node = parent
