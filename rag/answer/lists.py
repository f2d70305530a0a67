"""Lists with what leads into them: "To register you need:" and its items answer together, none of them does alone.

A list is two or more lines that begin with a mark (`-`, `*`, `•`, `1.`, `(b)`), with those that go on, and the heading,
short line, question or sentence with a colon right above. Items that nothing leads into, or that have several
sentences, answer for themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rag.types import Span

MOST = 1_000  # characters; of a longer list the first items

_BULLET = r"[-*+•‣⁃▪●◦–]"
_ITEM = re.compile(rf"([ \t]*)(?:({_BULLET})|\(?(?:\d{{1,3}}|[a-z]|[ivx]{{1,5}})[.)])[ \t]+(?=\S)")
_LEADS = (":", "：", "?", "？", "؟")
_RULES = "-=~ \t\r\n"  # below a heading
_HEADING = 80  # characters


def lists(text: str, sentences: Sequence[Span]) -> Iterator[Span]:
    """In order. `sentences`: those of `text`.

    >>> text = "Bring:\\n- a pen\\n- a\\n  ruler\\n\\nThen go."
    >>> [s.cut(text) for s in lists(text, [Span(0, 6)])]
    ['Bring:\\n- a pen\\n- a\\n  ruler']
    """
    first, ends = -1, list[int]()  # where the list begins, and where each of its items ends
    indent, bullet = "", None
    for start, end in _lines(text):
        line = text[start:end]
        if item := _ITEM.match(line):
            if ends and item[2] != bullet and len(item[1]) <= len(indent):  # another list
                yield from _led(text, sentences, first, ends)
                first, ends = -1, []
            if not ends:
                first, indent, bullet = start, item[1], item[2]
            ends.append(end)
        elif line.strip():
            if ends and _goes_on(text[ends[-1] : start], line):
                ends[-1] = end
            else:
                yield from _led(text, sentences, first, ends)
                first, ends = -1, []
    yield from _led(text, sentences, first, ends)


def said(text: str) -> str:
    """A list as a sentence: the marks of bullets become semicolons, numbers stay.

    >>> said("Browsers\\n\\n* Firefox\\n* Chrome"), said("Do this:\\n1. Stop.\\n2. Call.")
    ('Browsers: Firefox; Chrome', 'Do this: 1. Stop. 2. Call.')
    """
    lead, *items = (" ".join(text[start:end].split()) for start, end in _items(text))
    told = ""
    for n, part in enumerate(filter(None, (lead.rstrip(_RULES), *items))):
        between = "" if not n else " " if told.endswith((*_LEADS, ".", ";", ",", "!")) else ": " if n == 1 else "; "
        told += between + re.sub(rf"^{_BULLET}\s+", "", part)
    return told


def _items(text: str) -> Iterator[tuple[int, int]]:
    """What leads in, then each item with the lines that go on."""
    begin = 0
    for start, _ in _lines(text):
        if start and _ITEM.match(text, start):
            yield begin, start
            begin = start
    yield begin, len(text)


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for line in text.split("\n"):
        yield start, start + len(line.rstrip())
        start += len(line) + 1


def _goes_on(between: str, line: str) -> bool:
    """Whether a line belongs to the item above: directly below it, and indented or in the middle of a sentence."""
    return between.count("\n") == 1 and (line[0].isspace() or line[0].islower())


def _leads(text: str, sentence: Span) -> bool:
    """Whether it says what follows: a colon, a question, a heading, or a short line of its own, as most headings are in
    plain text and PDFs."""
    told = sentence.cut(text).rstrip(_RULES)
    if told.endswith(_LEADS) or told.startswith("#"):
        return True
    alone = not text[: sentence.start].rpartition("\n")[2].strip() and "\n" not in told
    return alone and len(told) <= _HEADING and told[-1].isalnum() and not _ITEM.match(told)


def _led(text: str, sentences: Sequence[Span], first: int, ends: Sequence[int]) -> Iterator[Span]:
    before = [s for s in sentences if s.end <= first and any(map(str.isalnum, s.cut(text)))]
    if len(ends) < 2 or not before:
        return
    lead = before[-1]
    if text[lead.end : first].strip(_RULES) or not _leads(text, lead):
        return
    fit = [end for end in ends if end - lead.start <= MOST]
    if len(fit) > 1 and sum(first <= s.start < fit[-1] for s in sentences) <= len(fit):
        yield Span(lead.start, fit[-1])
