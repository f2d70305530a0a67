"""A run over judged questions: what a row says, what counts as right, and sets that bring their own documents."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes_embed import open_rag
from shell import write

from rag.build import Rag
from rag.errors import IndexMissing, JudgementError, QueryError
from rag.evaluate import choose, rows, run
from rag.evaluate.folder import corpus_hash, written
from rag.evaluate.judgements import Dataset, Evidence, Judgement
from rag.evaluate.report import Hit, Report, Row
from rag.types import Answer, Citation, Location, Span, Statement

METALS = "# Metals\n\nCopper melts at 1085 degrees Celsius.\n\nIron melts at 1538 degrees Celsius.\n"
BIRDS = "The heron waits for fish in the shallow river.\nStorks build their nests on chimneys.\n"
COPPER = Judgement(
    "copper",
    "At what temperature does copper melt?",
    ((Evidence("metals.md", quote="Copper melts at 1085 degrees Celsius."),),),
    ("1085 degrees", "1085 °C"),
    group="metals",
)
HERON = Judgement(
    "heron",
    "Where does the heron wait for fish?",
    ((Evidence("birds.txt", quote="in the shallow river"),),),
    ("shallow river",),
)
TOSCA = Judgement("tosca", "Who composed the opera Tosca?", answerable=False)
THREE = Dataset("three", (COPPER, HERON, TOSCA))


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rag]:
    folder = write(tmp_path_factory.mktemp("docs"), metals_md=METALS, birds_txt=BIRDS)
    with open_rag(folder, tmp_path_factory.mktemp("home") / "index") as rag:
        rag.sync()
        yield rag


@pytest.fixture(scope="module")
def report(asked: Rag) -> Report:
    return asked.evaluate(THREE)


def row_of(report: Report, key: str) -> Row:
    return next(r for r in report.rows if r.id == key)


# ---- a row -------------------------------------------------------------------------------------------------------


def test_a_row_says_where_the_evidence_was_found(report: Report, asked: Rag) -> None:
    row = row_of(report, "copper")
    (rank,) = row.ranks
    assert rank is not None
    hit = row.found[rank - 1]
    assert hit.source == "metals.md"
    assert "Copper melts at 1085" in hit.span.cut(asked.source("metals.md").text)
    assert [h.holds for h in row.found].index(True) == rank - 1
    assert row.why == f"passage {rank} holds the evidence"
    assert row.values["span_mrr@10"] == 1 / rank
    assert [h.score for h in row.found] == sorted((h.score for h in row.found), reverse=True)
    assert row.evidence == (("metals.md", "Copper melts at 1085 degrees Celsius."),)


def test_a_figure_is_the_mean_of_its_rows(report: Report) -> None:
    sizes = {f.name: f.n for f in report.figures}
    assert sizes["span_recall@5"] == sizes["first_sentence"] == sizes["answered"] == 2
    assert sizes["right"] == sizes["f1"] == 3
    assert sizes["declined"] == 1
    for figure in report.figures:
        values = [r.values[figure.name] for r in report.rows if figure.name in r.values]
        assert figure.value == pytest.approx(sum(values) / len(values))
        assert figure.low <= figure.value <= figure.high
        assert report[figure.name] == figure.value
    with pytest.raises(KeyError, match="recall@5"):
        report["recal@5"]


def test_retrieval_values_stand_before_answer_values_in_the_order_asked_for(asked: Rag) -> None:
    names = [f.name for f in asked.evaluate(THREE, metrics="span_recall@2 ndcg@3").figures]
    assert names == [f.name for f in asked.evaluate(THREE, metrics=["span_recall@2", "ndcg@3"]).figures]
    assert names[:3] == ["span_recall@2", "ndcg@3", "right"]


def test_questions_that_say_their_kind_are_counted_by_it(asked: Rag, report: Report) -> None:
    assert report.kinds == ()
    mixed = Dataset("mixed", (replace(COPPER, kind="cloze"), HERON, replace(TOSCA, kind="unanswerable")))
    kinds = {k.name: (k.n, [f.name for f in k.figures]) for k in asked.evaluate(mixed).kinds}
    assert kinds == {
        "cloze": (1, ["span_recall@5", "right", "answered", "citation_recall"]),
        None: (1, ["span_recall@5", "right", "answered", "citation_recall"]),
        "unanswerable": (1, ["right", "declined"]),
    }


def test_what_made_it_is_in_the_report(report: Report, asked: Rag) -> None:
    texts = [(name, asked.source(name).text) for name in ("birds.txt", "metals.md")]
    assert report.corpus_sha256 == corpus_hash(texts)
    assert report.embedding["model"] == "fake"
    held = {name: asked.status()[name] for name in ("chunks", "characters")}
    assert report.counts == {"questions": 3, "answerable": 2, "with_evidence": 2, "documents": 2, **held}
    assert report.settings["answer"]["min_confidence"] == 0.3  # as the user has it, not as it was asked with
    assert {"python", "numpy", "chromadb"} <= set(report.versions)
    assert report.options["seed"] == 0


def test_curves_end_where_the_deepest_metric_does(report: Report) -> None:
    assert set(report.recall) == {"recall", "span_recall"}
    for curve in report.recall.values():
        assert len(curve) == report.options["depth"] == run.DEPTH
        assert list(curve) == sorted(curve)
    assert report.recall["span_recall"][4] == report["span_recall@5"]


# ---- right or wrong ----------------------------------------------------------------------------------------------


def test_below_the_threshold_nothing_was_answered(asked: Rag) -> None:
    everything = run.evaluate(beside(asked), THREE, threshold=0.0)
    nothing = run.evaluate(beside(asked), THREE, threshold=1.0)
    assert everything["answered"] == 1
    assert everything["declined"] == 0
    assert nothing["answered"] == nothing["first_three"] == nothing["citation_recall"] == 0
    assert nothing["declined"] == 1
    assert nothing["right"] == nothing["exact_match"] == pytest.approx(1 / 3)  # the unanswerable one
    assert {f.name for f in nothing.figures}.isdisjoint({"citation_precision", "verified", "words"})
    assert "generate" not in row_of(nothing, "copper").seconds
    assert "generate" in row_of(everything, "copper").seconds
    for one, other in zip(everything.rows, nothing.rows, strict=True):
        assert (one.held, one.confidence) == (other.held, other.confidence)  # what another threshold would do stays
        assert other.answer == ""
    assert [p.answered for p in everything.abstention.curve] == [p.answered for p in nothing.abstention.curve]
    assert everything.abstention.coverage == 1
    assert nothing.abstention.coverage == nothing.abstention.risk == 0


def beside(rag: Rag) -> Rag:
    """The same, answering whatever the confidence."""
    answer = rag.config.answer.model_copy(update={"min_confidence": 0.0})
    other = Rag(rag.config.model_copy(update={"answer": answer}))
    other._parts.update(embedder=rag.embedder, reader=rag.reader, any_reader=rag._any_reader)
    return other


def test_a_rag_that_declines_by_itself_is_refused(asked: Rag) -> None:
    with pytest.raises(ValueError, match="min_confidence 0"):
        run.evaluate(asked, THREE)


def blank(j: Judgement) -> Row:
    return Row(j.id, j.question, None, None, j.answerable, j.answers, (), (), "", (), {}, {})


def answer(*said: tuple[str, bool], cited: tuple[tuple[str, int, int], ...] = (), confidence: float = 0.8) -> Answer:
    here = Location(None, 1)
    return Answer(
        question="", text="as shown", abstained=False, reason=None, confidence=confidence,
        citations=tuple(Citation(1, s, here, Span(a, b), "q", verified=a != 90) for s, a, b in cited),
        passages=(), statements=tuple(Statement(text, (1,), supported) for text, supported in said),
        generator="hand", timings={"retrieve.embed": 1.0, "generate": 2.0, "first_token": 0.5}, tokens={},
    )  # fmt: skip


def test_what_is_counted_of_an_answer() -> None:
    j = Judgement("q", "?", ((Evidence("a.md", Span(10, 20)),), (Evidence("a.md", Span(40, 50)),)), ("12 cm",))
    given = answer(
        ("It was long.", True), ("It was 12 cm.", False), cited=(("a.md", 19, 25), ("b.md", 10, 20), ("a.md", 90, 95))
    )
    row = rows.judged(blank(j), j, given, threshold=0.3, vector={"retrieve.embed": 1.5})
    values = row.values
    assert values["citation_precision"] == pytest.approx(1 / 3)
    assert values["citation_recall"] == 0.5
    assert values["verified"] == pytest.approx(2 / 3)
    assert values["grounded"] == 0.5
    assert values["words"] == 7
    assert (values["first_sentence"], values["first_three"], values["right"], values["answered"]) == (0, 1, 1, 1)
    assert values["exact_match"] == 0
    assert values["f1"] == pytest.approx(4 / 9)  # 2 words in common, of 7 and 2
    assert row.seconds["total"] == 3.5  # the first token is a moment within `generate`
    assert (row.answer, row.right, row.held, row.abstained) == ("as shown", True, True, False)


def test_evidence_without_answers_judges_no_answer() -> None:
    j = Judgement("q", "?", ((Evidence("a.md", Span(10, 20)),),))
    row = rows.judged(blank(j), j, answer(("Anything.", True), cited=(("a.md", 10, 20),)), 0.3, {})
    assert (row.right, row.held) == (None, None)
    assert set(row.values) == {"answered", "citation_recall", "citation_precision", "words", "grounded", "verified"}


def test_answering_the_unanswerable_is_wrong() -> None:
    row = rows.judged(blank(TOSCA), TOSCA, answer(("Puccini.", True)), 0.3, {})
    assert (row.right, row.held, row.values["declined"], row.values["f1"]) == (False, False, 0, 0)
    row = rows.judged(blank(TOSCA), TOSCA, answer(("Puccini.", True), confidence=0.2), 0.3, {})
    assert (row.right, row.held, row.values["declined"], row.values["f1"]) == (True, False, 1, 1)


def test_a_language_model_is_asked_too(make_rag: Callable[..., Rag], docs: Path) -> None:
    from langchain_core.language_models.fake_chat_models import FakeListChatModel

    write(docs, metals_md=METALS)
    rag = make_rag(llm=FakeListChatModel(responses=["Copper melts at 1085 degrees Celsius. Gold is 42 meters."]))
    rag.sync()
    row = rag.evaluate(Dataset("one", (COPPER,))).rows[0]
    assert row.answer is not None
    assert row.answer.startswith("Copper melts at 1085 degrees Celsius.")
    assert "first_token" in row.seconds


# ---- why it wasn't found -----------------------------------------------------------------------------------------


def hit(source: str, start: int, end: int, also_in: tuple[str, ...] = ()) -> Hit:
    return Hit(source, Span(start, end), 0.5, source, False, also_in)


@pytest.mark.parametrize(
    ("hits", "told"),
    [
        ((hit("b.md", 0, 9), hit("a.md", 5, 30)), "passage 2 holds the evidence"),
        ((hit("b.md", 5, 30, also_in=("a.md",)),), "passage 1 holds the evidence"),
        ((hit("a.md", 0, 12), hit("a.md", 12, 30)), "passage 1 holds a part of the evidence, none of 2 all of it"),
        ((hit("b.md", 10, 20), hit("a.md", 50, 60)),
         "none of 2 passages holds the evidence; a.md is first at 2, at another place"),
        ((hit("b.md", 10, 20),), "none of 1 passages is from a.md"),
        ((), "none of 0 passages is from a.md"),
    ],
)  # fmt: skip
def test_why(hits: tuple[Hit, ...], told: str) -> None:
    assert rows.why(hits, Judgement("q", "?", ((Evidence("a.md", Span(10, 20)),),))) == told


def test_why_of_several_pieces_tells_of_the_one_that_fared_worst() -> None:
    j = Judgement("q", "?", ((Evidence("a.md", Span(10, 20)),), (Evidence("c.md"),)))
    assert rows.why((hit("a.md", 0, 30), hit("b.md", 0, 9), hit("c.md", 0, 9)), j) == "passage 3 holds the evidence"
    assert rows.why((hit("a.md", 0, 30),), j) == "none of 1 passages is from c.md"
    assert rows.why((), TOSCA) == "there is no evidence to find"


# ---- what is asked -----------------------------------------------------------------------------------------------


def without_time(report: Report) -> list[object]:
    rows = [{**row, "seconds": None} for row in report.to_dict()["rows"]]
    return [rows, report.figures, report.recall, report.abstention, report.corpus_sha256, report.questions_sha256]


def test_the_same_input_gives_the_same_figures(asked: Rag, report: Report) -> None:
    assert without_time(asked.evaluate(THREE)) == without_time(report)


def test_a_sample_is_drawn_by_its_seed_and_keeps_the_order() -> None:
    many = [Judgement(f"q{i:02}", f"question {i}?", answers=("x",)) for i in range(40)]
    drawn = choose.sampled(many, 10, 0)
    assert drawn == choose.sampled(many, 10, 0)
    assert len(drawn) == 10
    assert drawn == sorted(drawn, key=lambda j: j.id)
    assert drawn != choose.sampled(many, 10, 1)
    assert choose.sampled(many, 99, 0) == choose.sampled(many, None, 0) == many
    with pytest.raises(QueryError, match="sample of 0"):
        choose.sampled(many, 0, 0)


def test_only_searching(asked: Rag) -> None:
    report = asked.evaluate(THREE, answers=False, metrics="recall@5")
    assert [f.name for f in report.figures] == ["recall@5"]
    assert report.abstention is None
    assert {row.answer for row in report.rows} == {row.confidence for row in report.rows} == {None}
    assert "evidence" not in row_of(report, "copper").seconds
    assert row_of(report, "copper").good is True
    assert row_of(report, "tosca").good is None


def test_whole_documents_have_no_span_metrics(asked: Rag) -> None:
    whole = Dataset("whole", (Judgement("q", "copper?", ((Evidence("metals.md"),),)),))
    names = {f.name for f in asked.evaluate(whole, answers=False).figures}
    assert names == {"recall@5", "ndcg@10", "mrr@10"}
    with pytest.raises(JudgementError, match="span_hit@3 needs spans"):
        asked.evaluate(whole, metrics="recall@5 span_hit@3")


def test_a_set_with_both_kinds_measures_each_where_it_can(asked: Rag) -> None:
    whole = Judgement("whole", "Tell me about herons", ((Evidence("birds.txt"),),))
    sizes = {f.name: f.n for f in asked.evaluate(Dataset("both", (COPPER, whole)), answers=False).figures}
    assert (sizes["recall@5"], sizes["span_recall@5"]) == (2, 1)


@pytest.mark.parametrize(
    ("judgement", "told"),
    [
        (Judgement("q", "?", ((Evidence("etals.md", quote="Copper"),),)), "there is no 'etals.md'"),
        (Judgement("q", "?", ((Evidence("metals.md", Span(0, 999)),),)), "outside metals.md, which has"),
        (Judgement("q", "?", ((Evidence("metals.md", quote="Tin"),),)), "stands nowhere in metals.md"),
        (Judgement("q", "why " * 3000, answers=("x",), origin="q.jsonl:7"), "q.jsonl:7: question: the question has 12"),
    ],
)
def test_what_is_wrong_with_a_question_names_it(asked: Rag, judgement: Judgement, told: str) -> None:
    with pytest.raises(JudgementError) as caught:
        asked.evaluate(Dataset("bad", (judgement,)))
    assert told in caught.value.message
    assert caught.value.hint


def test_a_name_that_is_enough_for_people_is_none_for_evidence(make_rag: Callable[..., Rag], docs: Path) -> None:
    """`rag get metals.md` finds deep/metals.md; as evidence it would never equal what a search finds."""
    write(docs / "deep", metals_md=METALS)
    rag = make_rag()
    rag.sync()
    assert rag.source("metals.md").path == rag.source(Path("deep") / "metals.md").path == "deep/metals.md"
    with pytest.raises(JudgementError, match=r"there is no 'metals\.md'"):
        rag.evaluate(Dataset("one", (COPPER,)))


def test_refused_before_anything_is_asked(asked: Rag) -> None:
    with pytest.raises(JudgementError, match="'copper' is taken"):
        asked.evaluate(Dataset("twice", (COPPER, COPPER)))
    with pytest.raises(QueryError, match="unknown metric"):
        asked.evaluate(THREE, metrics="ndgc@10")
    with pytest.raises(QueryError, match="k = 0"):
        asked.evaluate(THREE, metrics="ndcg@0")
    with pytest.raises(QueryError, match="at most 1000"):
        asked.evaluate(THREE, metrics="ndcg@1001")
    unjudged = Dataset("answers", (Judgement("q", "?", answers=("x",)),))
    with pytest.raises(JudgementError, match="nothing to measure") as caught:
        asked.evaluate(unjudged, answers=False)
    with pytest.raises(JudgementError, match="no question has evidence, which recall@5 needs"):
        asked.evaluate(unjudged, metrics="recall@5")
    assert "answers are left out" in caught.value.message


def test_the_listener_hears_of_each_question(asked: Rag) -> None:
    heard: list[dict[str, object]] = []
    asked.evaluate(THREE, answers=False, listener=heard.append)
    assert [(e["done"], e["total"], e["id"]) for e in heard] == [(1, 3, "copper"), (2, 3, "heron"), (3, 3, "tosca")]


# ---- sets that bring their documents -----------------------------------------------------------------------------


def squad(path: Path, context: str, question: str, gold: str) -> Path:
    answers = [{"text": gold, "answer_start": context.index(gold)}]
    qas = [{"id": "s1", "question": question, "answers": answers}]
    body = {"data": [{"title": "t", "paragraphs": [{"context": context, "qas": qas}]}]}
    path.write_text(json.dumps(body), encoding="utf-8")
    return path


def test_a_public_set_is_indexed_apart_and_the_folder_stays_as_it_was(
    make_rag: Callable[..., Rag], docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    write(docs, birds_txt=BIRDS)
    rag = make_rag(documents__include=["*.md", "birds.txt"])
    rag.sync()
    # a byte-order mark and line ends that a loader takes out before it counts
    path = squad(
        tmp_path / "zinc.json", "\ufeffTin is soft.\r\nZinc melts at 420 degrees.", "When does zinc melt?", "420"
    )
    heard: list[dict[str, object]] = []
    report = rag.evaluate(path, listener=heard.append)
    (row,) = report.rows
    assert row.found[0].source == "00000.txt"
    assert row.ranks == (1,)
    assert (report.counts["documents"], report.name) == (1, "zinc")
    assert {e["event"] for e in heard} >= {"scan", "done", "question"}
    assert [f.path for f in rag.files()] == ["birds.txt"]  # and it is open still
    assert rag.search("heron")[0].source == "birds.txt"
    assert len(list((tmp_path / "home" / "rag" / "evaluate").iterdir())) == 1
    assert without_time(rag.evaluate(path)) == without_time(report)


def test_documents_are_written_once_and_under_another_name_when_they_change(tmp_path: Path) -> None:
    one = Dataset("../a b", (COPPER,), {"x.txt": "one\n", "y.txt": "two"})
    folder = written(one, tmp_path)
    assert folder.parent.parent == tmp_path
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {"x.txt": b"one\n", "y.txt": b"two"}
    before = (folder / "x.txt").stat().st_mtime_ns
    assert written(one, tmp_path) == folder
    assert (folder / "x.txt").stat().st_mtime_ns == before
    assert written(Dataset("../a b", (COPPER,), {"x.txt": "one!"}), tmp_path) != folder
    assert [p.name for p in folder.parent.iterdir()] == ["documents"]


def test_a_corpus_hash_depends_on_where_a_text_ends() -> None:
    assert corpus_hash([("a", "bc")]) != corpus_hash([("ab", "c")])
    assert corpus_hash([("a", "b")]) == corpus_hash([("a", "b")])


def test_a_folder_that_was_never_synced(make_rag: Callable[..., Rag]) -> None:
    with pytest.raises(IndexMissing):
        make_rag().evaluate(THREE)
