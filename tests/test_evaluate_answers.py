"""Answers against golds, citations against evidence, confidence against right and wrong."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import JudgementError
from rag.evaluate.abstention import (
    RiskPoint,
    abstention_at,
    aurc,
    auroc,
    risk_coverage,
    threshold_for,
)
from rag.evaluate.answers import answer_within, exact_match, f1, normalize, score_answers, score_citations
from rag.evaluate.formats import read_dataset
from rag.evaluate.judgements import Evidence, Judgement
from rag.types import Span

# ---- EM and F1 ---------------------------------------------------------------------------------------------------


def test_normalisation() -> None:
    assert normalize("The  cat, an Ox's\tA-a!") == "cat oxs aa"
    assert normalize("Athens theatre") == "athens theatre"  # articles are whole words
    assert normalize("«Ça va?»") == "«ça va»"  # other punctuation stays, as in SQuAD's script


def test_by_hand() -> None:
    golds = ("Denver Broncos", "The Broncos")
    assert exact_match("the denver broncos.", golds) == 1
    assert exact_match("Denver", golds) == 0
    assert f1("Denver", golds) == pytest.approx(2 / 3)  # precision 1, recall 1/2
    assert f1("broncos broncos", golds) == pytest.approx(2 / 3)  # a word counts as often as the gold has it
    assert f1("Panthers", golds) == 0


def test_no_answer() -> None:
    assert (exact_match("", ()), f1("", ())) == (1, 1)
    assert (exact_match("the", ()), f1("something", ())) == (1, 0)  # "the" says nothing
    assert (exact_match("", ("Denver",)), f1("", ("Denver",))) == (0, 0)
    assert (exact_match("", ("Denver", "the")), f1("a", ("Denver", "."))) == (0, 0)  # an empty gold isn't "no answer"


def test_missing_predictions_are_wrong() -> None:
    judgements = [
        Judgement("a", "?", (), ("x",)),
        Judgement("b", "?", answerable=False),
        Judgement("c", "?", (), ("z",)),
    ]
    scores = score_answers(judgements, {"a": "X", "other": "z"})
    assert (scores.exact_match, scores.f1, scores.missing) == ([1, 0, 0], [1, 0, 0], ("b", "c"))
    silent = score_answers(judgements, {"b": ""})
    assert silent.exact_match == silent.f1 == [0, 1, 0]


words = st.text("ab the,", max_size=12)


@given(words, words)
def test_f1_is_symmetric_and_bounded_by_exact_match(a: str, b: str) -> None:
    if normalize(a) and normalize(b):
        assert f1(a, [b]) == pytest.approx(f1(b, [a]))
    assert 0 <= exact_match(a, [b]) <= f1(a, [b]) <= 1
    assert f1(a, [a]) == exact_match(a, [a]) == 1


@given(words, st.lists(words, max_size=3), words)
def test_another_gold_never_lowers_a_score(prediction: str, golds: list[str], more: str) -> None:
    if any(map(normalize, golds)):
        assert f1(prediction, [*golds, more]) >= f1(prediction, golds)
        assert exact_match(prediction, [*golds, more]) >= exact_match(prediction, golds)


# Restricted to the questions that lie beside the checkout: 8,844 of 10,570 (38 of 48 articles), 9,416 of 11,873.
# Published on all: 86.21/92.20, 40.14/50.98, 67.63/76.76.
SCORES = {
    "1.1/BERT": (8844, 0, 86.56, 92.46),
    "1.1/Logistic": (8844, 12, 40.21, 51.09),
    "1.1/Match-LSTM": (8844, 0, 68.40, 77.23),
    "v2.0/BERT": (9416, 0, 79.67, 82.78),
    "v2.0/BiDAF": (9416, 0, 65.32, 67.64),
    "v2.0/nlnet": (9416, 0, 75.56, 78.63),
}


@pytest.mark.parametrize("version", ["1.1", "v2.0"])
def test_squad_scores_of_published_predictions(shared: Path, version: str) -> None:
    dataset = read_dataset(shared / "data" / "squad" / f"dev-v{version.strip('v')}.json")
    n = len(dataset.judgements)
    assert sum(not j.answerable for j in dataset.judgements) == {"1.1": 0, "v2.0": 4646}[version]
    got = {}
    for file in (shared / "data" / "squad" / "predictions" / version).iterdir():
        scores = score_answers(dataset.judgements, json.loads(file.read_text(encoding="utf-8")))
        means = (round(100 * sum(v) / n, 2) for v in (scores.exact_match, scores.f1))
        got[f"{version}/{file.name.split(' ')[0]}"] = (n, len(scores.missing), *means)
    assert got == {name: scores for name, scores in SCORES.items() if name.startswith(version)}


# ---- sentences ---------------------------------------------------------------------------------------------------


def test_answer_within_the_first_sentences() -> None:
    said = ["Tin melts at 232 °C.", "Copper, at 1,085 °C."]
    assert not answer_within(said, ["1085 °C"], 1)
    assert answer_within(said, ["1085 °C"], 2)
    assert answer_within(said, ["lead", "the TIN"], 1)
    assert not answer_within(said, ["08"], 2)  # whole words
    assert not answer_within(said, ["melt"], 1)
    assert answer_within(["丢了308分"], ["308"], 1)  # no blanks in this script
    assert answer_within(["黑豹队丢了"], ["豹"], 1)
    assert answer_within(["at 5°C"], ["°C"], 1)
    assert not answer_within(said, [], 2)
    assert not answer_within(said, ["the", "."], 2)  # a gold of nothing stands nowhere
    with pytest.raises(ValueError, match="got 0"):
        answer_within(said, ["tin"], 0)


# ---- citations ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class C:
    source: str
    span: Span


def test_citations_by_hand() -> None:
    judgement = Judgement(
        "q", "?", ((Evidence("a", Span(10, 20)), Evidence("b", Span(0, 5))), (Evidence("a", Span(40, 50)),))
    )
    for citations, precision, recall in (
        ([], 0, 0),
        ([C("a", Span(0, 11))], 1, 1 / 2),
        ([C("a", Span(0, 10))], 0, 0),  # touching isn't overlap
        ([C("c", Span(10, 20))], 0, 0),  # another source
        ([C("b", Span(4, 9)), C("a", Span(12, 45)), C("a", Span(60, 70))], 2 / 3, 1),
    ):
        scores = score_citations(judgement, citations)
        assert (scores.precision, scores.recall) == (precision, recall)
    assert score_citations(Judgement("q", "?", ((Evidence("a"),),)), [C("a", Span(3, 4))]).precision == 1
    with pytest.raises(JudgementError, match="none to cite"):
        score_citations(Judgement("q", "?", (), ("x",)), [])


# ---- abstention --------------------------------------------------------------------------------------------------


def test_auroc_by_hand() -> None:
    assert auroc([0.9, 0.8, 0.3, 0.1], [True, True, False, False]) == 1
    assert auroc([0.9, 0.8, 0.3, 0.1], [True, False, True, False]) == 3 / 4
    assert auroc([0.5, 0.5, 0.5], [True, False, False]) == 1 / 2
    assert auroc([0.5, 0.6], [True, True]) is None


def test_risk_coverage_by_hand() -> None:
    confidence, right = [0.9, 0.4, 0.7, 0.7], [True, False, False, True]
    assert risk_coverage(confidence, right) == (
        RiskPoint(0.9, 1 / 4, 0, 1, 0),
        RiskPoint(0.7, 3 / 4, 1 / 3, 3, 1),
        RiskPoint(0.4, 1, 1 / 2, 4, 2),
    )
    # the two at 0.7 share their error: 0 wrong of 1, half of 2, 1 of 3, 2 of 4
    assert aurc(confidence, right) == pytest.approx((0 + 0.5 / 2 + 1 / 3 + 2 / 4) / 4)


def test_threshold_for_a_wanted_risk() -> None:
    confidence, right = [0.9, 0.8, 0.7, 0.6, 0.5], [True, False, True, True, False]
    assert threshold_for(confidence, right, 0.25) == RiskPoint(0.6, 4 / 5, 1 / 4, 4, 1)  # past a worse point
    assert threshold_for(confidence, right, 0.0) == RiskPoint(0.9, 1 / 5, 0, 1, 0)
    assert threshold_for(confidence, right, 1.0) == risk_coverage(confidence, right)[-1]
    assert threshold_for([0.9, 0.1], [False, True], 0.4) is None
    with pytest.raises(ValueError, match="max_risk"):
        threshold_for(confidence, right, 20)


def test_an_assured_threshold_needs_more_questions() -> None:
    few, many = ([0.9] * n + [0.1] * n for n in (10, 500))
    right_few, right_many = ([True] * n + [False] * n for n in (10, 500))
    assert threshold_for(few, right_few, 0.05) is not None
    assert threshold_for(few, right_few, 0.05, assurance=0.95) is None
    assert threshold_for(many, right_many, 0.05, assurance=0.95) == RiskPoint(0.9, 1 / 2, 0, 500, 0)


def test_an_assured_threshold_keeps_its_word() -> None:
    """True risk is 1 - confidence here; the plain threshold promises too much about half the time."""
    rng = random.Random(0)
    broken = {None: 0, 0.9: 0}
    for _ in range(60):
        confidence = [rng.randrange(50, 100) / 100 for _ in range(300)]
        right = [rng.random() < c for c in confidence]
        for assurance in broken:
            point = threshold_for(confidence, right, 0.2, assurance)
            if point:
                kept = [c / 100 for c in range(50, 100) if c / 100 >= point.threshold]
                broken[assurance] += 1 - sum(kept) / len(kept) > 0.2
    assert broken[0.9] <= 6 < broken[None]


def test_deciding_by_a_threshold() -> None:
    scores = abstention_at(0.5, [0.9, 0.5, 0.2, 0.6, 0.1], [True, True, True, False, False])
    assert scores.accuracy == 3 / 5
    assert scores.answer_f1 == pytest.approx(2 / 3)  # 2 of 3 answered, 2 of 3 answerable
    assert scores.abstain_f1 == pytest.approx(1 / 2)
    assert (scores.answered_unanswerable, scores.abstained_answerable) == (1 / 2, pytest.approx(1 / 3))
    assert abstention_at(0.5, [0.9], [True]).answered_unanswerable == 0


@pytest.mark.parametrize(("confidence", "right"), [([], []), ([0.5], [True, False]), ([float("nan")], [True])])
def test_confidence_that_is_none(confidence: list[float], right: list[bool]) -> None:
    for measure in (auroc, aurc, risk_coverage):
        with pytest.raises(ValueError, match="one finite confidence for each question"):
            measure(confidence, right)


pairs = st.lists(st.tuples(st.sampled_from([0.1, 0.25, 0.5, 0.9]), st.booleans()), min_size=1, max_size=12)


@settings(max_examples=50)
@given(pairs, st.randoms())
def test_the_order_of_questions_does_not_matter(rows: list, rng: random.Random) -> None:
    shuffled = rng.sample(rows, len(rows))
    (a, b), (c, d) = (map(list, zip(*r, strict=True)) for r in (rows, shuffled))
    assert aurc(a, b) == pytest.approx(aurc(c, d))
    points = risk_coverage(a, b)
    assert points == risk_coverage(c, d)
    assert points[-1].coverage == 1
    assert points[-1].risk == pytest.approx(1 - sum(b) / len(b))
    assert all(x.coverage < y.coverage and x.threshold > y.threshold for x, y in pairwise(points))
    assert 0 <= aurc(a, b) <= 1
    for point in points:
        kept = [right for confidence, right in rows if confidence >= point.threshold]
        assert (point.answered, point.wrong) == (len(kept), kept.count(False))
    if len(set(a)) == 1:
        assert aurc(a, b) == pytest.approx(points[-1].risk)
