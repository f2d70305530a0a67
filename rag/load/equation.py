"""Equations of Word and PowerPoint in a line: a power must not read as a longer number, nor a fraction."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
# Parts that stand above, below or round each other: what is written between and round them.
PARTS = {
    f"{M}f": ("num", "/", "den"),
    f"{M}sSup": ("e", "^", "sup"),
    f"{M}sSub": ("e", "_", "sub"),
    f"{M}sSubSup": ("e", "_", "sub", "^", "sup"),
    f"{M}nary": ("_", "sub", "^", "sup", " ", "e"),
    f"{M}rad": ("deg", "√", "e"),
    f"{M}func": ("fName", " ", "e"),
    f"{M}d": (),
}


def in_line(element: Any, text_of: Callable[[Any], str]) -> str:
    """One of PARTS; `text_of` reads what lies in it."""

    def said(name: str, default: str) -> str:
        found = element.find(f"{element.tag}Pr/{M}{name}")
        return default if found is None else str(found.get(f"{M}val", ""))

    if element.tag == f"{M}d":
        inside = said("sepChr", "|").join(text_of(e).strip() for e in element.iterchildren(f"{M}e"))
        return f"{said('begChr', '(')}{inside}{said('endChr', ')')}"
    line, sign = said("chr", "∫") if element.tag == f"{M}nary" else "", ""
    loose = element.tag in (f"{M}nary", f"{M}func", f"{M}sSub", f"{M}sSubSup")
    for part in PARTS[element.tag]:
        if not part.isalpha():
            sign += part
            continue
        found = element.find(f"{M}{part}")
        if text := "" if found is None else text_of(found).strip():
            single = re.fullmatch(r"[\w.,]+|\([^()]*\)", text) or (loose and sign in ("", " "))
            line += sign + (text if single else f"({text})")
        sign = ""
    return line
