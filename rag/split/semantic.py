"""`semantic`: chunks whose sentences are close in meaning, by dynamic programming under the size limit.

After Chroma's ClusterSemanticChunker (Smith and Troynikov, "Evaluating Chunking Strategies for Retrieval", 2024):
whole sentences are packed into small pieces, each is embedded, and the text is cut so that the sum of cosine
similarities within chunks, less the mean similarity of all pairs, is the greatest.

Chroma's builds the n x n matrix of similarities. Here only the band that a chunk can hold is computed, and the mean
of all pairs comes from the sum of the vectors: linear in the number of pieces. With its limit, the same pieces make
the same chunks (benchmarks/chroma_table.py); but that limit is a number of pieces, size // 50, each of which may be
far below 50 tokens, so its chunks are half as long as their size says. Here the limit is `max_tokens` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.split.pack import Range, as_ranges, pack
from rag.split.ruler import Ruler
from rag.split.sentence import heading_units, sentence_units

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE_TOKENS = 50  # Chroma's min_chunk_size
MOST_PIECES = 40  # in one chunk

Embed = Callable[[list[str]], "NDArray[Any]"]  # n texts -> (n, dimension) vectors


def by_meaning(ruler: Ruler, embed: Embed) -> Iterator[Range]:
    units = sentence_units(ruler)
    overlap, ruler.overlap_tokens = ruler.overlap_tokens, 0
    pieces = as_ranges(pack(ruler, units, heading_units(ruler, units), most=PIECE_TOKENS))
    ruler.overlap_tokens = overlap
    if not len(pieces):
        return
    vectors = np.asarray(embed([ruler.text[s:e] for s, e in pieces.tolist()]), np.float32)
    reach = _reach(ruler, pieces)
    begin = -1
    for first, last in segment(vectors, reach):
        end = int(pieces[last, 1])
        begin = _repeat(ruler, pieces, begin + 1, first, end) if first else first
        yield int(pieces[begin, 0]), end


def _repeat(ruler: Ruler, pieces: NDArray[np.int64], least: int, first: int, end: int) -> int:
    """The piece, `least` or later, with which pieces[first:] begin to repeat what is allowed of the chunk before."""
    if not ruler.overlap_tokens:
        return first
    edge = int(pieces[first - 1, 1])
    nearest = int(pieces[:, 0].searchsorted(ruler.scale.back(edge, ruler.overlap_tokens), "left"))
    for begin in range(max(nearest, least), first):
        start = int(pieces[begin, 0])
        if ruler.overlaps(start, edge) and ruler.fits(start, end):
            return begin
    return first


def _reach(ruler: Ruler, pieces: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) for each piece, the last piece that a chunk beginning with it may hold."""
    n = len(pieces)
    ahead = np.fromiter((ruler.ahead(s) for s in pieces[:, 0].tolist()), np.int64, n)
    last = pieces[:, 1].searchsorted(ahead, "right") - 1
    index = np.arange(n)
    return np.asarray(np.clip(last, index, np.minimum(index + MOST_PIECES - 1, n - 1)), np.int64)


def segment(vectors: NDArray[np.float32], reach: NDArray[np.int64]) -> list[tuple[int, int]]:
    """(first, last) pieces of each chunk. `vectors` (n, dimension), `reach` (n,) as `_reach` gives it.

    Two topics of two pieces each, any of which could share a chunk:

    >>> v = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32)
    >>> segment(v, np.array([3, 3, 3, 3]))
    [(0, 1), (2, 3)]
    """
    gains = _gains(vectors, reach)
    n, width = gains.shape
    best = np.zeros(n + 1)  # best[e]: of the first e pieces
    size = np.ones(n + 1, np.int64)  # pieces in the chunk that ends there
    for end in range(1, n + 1):
        most = min(width, end)
        totals = best[end - most : end][::-1] + gains[end - 1, :most]
        ties = np.flatnonzero(totals >= totals.max() - 1e-9)
        size[end] = ties[-1] + 1  # of equals, the longest chunk
        best[end] = totals[ties[-1]]
    chunks, end = [], n
    while end:
        chunks.append((end - int(size[end]), end - 1))
        end -= int(size[end])
    return chunks[::-1]


def _gains(vectors: NDArray[np.float32], reach: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n, width): [i, k] is the sum over all ordered pairs within pieces i-k..i of similarity less its mean.

    -inf where such a chunk would be too long. The sum over a range is that of its two shorter ranges, less their
    common part, plus its outermost pair.
    """
    n = len(vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.where(lengths > 0, lengths, 1)
    total = unit.sum(axis=0, dtype=np.float64)
    pairs = n * (n - 1)
    mean = (float(total @ total) - float(np.square(unit, dtype=np.float64).sum())) / pairs if pairs else 0.0
    index = np.arange(n)
    width = int((reach - index).max()) + 1
    gains = np.full((n, width), -np.inf)
    sums = [np.zeros(n + 1), np.zeros(n)]  # sums[k][i]: pieces i..i+k-1
    gains[:, 0] = 0
    for k in range(1, width):  # pieces i..i+k
        ends = n - k
        outer = np.einsum("ij,ij->i", unit[:ends], unit[k:], dtype=np.float64) - mean
        longer = sums[k][:ends] + sums[k][1 : ends + 1] - sums[k - 1][1 : ends + 1] + 2 * outer
        sums.append(longer)
        gains[k:, k] = np.where(reach[:ends] >= index[k:], longer, -np.inf)
    return gains
