"""How words are set that changes what they say: above the line (`10³` must not read as 103), struck out."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

_RAISED = str.maketrans("0123456789+-−–=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾ⁿⁱ")
_BETWEEN = " \t\n\xa0,"  # of a mark such as `1, 2`: they have no raised form and need none
LEAST_RAISED = 5  # half points above the line; what converts PDFs writes less for a line that isn't quite straight


def raised(text: str) -> str:
    """The same in superscript characters, if all of it has them: others aren't legible in part (`2ⁿd`), and words
    read alike wherever they stand. What is set below the line is left as it is: H2O.

    >>> raised("3"), raised("-1"), raised("th"), raised("2nd"), raised("1, 2")
    ('³', '⁻¹', 'th', '2nd', '¹, ²')
    """
    return text.translate(_RAISED) if all(ord(c) in _RAISED or c in _BETWEEN for c in text) else text


def joined(pieces: Iterable[tuple[str, bool]]) -> str:
    """Pieces of a line with whether each is struck out. What is, is there to be seen, but is taken back.

    >>> joined([("The rent is ", False), ("9", True), ("00 ", True), ("950.", False)])
    'The rent is ~~900~~ 950.'
    """
    line: list[str] = []
    for struck, run in groupby(pieces, itemgetter(1)):
        text = "".join(piece for piece, _ in run)
        inner = text.strip() if struck else ""
        line.append(text.replace(inner, f"~~{inner}~~", 1) if inner else text)
    return "".join(line)
