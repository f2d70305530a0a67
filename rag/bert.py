"""The forward pass of a BERT encoder (Devlin et al. 2019, arXiv:1810.04805), twice: in numpy and in torch.

Why our own: a question needs one short pass, and importing torch and transformers for it costs seconds. The numpy
pass answers a cold `rag search` without either; the torch pass embeds folders, in bfloat16 where the processor has
it. Both read the checkpoint's own tensors and are held against sentence-transformers by a test (cosine >= 0.9999).
What is here: absolute positions, exact GELU, post-layer-norm. Any other architecture goes through
sentence-transformers itself. Two rooms compute with it: rag.embed (a text -> a vector) and rag.read (a question and a
passage -> a state of each token).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

PART_TOKENS = 128  # fewer aren't worth a thread
COLUMNS = 4  # tokens are filled up to a multiple: BLAS computes 16 columns faster than 13, 14 or 15 (measured)

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


def read_weights(file: Path) -> dict[str, Floats]:
    """The tensors of a safetensors file in float32, under the names that a bare encoder has."""
    from safetensors import safe_open

    with safe_open(file, "np") as tensors:
        names = [n for n in tensors.keys() if not n.endswith("position_ids")]  # noqa: SIM118  (not a mapping)
        return {n.removeprefix("bert."): tensors.get_tensor(n).astype(np.float32, copy=False) for n in names}


class Bert:
    """One encoder. `load` gives its tensors, at the first use. `pool` is "mean" or "cls"; `normalise` scales each
    vector to length 1."""

    def __init__(self, load: Callable[[], dict[str, Floats]], shape: Shape, pool: str, normalise: bool) -> None:
        self._load, self.shape, self.pool, self.normalise = load, shape, pool, normalise

    @cached_property
    def weights(self) -> dict[str, Floats]:
        return self._load()

    # ---- numpy: nothing padded ----------------------------------------------------------------------------

    def encode(self, batch: Sequence[Sequence[int]], threads: int = 1) -> Floats:
        """Token ids with special tokens, one list a text -> (len(batch), hidden) float32."""
        out = np.empty((len(batch), self.shape.hidden), np.float32)

        def keep(row: int, states: Floats) -> None:
            out[row] = states.mean(axis=1) if self.pool == "mean" else states[:, 0]

        self._run(batch, None, threads, keep)
        if self.normalise:
            out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return out

    def states(
        self, batch: Sequence[Sequence[int]], second: Sequence[int] | None = None, threads: int = 1
    ) -> list[Floats]:
        """The last layer's state of each token: for each text (hidden, tokens) float32.

        second[i]: where the second part of text i begins, from there on tokens are of type 1 (None: all of type 0).
        """
        out: list[Floats] = [np.empty((0, 0), np.float32)] * len(batch)
        self._run(batch, second, threads, out.__setitem__)
        return out

    def _run(
        self,
        batch: Sequence[Sequence[int]],
        second: Sequence[int] | None,
        threads: int,
        keep: Callable[[int, Floats], None],
    ) -> None:
        """Call `keep` with each text's row and states.

        The texts stand one behind the other, so each weight is read once and no token is padding; only attention
        is done text by text. With several `threads` each takes a part of the texts, where there are enough of them:
        they meet once, at the end.
        """
        parts = max(1, min(threads, len(batch), sum(map(len, batch)) // PART_TOKENS))
        order = sorted(range(len(batch)), key=lambda i: -len(batch[i]))
        shares = [order[i::parts] for i in range(parts)]

        def work(rows: list[int]) -> None:
            states, places = self._forward([batch[i] for i in rows], second and [second[i] for i in rows])
            for row, place in zip(rows, places, strict=True):
                keep(row, states[:, place])

        with self._one_thread.limit(limits=1):
            _ = self._stacked  # made once, before the threads ask for it
            if parts == 1:
                work(shares[0])
            else:
                with ThreadPoolExecutor(parts, "encode") as pool:
                    list(pool.map(work, shares))

    @cached_property
    def _one_thread(self) -> Any:
        """BLAS threads on products this small wait for each other: 3-5x slower when a core is busy (measured)."""
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController().select(user_api="blas")

    def _forward(self, batch: Sequence[Sequence[int]], second: Sequence[int] | None) -> tuple[Floats, list[slice]]:
        """(hidden, columns) and the columns of each text."""
        w, s = self.weights, self.shape
        ends = np.cumsum([len(ids) for ids in batch])
        places = [slice(int(end) - len(ids), int(end)) for ids, end in zip(batch, ends, strict=True)]
        spare = -int(ends[-1]) % COLUMNS  # columns that nobody reads
        tokens = np.concatenate([*(np.asarray(ids) for ids in batch), np.zeros(spare, np.int64)])
        positions = np.concatenate([*(np.arange(len(ids)) for ids in batch), np.zeros(spare, np.int64)])
        types = np.zeros(len(tokens), np.int64)
        for place, begin in zip(places, second or (), strict=False):
            types[place.start + begin : place.stop] = 1
        x = w["embeddings.word_embeddings.weight"][tokens] + w["embeddings.position_embeddings.weight"][positions]
        x += w["embeddings.token_type_embeddings.weight"][types]
        # One column a token from here on: with few of them, BLAS is faster at W @ x than at x @ W.T (measured).
        x = self._norm(np.ascontiguousarray(x.T), "embeddings.LayerNorm")  # (hidden, columns)
        for layer, (qkv_weight, qkv_bias) in enumerate(self._stacked):
            p = f"encoder.layer.{layer}."
            qkv = qkv_weight @ x
            qkv += qkv_bias
            qkv = qkv.reshape(3, s.heads, s.hidden // s.heads, -1)
            mixed = np.zeros_like(x)
            for place in places:
                mixed[:, place] = _attend(*qkv[..., place]).reshape(s.hidden, -1)
            y = self._linear(mixed, f"{p}attention.output.dense")
            y += x
            x = self._norm(y, f"{p}attention.output.LayerNorm")
            y = self._linear(_gelu(self._linear(x, f"{p}intermediate.dense")), f"{p}output.dense")
            y += x
            x = self._norm(y, f"{p}output.LayerNorm")
        return x, places

    @cached_property
    def _stacked(self) -> list[tuple[Floats, Floats]]:
        """Each layer's weight and bias of query, key and value as one: (3 * hidden, hidden), (3 * hidden, 1)."""
        places = [f"encoder.layer.{i}.attention.self." for i in range(self.shape.layers)]
        parts = ("query", "key", "value")
        return [
            (
                np.concatenate([self.weights[f"{p}{n}.weight"] for n in parts]),
                np.concatenate([self.weights[f"{p}{n}.bias"] for n in parts])[:, None],
            )
            for p in places
        ]

    def _linear(self, x: Floats, name: str) -> Floats:
        out: Floats = self.weights[f"{name}.weight"] @ x
        out += self.weights[f"{name}.bias"][:, None]
        return out

    def _norm(self, x: Floats, name: str) -> Floats:
        """Of each column, in place."""
        x -= x.mean(axis=0)
        x /= np.sqrt(np.einsum("ij,ij->j", x, x) / np.float32(len(x)) + np.float32(self.shape.eps))
        x *= self.weights[f"{name}.weight"][:, None]
        x += self.weights[f"{name}.bias"][:, None]
        return x

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
    """Softmax attention of one text: each (heads, head_dim, n) -> the same."""
    scores = q.transpose(0, 2, 1) @ k  # (heads, n of q, n of k)
    scores *= np.float32(1 / math.sqrt(q.shape[1]))
    scores -= scores.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=-1, keepdims=True)
    out: Floats = v @ scores.transpose(0, 2, 1)
    return out


_ERF = tuple(np.float32(c) for c in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592))


def _gelu(x: Floats) -> Floats:
    """x * Phi(x) with erf by Abramowitz & Stegun 7.1.26 (|error| <= 1.5e-7): scipy costs 0.4 s to import."""
    z = np.abs(x)
    z *= np.float32(1 / math.sqrt(2))
    t = z * np.float32(0.3275911)
    t += 1
    np.divide(1, t, out=t)
    tail = t * _ERF[0]
    for c in _ERF[1:]:
        tail += c
        tail *= t
    np.exp(-z * z, out=z)
    tail *= z  # 1 - erf(|x| / sqrt 2)
    out: Floats = np.copysign(1 - tail, x)
    out += 1
    out *= x
    out *= np.float32(0.5)
    return out
