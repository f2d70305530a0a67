"""`recursive`: separators from the coarsest to the finest, as LangChain's RecursiveCharacterTextSplitter.

A text is cut at the first separator it holds, which stays at the start of the piece behind it. Pieces that fit are
packed, those that don't are cut at the finer separators, and what no separator cuts is cut between tokens.

Two differences, both on purpose: pieces know where they stand, and a chunk's size is that of its text, not the sum
of its pieces' sizes. Separators are literal strings: a user's regular expression can hang.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from rag.split.pack import Range, cut_to_fit, pack
from rag.split.ruler import Ruler


def recursively(ruler: Ruler, separators: Sequence[str]) -> Iterator[Range]:
    start, end = ruler.strip(0, len(ruler.text))
    return _cut(ruler, start, end, tuple(separators))


def _cut(ruler: Ruler, start: int, end: int, separators: tuple[str, ...]) -> Iterator[Range]:
    while separators and separators[0] and ruler.text.find(separators[0], start, end) < 0:
        separators = separators[1:]
    if not separators or not separators[0]:
        yield from cut_to_fit(ruler, [(start, end)])
        return
    found = re.compile(re.escape(separators[0])).finditer(ruler.text, start, end)
    cuts = np.fromiter((m.start() for m in found), np.int64)
    edges = np.concatenate([[start], cuts[cuts > start], [end]])
    pieces = np.stack([edges[:-1], edges[1:]], axis=1)
    done = 0
    for long in np.flatnonzero(ruler.too_long(pieces[:, 0], pieces[:, 1])).tolist():
        yield from pack(ruler, pieces[done:long])
        yield from _cut(ruler, int(pieces[long, 0]), int(pieces[long, 1]), separators[1:])
        done = long + 1
    yield from pack(ruler, pieces[done:])
