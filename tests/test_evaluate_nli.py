"""Entailment by a classifier: its label is found, long passages are read whole, what can't serve says why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from fakes_models import bert, llama
from shell import Shell, write

from rag.build import Rag
from rag.cli import app
from rag.config import load_config
from rag.errors import ModelError, ModelMismatch, ModelNotFound
from rag.evaluate import render
from rag.evaluate.judgements import Dataset, Evidence, Judgement
from rag.evaluate.nli import Entailment, entailment_label
from rag.evaluate.page import page
from rag.evaluate.report import Report

METALS = "Copper melts at 1085 degrees Celsius.\nIron melts at 1538 degrees Celsius.\n"
LABELS = ("contradiction", "entailment", "neutral")
WINDOW = 32


def classifier(folder: Path, labels: tuple[str, ...] = LABELS, key: str = "copper") -> Path:
    """A BERT that says its second label where `key` stands in what it reads, else its first.

    Made by hand: every token's vector is zero but the key's; attention takes the mean of them all; nothing else moves
    anything. So it sees one token among thirty, and nothing of what was cut off.
    """
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    vocab = {t: i for i, t in enumerate(("[PAD]", "[UNK]", "[CLS]", "[SEP]", key))}
    backend = Tokenizer(models.WordLevel(vocab=vocab, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4,
        max_position_embeddings=WINDOW, id2label=dict(enumerate(labels)), label2id={n: i for i, n in enumerate(labels)},
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    one = torch.eye(4)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.copy_(torch.ones_like(weights) if name.endswith("LayerNorm.weight") else torch.zeros_like(weights))
        layer = model.bert.encoder.layer[0].attention
        for part in (layer.self.value, layer.output.dense, model.bert.pooler.dense):
            part.weight.copy_(one)
        model.bert.embeddings.word_embeddings.weight[vocab[key], 0] = 1.0
        model.classifier.weight[1, 0] = 9.0
        model.classifier.bias[0] = 1.0
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("nli"))


def test_one_passage_that_entails_is_enough(nli: Path) -> None:
    entails = Entailment(str(nli))
    assert entails(["It melts."], ["iron", "and copper", "tin"]) == (True,)
    assert entails(["It melts.", "It shines."], ["iron", "tin"]) == (False, False)
    assert entails(["Copper.", "Tin."], ["iron"]) == (True, False)  # each statement is its own pair
    assert entails([], ["copper"]) == ()
    assert entails(["It melts."], []) == (False,)


def test_nothing_of_a_long_passage_is_cut_off(nli: Path) -> None:
    entails = Entailment(str(nli))
    words = ["iron"] * (5 * WINDOW)
    assert entails(["It melts."], [" ".join(words)]) == (False,)
    for place in (0, WINDOW - 1, WINDOW, 2 * WINDOW + 7, len(words) - 1):
        assert entails(["It melts."], [" ".join([*words[:place], "copper", *words[place:]])]) == (True,), place
    many = [" ".join(words)] * 40 + ["copper"]  # more windows than one pass takes
    assert entails(["It melts.", "It shines."], many) == (True, True)


def test_a_statement_that_leaves_no_room_is_not_entailed(nli: Path) -> None:
    long = "it melts " * WINDOW
    assert Entailment(str(nli))([long, "It melts."], ["copper"]) == (False, True)


@pytest.mark.parametrize(
    ("labels", "index"),
    [
        (("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), 0),
        (("not_entailment", "entailment"), 1),
        (("entailment", "non-entailment"), 0),
        (("refuted", "entailed"), 1),
    ],
)
def test_the_label_is_found_by_its_name(labels: tuple[str, ...], index: int) -> None:
    assert entailment_label("m", dict(enumerate(labels))) == index


@pytest.mark.parametrize("labels", [("LABEL_0", "LABEL_1", "LABEL_2"), ("NEGATIVE", "POSITIVE"), ("LABEL_0",)])
def test_a_model_without_the_label_names_those_it_has(tmp_path: Path, labels: tuple[str, ...]) -> None:
    named = labels if len(labels) > 1 else (*labels, "LABEL_1")
    with pytest.raises(ModelMismatch) as caught:
        Entailment(str(classifier(tmp_path, named))).load()
    assert f"evaluate.nli: {tmp_path} has the labels {', '.join(named)}, none of which is entailment" in str(
        caught.value
    )
    assert "id2label" in caught.value.hint


# ---- what can't serve --------------------------------------------------------------------------------------------


def test_what_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match=r"is a BertModel: the weights of a classifier aren't in its files"):
        Entailment(str(bert(tmp_path / "bert"))).load()
    with pytest.raises(ModelMismatch, match="LlamaForCausalLM"):
        Entailment(str(llama(tmp_path / "llama"))).load()


def test_folders_that_are_none(tmp_path: Path, nli: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"evaluate\.nli: the folder .* holds no config\.json"):
        Entailment(str(tmp_path)).load()
    for name in (str(tmp_path / "gone"), "./gone", "~/gone", "a/b/c"):
        with pytest.raises(ModelNotFound, match=r"evaluate\.nli: there is no folder"):
            Entailment(name).load()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in nli.iterdir():
        (damaged / file.name).write_bytes(file.read_bytes()[: 40 if file.suffix == ".safetensors" else None])
    with pytest.raises(ModelError, match=r"evaluate\.nli: .*damaged can't be loaded"):
        Entailment(str(damaged)).load()


def test_a_hub_name_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelNotFound) as caught:
        Entailment("someone/nli-model").load()
    assert f"evaluate.nli: 'someone/nli-model' is no folder here, not in the hub's cache ({tmp_path}" in str(
        caught.value
    )
    assert "set evaluate.nli to a folder as save_pretrained writes it" in caught.value.hint
    assert "smollm2" not in caught.value.hint


def test_a_folder_in_a_config_is_relative_to_it(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("evaluate: {nli: ./models/nli}", encoding="utf-8")
    assert load_config(tmp_path / "c.yaml", environ={}).evaluate.nli == str(tmp_path / "models/nli")
    (tmp_path / "c.yaml").write_text("evaluate: {nli: org/nli}", encoding="utf-8")
    assert load_config(tmp_path / "c.yaml", environ={}).evaluate.nli == "org/nli"


# ---- in a report -------------------------------------------------------------------------------------------------

COPPER = Judgement(
    "copper", "At what temperature does copper melt?",
    ((Evidence("metals.txt", quote="Copper melts at 1085"),),), ("1085 degrees",),
)  # fmt: skip
TOSCA = Judgement("tosca", "Who composed the opera Tosca?", answerable=False)


def test_a_report_has_its_share(make_rag: Callable[..., Rag], docs: Path, nli: Path) -> None:
    write(docs, metals_txt=METALS)
    rag = make_rag(evaluate__nli=str(nli))
    rag.sync()
    two = Dataset("two", (COPPER, TOSCA))
    report = rag.evaluate(two)
    copper, tosca = report.rows
    assert (report["grounded_nli"], report.settings["evaluate"]["nli"]) == (1, str(nli))
    assert copper.entailed
    assert all(copper.entailed)
    assert (tosca.abstained, tosca.entailed, "grounded_nli" in tosca.values) == (True, (), False)
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert re.search(r"^  grounded_nli +1\.000 .* 1$", render.text_table(report), re.MULTILINE)
    assert "grounded_nli" in page(report)
    assert "grounded_nli" not in {f.name for f in rag.evaluate(two, judged=False).figures}


def test_a_model_that_cannot_serve_is_told_before_anything_is_indexed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in Shell(tmp_path / "home").environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "docs", metals_txt=METALS)
    (tmp_path / "questions.jsonl").write_text('{"id": "a", "question": "?", "answers": ["x"]}\n', encoding="utf-8")
    told = CliRunner().invoke(app, ["evaluate", "--docs", "docs", "--set", "evaluate.nli=./gone"])
    assert told.exit_code == 1
    assert "error: evaluate.nli: there is no folder ./gone\n  give a folder as save_pretrained writes it" in told.stderr
    assert not (tmp_path / "home" / "XDG_DATA_HOME").exists()


# ---- what a language model wrote ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "unsupported", "share"),
    [
        ("Copper melts at 1085 degrees Celsius. Gold is 42 meters.", "drop", 0.5),
        ("Copper melts at 1085 degrees Celsius. Gold is 42 meters.", "mark", 0.5),
        ("Gold is 42 meters. Silver is 43 meters.", "drop", 0),  # the documents' own sentences stand in
        ("Copper melts at 1085 degrees Celsius [1]. Copper melts at 1085 degrees Celsius.", "drop", 1),
        ("Copper melts at 1085 degrees Celsius.\n\n---\n", "drop", 1),
        (" \n", "drop", None),
    ],
)
def test_groundedness_of_what_a_model_wrote(
    make_rag: Callable[..., Rag], docs: Path, reply: str, unsupported: str, share: float | None
) -> None:
    """`grounded` is of what is shown: with `drop` it is always 1, so it says nothing about the model."""
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    write(docs, metals_txt=METALS)
    rag: Any = make_rag(llm=FakeListChatModel(responses=[reply]), answer__unsupported=unsupported)
    rag.sync()
    (row,) = rag.evaluate(Dataset("one", (COPPER,))).rows
    assert row.values.get("written_grounded") == share
    assert row.values["grounded"] == (0.5 if unsupported == "mark" else 1)


def test_the_extractive_generator_wrote_nothing(make_rag: Callable[..., Rag], docs: Path) -> None:
    write(docs, metals_txt=METALS)
    rag = make_rag()
    rag.sync()
    assert "written_grounded" not in rag.evaluate(Dataset("one", (COPPER,))).rows[0].values
