"""Measures one source: tokenises it once, then answers every question about sizes from the offsets of its tokens.

    ruler = Ruler(source, limits, max_tokens=200, overlap_tokens=0, prepend="none")
    ruler.ahead(start)          how far a chunk that begins here may reach: two binary searches
    ruler.fits(start, end)      proven, by counting again wherever the offsets alone prove nothing
    ruler.longest(start, end)   the best place to cut what doesn't fit

What offsets don't know:

* A cut inside a word changes its tokens, and byte-level tokenizers glue a space to the word behind it. So a chunk
  is counted again with the real tokenizer unless both of its ends stand where the tokenizer splits anyway
  (BERT: white space and punctuation), where counts add up exactly.
* BERT reads a word of more than 100 characters as one [UNK]: its text would be counted as one token and lost. A
  token longer than WORD characters is therefore measured character by character, and no chunk holds more than WORD
  characters of it: it is cut there whatever the kind (`breaks`).
* A tokenizer may drop characters (white space, format and control characters). WORD of them in a row count as a
  token, so no chunk is longer than max_tokens * WORD characters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.batched import batched
from rag.sentences import guess_language
from rag.split.limits import Prepend, TokenLimits
from rag.split.outline import Outline
from rag.types import Location, Source

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rag.tokens import Tokenizer

WORD = 50  # characters; longer words are cut
BLOCK = 10_000  # characters tokenised at once: faster than larger blocks, which fall out of the cache
BLOCKS = 16  # given to the tokenizer together
NEAR = 16  # characters before the limit in which a cut between tokens is looked for
PREFIX_SHARE = 4  # headings get at most a quarter of the model's limit, and the head of a table another one

_SPACE = re.compile(r"\s*")
_CLAUSE = re.compile(r"[,;:—–)\]](?=\s)|[、，；：。！？]")


class Scale:
    """The tokens of a text: `starts` and `ends` are (n,) character offsets, ascending."""

    def __init__(self, text: str, tokenizer: Tokenizer, cut_words: bool) -> None:
        self.text = text
        self.tokenizer = tokenizer
        self.splits_words = _splits_words(tokenizer)
        offsets, self.seams = _tokenise(text, tokenizer)
        self.breaks = np.empty(0, np.int64)
        if cut_words:
            offsets, self.breaks = _spell_out(offsets, self.seams)
        offsets = _fill_gaps(offsets, len(text))
        self.starts = np.ascontiguousarray(offsets[:, 0])
        self.ends = np.ascontiguousarray(offsets[:, 1])

    def count(self, start: int, end: int) -> int:
        """Tokens that touch [start, end)."""
        return max(0, int(self.starts.searchsorted(end, "left")) - int(self.ends.searchsorted(start, "right")))

    def counts(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
        found = self.starts.searchsorted(ends, "left") - self.ends.searchsorted(starts, "right")
        return np.asarray(np.maximum(found, 0), np.int64)

    def ahead(self, start: int, tokens: int) -> int:
        """End of the longest range from `start` that touches `tokens` tokens."""
        index = int(self.ends.searchsorted(start, "right")) + tokens
        return int(self.starts[index]) if index < len(self.starts) else len(self.text)

    def back(self, end: int, tokens: int) -> int:
        """Start of the longest range up to `end` that touches `tokens` tokens."""
        index = int(self.starts.searchsorted(end, "left")) - tokens - 1
        return int(self.ends[index]) if index >= 0 else 0

    def drop(self, end: int, tokens: int) -> int:
        """Start of the `tokens`-th token before `end`."""
        index = int(self.starts.searchsorted(end, "left")) - tokens
        return int(self.starts[index]) if 0 <= index < len(self.starts) else 0

    def next_start(self, offset: int) -> int:
        """Start of the first token that begins behind `offset`."""
        index = int(self.starts.searchsorted(offset, "right"))
        return int(self.starts[index]) if index < len(self.starts) else len(self.text)

    def exact(self, start: int, end: int) -> bool:
        """Whether `count(start, end)` is provably what the tokenizer says of text[start:end]."""
        if not self.splits_words or not self.clean(start) or not self.clean(end):
            return False
        seam = int(self.seams.searchsorted(start, "right"))
        return not (seam < len(self.seams) and self.seams[seam] < end)

    def clean(self, cut: int) -> bool:
        """Whether a tokenizer that splits at white space and punctuation first splits at `cut` in any case."""
        if cut <= 0 or cut >= len(self.text):
            return True
        if not (_parts(self.text[cut - 1]) or _parts(self.text[cut])):
            return False
        index = int(self.ends.searchsorted(cut, "right"))
        return index >= len(self.starts) or bool(self.starts[index] >= cut)


class Ruler:
    """Sizes within one source. Two scales when the user counts in other tokens than the embedding model."""

    def __init__(
        self, source: Source, limits: TokenLimits, max_tokens: int, overlap_tokens: int = 0, prepend: Prepend = "none"
    ) -> None:
        self.source = source
        self.text = source.text
        self.max_tokens = max_tokens
        self.overlap_tokens = overlap_tokens
        self._limit = limits.limit
        shared = limits.counts_in_embedder_tokens
        self.scale = Scale(self.text, limits.tokenizer, cut_words=shared)
        self._reader: Scale | None = None
        if limits.embedder is not None:
            self._reader = self.scale if shared else Scale(self.text, limits.embedder, cut_words=True)
        self.breaks = self._reader.breaks if self._reader else np.empty(0, np.int64)
        speaker = limits.embedder or limits.tokenizer
        self.outline = Outline(
            source,
            prepend,
            most=(limits.limit or max_tokens) // PREFIX_SHARE,
            count=speaker.count,
            shorten=lambda text, tokens: _shorten(text, tokens, speaker),
        )
        self._excess: dict[tuple[int, int], int] = {}
        self._ahead = (-1, -1)  # the last start, and how far it reaches: it is asked for again and again

    @cached_property
    def language(self) -> str:
        return guess_language(self.text)

    @property
    def safe_tokens(self) -> int:
        """What any chunk may hold, however long its prefix."""
        if self._limit is None:
            return self.max_tokens
        return min(self.max_tokens, self._limit - self._limit // PREFIX_SHARE * self.outline.parts)

    def ahead(self, start: int, most: int | None = None) -> int:
        """The furthest end of a chunk that begins at `start`, as far as offsets tell; `most`: fewer tokens still."""
        if most is None and start == self._ahead[0]:
            return self._ahead[1]
        end = self.scale.ahead(start, min(self.max_tokens, most or self.max_tokens))
        if self._reader is not None and self._limit is not None:
            room = max(1, self._limit - self.outline.prefix_tokens(start))
            if self._reader is not self.scale or room < self.max_tokens:
                end = min(end, self._reader.ahead(start, room))
        index = int(self.breaks.searchsorted(start, "right"))
        if index < len(self.breaks):
            end = min(end, int(self.breaks[index]))
        end = max(end, start + 1)
        if most is None:
            self._ahead = start, end
        return end

    def too_long(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) which of the ranges can't be a chunk, as far as offsets tell."""
        over = self.scale.counts(starts, ends) > self.safe_tokens
        if self._reader is not None and self._reader is not self.scale:
            over |= self._reader.counts(starts, ends) > self.safe_reader_tokens
        if len(self.breaks):
            over |= self.breaks.searchsorted(ends, "left") > self.breaks.searchsorted(starts, "right")
        return np.asarray(over, dtype=np.bool_)

    @property
    def safe_reader_tokens(self) -> int:
        assert self._limit is not None
        return self._limit - self._limit // PREFIX_SHARE * self.outline.parts

    def strip(self, start: int, end: int) -> tuple[int, int]:
        """[start, end) without the white space around it; start == end where there is nothing else."""
        text = self.text
        start = self.skip_space(start, end)
        while end > start and text[end - 1].isspace():
            end -= 1
        return start, end

    def skip_space(self, start: int, end: int | None = None) -> int:
        found = _SPACE.match(self.text, start, len(self.text) if end is None else end)
        return found.end() if found else start

    def fits(self, start: int, end: int) -> bool:
        """Whether [start, end) without its outer white space may be a chunk. Counted, not estimated."""
        start, end = self.strip(start, end)
        return end <= self.ahead(start) and self.excess(start, end) <= 0

    def excess(self, start: int, end: int) -> int:
        """Tokens by which text[start:end], embedded with its prefix, passes the limits; <= 0 where it fits."""
        key = (start, end)
        if key not in self._excess:
            if len(self._excess) > 1000:
                self._excess.clear()
            self._excess[key] = self._count_excess(start, end)
        return self._excess[key]

    def _count_excess(self, start: int, end: int) -> int:
        counted = self._counted(self.scale, start, end, self.max_tokens)
        over = counted - self.max_tokens
        if self._reader is not None and self._limit is not None:
            prefix = self.outline.prefix(start)
            if not prefix:
                read = counted if self._reader is self.scale else self._counted(self._reader, start, end, self._limit)
            elif self._reader.exact(start, end):
                read = self._reader.count(start, end) + self.outline.prefix_tokens(start)
            else:
                read = self._reader.tokenizer.count(prefix + self.text[start:end])
            over = max(over, read - self._limit)
        return over

    def _counted(self, scale: Scale, start: int, end: int, enough: int) -> int:
        """Tokens of text[start:end]; at most `enough` may be more than there are, above it never."""
        if scale.exact(start, end):
            return scale.count(start, end)
        text = self.text[start:end]
        if scale.splits_words and len(text) <= enough and text.isascii():
            return len(text)  # a token has at least one character
        return scale.tokenizer.count(text)

    def overlaps(self, start: int, end: int) -> bool:
        """Whether [start, end) may stand in two chunks."""
        start, end = self.strip(start, end)
        most = self.overlap_tokens
        return start >= end or self._counted(self.scale, start, end, most) <= most

    def longest(self, start: int, end: int, at_words: bool = True) -> int:
        """The furthest cut in (start, end] before which the text fits.

        At clause punctuation in the second half, else between words, else between tokens; `at_words=False`: always
        between tokens. At least one character, even where a single one has more tokens than allowed.
        """
        target = min(end, self.ahead(start))
        while target > start + 1:
            cut = target if target == end else self._best_cut(start, target, at_words)
            inner, outer = self.strip(start, cut)
            over = self.excess(inner, outer) if inner < outer else 0
            if over <= 0:
                return cut
            target = min(self.scale.drop(cut, over), cut - 1)
            if target <= start:
                target = start + max(1, (cut - start) // 2)
        return min(end, start + 1)

    def _best_cut(self, start: int, target: int, at_words: bool) -> int:
        text = self.text
        if at_words:
            half = start + (target - start) // 2
            clause = None
            for clause in _CLAUSE.finditer(text, half, min(target + 1, len(text))):
                if clause.end() > target:
                    break
            if clause is not None and clause.end() <= target:
                return clause.end()
            for cut in range(target, half, -1):
                if text[cut].isspace() or text[cut - 1].isspace():
                    return cut
        near = (c for c in range(target, max(start + 1, target - NEAR), -1) if not _joins(text[c - 1], text[c]))
        last = next(near, target)
        word = text[max(start, last - NEAR) : last + 1]
        if not at_words or self.scale.clean(last) or (word.isascii() and word.isalnum()):
            return last
        # Where the tokenizer splits anyway, as beside a Han sign, no word is torn, and nothing is counted again.
        return next(filter(self.scale.clean, near), last)

    def must_cut(self, offset: int) -> bool:
        """Whether `offset` stands inside a word that no chunk may hold whole."""
        index = int(self.breaks.searchsorted(offset, "left"))
        return index < len(self.breaks) and int(self.breaks[index]) == offset

    def locate(self, offset: int) -> Location:
        return self.outline.locate(offset)


def _tokenise(text: str, tokenizer: Tokenizer) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n, 2) offsets, and the seams: block ends that may stand inside a word."""
    blocks, seams, start = list[tuple[int, int]](), list[int](), 0
    space = re.compile(r"\s")
    while start < len(text):
        end = min(len(text), start + BLOCK)
        if end < len(text):
            found = space.search(text, end, min(len(text), end + BLOCK))
            if found:
                end = found.start()
            else:
                seams.append(end)
        blocks.append((start, end))
        start = end
    parts = [np.empty((0, 2), np.int64)]
    for some in batched(blocks, BLOCKS):
        told = tokenizer.offsets_batch([text[start:end] for start, end in some])
        parts += [offsets + start for (start, _), offsets in zip(some, told, strict=True)]
    return np.concatenate(parts), np.asarray(seams, np.int64)


def _spell_out(offsets: NDArray[np.int64], seams: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens longer than WORD characters become one token a character; and where they must be cut.

    Seams are such places too: the words on both sides may be one long word.
    """
    long = np.flatnonzero(offsets[:, 1] - offsets[:, 0] > WORD)
    if not len(long):
        return offsets, seams
    letters = np.concatenate([np.arange(s, e) for s, e in offsets[long]])
    breaks = np.concatenate([np.arange(s + WORD, e, WORD) for s, e in offsets[long]])
    spelled = np.concatenate([np.delete(offsets, long, axis=0), np.stack([letters, letters + 1], axis=1)])
    return spelled[np.argsort(spelled[:, 0], kind="stable")], np.union1d(breaks, seams).astype(np.int64)


def _fill_gaps(offsets: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """WORD characters in a row without a token become one."""
    starts, ends = np.append(0, offsets[:, 1]), np.append(offsets[:, 0], length)
    wide = np.flatnonzero(ends - starts > WORD)
    if not len(wide):
        return offsets
    fill = np.concatenate([np.arange(starts[i], ends[i] - WORD + 1, WORD) for i in wide])
    filled = np.concatenate([offsets, np.stack([fill, fill + WORD], axis=1)])
    return filled[np.argsort(filled[:, 0], kind="stable")].astype(np.int64)


def _splits_words(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer splits at white space and punctuation first, as BERT's does."""
    backend: Any = getattr(tokenizer, "backend", None)
    normalizer = getattr(backend, "normalizer", None)
    return (
        type(getattr(backend, "pre_tokenizer", None)).__name__ == "BertPreTokenizer"
        and type(normalizer).__name__ == "BertNormalizer"
        and bool(getattr(normalizer, "handle_chinese_chars", False))
    )


def _parts(char: str) -> bool:
    """BERT's white space, punctuation and Han: words end there. Control characters it drops, gluing neighbours."""
    if char.isascii():
        return char in " \t\n" or (not char.isalnum() and char.isprintable())
    return "\u3400" <= char <= "\u4dbf" or "\u4e00" <= char <= "\u9fff" or unicodedata.category(char)[0] in "ZP"


def _joins(before: str, char: str) -> bool:
    """Whether the two belong to one written sign: accents, variation selectors, emoji joined to a family."""
    return bool(unicodedata.combining(char)) or char in "\u200d\ufe0f" or before == "\u200d"


def _shorten(text: str, tokens: int, tokenizer: Tokenizer) -> str:
    if tokens <= 0:
        return ""
    offsets = tokenizer.offsets(text)
    return text[: int(offsets[tokens - 1, 1])].rstrip() if len(offsets) > tokens else text
