"""What is set above the line, in characters that stand there by themselves: `10³`, which must not read as 103."""

from __future__ import annotations

_RAISED = str.maketrans("0123456789+-−–=()ni", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻⁼⁽⁾ⁿⁱ")
_BETWEEN = " \t\n\xa0,"  # of a mark such as `1, 2`: they have no raised form and need none


def raised(text: str) -> str:
    """The same in superscript characters, if all of it has them: others aren't legible in part (`2ⁿd`), and words
    read alike wherever they stand. What is set below the line is left as it is: H2O.

    >>> raised("3"), raised("-1"), raised("th"), raised("2nd"), raised("1, 2")
    ('³', '⁻¹', 'th', '2nd', '¹, ²')
    """
    return text.translate(_RAISED) if all(ord(c) in _RAISED or c in _BETWEEN for c in text) else text
