"""Retrieval metrics, checked by hand on small cases, and what must hold on any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import JudgementError, QueryError
from rag.evaluate.formats import read_dataset
from rag.evaluate.judgements import Evidence, Judgement
from rag.evaluate.metrics import KINDS, Metric, parse_metrics, retrieval_metrics
from rag.evaluate.spans import character_scores, covered, precision_omega, span_ranks, union
from rag.types import Span

TEN = Span(0, 10)


@dataclass(frozen=True)
class P:
    """A passage, as far as metrics look at it."""

    source: str
    span: Span = TEN
    also_in: tuple[str, ...] = ()


def whole(*sources: str, **grades: int) -> Judgement:
    """Each source is wanted by itself."""
    wanted = {**dict.fromkeys(sources, 1), **grades}
    return Judgement("q", "?", tuple((Evidence(s, grade=g),) for s, g in wanted.items()))


def spans(*nuggets: tuple[tuple[str, int, int], ...]) -> Judgement:
    return Judgement("q", "?", tuple(tuple(Evidence(s, Span(a, b)) for s, a, b in n) for n in nuggets))


def measured(metrics: str, judgement: Judgement, found: list[P]) -> dict[str, float]:
    values = retrieval_metrics(parse_metrics(metrics), [judgement], [found])
    assert all(len(v) == 1 for v in values.values())
    return {name: v[0] for name, v in values.items()}


# ---- names -------------------------------------------------------------------------------------------------------


def test_metrics_are_parsed() -> None:
    assert parse_metrics(" ndcg@10,MRR@10 hit@1\nndcg@10 ") == (Metric("ndcg", 10), Metric("mrr", 10), Metric("hit", 1))
    assert all(str(parse_metrics(f"{kind}@3")[0]) == f"{kind}@3" for kind in KINDS)


@pytest.mark.parametrize("word", ["ndcg@0", "ndcg@-1", "ndcg@", "ndcg", "ndcg@x", "ndcg@1.5", "ndcg@10001", "ndcg@٣"])
def test_a_wrong_k_is_refused(word: str) -> None:
    with pytest.raises(QueryError, match=f"metric '{word}' has ") as caught:
        parse_metrics(f"mrr@10 {word}")
    assert "from 1 to 10000" in caught.value.hint


@pytest.mark.parametrize("text", ["accuracy@3", "@3", "", " , "])
def test_an_unknown_metric_is_refused(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse_metrics(text)
    assert all(kind in caught.value.hint for kind in KINDS)


# ---- sources -----------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    got = measured(
        "ndcg@10 ndcg@2 mrr@10 mrr@1 recall@2 recall@3 precision@2 precision@5 hit@1 hit@2 map@10",
        whole("a", "b", c=2),
        [P("x"), P("a"), P("c"), P("y")],
    )
    ideal = 2 + 1 / math.log2(3) + 1 / math.log2(4)
    assert got == pytest.approx(
        {
            "ndcg@10": (1 / math.log2(3) + 2 / math.log2(4)) / ideal,
            "ndcg@2": (1 / math.log2(3)) / (2 + 1 / math.log2(3)),
            "mrr@10": 1 / 2,
            "mrr@1": 0,
            "recall@2": 1 / 3,
            "recall@3": 2 / 3,
            "precision@2": 1 / 2,
            "precision@5": 2 / 5,
            "hit@1": 0,
            "hit@2": 1,
            "map@10": (1 / 2 + 2 / 3) / 3,
        }
    )


def test_order_counts_not_names() -> None:
    """trec_eval breaks ties by name: it must not see any."""
    for wanted, other in (("a", "z"), ("z", "a")):
        assert measured("mrr@10", whole(wanted), [P(other), P(wanted)]) == {"mrr@10": 0.5}


def test_a_source_counts_at_its_best_passage() -> None:
    found = [P("x"), P("x", Span(20, 30)), P("a"), P("a", Span(20, 30))]
    assert measured("mrr@10 precision@2 recall@2", whole("a"), found) == {
        "mrr@10": 0.5,
        "precision@2": 0.5,
        "recall@2": 1,
    }


def test_nothing_found() -> None:
    assert set(measured(" ".join(f"{k}@3" for k in KINDS), spans((("a", 0, 5),)), []).values()) == {0.0}


def test_one_of_several_places_is_all_of_it() -> None:
    either = Judgement("q", "?", ((Evidence("a"), Evidence("b")),))
    got = measured("recall@1 ndcg@3 map@3 precision@3", either, [P("b"), P("a"), P("x")])
    assert got == pytest.approx({"recall@1": 1, "ndcg@3": 1, "map@3": 1, "precision@3": 2 / 3})
    two = Judgement("q", "?", ((Evidence("a"), Evidence("b")), (Evidence("c"),)))
    # the second place of what was found adds nothing, but it takes its rank
    got = measured("map@3 recall@2 precision@2", two, [P("a"), P("b"), P("c")])
    assert got == pytest.approx({"map@3": (1 + 2 / 3) / 2, "recall@2": 1 / 2, "precision@2": 1})
    both = Judgement("q", "?", ((Evidence("a"),), (Evidence("b"),)))
    assert measured("recall@1", both, [P("b")]) == {"recall@1": 0.5}


def test_two_spans_of_one_source_are_one_source() -> None:
    assert measured("recall@1 ndcg@1", spans((("a", 0, 5),), (("a", 7, 9),)), [P("a")]) == {"recall@1": 1, "ndcg@1": 1}
    # what is found with another anyway asks for nothing more
    judgement = spans((("a", 0, 5), ("b", 0, 5)), (("a", 7, 9),))
    assert measured("recall@1", judgement, [P("a")]) == {"recall@1": 1}
    assert measured("recall@1 precision@1", judgement, [P("b")]) == {"recall@1": 0, "precision@1": 1}


def test_the_same_content_in_another_file_counts() -> None:
    found = [P("copy", Span(0, 10), ("a",))]
    names = "hit@1 precision@1 span_recall@1 char_recall@1 char_precision@1"
    got = measured(names, spans((("a", 0, 5),)), found)
    assert got == dict(zip(names.split(), (1, 1, 1, 1, 0.5), strict=True))


def test_values_are_aligned_with_the_questions() -> None:
    judgements = [Judgement(f"q{i}", "?", ((Evidence(f"d{i % 7}"),),)) for i in range(30)]
    found = [[P("x")] * (i % 3) + [P(f"d{i % 7}")] for i in range(30)]
    got = retrieval_metrics(parse_metrics("mrr@10 hit@1"), judgements, found)
    assert got["hit@1"] == [float(i % 3 == 0) for i in range(30)]
    assert got["mrr@10"] == [1.0 if i % 3 == 0 else 0.5 for i in range(30)]


def test_what_cannot_be_measured() -> None:
    with pytest.raises(JudgementError, match="there is none to find"):
        measured("hit@1", Judgement("q", "?", (), (), answerable=False), [])
    with pytest.raises(JudgementError, match=r"has no span, which span_recall@5 char_iou@5 would need"):
        measured("hit@1 span_recall@5 char_iou@5", whole("a"), [])
    with pytest.raises(ValueError, match="2 judgements, but results for 1"):
        retrieval_metrics(parse_metrics("hit@1"), [whole("a")] * 2, [[]])


names = st.sampled_from("abcdef")
some_spans = st.tuples(st.integers(0, 30), st.integers(1, 12)).map(lambda p: Span(p[0], p[0] + p[1]))
evidence = st.builds(Evidence, names, some_spans, st.just(""), st.integers(1, 3))
judgements = st.lists(st.lists(evidence, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4).map(
    lambda nuggets: Judgement("q", "?", tuple(nuggets))
)
results = st.lists(st.builds(P, names, some_spans, st.lists(names, max_size=1).map(tuple)), max_size=8)


@settings(max_examples=60)
@given(judgements, results, st.integers(1, 9))
def test_all_metrics_are_between_0_and_1(judgement: Judgement, found: list[P], k: int) -> None:
    got = measured(" ".join(f"{kind}@{k}" for kind in KINDS), judgement, found)
    assert all(0 <= v <= 1 + 1e-9 for v in got.values())
    assert (got[f"hit@{k}"] == 1) == (got[f"recall@{k}"] > 0) == (got[f"mrr@{k}"] > 0) == (got[f"ndcg@{k}"] > 0)
    assert got[f"span_hit@{k}"] >= got[f"span_recall@{k}"]


@settings(max_examples=60)
@given(judgements, results)
def test_more_ranks_never_lower_recall(judgement: Judgement, found: list[P]) -> None:
    for kind in ("recall", "hit", "mrr", "span_recall", "span_hit", "span_mrr"):
        got = measured(" ".join(f"{kind}@{k}" for k in range(1, 9)), judgement, found)
        assert list(got.values()) == sorted(got.values())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6))
def test_the_ideal_order_has_ndcg_1_and_any_other_at_most(grades: list[int]) -> None:
    docs = {f"d{i}": g for i, g in enumerate(grades)}
    if not any(docs.values()):
        return
    judgement = whole(**{d: g for d, g in docs.items() if g})
    ideal = sorted(docs, key=lambda d: -docs[d])
    assert measured("ndcg@10", judgement, [P(d) for d in ideal]) == pytest.approx({"ndcg@10": 1})
    best = sum(g / math.log2(r + 1) for r, g in enumerate(sorted(grades, reverse=True), 1))
    expected = sum(g / math.log2(r + 1) for r, g in enumerate(grades, 1)) / best
    assert measured("ndcg@10", judgement, [P(d) for d in docs]) == pytest.approx({"ndcg@10": expected})


# ---- spans and characters ----------------------------------------------------------------------------------------


def test_a_passage_holds_a_span_or_does_not() -> None:
    judgement = spans((("a", 10, 20), ("b", 0, 5)), (("a", 40, 45),))
    found = [P("a", Span(0, 19)), P("a", Span(11, 45)), P("b", Span(0, 5))]
    assert span_ranks(judgement, found) == [3, 2]
    assert span_ranks(judgement, found[:1]) == [None, None]
    got = measured("span_recall@1 span_recall@2 span_recall@3 span_hit@2 span_mrr@10 span_mrr@1", judgement, found)
    assert list(got.values()) == [0, 0.5, 1, 1, 0.5, 0]


def test_characters_by_hand() -> None:
    """20 of 30 wanted characters are in 60 retrieved ones, of which 10 come twice."""
    judgement = spans((("a", 0, 10),), (("a", 50, 70),))
    found = [P("a", Span(0, 25)), P("a", Span(15, 30)), P("a", Span(60, 70)), P("b", Span(0, 10))]
    got = character_scores(judgement, found)
    assert (got.recall, got.precision, got.iou) == (20 / 30, 20 / 60, 20 / (60 + 10))
    assert measured("char_recall@2 char_precision@2 char_iou@2", judgement, found) == {
        "char_recall@2": 10 / 30,
        "char_precision@2": 10 / 40,
        "char_iou@2": 10 / (40 + 20),
    }


def test_of_several_places_the_best_covered_counts() -> None:
    judgement = spans((("a", 0, 100), ("b", 0, 10)))
    assert character_scores(judgement, [P("a", Span(0, 50)), P("b", Span(0, 8))]).recall == 0.8
    assert character_scores(judgement, [P("a", Span(0, 50))]).recall == 0.5


def test_precision_omega_by_hand() -> None:
    chunks = [Span(0, 10), Span(10, 20), Span(20, 30), Span(30, 40)]
    assert precision_omega([Span(12, 18)], chunks) == 6 / 10
    assert precision_omega([Span(8, 12)], chunks) == 4 / 20
    assert precision_omega([Span(10, 20)], chunks) == 10 / 30  # its neighbours touch it at zero length
    assert precision_omega([Span(12, 18)], [Span(5, 15), Span(11, 20)]) == 6 / 15  # overlaps merged
    assert precision_omega([Span(5, 15)], [Span(0, 9), Span(11, 20)]) == 8 / 20  # a gap between chunks is missed
    assert precision_omega([Span(50, 60)], chunks) == 0


@given(st.lists(some_spans, min_size=1, max_size=4), st.lists(some_spans, max_size=6))
def test_characters_are_counted_as_sets_of_them(references: list[Span], chunks: list[Span]) -> None:
    merged = union(references)
    assert all(a.end < b.start for a, b in pairwise(merged))
    wanted = {i for s in references for i in range(s.start, s.end)}
    shown = {i for s in chunks for i in range(s.start, s.end)}
    assert covered(union(references), union(chunks)) == len(wanted & shown)
    got = character_scores(spans(*((("a", s.start, s.end),) for s in references)), [P("a", c) for c in chunks])
    assert got.recall == pytest.approx(len(wanted & shown) / len(wanted))
    length = sum(map(len, chunks))
    assert got.iou == pytest.approx(len(wanted & shown) / (length + len(wanted - shown)))
    touching = set()
    for c in chunks:
        if any(c.start <= r.end and r.start <= c.end for r in references):
            touching |= {*range(c.start, c.end)}
    assert precision_omega(references, chunks) == pytest.approx(len(wanted & touching) / len(wanted | touching))


def test_chroma_references_through_fixed_windows(shared: Path) -> None:
    """precision_omega of windows of 400 characters: a figure of our own, to notice a change in offsets."""
    dataset = read_dataset(shared / "data/chroma-chunking")
    chunks = {n: [Span(i, min(i + 400, len(t))) for i in range(0, len(t), 400)] for n, t in dataset.documents.items()}
    omega, recall = [], []
    for j in dataset.judgements[::5]:
        references = [e.span for e in j.places]
        omega.append(precision_omega(references, chunks[j.about]))
        recall.append(character_scores(j, [P(j.about, c) for c in chunks[j.about]]).recall)
    assert set(recall) == {1.0}  # windows leave nothing out
    assert sum(omega) / len(omega) == pytest.approx(0.3645, abs=1e-4)


def test_the_authors_own_figure_to_six_decimals(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FixedTokenChunker 200/0 in the notebook of their repository: precision_omega .209799. It is LangChain's splitter;
    a chunk stands where its text, without a final full stop, is first found."""
    from langchain_text_splitters import TokenTextSplitter

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(shared / "tiktoken"))
    dataset = read_dataset(shared / "data/chroma-chunking")
    splitter = TokenTextSplitter(encoding_name="cl100k_base", chunk_size=200, chunk_overlap=0)
    chunks = {}
    for name, text in dataset.documents.items():
        pieces = [piece.removesuffix(".") for piece in splitter.split_text(text)]
        chunks[name] = [Span(text.index(piece), text.index(piece) + len(piece)) for piece in pieces]
    omega = [precision_omega([e.span for e in j.places], chunks[j.about]) for j in dataset.judgements]
    assert len(omega) == 472
    assert round(sum(omega) / len(omega), 6) == 0.209799
