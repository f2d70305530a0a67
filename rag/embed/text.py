"""TextEmbedder: texts -> unit vectors, with every token counted and none cut.

Batches are sorted by token count over everything given and packed to a token budget, so next to nothing is
padding; each core runs its own batches with one thread (threads inside one product wait for each other, and
collapse when another process has a core). Measured in benchmarks/embedding.py.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

import numpy as np

from rag.bert import Bert, Shape, read_weights
from rag.config import Embed
from rag.embed.resolve import ResolvedModel, resolve_model
from rag.errors import ModelMismatch, ModelNotFound, QueryError
from rag.machine import cores
from rag.tokens import HFTokenizer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

NUMPY_TOKENS = 3000  # up to so many tokens the numpy pass is done before torch has been imported
CALIBRATE_TOKENS = 2000  # a job smaller than this isn't worth comparing precisions for
QUERIES = 1024  # vectors of questions that are kept: 1.5 MB at 384 dimensions
Pooling = Literal["mean", "cls", "max"]
Progress = Callable[[int], None]  # called with the number of tokens just embedded


class TextEmbedder:
    """A sentence-embedding model. Nothing is loaded until it is used. Safe to share between threads."""

    def __init__(self, config: Embed | None = None) -> None:
        self.config = config or Embed()
        self._lock = threading.Lock()
        self._encoder: Callable[[Sequence[Sequence[int]]], Floats] | None = None
        self._pool: ThreadPoolExecutor | None = None
        self.precision: str | None = None  # decided at the first large job
        self._query = lru_cache(maxsize=QUERIES)(self._query_vector)

    # ---- what the model is --------------------------------------------------------------------------------

    @cached_property
    def model(self) -> ResolvedModel:
        return resolve_model(self.config.model, self.config.look_in)

    @cached_property
    def tokenizer(self) -> HFTokenizer:
        file = self.model.folder / "tokenizer.json"
        if not file.is_file():
            raise ModelNotFound(
                f"{self.model.folder} has no tokenizer.json",
                "save the model once with a fast tokenizer: AutoTokenizer.from_pretrained(…).save_pretrained(…)",
            )
        return HFTokenizer(file, self.model.name)

    @cached_property
    def special_tokens(self) -> int:
        """How many tokens the model adds to each text ([CLS] and [SEP]: 2)."""
        return int(self.tokenizer.backend.num_special_tokens_to_add(False))

    @cached_property
    def limit(self) -> int:
        """Tokens the model reads at most, special ones included (all-MiniLM-L6-v2: 256)."""
        settings = _read_json(self.model.folder / "sentence_bert_config.json")
        positions = _read_json(self.model.folder / "config.json").get("max_position_embeddings", 512)
        return int(settings.get("max_seq_length") or positions)

    @cached_property
    def dimension(self) -> int:
        if self._bert is not None:
            return self._bert.shape.hidden
        model = self._sentence_transformer
        name = "get_embedding_dimension"  # from sentence-transformers 5.3 on
        ask = getattr(model, name, None) or model.get_sentence_embedding_dimension
        return int(ask())

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Every setting that changes what a vector means. Precision isn't one: it moves the third decimal only."""
        return {
            "model": self.model.name,
            "weights_sha256": self.model.weights_sha256,
            "dimension": self.dimension,
            "pooling": self._pooling,
            "normalise": self._normalise,
            "query_prefix": self.config.query_prefix,
            "passage_prefix": self.config.passage_prefix,
        }

    @cached_property
    def _modules(self) -> list[str]:
        """Module names of the sentence-transformers pipeline; a plain transformers folder is mean-pooled."""
        listed = self.model.folder / "modules.json"
        if not listed.is_file():
            return ["Transformer", "Pooling"]
        return [str(m["type"]).rpartition(".")[2] for m in json.loads(listed.read_text(encoding="utf-8"))]

    @cached_property
    def _pooling(self) -> str:
        settings = _read_json(self.model.folder / "1_Pooling" / "config.json")
        modes = [k.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
                 for k, on in settings.items() if k.startswith("pooling_mode_") and on is True]  # fmt: skip
        mode = settings.get("pooling_mode")  # the newer single key
        if isinstance(mode, str):
            modes = [mode]
        return "+".join(modes) or "mean"

    @cached_property
    def _normalise(self) -> bool:
        return "Normalize" in self._modules

    @cached_property
    def _bert(self) -> Bert | None:
        """The light path, when the model is a BERT with plain mean or cls pooling; else sentence-transformers."""
        shape = Shape.read(self.model.folder)
        plain = set(self._modules) <= {"Transformer", "Pooling", "Normalize"} and self._pooling in {"mean", "cls"}
        file = self.model.folder / "model.safetensors"
        return Bert(lambda: read_weights(file), shape, self._pooling, self._normalise) if shape and plain else None

    @cached_property
    def _sentence_transformer(self) -> Any:
        from sentence_transformers import SentenceTransformer

        try:
            return SentenceTransformer(str(self.model.folder), device=self.config.device, local_files_only=True)
        except Exception as error:
            raise ModelMismatch(
                f"{self.model.folder} can't be loaded as a sentence-embedding model: {error}",
                "embed.model must name a sentence-transformers model",
            ) from error

    # ---- vectors ------------------------------------------------------------------------------------------

    def query_vector(self, text: str) -> Floats:
        """(dimension,) float32, read-only; a question that was asked lately isn't embedded again."""
        return self._query(text)

    def forget_questions(self) -> None:
        """So that the next ones take as long as new ones do: for whoever measures."""
        self._query.cache_clear()

    def _query_vector(self, text: str) -> Floats:
        """By the numpy pass, so a cold question imports no torch; or by the torch pass once it is there in bfloat16,
        which reads half the bytes: 6 ms instead of 11 (measured)."""
        vector: Floats = self._vectors([self.config.query_prefix + text], None, light=True)[0]
        vector.flags.writeable = False
        return vector

    def passage_vectors(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        """(len(texts), dimension) float32, in the order given, whatever the batching."""
        prefix = self.config.passage_prefix
        return self._vectors([prefix + t for t in texts] if prefix else texts, progress)

    def embed_query(self, text: str) -> list[float]:
        return [float(x) for x in self.query_vector(text)]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.passage_vectors(texts).tolist()
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> list[Floats]:
        """The last layer's state of each token, the model's special ones included: (tokens, dimension) float32 a text.

        Raises QueryError for a text of more tokens than the model reads at once: the states of a window don't know the
        window before.
        """
        encoded = self.tokenizer.encode_batch(texts)
        for text, ids in zip(texts, encoded, strict=True):
            if len(ids) > self.limit:
                raise QueryError(
                    f"{text[:30]!r}… has {len(ids):,} tokens, {self.model.name} reads {self.limit} at once",
                    "take sentences or shorter texts",
                )
        return self._states(encoded)

    def pooled_vectors(self, texts: Sequence[str], pooling: Pooling) -> Floats:
        """(len(texts), dimension) float32: the tokens' states summed up in another way than the model's own, scaled to
        length 1 where the model does that. The first token is the one that `cls` takes."""

        def run(windows: list[list[int]]) -> Floats:
            return np.stack([_pool(states, pooling) for states in self._states(windows)])

        found = self._merged(texts, run)
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12) if self._normalise else found

    def _states(self, windows: list[list[int]]) -> list[Floats]:
        if self._bert is not None:
            return [np.ascontiguousarray(s.T) for s in self._bert.states(windows, threads=self._threads)]
        import torch

        st = self._sentence_transformer
        with self._lock, torch.inference_mode():  # one at a time: nothing is padded, so nothing has to be masked
            out = []
            for window in windows:
                ids = torch.tensor([window], device=st.device)
                features = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
                out.append(st[0](features)["token_embeddings"][0].float().cpu().numpy())
        return out

    def _vectors(self, texts: Sequence[str], progress: Progress | None, light: bool = False) -> Floats:
        return self._merged(texts, lambda windows: self._run(windows, progress, light))

    def _merged(self, texts: Sequence[str], run: Callable[[list[list[int]]], Floats]) -> Floats:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        windows, owner = self._windows(self.tokenizer.encode_batch(texts))
        vectors = run(windows)
        if len(windows) == len(texts):
            return vectors
        # A text longer than the model reads: the mean of its windows, each weighted by its tokens. Nothing is cut.
        weights = np.asarray([len(w) for w in windows], np.float32)
        merged = np.zeros((len(texts), vectors.shape[1]), np.float32)
        np.add.at(merged, owner, vectors * weights[:, None])
        if self._normalise:
            merged /= np.maximum(np.linalg.norm(merged, axis=1, keepdims=True), 1e-12)
        else:
            merged /= np.bincount(owner, weights).astype(np.float32)[:, None]
        return merged

    def _windows(self, encoded: list[list[int]]) -> tuple[list[list[int]], list[int]]:
        """Cut id lists over the limit into windows with their own special tokens; owner[i] is window i's text."""
        if max(map(len, encoded)) <= self.limit:
            return encoded, list(range(len(encoded)))
        empty = self.tokenizer.backend.encode("").ids
        head, tail = empty[: len(empty) // 2], empty[len(empty) // 2 :]
        room = self.limit - len(empty)
        windows: list[list[int]] = []
        owner: list[int] = []
        for row, ids in enumerate(encoded):
            if len(ids) <= self.limit:
                windows.append(ids)
                owner.append(row)
                continue
            inner = ids[len(head) : len(ids) - len(tail)]
            for start in range(0, len(inner), room):
                windows.append(head + inner[start : start + room] + tail)
                owner.append(row)
        return windows, owner

    def _run(self, windows: list[list[int]], progress: Progress | None, light: bool) -> Floats:
        total = sum(map(len, windows))
        if self._bert is None:
            return self._run_sentence_transformer(windows, progress)
        small = total <= NUMPY_TOKENS and self.config.device == "cpu"
        if (small and self._encoder is None) or (light and self.precision != "bfloat16"):
            out = self._bert.encode(windows, self._threads)
            if progress:
                progress(total)
            return out
        encoder, pool = self._torch(windows, total)
        out = np.empty((len(windows), self.dimension), np.float32)
        # Longest first: a batch that is too big for memory fails at once, and the last ones to finish are short.
        order = sorted(range(len(windows)), key=lambda i: -len(windows[i]))
        waiting: dict[Future[Floats], list[int]] = {}
        batches = pack(order, [len(w) for w in windows], self.config.batch_tokens)

        def collect(return_when: str) -> None:
            for future in wait(waiting, return_when=return_when).done:
                rows = waiting.pop(future)
                out[rows] = future.result()
                if progress:
                    progress(sum(len(windows[r]) for r in rows))

        try:
            for rows in batches:
                waiting[pool.submit(encoder, [windows[r] for r in rows])] = rows
                if len(waiting) >= 2 * self._threads:
                    collect(FIRST_COMPLETED)
            collect("ALL_COMPLETED")
        finally:
            for future in waiting:
                future.cancel()
        return out

    def _run_sentence_transformer(self, windows: list[list[int]], progress: Progress | None) -> Floats:
        """Through the model's own pipeline, so any architecture and any pooling is right by construction."""
        import torch

        st = self._sentence_transformer
        pad = st.tokenizer.pad_token_id or 0
        out = np.empty((len(windows), self.dimension), np.float32)
        order = sorted(range(len(windows)), key=lambda i: -len(windows[i]))
        for rows in pack(order, [len(w) for w in windows], self.config.batch_tokens):
            longest = max(len(windows[r]) for r in rows)
            ids = torch.full((len(rows), longest), pad)
            mask = torch.zeros((len(rows), longest), dtype=torch.long)
            for i, r in enumerate(rows):
                ids[i, : len(windows[r])] = torch.tensor(windows[r])
                mask[i, : len(windows[r])] = 1
            with self._lock, torch.inference_mode():
                features = {"input_ids": ids.to(st.device), "attention_mask": mask.to(st.device)}
                out[rows] = st(features)["sentence_embedding"].float().cpu().numpy()
            if progress:
                progress(int(mask.sum()))
        return out

    # ---- torch, threads and precision ---------------------------------------------------------------------

    @property
    def _threads(self) -> int:
        return self.config.threads or cores()

    def _torch(
        self, windows: list[list[int]], total: int
    ) -> tuple[Callable[[Sequence[Sequence[int]]], Floats], ThreadPoolExecutor]:
        with self._lock:
            if self._pool is None:
                self._pool = _single_threaded_pool(self._threads if self.config.device == "cpu" else 1)
            if self._encoder is None:
                assert self._bert is not None
                self.precision, self._encoder = self._choose_precision(self._bert, windows, total)
            return self._encoder, self._pool

    def _choose_precision(
        self, bert: Bert, windows: list[list[int]], total: int
    ) -> tuple[str, Callable[[Sequence[Sequence[int]]], Floats]]:
        """`auto`: bfloat16 where the processor has it and it is faster on a sample. Without it, it's 100x slower."""
        wanted, device = self.config.precision, self.config.device
        if wanted != "auto":
            return wanted, bert.torch_encoder(wanted, device)
        if device == "cpu" and not bfloat16_supported():
            return "float32", bert.torch_encoder("float32", device)
        brief = bert.torch_encoder("bfloat16", device)
        if device != "cpu" or total < CALIBRATE_TOKENS:
            return "bfloat16", brief
        full = bert.torch_encoder("float32", device)
        sample = sorted(windows, key=len)[len(windows) // 2 :][:4]
        seconds = {}
        assert self._pool is not None
        for name, encode in (("float32", full), ("bfloat16", brief)):
            seconds[name] = self._pool.submit(_best_time, encode, sample).result()
        return ("bfloat16", brief) if seconds["bfloat16"] < seconds["float32"] else ("float32", full)

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                self._pool = None


def _pool(states: Floats, pooling: Pooling) -> Floats:
    """(tokens, dimension) -> (dimension,)"""
    match pooling:
        case "mean":
            return np.asarray(states.mean(axis=0))
        case "max":
            return np.asarray(states.max(axis=0))
        case "cls":
            return np.asarray(states[0])
        case _:
            assert_never(pooling)


def _single_threaded_pool(size: int) -> ThreadPoolExecutor:
    """Threads in which torch computes with one thread each; every other thread of the process keeps its number.

    torch.set_num_threads sets the calling thread's number and that of threads to come, so all of the pool is started
    at once and the number then put back: a language model that generates later must not inherit it.
    """
    import torch

    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(size, "embed")
    started = threading.Barrier(size)

    def start() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # asking for it once is what makes the thread keep its own
        started.wait()

    for future in [pool.submit(start) for _ in range(size)]:
        future.result()
    torch.set_num_threads(before)
    return pool


def _best_time(encode: Callable[[Sequence[Sequence[int]]], Floats], sample: list[list[int]]) -> float:
    """CPU seconds of this thread, the better of two after one to warm up: another process' load doesn't count."""
    best = float("inf")
    for attempt in range(3):
        start = time.thread_time()
        encode(sample)
        if attempt:
            best = min(best, time.thread_time() - start)
    return best


def bfloat16_supported() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX512-BF16 or AMX)."""
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(bool(getattr(torch.cpu, name, lambda: False)()) for name in checks)


def pack(order: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Cut `order` (longest first) into batches of at most `budget` padded tokens, each at least one row.

    >>> pack([2, 0, 1], lengths=[4, 3, 9], budget=8)
    [[2], [0, 1]]
    """
    batches: list[list[int]] = []
    longest = 0
    for row in order:
        if not batches or longest * (len(batches[-1]) + 1) > budget:
            batches.append([])
            longest = lengths[row]
        batches[-1].append(row)
    return batches


def _read_json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    data = json.loads(file.read_text(encoding="utf-8"))
    return data if isinstance(data, dict) else {}
