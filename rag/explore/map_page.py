"""A map as one HTML file: nothing is fetched, and its policy runs no script and no style but its own, by their hashes.

Names and texts are untrusted. In the document they are escaped; to the script they go as JSON, which it makes text
nodes of. Without the script the list remains.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from rag.explore.mapping import COLOURS, Map
from rag.markup import Child, Markup, el, own
from rag.tame import tame


def page(drawn: Map) -> str:
    style, script = (Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("map.css", "map.js"))
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; form-action 'none'"
    )
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("title", f"Map: {drawn.title}"),
        el("style", Markup(style)),
    )
    body = el(
        "body",
        _top(drawn),
        el("main", _stage(), el("aside", _asked(drawn), _list(drawn), aria_label="What is on the map")),
        el("script", _json(drawn), type="application/json", id="data"),
        el("script", Markup(script)),
    )
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(drawn: Map) -> Markup:
    body = {
        "dots": [[tame(d.name), tame(d.excerpt), d.x, d.y, d.group] for d in drawn.dots],
        "groups": [tame(g) for g in drawn.groups],
        "asked": drawn.asked
        and {"x": drawn.asked.x, "y": drawn.asked.y, "text": tame(drawn.asked.text), "near": drawn.asked.near},
    }
    return Markup(json.dumps(body).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _top(drawn: Map) -> Markup:
    told = f"{len(drawn.dots):,} {drawn.what}, coloured by {drawn.color}. " + ". ".join(drawn.notes) + "."
    return el("header", el("h1", own(drawn.title)), el("p", told, class_="soft"))


def _stage() -> Markup:
    def button(action: str, sign: str, name: str) -> Markup:
        return el("button", sign, type="button", data_do=action, aria_label=name, title=name)

    keys = "Arrow keys move the map, + and - zoom, 0 shows all of it."
    return el(
        "section",
        el("svg", role="img", aria_label=f"The map. {keys}", tabindex="0", id="map"),
        el("div", button("in", "+", "Zoom in"), button("out", "\u2212", "Zoom out"), button("all", "All", "Show all"),
           class_="tools"),
        el("div", el("b"), el("span"), id="tip", hidden=True),
        el("div", el("p", "Point at a dot, or choose one in the list.", class_="soft"), id="told", role="status"),
        class_="stage",
    )  # fmt: skip


def _asked(drawn: Map) -> Markup | None:
    if drawn.asked is None:
        return None
    rows = [el("li", _choose(drawn, row, f"{score:.3f}  ")) for row, score in drawn.asked.near]
    found = el("ol", rows) if rows else el("p", "It found nothing.", class_="soft")
    return el("section", el("h2", "Question"), el("p", own(drawn.asked.text), class_="question"), found)


def _list(drawn: Map) -> Markup:
    parts: list[Child] = []
    for number, name in enumerate(drawn.groups):
        rows = [row for row, dot in enumerate(drawn.dots) if dot.group == number]
        head = el(
            "summary", el("i", class_=f"swatch {colour(number)}", aria_hidden="true"), own(name),
            el("span", f" {len(rows):,}", class_="soft"), data_group=str(number),
        )  # fmt: skip
        parts.append(el("details", head, el("ul", [el("li", _choose(drawn, row)) for row in rows])))
    return el("section", el("h2", {"cluster": "Groups", "folder": "Folders"}.get(drawn.color, drawn.color)), parts)


def _choose(drawn: Map, row: int, before: str = "") -> Markup:
    return el("button", before, own(drawn.dots[row].name), type="button", data_row=str(row))


def colour(group: int) -> str:
    """
    >>> colour(0), colour(13)
    ('c0', 'c3 s1')
    """
    shape = group // COLOURS
    return f"c{group % COLOURS}" + (f" s{shape}" if shape else "")
