"""Sources -> chunks that know their span.

                            ┌─ sentence.py    whole sentences, packed         (sentences.py: where they end)
    Source ── Ruler ────────┼─ recursive.py   separators, coarse to fine
              tokenises     ├─ markdown.py    sections, fences, tables
              once          ├─ windows.py     fixed windows of tokens         (kind: token)
                            ├─ sentence.py    pages or the whole source       (kind: document)
                            └─ semantic.py    where the meaning changes
                                    │ ranges of characters
                                  pack.py ──> list[Chunk]

What holds for every kind and every text (tests/test_split_properties.py):

* `source.text[chunk.span.start:chunk.span.end] == chunk.text`, without outer white space, never empty;
* spans ascend and together hold every character that is not white space;
* they share nothing without an overlap, and at most `overlap_tokens` between neighbours with one;
* `limits.tokenizer` counts at most `split.max_tokens` in the text, and `limits.embedder` at most `limits.limit` in
  the text with its prefix. Only a single character with more tokens than that is left whole.

A chunk may cross pages (except kind document); its location is that of its first character.
A new kind: one function Ruler -> ranges, one case in `make_splitter`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, assert_never

from rag.config import Split
from rag.errors import ConfigError
from rag.split.limits import TokenLimits
from rag.types import Chunk, Source

if TYPE_CHECKING:
    from rag.split.langchain import RagTextSplitter
    from rag.split.pack import Range
    from rag.split.ruler import Ruler
    from rag.split.semantic import Embed

__all__ = [
    "Splitter",
    "TokenLimits",
    "as_text_splitter",
    "make_splitter",
]


class Splitter(Protocol):
    def split(self, source: Source) -> list[Chunk]: ...


@dataclass(frozen=True)
class _Splitter:
    config: Split
    limits: TokenLimits
    cut: Callable[[Ruler], Iterator[Range]]

    def split(self, source: Source) -> list[Chunk]:
        from rag.split.pack import chunks_of
        from rag.split.ruler import Ruler

        config = self.config
        ruler = Ruler(source, self.limits, config.max_tokens, config.overlap_tokens, config.prepend)
        return chunks_of(ruler, self.cut(ruler))


def make_splitter(config: Split, limits: TokenLimits, embed: Embed | None = None) -> Splitter:
    """The splitter that `config.kind` names. `embed`: n texts -> (n, dimension) vectors, for kind semantic only.

    Raises ConfigError when `max_tokens`, counted in the embedder's tokens, passes what the embedder reads.
    """
    limits.check(config.max_tokens)
    return _Splitter(config, limits, _cutter(config, embed))


def _cutter(config: Split, embed: Embed | None) -> Callable[[Ruler], Iterator[Range]]:
    from rag.split import markdown, recursive, semantic, sentence, windows

    match config.kind:
        case "sentence":
            return sentence.by_sentence
        case "recursive":
            return partial(recursive.recursively, separators=config.separators)
        case "markdown":
            return markdown.by_section
        case "token":
            return windows.into_windows
        case "document":
            return sentence.by_page
        case "semantic":
            if embed is None:
                raise ConfigError("split.kind is semantic, which needs an embedder", "choose another split.kind")
            return partial(semantic.by_meaning, embed=embed)
        case _:
            assert_never(config.kind)


def as_text_splitter(splitter: Splitter) -> RagTextSplitter:
    """The same splitter as a LangChain `TextSplitter`, with an exact `start_index`."""
    from rag.split.langchain import RagTextSplitter

    return RagTextSplitter(splitter)
