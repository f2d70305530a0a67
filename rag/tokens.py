"""Tokenizers that tell where each token stands. One interface over Hugging Face `tokenizers` and `tiktoken`.

Every limit in the product is counted here: chunk sizes with the embedder's own tokenizer, prompt budgets with the
generator's. Offsets are characters of the text as given.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rag.errors import ConfigError, ModelNotFound

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK_CHARS = 100_000  # texts are tokenised in blocks cut at white space, so memory doesn't grow with the file


class Tokenizer(Protocol):
    """What splitters and prompts need of a tokenizer. Special tokens are never included."""

    @property
    def name(self) -> str: ...

    def offsets(self, text: str) -> NDArray[np.int64]:
        """(n_tokens, 2) start and end character of each token, ascending."""
        ...

    def offsets_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """`offsets` of each text, on all cores where the tokenizer can."""
        return [self.offsets(text) for text in texts]

    def count(self, text: str) -> int: ...


class HFTokenizer(Tokenizer):
    """A `tokenizer.json`, as the model defines it, without its padding and truncation."""

    def __init__(self, file: Path, name: str | None = None) -> None:
        self.file = file
        self._name = name or file.parent.name

    @property
    def name(self) -> str:
        return self._name

    @property
    def backend(self) -> Any:
        """The `tokenizers.Tokenizer`. The packaged tokenizer.json pads and truncates at 128: both are off here."""
        return _load_hf(str(self.file))

    def offsets(self, text: str) -> NDArray[np.int64]:
        parts = [self.offsets_batch([block])[0] + start for start, block in _blocks(text)]
        return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)

    def offsets_batch(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        found = self.backend.encode_batch([*map(_whole, texts)], add_special_tokens=False)
        return [np.fromiter(chain.from_iterable(e.offsets), np.int64).reshape(-1, 2) for e in found]

    def count(self, text: str) -> int:
        return sum(len(self.backend.encode(block, add_special_tokens=False)) for _, block in _blocks(text))

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids with the model's special tokens, one list a text."""
        return [e.ids for e in self.backend.encode_batch_fast(list(texts))]


class TiktokenTokenizer(Tokenizer):
    """An OpenAI encoding by name, e.g. `cl100k_base`. Its table is fetched once, then read from a local cache."""

    def __init__(self, encoding: str) -> None:
        self.encoding = encoding

    @property
    def name(self) -> str:
        return f"tiktoken:{self.encoding}"

    @property
    def backend(self) -> Any:
        return _load_tiktoken(self.encoding)

    def offsets(self, text: str) -> NDArray[np.int64]:
        """tiktoken cuts bytes, so a token may hold part of a character: such a character belongs to each of them."""
        parts = []
        for start, block in _blocks(text):
            tokens = self.backend.encode_ordinary(block)
            if not tokens:
                continue
            lengths = np.fromiter((len(b) for b in self.backend.decode_tokens_bytes(tokens)), np.int64, len(tokens))
            byte_ends = np.cumsum(lengths)
            raw = np.frombuffer(block.encode("utf-8"), np.uint8)
            char_of_byte = np.cumsum((raw & 0xC0) != 0x80) - 1  # index of the character each byte belongs to
            starts = char_of_byte[byte_ends - lengths]
            ends = char_of_byte[byte_ends - 1] + 1
            parts.append(np.stack([starts, ends], axis=1) + start)
        return np.concatenate(parts) if parts else np.empty((0, 2), np.int64)

    def count(self, text: str) -> int:
        return sum(len(self.backend.encode_ordinary(block)) for _, block in _blocks(text))


def named_tokenizer(name: str) -> TiktokenTokenizer:
    """`tiktoken:cl100k_base` -> its tokenizer. ConfigError names the choices."""
    kind, _, encoding = name.partition(":")
    known = ("cl100k_base", "o200k_base", "p50k_base", "r50k_base")
    if kind != "tiktoken" or encoding not in known:
        raise ConfigError(
            f"unknown tokenizer {name!r}", f"choices: embedder, generator, {', '.join('tiktoken:' + k for k in known)}"
        )
    return TiktokenTokenizer(encoding)


_SPACE_RUN = re.compile(r"\s+")


def _whole(text: str) -> str:
    """Half a surrogate pair, which no tokenizer takes, is read as "?": one character as well."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """(offset, block) pieces of about BLOCK_CHARS that begin with white space, so no word is cut.

    Tokenizers split at white space first and (the byte-level ones) glue one space to the word behind it, so the
    tokens of the pieces are the tokens of the whole. Text without white space is cut hard at ten times that.
    """
    text = _whole(text)
    start = 0
    while len(text) - start > BLOCK_CHARS:
        found = _SPACE_RUN.search(text, start + BLOCK_CHARS, min(len(text), start + 10 * BLOCK_CHARS))
        end = found.start() if found else min(len(text), start + 10 * BLOCK_CHARS)
        yield start, text[start:end]
        start = end
    if start < len(text):
        yield start, text[start:] if start else text


@lru_cache(maxsize=8)
def _load_hf(file: str) -> Any:
    from tokenizers import Tokenizer as Backend

    try:
        backend = Backend.from_file(file)
    except Exception as error:
        raise ModelNotFound(
            f"{file}: not a readable tokenizer ({error})", "reinstall or re-download the model"
        ) from None
    backend.no_padding()
    backend.no_truncation()
    return backend


@lru_cache(maxsize=8)
def _load_tiktoken(encoding: str) -> Any:
    import tiktoken

    try:
        return tiktoken.get_encoding(encoding)
    except Exception as error:  # requests' own tree, or a failed hash
        cache = os.environ.get("TIKTOKEN_CACHE_DIR") or str(Path(tempfile.gettempdir()) / "data-gym-cache")
        url = f"https://openaipublic.blob.core.windows.net/encodings/{encoding}.tiktoken"
        raise ModelNotFound(
            f"the token table {encoding} of tiktoken is not in {cache} and can't be fetched ({type(error).__name__})",
            f"on a machine with a network fetch {url}, put it into a folder as "
            f"{hashlib.sha1(url.encode()).hexdigest()} and set TIKTOKEN_CACHE_DIR to that folder",
        ) from None
