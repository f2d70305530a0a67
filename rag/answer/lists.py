"""Lists with what leads into them: "To register you need:" and its items answer together, none of them does alone.

A list is two or more lines that begin with a mark (`-`, `*`, `•`, `1.`, `(b)`), with those that go on, and the heading,
short line, question or sentence with a colon right above. Items that nothing leads into, or that have several
sentences, answer for themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rag.sentences import BULLETS, COLONS, QUESTION_MARKS
from rag.types import Span

MOST = 1_000  # characters; of a longer list the first items

_BULLET = rf"[◦–{BULLETS}]"
_ITEM = re.compile(rf"([ \t]*)(?:({_BULLET})|\(?(?:\d{{1,3}}|[a-z]|[ivx]{{1,5}})[.)])[ \t]+(?=\S)")
_LEADS = COLONS + QUESTION_MARKS
_RULES = "-=~ \t\r\n"  # below a heading
_HEADING = 80  # characters


def lists(text: str, sentences: Sequence[Span]) -> Iterator[Span]:
    """In order. `sentences`: those of `text`.

    >>> text = "Bring:\\n- a pen\\n- a\\n  ruler\\n\\nThen go."
    >>> [s.cut(text) for s in lists(text, [Span(0, 6)])]
    ['Bring:\\n- a pen\\n- a\\n  ruler']
    """
    done = 0
    for first, ends in _runs(text):
        if span := _led(text, sentences, first, ends, done):
            yield span
            done = span.end


def _runs(text: str) -> Iterator[tuple[int, list[int]]]:
    """Where a list begins, and where each of its items ends."""
    first, ends, indent, bullet = -1, list[int](), "", None
    for start, end in _lines(text):
        line = text[start:end]
        if not line:
            continue
        item = _ITEM.match(line)
        if ends and not item and _goes_on(text[ends[-1] : start], line):
            ends[-1] = end
            continue
        if ends and not (item and (item[2] == bullet or len(item[1]) > len(indent))):  # text, or another list
            yield first, ends
            ends = []
        if item:
            if not ends:
                first, indent, bullet = start, item[1], item[2]
            ends.append(end)
    if ends:
        yield first, ends


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


def _led(text: str, sentences: Sequence[Span], first: int, ends: Sequence[int], done: int) -> Span | None:
    """The list with what leads into it, which begins behind `done`, the end of the list before."""
    if len(ends) < 2:
        return None
    before = (Span(max(s.start, done), s.end) for s in reversed(sentences) if done < s.end <= first)
    lead = next((s for s in before if any(map(str.isalnum, s.cut(text)))), None)
    if lead is None or text[lead.end : first].strip(_RULES):
        return None
    lead = Span(lead.end - len(lead.cut(text).lstrip()), lead.end)
    fit = [end for end in ends if end - lead.start <= MOST]
    points = len(fit) > 1 and sum(first <= s.start < fit[-1] for s in sentences) <= len(fit)
    return Span(lead.start, fit[-1]) if points and _leads(text, lead) else None
