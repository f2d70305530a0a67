"""Lines of pages -> the running text.

It is changed only where a reader of the page would agree:
- a word cut at a line's end is put together, keeping the hyphen where the document itself writes one;
- a line that runs on in the next is joined to it (`_gap` has the rules);
- a line that stands apart on the page, such as the first one below a heading, begins a paragraph;
- a head or foot line repeated on most pages, the same but for the page's number, stays only where it first
  stands. A heading that counts ("Day 2", "Invoice 1042") is no such line: it is set larger or bolder than the page, its
  number is part of a longer one, or all but the number is one word that isn't "page";
- head and foot lines that stay, such as those that change with the chapter, don't stand in a sentence that goes on on
  the next page: they stand before or behind its paragraph.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from rag.load.decode import clean


class Line(NamedTuple):
    """A line of a page: single spaces, none at its ends, never empty."""

    text: str
    apart: bool = False  # from the line before it, by space or type: a paragraph begins
    loud: bool = False  # larger or bolder than most of the page
    moved: bool = False  # of a head or foot, from where a sentence goes on


_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})


def tidy(text: str) -> str:
    r"""Clean, with single spaces; ligatures become letters. Soft hyphens are seen only at a line's end.

    >>> tidy(" the  ﬁrst co\xadlumn of to\xad")
    'the first column of to-'
    """
    text = clean(text).translate(_LIGATURES)
    if "\xad" in text:
        stripped = text.rstrip()
        text = (stripped[:-1] + "-" if stripped.endswith("\xad") else text).replace("\xad", "")
    return " ".join(text.split())


def flow(pages: Sequence[Sequence[Line]]) -> tuple[str, tuple[int, ...]]:
    """Lines of pages -> the running text and the start of each page in it.

    >>> flow([[Line("A sentence that fills a whole line of this tok-"), Line("enised page.")], [Line("Second.")]])
    ('A sentence that fills a whole line of this tokenised page.\\n\\nSecond.', (0, 60))
    """
    kept = _without_furniture(pages)
    there = [lines for lines in kept if lines]
    for before, after in pairwise(there):
        _make_way(before, after)
    words = _vocabulary(kept)
    parts: list[str] = []
    starts: list[int] = []
    length, previous, width = 0, "", 0
    for lines in kept:
        starts.append(length)
        longest = sorted(len(line.text) for line in lines)[
            -3:
        ]  # the third: one wide line shouldn't make all others short
        for number, (line, apart, *_) in enumerate(lines):
            # the last line of the page before is measured by that page's own width
            ended = number == 0 and previous[-1:] in (
                ".",
                "!",
                "?",
            )  # what begins small on a new page goes on with none
            gap = _gap(previous, line, width, words, apart or ended) if previous else ""
            if gap == "\n" and (number == 0 or apart):
                gap = "\n\n"
            if gap is None:  # a hyphen to drop
                parts[-1], length, gap = parts[-1][:-1], length - 1, ""
            if number == 0:
                width = longest[0]
                starts[-1] = length + len(gap)
            parts += [gap, line]
            length += len(gap) + len(line)
            previous = line
    for number in range(len(starts) - 1, 0, -1):  # a page without text starts where the next one with text does
        if not kept[number - 1]:
            starts[number - 1] = starts[number]
    return "".join(parts), (0, *starts[1:])


_HYPHENS = "-\u2010"
_LAST_WORD = re.compile(rf"([^\W\d_]+(?:[{_HYPHENS}][^\W\d_]+)*)[{_HYPHENS}]$")
_COMPOUND = re.compile(rf"[^\W_][{_HYPHENS}]$")
_FIRST_WORD = re.compile(rf"[^\W\d_]+(?:[{_HYPHENS}][^\W\d_]+)*")
_ITEM = re.compile(r"[•▪◦●○■□☐☒*–—-]\s?|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{2,5})[.)]\s")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uff00-\uff60、。]")  # scripts without spaces between words


def _gap(line: str, following: str, width: int, words: Counter[str], apart: bool = False) -> str | None:
    r"""What goes between two lines: "" or " " where the text reads on, else "\n"; None: drop the hyphen.

    It reads on where the next line begins with a small letter and this one is no mere table cell, or where
    this line is full (0.8 of the page's width), ends in the middle of a sentence and the next one neither stands
    apart nor is an item of a list. Small letters are believed more than space: formulas and raised signs push lines
    apart.
    """
    if (cut := _LAST_WORD.search(line)) and following[0].islower() and (rest := _FIRST_WORD.match(following)):
        left, right = cut[1].casefold(), rest[0].casefold()
        if words[f"{left}-{right}"]:
            return ""
        compound = len(left) >= 3 and words[left] and words[right] and not words[left + right]
        return "" if compound else None
    small = following[0].isalpha() and not following[0].isupper()
    over = apart and line[-1] in ".!?"
    if small and not over and len(line) >= max(30, 0.4 * width) and not _ITEM.match(following):
        return "" if _UNSPACED.match(line[-1]) and _UNSPACED.match(following) else " "
    full = len(line) >= max(50, 0.8 * width) and not _ITEM.match(following) and not apart
    if full and _COMPOUND.search(line) and following[0].isalnum():  # "non-" "AWS": no hyphen was put in to cut that
        return ""
    unfinished = line[-1] == "," or (line[-1].isalpha() and not line[-1].isupper())
    if unfinished and full:
        return " "
    return "\n"


_ENDS = ".!?:;…\"'”»“)]。！？"
_DEEP = 2  # lines of a head or foot


def _make_way(before: list[Line], after: list[Line]) -> None:
    """Take what stands between two halves of a sentence, of two pages, out of its way."""
    heads, feet = _heads(after), _feet(before)
    head, foot = after[:heads], before[len(before) - feet :]
    last, first = before[len(before) - feet - 1].text, after[heads].text
    on = first[0].islower() and (last[-1].isalpha() or last[-1] == ",")
    if not (on or (last[-1] in _HYPHENS and first[0].isalpha())):
        return
    del after[:heads], before[len(before) - feet :]
    above = max((at for at, line in enumerate(before) if at and line.apart), default=None)
    below = next((at for at, line in enumerate(after) if at and line.apart), len(after))
    moved = [line._replace(apart=True, moved=True) for line in head]
    if above is None:
        moved = [line._replace(apart=True, moved=True) for line in foot] + moved
    else:
        before[above:above] = [line._replace(apart=True, moved=True) for line in foot]
    after[below:below] = moved


def _heads(lines: Sequence[Line]) -> int:
    """How many of a page's first lines are its head: none ends a sentence or begins small, as what goes on would, and
    the line behind them stands apart."""
    for count in range(1, min(len(lines), _DEEP + 1)):
        if lines[count - 1].text[-1] in _ENDS or lines[0].text[0].islower():
            break
        if lines[count].apart:
            return count
    return 0


def _feet(lines: Sequence[Line]) -> int:
    """How many of its last ones are its foot: none ends a sentence, and they are shorter than the line above them, from
    which they stand apart: one in the middle of a sentence is full. Those that were moved there are, too."""
    moved = next((n for n, line in enumerate(reversed(lines)) if not line.moved), 0)
    for count in range(moved + 1, min(len(lines), moved + _DEEP + 1)):
        if lines[-count].text[-1] in _ENDS:
            break
        if lines[-count].apart:
            above, longest = lines[-count - 1].text, max(len(line.text) for line in lines[-count:])
            return count if longest < 0.8 * len(above) or above[-1] in _HYPHENS else moved
    return moved


def _vocabulary(pages: Sequence[Sequence[Line]]) -> Counter[str]:
    """How often the document writes each word, compounds with their hyphen; not the halves at line ends."""
    words: Counter[str] = Counter()
    cut = False
    for line in (line.text for lines in pages for line in lines):
        found = [word.casefold().replace("\u2010", "-") for word in _FIRST_WORD.findall(line)]
        was_cut, cut = cut, line[-1] in _HYPHENS
        words.update(found[1 if was_cut else 0 : -1 if cut else None])
    return words


def _without_furniture(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """Without the head and foot lines that three and most pages share, but for where they first stand.

    "Share": the same line, or the same but for a number that counts with the pages; a bare page number goes
    everywhere. A page's only line stays.
    """
    kept = [list(lines) for lines in pages]
    first = [[0, 0] for _ in kept]  # lines that stay at head and foot as the first of their kind: the next lies deeper
    for edge in (0, -1, 0, -1, 1, -2):  # two lines deep, also behind one that changes with the chapter
        end = 0 if edge >= 0 else 1
        held = [
            (number, lines, edge - first[number][1] if end else edge + first[number][0])
            for number, lines in enumerate(kept)
            if len(lines) - sum(first[number]) > (1 if edge in (0, -1) else 2)
        ]
        seen = Counter(key for number, lines, at in held for key in _alike(lines[at], number))
        shared = {key for key, count in seen.items() if count >= max(3, 0.5 * len(kept))}
        shown: set[tuple[str, int | None]] = set()
        for number, lines, at in held:
            if keys := shared.intersection(_alike(lines[at], number)):
                if shown & keys or not any(map(str.isalpha, lines[at].text)):
                    del lines[at]
                else:
                    first[number][end] += 1
                shown |= keys
    return kept


_COUNT = re.compile(r"(?<![\w.,/#-])(?<!(?i:no\.|nr\.) )\d{1,4}(?![\w-])")
_PAGE = frozenset("page pages pag p pp seite s página pagina side sida blad strona folio slide".split())  # noqa: SIM905


def _alike(line: Line, number: int) -> set[tuple[str, int | None]]:
    """What this line would have in common with its like on other pages."""
    text = line.text
    found: set[tuple[str, int | None]] = {(text, None)}
    words = re.findall(r"[^\W\d_]+", text.casefold())
    if line.loud or (len(words) == 1 and words[0] not in _PAGE):
        return found
    return found | {(f"{text[: m.start()]}\0{text[m.end() :]}", int(m[0]) - number) for m in _COUNT.finditer(text)}
