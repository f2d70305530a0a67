"""How long a chunk may be, in whose tokens, and what is put before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rag.errors import ConfigError

if TYPE_CHECKING:
    from rag.tokens import Tokenizer

Prepend = Literal["none", "title", "headings", "title+headings"]


@dataclass(frozen=True)
class TokenLimits:
    """The two rulers of a chunk: the tokens the user counts in, and the tokens the embedding model reads.

    `tokenizer` counts `split.max_tokens`. `embedder` and `limit` are the model's own tokenizer and how many tokens
    it reads of a text, its special tokens already taken off (all-MiniLM-L6-v2: 256 - 2 = 254). Both must hold for
    every chunk. Without an embedder only `split.max_tokens` holds (benchmarks that embed nothing).
    """

    tokenizer: Tokenizer
    embedder: Tokenizer | None = None
    limit: int | None = None
    special_tokens: int = 2
    model: str = ""  # named in errors

    def __post_init__(self) -> None:
        if (self.embedder is None) != (self.limit is None):
            raise ValueError("TokenLimits: embedder and limit come together or not at all")

    @property
    def counts_in_embedder_tokens(self) -> bool:
        return self.embedder is not None and self.embedder.name == self.tokenizer.name

    def check(self, max_tokens: int) -> None:
        """ConfigError when a chunk of `max_tokens` would be cut by the model that embeds it."""
        if self.limit is None or not self.counts_in_embedder_tokens or max_tokens <= self.limit:
            return
        model = self.model or self.tokenizer.name
        raise ConfigError(
            f"split.max_tokens is {max_tokens} but {model} reads {self.limit} tokens "
            f"({self.limit + self.special_tokens} with its {self.special_tokens} special tokens)",
            f"set split.max_tokens to {self.limit} or less, or choose an embed.model that reads more",
        )
