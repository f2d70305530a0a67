"""What a tokenizer makes of texts, and what padding and truncation do to a batch of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rag.errors import QueryError
from rag.tokens import HFTokenizer, TiktokenTokenizer, Tokenizer


@dataclass(frozen=True)
class Token:
    text: str  # as the tokenizer writes it: "##isation"
    id: int
    start: int  # characters of the text; padding and special tokens have start == end
    end: int
    special: bool = False
    attention: int = 1  # 0: padding, which a model is told not to look at


@dataclass(frozen=True)
class Row:
    """One text of a batch. `cut`: how many of its tokens were left out for max_length."""

    tokens: tuple[Token, ...]
    cut: int = 0


@dataclass(frozen=True)
class Batch:
    tokenizer: str
    rows: tuple[Row, ...]
    warnings: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, int]:
        """(texts, tokens a text), what a model would be given."""
        return len(self.rows), max((len(r.tokens) for r in self.rows), default=0)

    @property
    def padding(self) -> int:
        return sum(t.attention == 0 for r in self.rows for t in r.tokens)


def batch(
    texts: Sequence[str], tokenizer: Tokenizer, pad_to: int | None = None, max_length: int | None = None
) -> Batch:
    """The texts as `tokenizer` cuts them, each padded to the longest of them and at least to `pad_to` tokens, after
    those over `max_length` were cut. Raises QueryError for lengths that leave no room."""
    for name, length in (("pad-to", pad_to), ("max-length", max_length)):
        if length is not None and length < 1:
            raise QueryError(f"{name} is {length}", "1 token or more")
    if pad_to and max_length and pad_to > max_length:
        raise QueryError(f"pad-to {pad_to} is more than max-length {max_length}", "pad to max-length at most")
    if isinstance(tokenizer, TiktokenTokenizer):
        return _tiktoken(texts, tokenizer, pad_to, max_length)
    if isinstance(tokenizer, HFTokenizer):
        return _hugging_face(texts, tokenizer, pad_to, max_length)
    raise QueryError(f"{tokenizer.name} can't show its tokens", "name a model or tiktoken:cl100k_base")


def _hugging_face(texts: Sequence[str], tokenizer: HFTokenizer, pad_to: int | None, max_length: int | None) -> Batch:
    backend, own = _own_backend(tokenizer.file)
    backend.no_padding()
    backend.no_truncation()
    whole = [len(e) for e in backend.encode_batch(list(texts))]
    special = backend.num_special_tokens_to_add(False)
    if max_length is not None:
        if max_length <= special:
            raise QueryError(f"max-length {max_length} leaves no room beside {special} special tokens", "take more")
        backend.enable_truncation(max_length)
    kept = [len(e) for e in backend.encode_batch(list(texts))]
    pad = _pad_token(backend, own)
    if pad is not None:
        backend.enable_padding(pad_id=pad[1], pad_token=pad[0], length=max([pad_to or 0, *kept]))
    rows = []
    for encoding, all_of_it, some in zip(backend.encode_batch(list(texts)), whole, kept, strict=True):
        fields = zip(encoding.tokens, encoding.ids, encoding.offsets, encoding.special_tokens_mask,
                     encoding.attention_mask, strict=True)  # fmt: skip
        tokens = tuple(Token(t, i, o[0], o[1], bool(s), a) for t, i, o, s, a in fields)
        rows.append(Row(tokens, all_of_it - some))
    unpadded = (
        ("it has no padding token, so nothing was padded",) if pad is None and (pad_to or len(set(kept)) > 1) else ()
    )
    return Batch(tokenizer.name, tuple(rows), unpadded)


@lru_cache(maxsize=4)
def _own_backend(file: Path) -> tuple[Any, dict[str, Any]]:
    """The tokenizer of `file`, and how it pads. Not the one that the product counts with: that must never cut."""
    from tokenizers import Tokenizer as Backend

    backend = Backend.from_file(str(file))
    return backend, backend.padding or {}


def _pad_token(backend: Any, own: dict[str, Any]) -> tuple[str, int] | None:
    """(token, id) that the tokenizer pads with: what its file says, or the usual names."""
    if own:
        return str(own["pad_token"]), int(own["pad_id"])
    known = ((name, backend.token_to_id(name)) for name in ("[PAD]", "<pad>", "<|padding|>", "<|endoftext|>"))
    return next(((name, id) for name, id in known if id is not None), None)


def _tiktoken(texts: Sequence[str], tokenizer: TiktokenTokenizer, pad_to: int | None, max_length: int | None) -> Batch:
    rows = []
    for text in texts:
        ids = tokenizer.backend.encode_ordinary(text)
        spans = tokenizer.offsets(text).tolist()
        pieces = [tokenizer.backend.decode_single_token_bytes(i).decode("utf-8", "backslashreplace") for i in ids]
        tokens = [Token(piece, i, *span) for piece, i, span in zip(pieces, ids, spans, strict=True)]
        most = max_length or len(tokens)
        rows.append(Row(tuple(tokens[:most]), max(0, len(tokens) - most)))
    uneven = len({len(r.tokens) for r in rows}) > 1
    warnings = ("tiktoken has no padding token: its models are given lists of different lengths",)
    return Batch(tokenizer.name, tuple(rows), warnings if pad_to or uneven else ())
