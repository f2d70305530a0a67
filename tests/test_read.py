"""The reading model: spans, windows, weights; reranking; short answers. And how it is taught, on a tiny one."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes_read import ScriptedReader, tiny_bert
from hypothesis import given
from hypothesis import strategies as st

from rag.build import Rag
from rag.errors import ModelMismatch, ModelNotFound
from rag.generate.short import asks_for_several, short_answers
from rag.read import PassageReader, make_rerank
from rag.read.passage_reader import MAX_TOKENS, merged
from rag.read.spans import best_pairs, sentence_of, trimmed, whole_words
from rag.types import FoundSpan, Location, Passage, Reading, Span

sys.path.insert(0, str(Path(__file__).parents[1] / "training" / "reader"))

SCORES = st.lists(st.integers(-20, 20), min_size=1, max_size=12)

# ---- spans ----------------------------------------------------------------------------------------------------------


@given(start=SCORES, end=SCORES, longest=st.integers(1, 6))
def test_the_best_span_is_the_best_of_all(start: list[int], end: list[int], longest: int) -> None:
    n = min(len(start), len(end))
    a, b = np.float32(start[:n]), np.float32(end[:n])
    first, last, score = best_pairs(a, b, 1, longest)[0]
    assert score == max(a[i] + b[j] for i in range(n) for j in range(i, min(n, i + longest)))
    assert 0 <= last - first < longest
    assert score == a[first] + b[last]


@given(start=SCORES, end=SCORES, data=st.data())
def test_no_span_goes_from_one_sentence_into_another(start: list[int], end: list[int], data: st.DataObject) -> None:
    n = min(len(start), len(end))
    a, b = np.float32(start[:n]), np.float32(end[:n])
    steps = data.draw(st.lists(st.booleans(), min_size=n, max_size=n))
    sentences = np.cumsum(steps)
    found = best_pairs(a, b, 3, 5, sentences)
    assert all(sentences[first] == sentences[last] for first, last, _ in found)
    within = [a[i] + b[j] for i in range(n) for j in range(i, min(n, i + 5)) if sentences[i] == sentences[j]]
    assert found[0][2] == max(within)


def test_which_sentence_a_token_stands_in() -> None:
    text = "Seven rows of seven, 49. No class token!"
    offsets = [(m.start(), m.end()) for m in re.finditer(r"\w+|[.,!]", text)]
    numbers = sentence_of(text, offsets).tolist()
    assert numbers == [0] * 7 + [1] * 4
    assert sentence_of("", []).tolist() == []


@given(start=SCORES, end=SCORES, most=st.integers(1, 4))
def test_spans_come_in_order_and_dont_touch(start: list[int], end: list[int], most: int) -> None:
    n = min(len(start), len(end))
    found = best_pairs(np.float32(start[:n]), np.float32(end[:n]), most)
    assert 1 <= len(found) <= most
    assert [s for *_, s in found] == sorted((s for *_, s in found), reverse=True)
    covered = [i for first, last, _ in found for i in range(first, last + 1)]
    assert len(covered) == len(set(covered))


@given(text=st.text(max_size=40), at=st.integers(0, 40), length=st.integers(1, 20))
def test_a_cleaned_span_stays_in_the_text(text: str, at: int, length: int) -> None:
    if at >= len(text):
        return
    span = Span(at, min(len(text), at + length))
    wide = whole_words(text, span)
    assert 0 <= wide.start <= span.start < span.end <= wide.end <= len(text)
    cut = trimmed(text, wide)
    assert wide.start <= cut.start < cut.end <= wide.end


@pytest.mark.parametrize(
    ("text", "words", "clean"),
    [
        ("founded in the U.S. in 1900", "U.S.", "U.S."),
        ('called "the Grotto".', '"the Grotto".', "the Grotto"),
        ("about (5 km) away", "(5 km)", "5 km"),
        ("in f(x) = 2,", "f(x) = 2,", "f(x) = 2"),
        ("**35 days** in all", "**35 days**", "35 days"),
    ],
)
def test_what_is_trimmed(text: str, words: str, clean: str) -> None:
    start = text.index(words)
    assert trimmed(text, Span(start, start + len(words))).cut(text) == clean


# ---- the model ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def taught(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A reader in torch with random changes, and the file that ships it."""
    import torch
    from export import changes
    from model import Reader
    from safetensors.torch import save_file

    from rag.bert import read_weights
    from rag.embed.resolve import ResolvedModel

    reader = Reader.start_from(str(base), dropout=0.0)
    with torch.no_grad():
        for p in reader.encoder.encoder.parameters():
            p.add_(torch.randn_like(p) * 0.05)
        for p in reader.parameters():
            if p.requires_grad:  # embeddings are the base's own
                p.copy_(p.half().float())  # so that the file, in half precision, holds the very same
    file = tmp_path_factory.mktemp("weights") / "reader.safetensors"
    tensors = {n: torch.from_numpy(t) for n, t in read_weights(base / "model.safetensors").items()}
    sha = ResolvedModel("tiny", base, "test").weights_sha256
    save_file(changes(reader.state_dict(), tensors, 0), file, {"base_sha256": sha, "trained": "in a test"})
    return reader.eval(), file


def test_the_product_computes_what_was_taught(base: Path, taught: tuple[Any, Path]) -> None:
    import torch
    from model import Batch, best_span

    torch_reader, file = taught
    reader = PassageReader(base, file)
    question, passage = "where is the tower ?", "the tower stands in paris , since 1889 ."
    (reading,) = reader.read(question, [passage])
    ids = [np.asarray(reader._tokenizer.encode(t, add_special_tokens=False).ids) for t in (question, passage)]
    with torch.inference_mode():
        start, end, judged = torch_reader(Batch.of([(ids[0], ids[1], -1, -1)]))
    first, last, score = best_span(start[0].numpy(), end[0].numpy())
    assert reading.answerable == pytest.approx(float(judged[0, 0]), abs=1e-4)
    assert reading.relevance == pytest.approx(float(judged[0, 1]), abs=1e-4)
    assert reading.spans[0].score == pytest.approx(score, abs=1e-4)
    offsets = reader._tokenizer.encode(passage, add_special_tokens=False).offsets
    begin = len(ids[0]) + 2
    words = Span(offsets[first - begin][0], offsets[last - begin][1])
    assert reading.spans[0].span == trimmed(passage, words)


@given(order=st.permutations(range(5)))
def test_passages_are_read_alone(base: Path, taught: tuple[Any, Path], order: list[int]) -> None:
    passages = ["the tower stands in paris", "bananas are yellow", "a", "since 1889 .", "sweet bananas " * 9]
    alone = PassageReader(base, taught[1], threads=1)
    expected = [alone.read("where ?", [p])[0] for p in passages]
    together = PassageReader(base, taught[1], threads=2).read("where ?", [passages[i] for i in order])
    for i, reading in zip(order, together, strict=True):
        assert reading.relevance == pytest.approx(expected[i].relevance, abs=1e-4)
        assert [s.span for s in reading.spans] == [s.span for s in expected[i].spans]


def test_a_passage_over_the_limit_is_read_in_windows(base: Path, taught: tuple[Any, Path]) -> None:
    reader = PassageReader(base, taught[1])
    long = "bananas are yellow and sweet . " * 100 + "the tower stands in paris"
    ids, second, places = reader._pairs("where is the tower ?", [long, "a"])
    assert max(map(len, ids)) <= MAX_TOKENS
    assert second[0] == 7
    last = max(end for number, offsets, _ in places if number == 0 for _, end in offsets)
    assert last == len(long)
    (reading,) = reader.read("where is the tower ?", [long])
    assert 1 <= len(reading.spans) <= 3
    assert all(0 <= s.span.start < s.span.end <= len(long) for s in reading.spans)


def test_a_pair_is_read_once(base: Path, taught: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    reader = PassageReader(base, taught[1])
    read: list[str] = []
    real = reader._read
    monkeypatch.setattr(reader, "_read", lambda q, passages: read.extend(passages) or real(q, passages))
    reader.read("where ?", ["a", "tower", "a"])
    reader.read("where ?", ["tower", "paris"])
    assert read == ["a", "tower", "paris"]
    reader.forget()
    reader.read("where ?", ["a"])
    assert read[-1] == "a"


@pytest.mark.parametrize("passage", ["", " ", "。。。", "\ud800", "a" * 5000])
def test_odd_passages(base: Path, taught: tuple[Any, Path], passage: str) -> None:
    passage = passage.encode("utf-8", "replace").decode()
    (reading,) = PassageReader(base, taught[1]).read("where ?", [passage])
    assert np.isfinite(reading.relevance)


def test_another_base_is_refused(base: Path, taught: tuple[Any, Path], tmp_path: Path) -> None:
    other = tiny_bert(tmp_path / "other", hidden=64)
    with pytest.raises(ModelMismatch, match="SHA-256"):
        PassageReader(other, taught[1]).read("where ?", ["here"])


def test_missing_weights_are_named(base: Path, tmp_path: Path) -> None:
    reader = PassageReader(base, tmp_path / "none.safetensors")
    assert not reader.available
    with pytest.raises(ModelNotFound, match=r"none\.safetensors"):
        reader.read("where ?", ["here"])


def test_a_change_of_full_rank_is_the_change(base: Path, taught: tuple[Any, Path]) -> None:
    import torch
    from export import changes

    from rag.bert import read_weights

    before = read_weights(base / "model.safetensors")
    tensors = {n: torch.from_numpy(t) for n, t in before.items()}
    whole = changes(taught[0].state_dict(), tensors, 0)
    thin = changes(taught[0].state_dict(), tensors, 32)  # the matrices are 32 wide
    name = "encoder.layer.0.attention.self.query.weight"
    assert f"{name}.up" in thin
    again = merged(before, {n: t.float().numpy() for n, t in thin.items()})
    assert np.allclose(again[name], whole[name].float().numpy(), atol=2e-3)
    assert not any(n.startswith("embeddings.") for n in whole)


# ---- reranking ------------------------------------------------------------------------------------------------------


@pytest.fixture
def places(docs: Path, make_rag: Callable[..., Rag]) -> Callable[..., Rag]:
    for name in ("first", "second", "third"):
        (docs / f"{name}.txt").write_text(f"The tower of the {name} town is made of stone.")

    def make(reader: ScriptedReader | None = None, **settings: Any) -> Rag:
        rag = make_rag(**settings)
        if reader:
            rag._parts["passage_reader"] = reader
        rag.sync()
        return rag

    return make


def test_the_relevant_passage_comes_first(places: Callable[..., Rag]) -> None:
    reader = ScriptedReader({}, {"third": 4.0, "first": 1.0})
    rag = places(reader, retrieve__rerank="builtin", retrieve__rerank_weight=1.0)
    found = rag.search("tower town stone")
    assert [p.source for p in found] == ["third.txt", "first.txt", "second.txt"]
    assert found[0].score == pytest.approx(1 / (1 + np.exp(-4)))
    assert [s.stage for s in found[0].stages][-2:] == ["rerank", "reranked"]
    assert "rerank" in rag.retrieve("tower town stone").timings


def test_without_weight_the_order_stays(places: Callable[..., Rag]) -> None:
    reader = ScriptedReader({}, {"third": 4.0})
    rag = places(reader)
    plain = rag.search("first tower")
    same = rag.search("first tower", rerank="builtin", rerank_weight=0.0)
    assert [p.source for p in plain] == [p.source for p in same]
    assert [p.score for p in plain] == pytest.approx([p.score for p in same])


@pytest.mark.parametrize("search", [{"kind": "lexical"}, {"fusion": "rrf"}, {"kind": "dense"}, {}])
def test_a_weight_means_as_much_whatever_was_searched(places: Callable[..., Rag], search: dict[str, Any]) -> None:
    """BM25 has no scale, and reciprocal ranks are below 1/30: a relevance of 0..1 would count for nothing, or alone."""
    rag = places(ScriptedReader({}, {"third": 4.0, "first": -9.0}))
    *_, before = (s.score for s in rag.search("first tower", k=1, **search)[0].stages)
    (best,) = rag.search("first tower", k=1, rerank="builtin", rerank_weight=0.01, **search)
    assert best.source == "first.txt"
    assert best.score == pytest.approx(0.99 * (before if search in ({}, {"kind": "dense"}) else 1), abs=1e-3)
    assert rag.search("first tower", k=1, rerank="builtin", rerank_weight=0.9, **search)[0].source == "third.txt"


def test_only_the_first_candidates_are_read(places: Callable[..., Rag]) -> None:
    reader = ScriptedReader({}, {"third": 4.0})
    rag = places(reader)
    rag.search("first tower", k=1, rerank="builtin", rerank_depth=2)
    assert reader.asked == 2


def test_a_cross_encoder_by_path(base: Path, tmp_path: Path, places: Callable[..., Rag]) -> None:
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    folder = tmp_path / "cross"
    config = BertConfig.from_pretrained(base, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(folder)
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_file=str(base / "tokenizer.json"), **special).save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder)
    texts = ["the tower stands in paris", "bananas", "a sweet tower " * 8]
    rerank = make_rerank(str(folder), lambda: pytest.fail("not the embedded one"), Path)
    assert rerank is not None
    scores = rerank("where is the tower ?", texts)
    assert all(0 <= s <= 1 for s in scores)
    assert rerank("where is the tower ?", texts[::-1]) == pytest.approx(scores[::-1], abs=1e-5)
    rag = places(retrieve__rerank=str(folder))
    assert [s.stage for s in rag.search("tower")[0].stages][-1] == "reranked"

    two = tmp_path / "two"
    shutil.copytree(folder, two)
    BertForSequenceClassification(BertConfig.from_pretrained(base, num_labels=2)).save_pretrained(two)
    with pytest.raises(ModelMismatch, match="2 outputs"):
        make_rerank(str(two), lambda: pytest.fail("not the embedded one"), Path)("q", ["p"])  # type: ignore[misc]


def test_no_such_reranker(places: Callable[..., Rag], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in (str(tmp_path / "nothing"), "cross-encoder/none"):
        with pytest.raises(ModelNotFound, match=r"cross-encoder '.*' not found: no folder .*; the hub") as caught:
            places(retrieve__rerank=name).search("tower")
    assert "none | builtin" in caught.value.hint
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "config.json").write_text("{}")
    with pytest.raises(ModelNotFound, match="no cross-encoder"):
        places(retrieve__rerank=str(tmp_path / "nothing")).search("tower")


# ---- short answers --------------------------------------------------------------------------------------------------


def passage(number: int, text: str, score: float = 1.0, start: int = 100) -> Passage:
    span = Span(start, start + len(text))
    return Passage(number, f"c{number}", f"{number}.txt", "text", span, text, Location(None, 1), score)


def reading(text: str, *words: tuple[str, float], answerable: float = 2.0) -> Reading:
    spans = [FoundSpan(Span(text.index(w), text.index(w) + len(w)), s) for w, s in words]
    return Reading(0.0, answerable, tuple(sorted(spans, key=lambda s: -s.score)))


def test_passages_that_differ_are_both_shown() -> None:
    texts = ["The tower is 300 m high.", "The tower is 330 m high.", "The tower has 300 m."]
    readings = [reading(t, (t.split(" is ")[-1].split(" has ")[-1].split(" m")[0] + " m", 5.0)) for t in texts]
    short = short_answers("How high is the tower?", [passage(i, t) for i, t in enumerate(texts, 1)], readings)
    assert [(s.text, s.passage) for s in short] == [("300 m", 1), ("330 m", 2)]
    assert short[0].span == Span(113, 118)


def test_what_the_model_doesnt_find_it_doesnt_say() -> None:
    text = "The tower is 300 m high."
    assert short_answers("Who?", [passage(1, text)], [reading(text, ("tower", -6.0), answerable=-3.0)]) == []
    assert short_answers("Who?", [passage(1, text)], [reading(text)]) == []


def test_several_are_listed_when_asked_for() -> None:
    text = "Its colours are red, green and blue."
    scored = reading(text, ("red", 6.0), ("green", 4.0), ("blue", 3.0))
    listed = short_answers("What are the colours?", [passage(1, text)], [scored])
    assert [s.text for s in listed] == ["red", "green", "blue"]
    assert [s.text for s in short_answers("What colour is it?", [passage(1, text)], [scored])] == ["red"]


@pytest.mark.parametrize(
    ("question", "several"),
    [("Name two towers.", True), ("Which towers stand in Paris?", True), ("Which tower stands in Paris?", False),
     ("What is a tower?", False), ("Who were the builders?", True)],
)  # fmt: skip
def test_a_question_for_several(question: str, several: bool) -> None:
    assert asks_for_several(question) is several


@pytest.fixture
def answering(docs: Path, make_real_rag: Callable[..., Rag]) -> Callable[..., Rag]:
    (docs / "notes.txt").write_text(
        "Backups run every night at 02:30. They are kept for 35 days in the Lisbon archive.\n"
        "Maria Keller wrote the restore guide in 2019.\n"
    )

    def make(reader: Any, **settings: Any) -> Rag:
        return make_real_rag({"passage_reader": reader}, **{"generate__reader": "builtin", **settings})

    return make


def test_a_short_answer_then_its_sentence(answering: Callable[..., Rag]) -> None:
    answer = answering(ScriptedReader({"35 days": 6.0})).ask("How many days are backups kept?")
    assert answer.text.splitlines()[0] == "35 days [1]"
    assert answer.text.splitlines()[1].startswith("They are kept for 35 days")
    assert [(s.text, s.number) for s in answer.short] == [("35 days", 1)]
    assert {"35 days", "They are kept for 35 days in the Lisbon archive."} <= {c.quote for c in answer.citations}
    assert all(c.verified for c in answer.citations)
    assert answer.to_dict()["short"] == [{"text": "35 days", "number": 1}]


def test_a_short_answer_comes_through_every_door(answering: Callable[..., Rag]) -> None:
    from serving import served

    from rag.serve.forms import AnswerOut
    from rag.serve.mcp.forms import asked

    rag = answering(ScriptedReader({"35 days": 6.0}))
    question = "How many days are backups kept?"
    answer = rag.ask(question)
    assert set(AnswerOut.model_fields) == set(answer.to_dict())  # the schema leaves nothing out
    assert [s.model_dump() for s in asked(answer).short] == [{"text": "35 days", "number": 1}]
    with served(rag) as server:
        told = dict(server.events("/ask", {"question": question, "stream": True}))
    assert told["citations"]["short"] == told["done"]["answer"]["short"] == [{"text": "35 days", "number": 1}]


def test_it_is_the_short_answer_that_is_scored(answering: Callable[..., Rag]) -> None:
    from rag.evaluate.judgements import Judgement
    from rag.evaluate.rows import judged, searched

    judgement = Judgement(id="1", question="How many days are backups kept?", answers=("35 days",))
    rows = {}
    for name in ("builtin", "none"):
        answer = answering(ScriptedReader({"35 days": 6.0}), generate__reader=name).ask(judgement.question)
        rows[name] = judged(searched(judgement, answer.passages, {}), judgement, answer, 0.0, {}).values
    assert rows["builtin"]["exact_match"] == 1.0
    assert rows["none"]["exact_match"] == 0.0  # a whole sentence
    assert rows["builtin"]["first_sentence"] == rows["none"]["first_sentence"] == 1.0


def test_where_reader_and_sentences_disagree_both_are_shown(answering: Callable[..., Rag]) -> None:
    answer = answering(ScriptedReader({"Maria Keller": 6.0})).ask("How many days are backups kept?")
    assert answer.text.startswith("Maria Keller [1]\nMaria Keller wrote")
    assert "35 days" in answer.text


def test_without_weights_sentences_answer_and_it_is_said(answering: Callable[..., Rag], tmp_path: Path) -> None:
    rag = answering(PassageReader(tmp_path, tmp_path / "none"))
    answer = rag.ask("How many days are backups kept?")
    assert "35 days" in answer.statements[0].text
    assert not answer.short
    assert answer.generator == "extractive (its reader isn't installed)"


def test_the_reader_can_be_switched_off(answering: Callable[..., Rag]) -> None:
    reader = ScriptedReader({"35 days": 6.0})
    answer = answering(reader, generate__reader="none").ask("How many days are backups kept?")
    assert answer.generator == "extractive"
    assert not answer.short
    assert not reader.asked


# ---- how it is taught -----------------------------------------------------------------------------------------------


@pytest.fixture
def lesson() -> Any:
    """Questions whose answer is the token behind the one that they name."""
    from data import NEGATIVES, Examples

    rng = np.random.default_rng(0)
    n, length = 60, 12
    passages = np.stack([rng.permutation(np.arange(4, 4 + length + 8))[:length] for _ in range(n)]).astype(np.int32)
    at = rng.integers(0, length - 1, n)
    questions = passages[np.arange(n), at]
    negatives = np.stack([rng.permutation(np.delete(np.arange(n), i))[:NEGATIVES] for i in range(n)])
    aside = np.arange(n) >= 50
    ends = np.arange(1, n + 1)
    return Examples(
        passages.ravel(),
        ends * length,
        questions,
        ends,
        np.arange(n),
        at + 1,
        at + 1,
        negatives.astype(np.int32),
        aside,
        np.flip(questions),
        ends,
    )


CONFIG = {
    "seed": 3, "negatives": 0.5, "wrong_question": 0.2, "cut_out": 0.5, "more_unanswerable": 0.2, "max_tokens": 40,
    "max_question": 8, "batch_passages": 8, "learning_rate": 3e-3, "head_learning_rate": 1e-2, "weight_decay": 0.0,
    "warmup_steps": 3, "decay_share": 0.25, "save_every": 10, "check_every": 1000,
    "weights": {"span": 1.0, "answerable": 0.5, "relevance": 0.5},
}  # fmt: skip


def test_no_sentence_of_what_is_kept_aside_is_taught(tmp_path: Path) -> None:
    import lzma

    from data import read

    def write(kind: str, name: str, rows: list[dict[str, Any]]) -> None:
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True, exist_ok=True)
        with lzma.open(folder / f"{kind}.jsonl.xz", "wt") as out:
            out.writelines(json.dumps(row) + "\n" for row in rows)

    def span(context: str) -> dict[str, Any]:
        return {"question": "Who?", "context": context, "answers": []}

    write("spans", "articles", [span("Ann fell. Ben rose."), span("Cleo sang, Dan slept. Eve left.")])
    write("spans", "sentences", [span("cleo sang , dan slept ."), span("Fay ran."), span("Eve left. Gus came.")])
    write("pairs", "pairs", [{"question": "Who?", "positive": text} for text in ("Eve left!", "Ann fell.")])
    config = {
        "seed": 0,
        "sets": {"articles": None, "sentences": None},
        "pairs": {"pairs": None},
        "aside": {"set": "articles", "from": "Cleo", "tenth_of": ""},
    }
    found = read(config, tmp_path)
    assert [q.context for q in found if q.aside] == ["Cleo sang, Dan slept. Eve left."]
    taught = [q.context for q in found if not q.aside]
    assert taught == ["Ann fell. Ben rose.", "Fay ran.", "Eve left. Gus came.", "Ann fell."]


def test_thirty_steps_teach_something_and_can_be_cut_in_two(base: Path, lesson: Any, tmp_path: Path) -> None:
    import torch
    from model import Batch, Reader, loss
    from train import batches, train

    def start() -> Any:
        return Reader.start_from(str(base), dropout=0.0)

    def current(model: Any) -> float:
        rows, pairs = next(batches(lesson, CONFIG))
        with torch.inference_mode():
            batch = Batch.of(rows, pairs)
            return float(loss(model(batch), batch, CONFIG["weights"]))

    (whole, cut) = (tmp_path / "whole", tmp_path / "cut")
    whole.mkdir(), cut.mkdir()
    once = start()
    before = current(once)
    train(once, lesson, CONFIG, 30, whole, "cpu")
    assert current(once) < 0.9 * before
    # Killed after 10 steps of the 30, whose state was kept: the rest is the same as if it hadn't been.
    state = torch.load(whole / "last.pt", weights_only=True)
    assert state["step"] == 30

    class Killed(Exception): ...

    import train as module

    real = module.save

    def save(model: Any, optimizer: Any, file: Path, step: int, falls_at: int, after: str) -> None:
        real(model, optimizer, file, step, falls_at, after)
        if step == 10:
            raise Killed

    module.save = save
    try:
        with pytest.raises(Killed):
            train(start(), lesson, CONFIG, 30, cut, "cpu")
    finally:
        module.save = real
    twice = start()
    train(twice, lesson, CONFIG, 30, cut, "cpu")
    for name, value in once.state_dict().items():
        assert torch.allclose(value, twice.state_dict()[name], atol=1e-5), name


def test_a_longer_run_goes_on_before_the_rate_fell(
    base: Path, lesson: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from model import Reader
    from train import train

    def run(steps: int) -> str:
        train(Reader.start_from(str(base), dropout=0.0), lesson, CONFIG, steps, tmp_path, "cpu")
        return capsys.readouterr().out

    assert "going on" not in run(20)
    assert "going on at step 15 of before_decay.pt" in run(40)
    assert "going on at step 40 of last.pt" in run(40)  # finished: nothing is left to do


def test_a_place_that_nobody_said_teaches_that_there_is_one(base: Path) -> None:
    import torch
    from model import Batch, Reader, loss

    from data import NOWHERE, SOMEWHERE

    rows = [(np.array([5]), np.arange(6, 12), place, place) for place in (2, NOWHERE, SOMEWHERE)]
    batch = Batch.of(rows)
    model = Reader.start_from(str(base), dropout=0.0)
    outputs = model(batch)
    only_span = {"span": 1.0, "answerable": 0.0, "relevance": 0.0}
    placed = [torch.stack([o[0], o[1]]) for o in outputs]
    both = loss((placed[0], placed[1], placed[2]), Batch.of(rows[:2]), only_span)
    assert torch.allclose(loss(outputs, batch, only_span), both)
    alone = Batch.of(rows[2:])
    assert float(loss(tuple(o[2:].detach() for o in outputs), alone, only_span)) == 0.0  # and isn't "not a number"
    judged = loss(outputs, batch, {"span": 0.0, "answerable": 1.0, "relevance": 0.0})
    wanted = torch.tensor([1.0, 0.0, 1.0])
    assert torch.allclose(judged, torch.nn.functional.binary_cross_entropy_with_logits(outputs[2][:, 0], wanted))


@pytest.mark.parametrize("rank", [0, 32])
def test_training_goes_on_from_shipped_weights(base: Path, taught: tuple[Any, Path], tmp_path: Path, rank: int) -> None:
    import torch
    from export import changes
    from model import Reader
    from safetensors.torch import save_file

    from rag.bert import read_weights

    tensors = {n: torch.from_numpy(t) for n, t in read_weights(base / "model.safetensors").items()}
    file = tmp_path / "reader.safetensors"
    save_file(changes(taught[0].state_dict(), tensors, rank), file)
    model = Reader.start_from(str(base), dropout=0.0, seed=1)
    model.take_up(file)
    for name, value in taught[0].state_dict().items():
        assert torch.allclose(value, model.state_dict()[name], atol=4e-3), name


def test_weights_are_averaged(base: Path, taught: tuple[Any, Path], tmp_path: Path) -> None:
    from average import average
    from safetensors.numpy import load_file, save_file

    held = load_file(taught[1])
    other, made = tmp_path / "other.safetensors", tmp_path / "mean.safetensors"
    about = {"base_sha256": PassageReader(base, taught[1]).header["base_sha256"], "trained": "elsewhere"}
    save_file({name: value * 0 for name, value in held.items()}, other, about)
    average([taught[1], other], [1, 3], base, made, 0)
    mean = load_file(made)
    assert mean.keys() == held.keys()
    for name, value in held.items():
        np.testing.assert_allclose(mean[name], value / 4, atol=2e-3, err_msg=name)
    assert PassageReader(base, made).header["trained"] == "0.25 of in a test; 0.75 of elsewhere"
    save_file(held, other, {**about, "base_sha256": "another"})
    with pytest.raises(SystemExit, match="different bases"):
        average([taught[1], other], [1, 1], base, made, 0)


@pytest.mark.parametrize(
    ("question", "among"),
    [
        ("Who first saw the tower of Rome?", {"Who last saw the tower of Rome?"}),
        ("Which tower did Maria Lopez build?", {"Which tower did Gustave Eiffel build?"}),
        ("Who came in 1889?", {"Who came in 1925?"}),
        ("what is it?", {"what isn't it?", None}),
        ("why?", {None}),
        ("", {None}),
    ],
)
def test_one_thing_in_a_question_is_changed(question: str, among: set[str | None]) -> None:
    from swaps import swapped

    passage = "In 1889 the tower by Gustave Eiffel stood, not that of Maria Lopez, who came in 1925 to Paris."
    found = {swapped(question, passage, ["Paris"], np.random.default_rng(seed)) for seed in range(20)}
    assert found & among
    assert question not in found
    assert not any("Paris" in q for q in found if q)  # the answer isn't put into the question


@given(question=st.text(max_size=60), context=st.text(max_size=200), seed=st.integers(0, 9))
def test_any_question_can_be_changed_or_not(question: str, context: str, seed: int) -> None:
    from swaps import swapped

    assert swapped(question, context, [], np.random.default_rng(seed)) != question


def test_windows_keep_the_answer() -> None:
    from train import cut

    rng = np.random.default_rng(0)
    passage = np.arange(100)
    for start in range(0, 96, 5):
        window, a, b = cut(passage, start, start + 4, 20, rng)
        assert len(window) == 20
        assert list(window[a : b + 1]) == list(range(start, start + 5))
    window, a, b = cut(passage, 10, 60, 20, rng)  # an answer longer than the room: as much of it as fits
    assert (a, b) == (0, 19)


def test_an_answer_is_cut_out_with_its_sentence_or_not_at_all() -> None:
    from train import LEAST_LEFT, SENTENCE_ENDS, without_answer

    stop = SENTENCE_ENDS[1]
    one, two, three = np.arange(2000, 2020), np.arange(3000, 3010), np.arange(4000, 4020)
    passage = np.concatenate([one, [stop], two, [stop], three, [stop]])
    rest = without_answer(passage, 25, 27)
    assert rest is not None
    assert rest.tolist() == [*one, stop, *three, stop]
    assert without_answer(passage, 0, 0).tolist() == [*two, stop, *three, stop]  # type: ignore[union-attr]
    assert without_answer(passage, len(passage) - 2, len(passage) - 2).tolist() == [*one, stop, *two, stop]  # type: ignore[union-attr]
    assert without_answer(np.concatenate([passage, two]), 25, 27) is None  # it is said twice
    assert without_answer(passage[: LEAST_LEFT + 11], 0, 0) is None  # too little is left
