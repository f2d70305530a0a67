"""What `retrieve.rerank` names: a function from a question and texts to a relevance of each, 0..1."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from rag.errors import ModelMismatch, ModelNotFound, brief
from rag.read.passage_reader import PassageReader

Rerank = Callable[[str, Sequence[str]], list[float]]
RANKS = (
    "name a folder with a saved CrossEncoder, or a model of the hub while there is a network; "
    "or set retrieve.rerank: none | builtin"
)


def make_rerank(
    name: str, reader: Callable[[], PassageReader], find: Callable[[str], Path], device: str = "cpu"
) -> Rerank | None:
    """`none`, `builtin` (the embedded reader), or the path or hub name of a cross-encoder, whose files `find` finds.
    Loads nothing yet."""
    if name == "none":
        return None
    if name == "builtin":
        return lambda question, texts: [sigmoid(r.relevance) for r in reader().read(question, texts)]
    return CrossEncoders(name, find, device)


class CrossEncoders:
    """Any sentence-transformers CrossEncoder with one output. Pairs are sorted by length, so little is padded."""

    def __init__(self, name: str, find: Callable[[str], Path], device: str) -> None:
        self.name, self.device = name, device
        self._find = find
        self._lock = threading.Lock()

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import CrossEncoder

        folder = self._find(self.name)
        try:
            model = CrossEncoder(str(folder), device=self.device)
        except Exception as error:  # whatever the hub, safetensors or the model's own code raise
            raise ModelNotFound(
                f"retrieve.rerank: no cross-encoder at {self.name!r} ({brief(error, named=True)})", RANKS
            ) from error
        if model.num_labels != 1:
            raise ModelMismatch(
                f"retrieve.rerank: {self.name} has {model.num_labels} outputs, a reranker has one",
                "name a model made for ranking, such as cross-encoder/ms-marco-MiniLM-L6-v2",
            )
        return model

    def __call__(self, question: str, texts: Sequence[str]) -> list[float]:
        import torch

        with self._lock:
            scores = self._model.predict(
                [(question, t) for t in texts], activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
            )
        return [float(s) for s in np.asarray(scores, dtype=np.float64)]


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-np.float64(x))))
