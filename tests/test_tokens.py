"""Offsets of real tokenizers: ascending, complete, and the same whether a text is read whole or in blocks."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag import tokens
from rag.embed.resolve import resolve_model
from rag.errors import ConfigError, ModelNotFound
from rag.tokens import HFTokenizer, TiktokenTokenizer, Tokenizer, named_tokenizer


@pytest.fixture(scope="module")
def minilm() -> HFTokenizer:
    return HFTokenizer(resolve_model("all-MiniLM-L6-v2").folder / "tokenizer.json", "all-MiniLM-L6-v2")


@pytest.fixture(scope="module")
def bytelevel(tmp_path_factory: pytest.TempPathFactory) -> HFTokenizer:
    """A byte-level tokenizer, as GPT-2's family has: a character outside ASCII is several tokens."""
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers

    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Backend(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    file = tmp_path_factory.mktemp("bytes") / "tokenizer.json"
    backend.save(str(file))
    return HFTokenizer(file)


@pytest.fixture(scope="module")
def tik() -> TiktokenTokenizer:
    """tiktoken itself with a small table: every byte, and a few pairs. The real tables aren't on this machine."""
    import tiktoken

    ranks = {bytes([i]): i for i in range(256)}
    for pair in (b"th", b"he", b"in", b" t", b"\xc3\xa9", b"\xf0\x9f"):
        ranks[pair] = len(ranks)
    pattern = r"[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"  # cl100k's
    backend = tiktoken.Encoding("small", pat_str=pattern, mergeable_ranks=ranks, special_tokens={"<|end|>": 999})

    class Small(TiktokenTokenizer):
        backend = property(lambda self: small)  # type: ignore[assignment]

    small = backend
    return Small("small")


ALL = ["minilm", "bytelevel", "tik"]
words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Co", "Cn"]), max_size=40)
odd = st.sampled_from(
    ["", " ", "\n\n", "語", "é", "👩‍🔬", "<|end|>", "[SEP]", "don't", "naïve", "\u3000", "a" * 150, "12345"]
)
documents = st.lists(words | odd, max_size=12).map(" ".join)


@pytest.mark.parametrize("name", ALL)
@given(text=documents)
@settings(max_examples=60, deadline=None)
def test_offsets_ascend_and_cover(name: str, text: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)
    offsets = tokenizer.offsets(text)
    assert offsets.dtype == np.int64
    assert offsets.shape == (tokenizer.count(text), 2)
    starts, ends = offsets[:, 0], offsets[:, 1]
    assert (np.diff(starts) >= 0).all()
    assert (np.diff(ends) >= 0).all()
    assert ((starts >= 0) & (starts <= ends) & (ends <= len(text))).all()
    covered = np.zeros(len(text), bool)
    for start, end in offsets:
        covered[start:end] = True
    missed = [c for c, held in zip(text, covered, strict=True) if not held and not c.isspace()]
    if name == "minilm":  # its normaliser takes accents and control characters off: they are no token of their own
        import unicodedata

        missed = [c for c in missed if unicodedata.category(c) not in ("Mn", "Cc", "Cf")]
    assert not missed


@pytest.mark.parametrize("name", ALL)
@given(text=documents, size=st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_blocks_count_like_the_whole(name: str, text: str, size: int, request: pytest.FixtureRequest) -> None:
    """Where the text has white space to cut at. Runs of spaces are one token in some tokenizers: none here."""
    tokenizer: Tokenizer = request.getfixturevalue(name)
    text = " ".join(text.split())
    whole = tokenizer.offsets(text)
    before = tokens.BLOCK_CHARS
    tokens.BLOCK_CHARS = size
    try:
        if any(len(word) > 9 * size for word in text.split()):
            return  # cut hard, inside a word
        assert tokenizer.count(text) == len(whole)
        assert np.array_equal(tokenizer.offsets(text), whole)
    finally:
        tokens.BLOCK_CHARS = before


@pytest.mark.parametrize("name", ALL)
def test_a_long_text(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: Tokenizer = request.getfixturevalue(name)
    line = "The heron stands in the naïve river. "
    text = line * (3 * tokens.BLOCK_CHARS // len(line))
    assert len(list(tokens._blocks(text))) == 3
    per_line = tokenizer.count(line + "x") - tokenizer.count("x")
    assert abs(tokenizer.count(text) - per_line * (len(text) // len(line))) <= len(text) // len(line)
    offsets = tokenizer.offsets(text)
    assert offsets[-1, 1] >= len(text.rstrip())
    assert (np.diff(offsets[:, 0]) >= 0).all()


@given(st.text(max_size=60), st.integers(1, 9))
def test_blocks_are_the_text(text: str, size: int) -> None:
    before = tokens.BLOCK_CHARS
    tokens.BLOCK_CHARS = size
    try:
        blocks = list(tokens._blocks(text))
    finally:
        tokens.BLOCK_CHARS = before
    assert "".join(block for _, block in blocks) == text
    assert all(text[start : start + len(block)] == block for start, block in blocks)
    assert all(len(block) <= 10 * size for _, block in blocks)


def test_what_looks_like_a_special_token_is_text(tik: TiktokenTokenizer, minilm: HFTokenizer) -> None:
    assert tik.count("<|end|>") > 1
    assert minilm.count("") == 0
    assert tik.offsets("").shape == (0, 2)


def test_a_character_of_several_tokens_belongs_to_each(tik: TiktokenTokenizer) -> None:
    assert tik.offsets("語x").tolist() == [[0, 1], [0, 1], [0, 1], [1, 2]]


def test_no_padding_and_no_truncation(minilm: HFTokenizer) -> None:
    """The packaged tokenizer.json pads and truncates at 128."""
    assert minilm.count("one") == 1
    assert minilm.count("one " * 1000) == 1000
    assert [len(ids) for ids in minilm.encode_batch(["one", "one two three"])] == [3, 5]


def test_names() -> None:
    assert named_tokenizer("tiktoken:cl100k_base").name == "tiktoken:cl100k_base"
    for wrong in ("cl100k_base", "tiktoken:", "tiktoken:gpt-9", "embeder"):
        with pytest.raises(ConfigError) as caught:
            named_tokenizer(wrong)
        assert repr(wrong) in caught.value.message
        assert "embedder, generator, tiktoken:cl100k_base" in caught.value.hint


def test_a_table_that_isnt_there_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokens._load_tiktoken.cache_clear()
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})  # what other tests loaded
    with pytest.raises(ModelNotFound) as caught:
        TiktokenTokenizer("cl100k_base").count("x")
    assert str(tmp_path) in caught.value.message
    assert "cl100k_base" in caught.value.message
    assert "TIKTOKEN_CACHE_DIR" in caught.value.hint
    assert "9b5ad71b2ce5302211f9c61530b329a4922fc6a4" in caught.value.hint  # the name tiktoken looks for
    assert "cl100k_base.tiktoken" in caught.value.hint


def test_a_table_that_was_fetched_elsewhere_and_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = base64.b64encode(b"a") + b" 0\n"
    (tmp_path / "9b5ad71b2ce5302211f9c61530b329a4922fc6a4").write_bytes(wrong)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    tokens._load_tiktoken.cache_clear()
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})  # what other tests loaded
    with pytest.raises(ModelNotFound):
        TiktokenTokenizer("cl100k_base").count("x")


def test_a_file_that_is_no_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ModelNotFound, match="not a readable tokenizer"):
        HFTokenizer(tmp_path / "tokenizer.json").count("x")
