"""Somebody else's words, without what a terminal or a browser would obey."""

from __future__ import annotations

import re

# Control characters, those that turn the reading direction, halves of pairs, and what is no character.
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")


def tame(text: str) -> str:
    """Lines and tabs stay; each of the others becomes a space. In markup it is still to be escaped.

    >>> tame("a\\tb\\n\\x1b[31mred\\u202e")
    'a\\tb\\n [31mred '
    """
    return _OBEYED.sub(" ", text)
