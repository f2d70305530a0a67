"""The forward pass of a BERT encoder (Devlin et al. 2019, arXiv:1810.04805), twice: in numpy and in torch.

Why our own: a question needs one short pass, and importing torch and transformers for it costs seconds. The numpy
pass answers a cold `rag search` without either; the torch pass embeds folders, in bfloat16 where the processor has
it. Both read the checkpoint's own tensors and are held against sentence-transformers by a test (cosine >= 0.9999).
What is here: absolute positions, exact GELU, post-layer-norm, token type 0. Any other architecture goes through
sentence-transformers itself.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """The numbers of a BERT checkpoint's config.json that the forward pass needs."""

    hidden: int
    layers: int
    heads: int
    eps: float

    @staticmethod
    def read(folder: Path) -> Shape | None:
        """None when the checkpoint isn't a BERT that this module computes."""
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        plain = (
            config.get("model_type") == "bert"
            and config.get("hidden_act") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
            and (folder / "model.safetensors").is_file()
        )
        if not plain:
            return None
        return Shape(
            config["hidden_size"], config["num_hidden_layers"], config["num_attention_heads"], config["layer_norm_eps"]
        )


class Bert:
    """One checkpoint folder. `pool` is "mean" or "cls"; `normalise` scales each vector to length 1."""

    def __init__(self, folder: Path, shape: Shape, pool: str, normalise: bool) -> None:
        self.folder, self.shape, self.pool, self.normalise = folder, shape, pool, normalise

    @cached_property
    def weights(self) -> dict[str, Floats]:
        from safetensors import safe_open

        with safe_open(self.folder / "model.safetensors", "np") as file:
            names = [n for n in file.keys() if not n.endswith("position_ids")]  # noqa: SIM118  (not a mapping)
            return {n.removeprefix("bert."): file.get_tensor(n).astype(np.float32, copy=False) for n in names}

    # ---- numpy: nothing padded ----------------------------------------------------------------------------

    def encode(self, batch: Sequence[Sequence[int]]) -> Floats:
        """Token ids with special tokens, one list a text -> (len(batch), hidden) float32.

        The texts stand one behind the other, so each weight is read once and no token is padding; only attention
        is done text by text.
        """
        with self._one_thread.limit(limits=1):
            return self._encode(batch)

    @cached_property
    def _one_thread(self) -> Any:
        """BLAS threads on products this small wait for each other: 3-5x slower when a core is busy (measured)."""
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController().select(user_api="blas")

    def _encode(self, batch: Sequence[Sequence[int]]) -> Floats:
        w, s = self.weights, self.shape
        ends = np.cumsum([len(ids) for ids in batch])
        places = [slice(end - len(ids), end) for ids, end in zip(batch, ends, strict=True)]
        positions = np.concatenate([np.arange(len(ids)) for ids in batch])
        x = w["embeddings.word_embeddings.weight"][np.concatenate([np.asarray(ids) for ids in batch])]
        x = x + w["embeddings.position_embeddings.weight"][positions] + w["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")  # (tokens, hidden)
        for layer in range(s.layers):
            p = f"encoder.layer.{layer}."
            q, k, v = (
                self._linear(x, f"{p}attention.self.{name}").reshape(len(x), s.heads, -1).transpose(1, 0, 2)
                for name in ("query", "key", "value")
            )  # each (heads, tokens, head_dim)
            mixed = np.concatenate([_attend(q[:, i], k[:, i], v[:, i]) for i in places])
            x = self._norm(x + self._linear(mixed, f"{p}attention.output.dense"), f"{p}attention.output.LayerNorm")
            inner = _gelu(self._linear(x, f"{p}intermediate.dense"))
            x = self._norm(x + self._linear(inner, f"{p}output.dense"), f"{p}output.LayerNorm")
        pooled = np.stack([x[i].mean(axis=0) if self.pool == "mean" else x[i.start] for i in places])
        if self.normalise:
            pooled /= np.maximum(np.linalg.norm(pooled, axis=1, keepdims=True), 1e-12)
        out: Floats = pooled
        return out

    def _linear(self, x: Floats, name: str) -> Floats:
        # W @ x.T, not x @ W.T: with few rows BLAS is 1.5x faster this way round (measured, 8 to 40 tokens).
        out: Floats = (self.weights[f"{name}.weight"] @ x.T).T + self.weights[f"{name}.bias"]
        return out

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        out: Floats = centred / np.sqrt(variance + self.shape.eps)
        return out * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    # ---- torch: batches, padded to their longest ----------------------------------------------------------

    def torch_encoder(self, dtype: str, device: str) -> Callable[[Sequence[Sequence[int]]], Floats]:
        """A function from a batch of id lists to (batch, hidden) float32. `dtype` is a torch dtype's name."""
        import torch
        from torch.nn import functional as F  # noqa: N812  (its usual name)

        s = self.shape
        kind = getattr(torch, dtype)
        w = {name: torch.from_numpy(value).to(device, kind) for name, value in self.weights.items()}
        stacked = [  # one product for query, key and value
            (
                torch.cat([w[f"encoder.layer.{i}.attention.self.{n}.weight"] for n in ("query", "key", "value")]),
                torch.cat([w[f"encoder.layer.{i}.attention.self.{n}.bias"] for n in ("query", "key", "value")]),
            )
            for i in range(s.layers)
        ]

        def linear(x: Any, name: str) -> Any:
            return F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm(x: Any, name: str) -> Any:
            return F.layer_norm(x, (s.hidden,), w[f"{name}.weight"], w[f"{name}.bias"], s.eps)

        def forward(batch: Sequence[Sequence[int]]) -> Floats:
            lengths = [len(ids) for ids in batch]
            longest = max(lengths)
            padded = np.zeros((len(batch), longest), np.int64)
            for row, ids in enumerate(batch):
                padded[row, : len(ids)] = ids
            real = torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
            real = real.to(device)
            mask = None if min(lengths) == longest else real[:, None, None, :]
            x = w["embeddings.word_embeddings.weight"][torch.from_numpy(padded).to(device)]
            x = (
                x
                + w["embeddings.position_embeddings.weight"][:longest]
                + w["embeddings.token_type_embeddings.weight"][0]
            )
            x = norm(x, "embeddings.LayerNorm")  # (batch, longest, hidden)
            for i in range(s.layers):
                p = f"encoder.layer.{i}."
                qkv = F.linear(x, *stacked[i]).view(len(batch), longest, 3, s.heads, -1).permute(2, 0, 3, 1, 4)
                mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=mask)
                mixed = mixed.transpose(1, 2).reshape(len(batch), longest, s.hidden)
                x = norm(x + linear(mixed, f"{p}attention.output.dense"), f"{p}attention.output.LayerNorm")
                x = norm(
                    x + linear(F.gelu(linear(x, f"{p}intermediate.dense")), f"{p}output.dense"), f"{p}output.LayerNorm"
                )
            x = x.float()
            if self.pool == "mean":
                pooled = (x * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
            else:
                pooled = x[:, 0]
            if self.normalise:
                pooled = F.normalize(pooled, dim=1)
            out: Floats = pooled.cpu().numpy()
            return out

        def encode(batch: Sequence[Sequence[int]]) -> Floats:
            with torch.inference_mode():
                return forward(batch)

        return encode


def _attend(q: Floats, k: Floats, v: Floats) -> Floats:
    """Softmax attention of one text: each (heads, n, head_dim) -> (n, hidden)."""
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    scores /= scores.sum(axis=-1, keepdims=True)
    out: Floats = (scores @ v).transpose(1, 0, 2).reshape(q.shape[1], -1)
    return out


def _gelu(x: Floats) -> Floats:
    """x * Phi(x) with erf by Abramowitz & Stegun 7.1.26 (|error| <= 1.5e-7): scipy costs 0.4 s to import."""
    z = np.abs(x) * np.float32(1 / math.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t
    erf = np.copysign(1 - poly * np.exp(-z * z), x)
    out: Floats = (0.5 * x * (1 + erf)).astype(np.float32, copy=False)
    return out
