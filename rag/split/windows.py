"""`token`: windows of max_tokens, each overlap_tokens back from the end of the one before."""

from __future__ import annotations

from collections.abc import Iterator

from rag.split.pack import Range
from rag.split.ruler import Ruler


def into_windows(ruler: Ruler) -> Iterator[Range]:
    start, length = ruler.skip_space(0), len(ruler.text)
    while start < length:
        end = ruler.longest(start, length, at_words=False)
        yield start, end
        if end >= length:
            return
        start = ruler.skip_space(_step_back(ruler, start, end))


def _step_back(ruler: Ruler, start: int, end: int) -> int:
    """Start of the next window. Always behind `start`, and its window reaches beyond `end`."""
    if not ruler.overlap_tokens or ruler.must_cut(end):
        return end
    back = max(ruler.scale.drop(end, ruler.overlap_tokens), start + 1)
    while back < end and not (ruler.overlaps(back, end) and ruler.longest(back, len(ruler.text), False) > end):
        back = max(back + 1, ruler.scale.next_start(back))
    return min(back, end)
