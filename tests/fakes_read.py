"""A tiny BERT with a tokenizer that knows some words, and a reading model that says what it is told to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rag.types import FoundSpan, Reading, Span

WORDS = [
    "the",
    "a",
    "tower",
    "stands",
    "in",
    "paris",
    "since",
    "1889",
    "where",
    "is",
    "what",
    "when",
    "was",
    "built",
    "bananas",
    "are",
    "yellow",
    "and",
    "sweet",
    "?",
    ".",
    ",",
]


def tiny_bert(folder: Path, hidden: int = 32, layers: int = 2) -> Path:
    """A random BERT saved as all-MiniLM-L6-v2 is: config.json, model.safetensors, tokenizer.json."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    letters = "abcdefghijklmnopqrstuvwxyz"
    words = list(dict.fromkeys(["[PAD]", "[UNK]", *WORDS, *letters, *(f"##{c}" for c in letters)]))
    words += [f"[unused{i}]" for i in range(len(words), 101)] + ["[CLS]", "[SEP]"]  # at 101 and 102, as BERT has them
    vocabulary = {w: i for i, w in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 102), ("[CLS]", 101))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=4,
        intermediate_size=2 * hidden, max_position_embeddings=300,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    return folder


class ScriptedReader:
    """Points at the words it is told to, wherever they stand. `asked` counts what it had to read."""

    available = True

    def __init__(self, said: dict[str, float], relevance: dict[str, float] | None = None) -> None:
        """said: words -> score. relevance: a word of a passage -> its relevance."""
        self.said, self.relevance = said, relevance or {}
        self.asked = 0

    def read(self, question: str, passages: Sequence[str]) -> list[Reading]:
        self.asked += len(passages)
        return [self._reading(p) for p in passages]

    def _reading(self, text: str) -> Reading:
        found = [
            FoundSpan(Span(text.index(words), text.index(words) + len(words)), score)
            for words, score in self.said.items()
            if words in text
        ]
        found.sort(key=lambda s: -s.score)
        relevance = max((r for word, r in self.relevance.items() if word in text), default=-5.0)
        return Reading(relevance, 3.0 if found else -5.0, tuple(found))

    def forget(self) -> Any: ...
