"""Does a passage entail a statement? A sequence classification model trained on natural language inference says so.

    passage (premise) ┐
                      ├──> label with the highest score ──> entailment? Of several passages one is enough.
    statement         ┘

Any model of that kind whose `id2label` has a label for entailment: MNLI's three labels, or two with not_entailment. A
passage longer than the model reads goes in as overlapping windows, so nothing of it is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rag.errors import ModelError, ModelMismatch, ModelNotFound
from rag.generate.weights import not_on_hub
from rag.hush import quiet

SETTING = "evaluate.nli"
AT_ONCE = 16  # pairs of one forward pass
UNKNOWN_WINDOW = 512  # BERT's, where neither config.json nor the tokenizer says
_A_FOLDER = "a folder as save_pretrained writes it: config.json, model.safetensors, tokenizer.json"


class Entailment:
    """Light to make; `load` finds out whether the model can serve."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._parts: tuple[Any, Any, int, int] | None = None  # tokenizer, model, window, index of the label

    def load(self) -> None:
        """Raises ModelNotFound, ModelMismatch (no such label), ModelError."""
        if self._parts is None:
            self._parts = _load(self.model)

    def __call__(self, statements: Sequence[str], passages: Sequence[str]) -> tuple[bool, ...]:
        """For each statement, whether one of the passages entails it.

        A statement that fills more than half of what the model reads counts as not entailed: hardly any of a passage
        would fit beside it.
        """
        self.load()
        assert self._parts is not None
        tokenizer, model, window, label = self._parts
        room = window - tokenizer.num_special_tokens_to_add(pair=True)
        lengths = [len(tokenizer(s, add_special_tokens=False).input_ids) for s in statements]
        pairs = [(p, i) for i, n in enumerate(lengths) if n <= room // 2 for p in passages]
        entailed = [False] * len(statements)
        for number, said in self._labels(tokenizer, model, pairs, statements, window):
            entailed[pairs[number][1]] |= said == label
        return tuple(entailed)

    @staticmethod
    def _labels(
        tokenizer: Any, model: Any, pairs: Sequence[tuple[str, int]], statements: Sequence[str], window: int
    ) -> Iterator[tuple[int, int]]:
        """(pair, label) for each window of each pair."""
        import torch

        for first in range(0, len(pairs), AT_ONCE):
            batch = pairs[first : first + AT_ONCE]
            encoded = tokenizer(
                [premise for premise, _ in batch],
                [statements[i] for _, i in batch],
                truncation="only_first",
                max_length=window,
                stride=window // 8,
                return_overflowing_tokens=True,
                padding=True,
                return_tensors="pt",
            )
            owners = encoded.pop("overflow_to_sample_mapping").tolist()
            for start in range(0, len(owners), AT_ONCE):
                part = {name: rows[start : start + AT_ONCE] for name, rows in encoded.items()}
                with torch.inference_mode():
                    labels = model(**part).logits.argmax(dim=-1).tolist()
                yield from zip((first + o for o in owners[start : start + AT_ONCE]), labels, strict=True)


def _load(name: str) -> tuple[Any, Any, int, int]:
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    place = _locate(name)
    auto: Any = AutoModelForSequenceClassification
    try:
        with quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
            model, report = auto.from_pretrained(
                place, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
    except Exception as error:  # transformers' own tree, and that of every library below it
        if isinstance(error, OSError) and not Path(place).is_dir():
            raise not_on_hub(name, error, SETTING, _A_FOLDER) from None
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{SETTING}: {name} can't be loaded from {place}: {first}",
            "it needs a sequence classification model (…ForSequenceClassification)",
        ) from None
    if report["missing_keys"]:
        made_as = ", ".join(model.config.architectures or []) or model.config.model_type
        raise ModelMismatch(
            f"{SETTING}: {name} is a {made_as}: the weights of a classifier aren't in its files "
            f"({sorted(report['missing_keys'])[0]}, …)",
            "take a sequence classification model trained on natural language inference (MNLI, SNLI)",
        )
    label = entailment_label(name, model.config.id2label)
    window = getattr(model.config, "max_position_embeddings", 0) or UNKNOWN_WINDOW
    return tokenizer, model.eval(), min(window, int(min(tokenizer.model_max_length, window))), label


def _locate(name: str) -> str:
    """A folder, or a hub name."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelNotFound(f"{SETTING}: the folder {path} holds no config.json", f"give {_A_FOLDER}")
        return str(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise ModelNotFound(f"{SETTING}: there is no folder {name}", f"give {_A_FOLDER}; or a hub name")
    return name


def entailment_label(name: str, labels: dict[int, str]) -> int:
    """The index of the one label that means entailment.

    >>> entailment_label("m", {0: "CONTRADICTION", 1: "neutral", 2: "Entailment"})
    2
    >>> entailment_label("m", {0: "not_entailment", 1: "entailment"})
    1
    """
    found = [i for i, label in labels.items() if re.match(r"\W*entail", str(label), re.IGNORECASE)]
    if len(found) != 1:
        known = ", ".join(str(labels[i]) for i in sorted(labels))
        what = "none of which is entailment" if not found else "more than one of which is entailment"
        raise ModelMismatch(
            f"{SETTING}: {name} has the labels {known}, {what}",
            "take a model trained on natural language inference, or name its labels in config.json (id2label)",
        )
    return int(found[0])
