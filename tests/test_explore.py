"""`rag tokens` and `rag embed`: what a tokenizer and the models make of texts and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from shell import Shell

from rag.build import Rag
from rag.cli import app
from rag.embed import TextEmbedder
from rag.errors import QueryError
from rag.explore.tokens import batch

TEXTS = ["Tokenization est essentielle.", "Oui."]


@pytest.fixture(scope="module")
def minilm() -> TextEmbedder:
    return TextEmbedder()


def test_a_batch_is_padded_and_masked_as_transformers_does_it(minilm: TextEmbedder) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(str(minilm.model.folder))
    want = theirs(TEXTS, padding="max_length", max_length=12, truncation=True, return_tensors="np")
    found = batch(TEXTS, minilm.tokenizer, pad_to=12)
    assert found.shape == (2, 12)
    assert [[t.id for t in row.tokens] for row in found.rows] == want["input_ids"].tolist()
    assert [[t.attention for t in row.tokens] for row in found.rows] == want["attention_mask"].tolist()
    assert found.padding == int((want["attention_mask"] == 0).sum())


def test_truncation_says_how_much_it_took(minilm: TextEmbedder) -> None:
    (row,) = batch(TEXTS[:1], minilm.tokenizer, max_length=5).rows
    assert [t.text for t in row.tokens] == ["[CLS]", "token", "##ization", "est", "[SEP]"]
    assert row.cut == 4
    assert minilm.tokenizer.encode_batch(TEXTS)[0][-1] == 102  # the product's own tokenizer still cuts nothing
    assert len(minilm.tokenizer.encode_batch(TEXTS)[0]) == 9


@given(st.text(max_size=60), st.integers(3, 30))
def test_tokens_stand_where_they_say(text: str, limit: int) -> None:
    model = TextEmbedder()
    (row,) = batch([text], model.tokenizer, max_length=limit).rows
    assert len(row.tokens) <= limit
    assert len(row.tokens) + row.cut == len(model.tokenizer.encode_batch([text])[0])
    places = [(t.start, t.end) for t in row.tokens if not t.special]
    assert all(0 <= a <= b <= len(text) for a, b in places)
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pad_to": 0}, "pad-to is 0"),
        ({"max_length": 2}, "no room beside 2 special tokens"),
        ({"pad_to": 9, "max_length": 8}, "pad-to 9 is more than max-length 8"),
    ],
)
def test_lengths_that_leave_no_room(minilm: TextEmbedder, options: dict[str, int], told: str) -> None:
    with pytest.raises(QueryError, match=told):
        batch(TEXTS, minilm.tokenizer, **options)


def test_pooling_is_what_it_says(minilm: TextEmbedder) -> None:
    (states,) = minilm.token_vectors(["a red bicycle"])
    assert states.shape == (5, 384)
    for pooling, want in (("mean", states.mean(axis=0)), ("max", states.max(axis=0)), ("cls", states[0])):
        found = minilm.pooled_vectors(["a red bicycle"], pooling)[0]  # type: ignore[arg-type]
        assert found == pytest.approx(want / np.linalg.norm(want), abs=1e-5)
    own = minilm.passage_vectors(["a red bicycle"])[0]
    assert minilm.pooled_vectors(["a red bicycle"], "mean")[0] == pytest.approx(own, abs=1e-5)
    with pytest.raises(QueryError, match="reads 256 at once"):
        minilm.token_vectors(["word " * 400])


def test_transformers_and_sentence_transformers_give_the_same_vectors(minilm: TextEmbedder) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers import AutoModel, AutoTokenizer

    texts = [*TEXTS, "Ein rotes Fahrrad.", "红色的自行车"]
    folder = str(minilm.model.folder)
    tokens = AutoTokenizer.from_pretrained(folder)(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        states = AutoModel.from_pretrained(folder)(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    plain = ((states * mask).sum(1) / mask.sum(1)).numpy()
    plain /= np.linalg.norm(plain, axis=1, keepdims=True)
    theirs = SentenceTransformer(folder, device="cpu").encode(texts, normalize_embeddings=True)
    ours = minilm.passage_vectors(texts)
    assert (plain * ours).sum(axis=1).min() >= 0.9999
    assert (theirs * ours).sum(axis=1).min() >= 0.9999


# ---- on the command line --------------------------------------------------------------------------------------------


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def things(shell: Shell) -> Path:
    import soundfile
    from PIL import Image

    Image.linear_gradient("L").convert("RGB").save(shell.cwd / "fade.png")
    tone = 0.3 * np.sin(np.arange(16000) * 440 * 2 * np.pi / 16000)
    soundfile.write(shell.cwd / "tone.wav", tone, 16000)
    (shell.cwd / "notes.md").write_text("# Notes\n\n" + "A heron stands in the water. " * 100, encoding="utf-8")
    return shell.cwd


def test_each_kind_of_thing_is_a_matrix(shell: Shell, things: Path) -> None:
    out = things / "v.npz"
    names = ["a red bicycle", *(str(things / n) for n in ("notes.md", "fade.png", "tone.wav"))]
    told = shell("embed", *names, "--out", out).stdout
    assert "text  2 x 384 float32  all-MiniLM-L6-v2" in told
    assert "1 longer than the 256 tokens" in told
    assert "descriptor" in told
    held = np.load(out, allow_pickle=False)
    assert held["text"].shape == (2, 384)
    assert held["text_names"].tolist() == names[:2]
    assert held["image"].shape[0] == held["audio"].shape[0] == 1
    with Rag.open() as rag:
        assert held["text"][0] == pytest.approx(rag.embedder.passage_vectors(["a red bicycle"])[0], abs=1e-5)


def test_forms_of_files_hold_the_same(shell: Shell, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from pyarrow import parquet

    for form in ("npy", "json", "csv", "parquet"):
        shell("embed", "a heron", "a nail", "--out", tmp_path / f"v.{form}")
    want = np.load(tmp_path / "v.npy")
    (told,) = json.loads((tmp_path / "v.json").read_text(encoding="utf-8"))
    assert told["names"] == ["a heron", "a nail"]
    rows = list(csv.reader((tmp_path / "v.csv").open(encoding="utf-8")))
    for found in (
        told["vectors"],
        [[float(x) for x in row[1:]] for row in rows[1:]],
        parquet.read_table(tmp_path / "v.parquet")["vector"].to_pylist(),
    ):
        assert np.asarray(found) == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["nofile.md"], "no file nofile.md"),
        ([" "], "an empty text has no vector"),
        (["a", "--out", "v.xyz"], "unknown format '.xyz'"),
        (["a", "fade.png", "--out", "v.npy"], "v.npy holds one matrix, and there are 2"),
        (["broken.png"], "broken.png"),
        (["a", "--level", "token", "--pooling", "max"], "tokens aren't pooled"),
        (["a", "--out", "nowhere/v.npz"], "no folder nowhere"),
    ],
)
def test_what_cant_be_embedded_is_told(
    things: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], told: str
) -> None:
    monkeypatch.chdir(things)
    (things / "broken.png").write_text("this is text", encoding="utf-8")
    done = CliRunner().invoke(app, ["embed", *args])
    assert done.exit_code in (1, 2)
    assert told in done.output
    assert not [p for p in things.iterdir() if "v." in p.name]


def test_tokens_of_two_tokenizers(shell: Shell) -> None:
    told = json.loads(shell("tokens", *TEXTS, "--pad-to", 12, "--json").stdout)
    assert told[0]["shape"] == [2, 12]
    done = shell("tokens", "a", "--model", "tiktoken:gpt9")
    assert (done.returncode, "unknown tokenizer" in done.stderr) == (2, True)
