"""Numbers as documents write them in front of their sections and the items of their lists."""

from __future__ import annotations

MOST_LETTERS = 40
_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
          (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


def numeral(count: int, form: str) -> str:
    """`form`: `a`, `A`, `i`, `I`, `01`; anything else, and a count that has no such form, is written in digits.

    >>> [numeral(n, f) for n, f in ((3, "1"), (4, "i"), (28, "A"), (7, "01"), (0, "a"))]
    ['3', 'iv', 'BB', '07', '0']
    """
    if form == "01":
        return f"{count:02}"
    if form in ("a", "A") and 0 < count <= 26 * MOST_LETTERS:
        letters = chr(ord("a") + (count - 1) % 26) * (1 + (count - 1) // 26)
    elif form in ("i", "I") and 0 < count < 4000:
        letters, left = "", count
        for worth, sign in _ROMAN:
            letters += sign * (left // worth)
            left %= worth
    else:
        return str(count)
    return letters.upper() if form.isupper() else letters
