"""Search: filters, fusion and the way from scores to passages."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.build import Rag
from rag.errors import QueryError, StoreError
from rag.retrieve import parse_filter
from rag.retrieve.fusion import (
    best_window,
    convex,
    maximal_marginal_relevance,
    ranked,
    reciprocal_rank,
    share_of_best,
)

SCORES = st.dictionaries(st.integers(0, 30), st.floats(0, 1), max_size=12)

# ---- fusion --------------------------------------------------------------------------------------------------------


@given(dense=SCORES, lexical=SCORES, weight=st.floats(0, 1))
def test_convex_is_bounded_and_keeps_everyone(
    dense: dict[int, float], lexical: dict[int, float], weight: float
) -> None:
    fused = convex(dense, lexical, weight)
    assert set(fused) == set(dense) | set(lexical)
    assert all(-1e-9 <= s <= 1 + 1e-9 for s in fused.values())


@given(dense=SCORES, lexical=SCORES)
def test_convex_at_its_ends_is_one_ranking(dense: dict[int, float], lexical: dict[int, float]) -> None:
    assert all(convex(dense, lexical, 1.0)[i] == pytest.approx(s) for i, s in dense.items())
    assert convex(dense, lexical, 0.0) == pytest.approx({i: lexical.get(i, 0.0) for i in {*dense, *lexical}})


@given(scores=st.dictionaries(st.integers(0, 30), st.floats(0, 50), max_size=12))
def test_the_best_of_a_ranking_counts_one(scores: dict[int, float]) -> None:
    shares = share_of_best(scores)
    assert ranked(shares) == ranked(scores) or any(s < 1e-300 for s in scores.values())
    if any(scores.values()):
        assert max(shares.values()) == pytest.approx(1.0)


TERMS = st.lists(st.sampled_from("abcdx"), max_size=14)
WANTED = st.dictionaries(st.sampled_from("abcd"), st.floats(0.1, 5), max_size=4)


@given(terms=TERMS, wanted=WANTED, width=st.integers(1, 16))
def test_the_best_window_is_the_best_of_all_windows(terms: list[str], wanted: dict[str, float], width: int) -> None:
    windows = [set(terms[i : i + width]) for i in range(len(terms))] or [set()]
    shares = [sum(w for t, w in wanted.items() if t in window) / sum(wanted.values()) for window in windows if wanted]
    assert best_window(terms, wanted, width) == pytest.approx(max(shares, default=0.0))


@given(rankings=st.lists(st.lists(st.integers(0, 20), unique=True, max_size=10), min_size=1, max_size=3))
def test_a_better_rank_never_hurts(rankings: list[list[int]]) -> None:
    scores = reciprocal_rank(rankings)
    for ranking in rankings:
        for better, worse in pairwise(ranking):
            if all(r.index(better) < r.index(worse) for r in rankings if worse in r and better in r) and all(
                better in r for r in rankings if worse in r
            ):
                assert scores[better] > scores[worse]


@given(st.integers(1, 8), st.integers(1, 8), st.sampled_from([0.0, 0.01, 0.3, 0.5, 0.9, 1.0]))
def test_mmr_picks_each_once(n: int, k: int, lambda_mult: float) -> None:
    rng = np.random.default_rng(n * 31 + k)
    vectors = rng.normal(size=(n, 4)).astype(np.float32)
    relevance = rng.random(n).tolist()
    picks = maximal_marginal_relevance(relevance, vectors, k, lambda_mult)
    assert len(picks) == len(set(picks)) == min(n, k)
    assert picks[0] == int(np.argmax(relevance)) or lambda_mult == 0
    if lambda_mult == 1:
        assert picks == sorted(range(n), key=lambda i: -relevance[i])[:k]


def test_ties_are_broken_the_same_way_every_time() -> None:
    assert ranked({5: 1.0, 2: 1.0, 9: 2.0}) == [9, 2, 5]


# ---- filters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("type=pdf", {"r/a.pdf 1", "r/a.pdf 5"}),
        ("type!=pdf", {"n.md", "r/b.md", "a note, [last].md"}),
        ("path=r/*", {"r/a.pdf 1", "r/a.pdf 5", "r/b.md"}),
        ("path=r/* type=md", {"r/b.md"}),
        ("page>=3", {"r/a.pdf 5"}),
        ("page=1-4", {"r/a.pdf 1"}),
        ("page!=1", {"r/a.pdf 5"}),
        ("source=n.md", {"n.md"}),
        ("path=r/", {"r/a.pdf 1", "r/a.pdf 5", "r/b.md"}),
        ("type=.PDF page=1", {"r/a.pdf 1"}),
        ('path="a note, [last].md"', {"a note, [last].md"}),
        ("path='a note, [last].md' type=md", {"a note, [last].md"}),
        ("path!='a note*' path!=r/*", {"n.md"}),
        ('{"path": "a note, [last].md"}', {"a note, [last].md"}),
        ('{"$or": [{"type": "md"}, {"page": 5}]}', {"n.md", "r/b.md", "r/a.pdf 5", "a note, [last].md"}),
        ('{"path": {"$in": ["n.md", "r/b.*"]}}', {"n.md", "r/b.md"}),
        ('{"type": {"$nin": ["md"]}, "page": {"$lt": 3}}', {"r/a.pdf 1"}),
        ('{"$and": [{"type": "pdf"}, {"page": {"$lte": 1}}]}', {"r/a.pdf 1"}),
    ],
)
def test_filters(text: str, allowed: set[str]) -> None:
    import json

    wanted = parse_filter(json.loads(text) if text.startswith("{") else text)
    assert wanted is not None
    chunks = {"r/a.pdf 1": ("r/a.pdf", "pdf", 1), "r/a.pdf 5": ("r/a.pdf", "pdf", 5),
              "n.md": ("n.md", "md", None), "r/b.md": ("r/b.md", "md", None),
              "a note, [last].md": ("a note, [last].md", "md", None)}  # fmt: skip
    assert {name for name, chunk in chunks.items() if wanted.allows(*chunk)} == allowed


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("colour=red", "fields: type, path, page"),
        ("pdf", "FIELD=VALUE"),
        ("page=first", "number"),
        ("type>3", "can't be"),
        ({"page": {"$near": 3}}, r"\$gte"),
        ({"$or": []}, "list"),
        ({"type": {"$in": "pdf"}}, "list"),
    ],
)
def test_bad_filters_name_the_choices(bad: object, words: str) -> None:
    with pytest.raises(QueryError, match=words):
        parse_filter(bad)  # type: ignore[arg-type]


def test_no_filter_is_no_filter() -> None:
    assert parse_filter(None) is parse_filter("") is parse_filter({}) is parse_filter("  ") is None


# ---- search over an index ------------------------------------------------------------------------------------------


@pytest.fixture
def library(docs: Path, make_rag: Callable[..., Rag]) -> Rag:
    (docs / "fruit").mkdir()
    (docs / "fruit" / "apples.md").write_text("# Apples\nApples are red or green. Apples keep in a cellar.\n")
    (docs / "fruit" / "pears.md").write_text("# Pears\nPears are green. Pears soften within a week.\n")
    (docs / "copy.md").write_text("# Pears\nPears are green. Pears soften within a week.\n")
    (docs / "ships.txt").write_text("A ship sails. Its mast holds the sail. The harbour is full of ships.\n")
    (docs / "zh.txt").write_text("余弦相似度衡量两个向量之间的角度。", encoding="utf-8")
    rag = make_rag()
    rag.sync()
    return rag


@pytest.mark.parametrize("kind", ["dense", "lexical", "hybrid"])
def test_each_kind_finds_the_file(library: Rag, kind: str) -> None:
    passages = library.search("mast of a ship", k=3, kind=kind)
    assert passages[0].source == "ships.txt"
    assert [p.number for p in passages] == list(range(1, len(passages) + 1))
    assert [p.score for p in passages] == sorted((p.score for p in passages), reverse=True)


def test_a_passage_is_the_files_own_words(library: Rag) -> None:
    for passage in library.search("green pears and apples", k=5):
        assert passage.span.cut(library.source(passage.source).text) == passage.text


def test_equal_files_are_one_passage_that_names_both(library: Rag) -> None:
    passages = library.search("pears soften", k=5)
    first = passages[0]
    assert {first.source, *first.also_in} == {"copy.md", "fruit/pears.md"}
    assert sum("Pears" in p.text for p in passages) == 1


def test_a_filter_names_the_file_that_passed_it(library: Rag) -> None:
    found = library.search("pears soften", filter="path=fruit/*")
    assert found[0].source == "fruit/pears.md"
    assert {p.source for p in found} <= {"fruit/pears.md", "fruit/apples.md"}
    assert library.search("pears", filter="type=pdf") == []


def test_chinese_is_found_by_its_words(library: Rag) -> None:
    assert library.search("余弦", kind="lexical")[0].source == "zh.txt"


def test_word_forms_and_case_are_folded(library: Rag) -> None:
    assert library.search("SHIP", kind="lexical")[0].source == "ships.txt"


def test_stages_explain_the_score(library: Rag) -> None:
    passage = library.search("mast", k=1)[0]
    stages = {s.stage: s for s in passage.stages}
    assert set(stages) == {"dense", "lexical", "proximity", "fusion"}
    assert stages["fusion"].score == pytest.approx(passage.score)
    best = max(s.score for p in library.search("mast", k=5) for s in p.stages if s.stage == "lexical")
    weight, share = library.config.retrieve.dense_weight, library.config.retrieve.proximity
    words = (1 - share) * stages["lexical"].score / best + share * stages["proximity"].score
    assert passage.score == pytest.approx(weight * stages["dense"].score + (1 - weight) * words)


def test_words_that_stand_together_come_first(
    docs: Path, make_rag: Callable[..., Rag], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rag.retrieve.search.WINDOW", 4)  # the fake embedder reads a few words at a time
    (docs / "apart.txt").write_text("Copper pots, copper pans, and far away from these: melting snow, melting wax.")
    (docs / "together.txt").write_text("Copper melting needs a furnace, and a person who looks after it all day.")
    rag = make_rag(retrieve__dense_weight=0.0)
    rag.sync()
    assert rag.search("copper melting", proximity=0.0)[0].source == "apart.txt"
    found = rag.search("copper melting")
    assert found[0].source == "together.txt"
    near = {p.source: s.score for p in found for s in p.stages if s.stage == "proximity"}
    assert near["together.txt"] == 1.0 > near["apart.txt"]


def test_min_score_and_caps(library: Rag) -> None:
    everything = library.search("green", k=5)
    cut = everything[1].score
    assert all(p.score >= cut for p in library.search("green", k=5, min_score=cut))
    capped = library.search("green apples", k=5, max_per_source=1)
    assert len({p.source for p in capped}) == len(capped)


def test_mmr_still_returns_the_best_first(library: Rag) -> None:
    plain, diverse = library.search("green pears", k=3), library.search("green pears", k=3, mmr=True)
    assert diverse[0] == plain[0]
    assert len(diverse) == 3


def test_neighbours_widen_and_merge(docs: Path, make_rag: Callable[..., Rag]) -> None:
    sentences = [f"Sentence {n} speaks of topic{n} and nothing else at all, in a few more words." for n in range(12)]
    (docs / "long.txt").write_text(" ".join(sentences))
    rag = make_rag(split__max_tokens=16)
    rag.sync()
    alone = rag.search("topic5", k=1, kind="lexical")[0]
    wide = rag.search("topic5", k=1, kind="lexical", neighbours=1)[0]
    assert wide.span.start < alone.span.start
    assert wide.span.end > alone.span.end
    assert wide.span.cut(rag.source("long.txt").text) == wide.text
    both = rag.search("topic5 topic6", k=2, kind="lexical", neighbours=2)
    assert [p.number for p in both] == list(range(1, len(both) + 1))
    assert not any(a.span.overlap(b.span) for a in both for b in both if a is not b)


def test_why_says_where_a_file_stands(library: Rag) -> None:
    assert library.why("mast of a ship", "ships.txt").found
    told = library.why("mast of a ship", "fruit/apples.md", top_k=1)
    assert not told.found
    assert "ranks" in told.reason
    assert "no such file" in library.why("mast", "nothing.md").reason


@pytest.mark.parametrize("question", ["", "   ", "\n"])
def test_empty_queries_are_refused(library: Rag, question: str) -> None:
    with pytest.raises(QueryError, match="empty"):
        library.search(question)


def test_words_that_stand_nowhere_find_nothing_by_terms(library: Rag) -> None:
    assert library.search("xylophone", kind="lexical") == []
    assert library.search("?!", kind="lexical") == []


@pytest.mark.parametrize("k", ["many", float("inf"), float("nan"), [3], 0])
def test_a_number_that_is_none_is_refused(library: Rag, k: Any) -> None:
    with pytest.raises(QueryError, match="search setting top_k is "):
        library.search("tokens", k=k)
    assert library.search("tokens", k="3") == library.search("tokens", k=3)


@pytest.mark.parametrize("question", [None, 7, float("nan"), b"bytes"])
def test_a_question_that_is_no_text_is_refused(library: Rag, question: Any) -> None:
    with pytest.raises(QueryError, match=r"^the question is .+, no text"):
        library.ask(question)


def test_chunks_around_a_passage_are_none_or_more(library: Rag) -> None:
    [found] = library.search("tokens", k=1)
    assert [p.chunk_id for p in library.neighbours(found.chunk_id, 0, 0)] == [found.chunk_id]
    for before, after, told in ((-1, 0, "before is -1"), (0, -2, "after is -2")):
        with pytest.raises(QueryError, match=told):
            library.neighbours(found.chunk_id, before, after)


def test_settings_are_checked(library: Rag) -> None:
    with pytest.raises(QueryError, match="top_p"):
        library.search("mast", top_p=3)
    with pytest.raises(QueryError):
        library.search("mast", k=0)


def test_function_words_are_not_searched_for_unless_nothing_else_is_asked(library: Rag) -> None:
    assert [p.source for p in library.search("what is the harbour of it", kind="lexical")] == ["ships.txt"]
    assert library.search("is", kind="lexical")


def test_closing_beside_a_search_ends_both(rag: Rag, docs: Path) -> None:
    """A search holds the catalog while it asks for its parts; closing wants both."""
    (docs / "a.txt").write_text("The heron eats frogs.", encoding="utf-8")
    rag.sync()
    catalog, inside, go_on, ended = rag.reader.catalog, threading.Event(), threading.Event(), threading.Event()

    def search() -> None:
        with catalog.snapshot():
            inside.set()
            assert go_on.wait(10)
            assert rag._rerank("none") is None
        ended.set()

    threads = [threading.Thread(target=search, daemon=True), threading.Thread(target=rag.close, daemon=True)]
    threads[0].start()
    assert inside.wait(10)
    threads[1].start()
    while "reader" in rag._parts:  # until it waits for the catalog
        time.sleep(0.001)
    go_on.set()
    assert ended.wait(10), "they wait for each other"
    threads[1].join(10)
    with pytest.raises(StoreError, match="was closed while it was used"):
        catalog.meta("generation")
    assert rag._any_reader.catalog.meta("generation") == 1  # opened anew
