"""HTML and SVG from Python: everything that isn't already markup is escaped, so a document's text stays text.

el("p", "a < b", class_="note")  ->  <p class="note">a &lt; b</p>
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Union

from rag.tame import tame

VOID = frozenset({"meta", "br"})
N = "\u00a0"  # ends the head of a column of numbers


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = Union[str, "Iterable[Child]", None]  # a list is its children, None is nothing


def text(value: str) -> Markup:
    return Markup(html.escape(tame(value)))


def el(name: str, /, *children: Child, **attributes: str | float | bool | None) -> Markup:
    """`text_anchor` is text-anchor, `class_` is class. True: the name alone; None and False: left out."""
    shown = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in VOID:
        return Markup(f"<{name}{shown}>")
    return Markup(f"<{name}{shown}>{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Markup:
    parts: list[str] = []
    for child in children:
        if isinstance(child, Markup):
            parts.append(child)
        elif isinstance(child, str):
            parts.append(text(child))
        elif child is not None:
            parts.append(join(child))
    return Markup("".join(parts))


def _attribute(key: str, value: str | float | bool | None) -> str:
    if value is None or value is False:
        return ""
    key = key.rstrip("_").replace("_", "-")
    if value is True:
        return f" {key}"
    if isinstance(value, float):
        value = f"{value:.2f}".rstrip("0").rstrip(".")
    return f' {key}="{text(str(value))}"'


def table(head: Iterable[Child], rows: Iterable[Iterable[Child]], caption: str, class_: str = "") -> Markup:
    """The first cell of a row names it. Columns whose head ends in a no-break space are numbers, set to the right."""
    heads = list(head)
    right = [isinstance(h, str) and h.endswith(N) for h in heads]
    heads = [h[:-1] if isinstance(h, str) and r else h for h, r in zip(heads, right, strict=True)]
    top = [el("th", h, scope="col", class_="number" if r else None) for h, r in zip(heads, right, strict=True)]
    body = [
        el(
            "tr",
            [
                el("td" if i else "th", cell, scope=None if i else "row", class_="number" if r else None)
                for i, (cell, r) in enumerate(zip(row, right, strict=True))
            ],
        )
        for row in rows
    ]
    whole = el("table", el("caption", caption), el("thead", el("tr", top)), el("tbody", body), class_=class_ or None)
    return el("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def own(text: str) -> Markup:
    """Somebody else's words: their own reading direction."""
    return el("bdi", text)
