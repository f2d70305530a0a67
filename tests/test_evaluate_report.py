"""Reports: figures, both ways through JSON, compared in pairs, and shown as text, Markdown and HTML."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rag.errors import ConfigError, JudgementError, QueryError
from rag.evaluate import render, statistics
from rag.evaluate.calibrate import calibrate, shortest
from rag.evaluate.charts import latency_chart, recall_chart, risk_chart
from rag.evaluate.compare import check_same_questions, compare
from rag.evaluate.figures import abstention_of, figures_of, groups_of, kinds_of, latency_of, main_figures
from rag.evaluate.markdown import markdown
from rag.evaluate.page import MEANINGS, page
from rag.evaluate.report import (
    ANSWER_FIGURES,
    JUDGE_FIGURES,
    SCHEMA,
    Hit,
    Latency,
    Report,
    Row,
)
from rag.markup import Markup, el, table
from rag.types import Span, StageScore

EVIL = "<script>alert('x')</script>"


def row(
    key: str,
    right: bool | None = True,
    confidence: float | None = 0.9,
    *,
    answerable: bool = True,
    declined: bool = False,
    rank: int | None = 1,
    **more: Any,
) -> Row:
    """`right`: whether the answer holds a gold, given or not."""
    shown = None if right is None else (right if answerable else False) and not declined
    if not answerable:
        shown = declined
    hits = (Hit("a.md", Span(0, 9), 0.5, "a.md:1", True, (), (StageScore("dense", 0.4, 2),), "text of a"),)
    values: dict[str, float] = {} if rank is None else {"recall@5": float(rank <= 5)}
    if shown is not None:
        values["right"] = float(shown)
    made = Row(
        id=key, question=f"question {key}?", group=None, kind=None, answerable=answerable,
        golds=("gold",) if answerable else (), evidence=(("a.md", "words"),) if answerable else (),
        ranks=(rank,) if answerable else (), why=f"passage {rank} holds the evidence", found=hits, values=values,
        seconds={"retrieve.embed": 0.01, "total": 0.02}, answer="" if declined else f"answer {key}",
        confidence=confidence, abstained=declined, cited=(), right=shown, held=right if answerable else False,
    )  # fmt: skip
    return replace(made, **more)


def report(*rows: Row, name: str = "set", **more: Any) -> Report:
    names = dict.fromkeys(n for r in rows for n in r.values)
    made = Report(
        name=name, made="2026-01-02T03:04:05+00:00", figures=figures_of(rows, names), rows=rows,
        recall={"recall": (0.5, 1.0), "span_recall": (0.4, 0.6)}, latency=latency_of(rows),
        abstention=abstention_of(rows, 0.3),
        options={"metrics": ["recall@5"], "depth": 2, "answers": True, "sample": None, "seed": 0},
        counts={"questions": len(rows), "answerable": sum(r.answerable for r in rows), "with_evidence": 1,
                "documents": 1, "chunks": 2, "characters": 3},
        settings={"retrieve": {"top_k": 5, "kind": "hybrid"}, "store": {"path": "/somewhere"}},
        versions={"python": "3", "numpy": "2"}, machine="Linux", embedding={"model": "fake", "weights_sha256": "ab"},
        corpus_sha256="c0", questions_sha256="d0",
    )  # fmt: skip
    return replace(made, **more)


SMALL = report(row("a"), row("b", False, 0.4), row("c", answerable=False, confidence=0.2, declined=True, rank=None))


# ---- figures -----------------------------------------------------------------------------------------------------


def test_a_figure_is_over_the_rows_that_have_it() -> None:
    (f,) = figures_of([row("a"), row("b", rank=9), row("c", answerable=False, rank=None)], ["recall@5", "nothing"])
    assert (f.name, f.value, f.n) == ("recall@5", 0.5, 2)


def test_all_right_is_no_proof_that_the_next_is() -> None:
    rows = [row(str(i)) for i in range(20)]
    (f,) = figures_of(rows, ["right"])
    assert (f.value, f.high) == (1, 1)
    assert f.low == pytest.approx(0.8316, abs=1e-4)  # Clopper & Pearson, 20 of 20
    (f,) = figures_of([row(str(i), right=False) for i in range(20)], ["right"])
    assert (f.low, f.high) == (0, pytest.approx(0.1684, abs=1e-4))
    together = statistics.mean_interval([1.0] * 20, groups=[i // 10 for i in range(20)], share=True)
    assert together.low == pytest.approx(0.025**0.5)  # two articles, not twenty questions
    lengths = [replace(r, values={"words": 1.0}) for r in rows]
    (f,) = figures_of(lengths, ["words"])
    assert (f.low, f.high) == (1, 1)  # no share: no such bound


def test_questions_of_a_group_count_together() -> None:
    rows = [row(str(i), right=i < 10, group="x" if i < 10 else "y") for i in range(20)]
    (alike,) = figures_of(rows, ["right"])
    (single,) = figures_of([replace(r, group=None) for r in rows], ["right"])
    assert alike.high - alike.low > single.high - single.low
    assert groups_of([row("a", group="b"), row("b")]) == [("group", "b"), ("question", "b")]
    assert groups_of([row("a")]) is None


# ---- by kind -----------------------------------------------------------------------------------------------------


def by_kind(*rows: Row) -> Report:
    made = report(*rows)
    return replace(made, kinds=kinds_of(rows, [f.name for f in made.figures]))


MIXED = by_kind(
    row("a", kind="cloze"),
    row("b", False, kind="cloze", rank=9),
    row("c", answerable=False, declined=True, rank=None, kind="unanswerable"),
    row("d", None, kind="heading", rank=2),
    row("e"),
)


def test_each_kind_has_its_figures_over_its_own_questions() -> None:
    found = {k.name: (k.n, {f.name: (f.value, f.n) for f in k.figures}) for k in MIXED.kinds}
    assert list(found) == ["cloze", "unanswerable", "heading", None]  # in the order of the set
    assert found["cloze"] == (2, {"recall@5": (0.5, 2), "right": (0.5, 2)})
    assert found["unanswerable"] == (1, {"right": (1, 1)})
    assert found["heading"] == (1, {"recall@5": (1, 1)})
    assert sum(n for n, _ in found.values()) == len(MIXED.rows)
    assert kinds_of([row("a"), row("b")], ["right"]) == kinds_of([], ["right"]) == ()


def test_main_figures_stand_for_the_search_and_the_answers() -> None:
    assert main_figures(["recall@5", "ndcg@10", "span_recall@5", "right", "words"]) == ["span_recall@5", "right"]
    assert main_figures(["ndcg@3", "mrr@3", "declined", "answered"]) == ["ndcg@3", "answered", "declined"]
    assert main_figures(["f1", "judge_correct"]) == []


def test_kinds_are_shown_everywhere() -> None:
    assert Report.from_dict(json.loads(json.dumps(MIXED.to_dict()))) == MIXED
    assert MIXED.to_dict()["kinds"][0]["n"] == 2
    lines = render.text_table(MIXED).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("kind of question"))
    assert [line.split() for line in lines[start : start + 5]] == [
        ["kind", "of", "question", "n", "recall@5", "right"],
        ["cloze", "2", "0.500", "0.500"],
        ["unanswerable", "1", "-", "1.000"],
        ["heading", "1", "1.000", "-"],
        ["(no", "kind)", "1", "1.000", "1.000"],
    ]
    assert len({len(line) for line in lines[start : start + 5]}) == 1
    assert "| cloze | 2 | 0.500 (2) | 0.500 (2) |" in markdown(MIXED)
    assert "By kind of question" in page(MIXED)
    for told in (render.text_table(SMALL), markdown(SMALL), page(SMALL)):
        assert "kind of question" not in told.lower()


def test_a_kind_is_any_text() -> None:
    odd = by_kind(row("a", kind=f"{EVIL} | `x`\n# y " + "z" * 99), row("b", kind=" "))
    lines = render.text_table(odd).splitlines()
    assert max(map(len, lines)) <= 80
    assert "<script" not in page(odd)
    told = markdown(odd)
    assert "\n# y" not in told
    assert r"&lt;script>alert('x')&lt;/script> \| \`x\` # y …" in told
    assert "| (blank) | 1 |" in told


def test_latency() -> None:
    rows = [row(str(i), seconds={"embed": float(i)} | ({"generate": 5.0} if i else {})) for i in range(5)]
    assert latency_of(rows) == (Latency("embed", 2.0, pytest.approx(3.8), 5), Latency("generate", 5.0, 5.0, 4))


def test_abstention_by_hand() -> None:
    rows = [
        row("a", True, 0.9),
        row("b", False, 0.8),
        row("c", True, 0.7),
        row("d", answerable=False, confidence=0.6),
        row("e", True, 0.1, declined=True),
        row("f", None, 0.95),  # can't be judged: in no risk
    ]
    a = abstention_of(rows, 0.3)
    assert a is not None
    assert (a.n, a.coverage, a.risk) == (5, 0.8, 0.5)
    assert [(p.threshold, p.answered, p.wrong) for p in a.curve] == [
        (0.9, 1, 0), (0.8, 2, 1), (0.7, 3, 1), (0.6, 4, 2), (0.1, 5, 2)
    ]  # fmt: skip
    assert a.auroc_right == pytest.approx(3 / 6)
    assert a.auroc_answerable == pytest.approx(4 / 5)
    assert a.scores is not None
    assert a.scores.answered_unanswerable == 1
    assert abstention_of([row("f", None)], 0.3) is None
    assert abstention_of([row("a", confidence=None)], 0.3) is None


# ---- JSON --------------------------------------------------------------------------------------------------------


def test_a_report_goes_through_json_and_back(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    SMALL.write(path, comparison={"anything": 1})
    assert Report.read(path) == SMALL == Report.read(str(path))
    SMALL.write(str(path.with_name("again.json")), comparison={"anything": 1})
    assert path.with_name("again.json").read_bytes() == path.read_bytes()
    assert json.loads(path.read_text(encoding="utf-8"))["comparison"] == {"anything": 1}
    assert Report.from_dict(json.loads(json.dumps(SMALL.to_dict()))) == SMALL


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"schema": SCHEMA + 1}, f"is a report of schema {SCHEMA + 1}, this version reads {SCHEMA}"),
        ({"figures": [{"name": "x"}]}, "x.json: figures.0.value"),
        ({"counts": 3}, "x.json: counts: is 3"),
    ],
)
def test_another_or_a_broken_report_is_refused(tmp_path: Path, change: dict[str, Any], told: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps(SMALL.to_dict() | change), encoding="utf-8")
    with pytest.raises(JudgementError) as caught:
        Report.read(path)
    assert told in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("text", ['{"id": "a"}', "[1]", "{", ""])
def test_what_is_no_report(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JudgementError, match=r"x\.json") as caught:
        Report.read(path)
    assert "`rag evaluate --out FILE.json` writes one" in caught.value.hint


def test_a_frame_has_a_line_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    a, b, _ = SMALL.frame()
    assert a["id"] == "a"
    assert (a["recall@5"], a["right"], b["right"], a["seconds.total"]) == (1, 1, 0, 0.02)
    assert a.keys() == b.keys()


def test_a_frame_of_pandas_itself() -> None:
    """The test above has a stand-in, since pandas is no dependency; here it is the real one, where it is installed."""
    pandas = pytest.importorskip("pandas")
    frame = MIXED.frame()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == len(MIXED.rows)
    assert list(frame["id"]) == [r.id for r in MIXED.rows]
    for figure in MIXED.figures:
        assert frame[figure.name].mean() == pytest.approx(figure.value)  # what a question doesn't have is no number
        assert frame[figure.name].count() == figure.n
    assert frame.groupby("kind")["right"].mean()["cloze"] == 0.5
    assert frame["seconds.total"].dtype == float
    assert bool(frame.loc[frame["id"] == "c", "abstained"].item()) is True


def test_without_pandas_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pandas isn't installed") as caught:
        SMALL.frame()
    assert caught.value.hint == "pip install pandas"


# ---- two reports -------------------------------------------------------------------------------------------------


def many(wrong: set[int], **more: Any) -> Report:
    return report(*(row(f"q{i:02}", right=i not in wrong) for i in range(30)), **more)


def test_equal_reports_show_no_difference() -> None:
    c = compare(many({1}), many({1}))
    assert {d.p for d in c.differences} == {1.0}
    assert {d.verdict for d in c.differences} == {"no difference shown"}
    assert c.broken == c.mended == c.settings == c.notes == ()


def test_a_difference_beyond_noise_and_the_questions_that_changed() -> None:
    c = compare(many(set(range(12))), many({29}))
    (right,) = [d for d in c.differences if d.name == "right"]
    assert (right.before, right.after, right.n, right.changed) == (18 / 30, 29 / 30, 30, 13)
    assert right.difference == pytest.approx(11 / 30)
    assert right.low > 0
    assert right.verdict == "better"
    assert [change.id for change in c.mended] == [f"q{i:02}" for i in range(12)]
    assert [(change.id, change.before, change.after) for change in c.broken] == [("q29", "answer q29", "answer q29")]
    back = compare(many({29}), many(set(range(12))))
    assert [d.verdict for d in back.differences if d.name == "right"] == ["worse"]


def test_the_order_of_the_questions_does_not_matter() -> None:
    after = many({29})
    turned = replace(after, rows=after.rows[::-1])
    assert compare(many({1}), turned).differences == compare(many({1}), after).differences


def test_p_is_corrected_among_what_could_differ() -> None:
    """Holm over the answers alone, and over those values alone that changed at all."""

    def with_values(shift: int) -> Report:
        moved = [float(i >= shift) for i in range(8)]
        return report(
            *(row(str(i), values={"recall@5": 1.0, "mrr@5": v, "right": v, "f1": v}) for i, v in enumerate(moved))
        )

    c = {d.name: d for d in compare(with_values(6), with_values(0)).differences}
    assert c["right"].p == pytest.approx(2 / 64)
    assert c["right"].p_holm == pytest.approx(2 * 2 / 64)
    assert c["right"].verdict == "no difference shown"  # alone it would have been shown
    assert c["mrr@5"].p_holm == c["mrr@5"].p == pytest.approx(2 / 64)  # the only figure of the search that changed
    assert c["mrr@5"].verdict == "better"
    assert c["recall@5"].p_holm == 1


def test_other_questions_are_not_compared() -> None:
    with pytest.raises(JudgementError, match=r"1 \(q05\) only before, 1 \(new\) only after"):
        rows = many(set()).rows
        compare(many(set()), report(*rows[:5], *rows[6:], row("new")))
    with pytest.raises(JudgementError, match="question 'q00' was 'question q00\\?' and is 'other"):
        compare(many(set()), report(row("q00", question="other?"), *many(set()).rows[1:]))
    with pytest.raises(JudgementError, match=r"29 .*only before"):
        check_same_questions(many(set()), {"q00": "question q00?"})


def test_what_else_changed_is_told() -> None:
    settings = {"retrieve": {"top_k": 8, "kind": "hybrid"}, "store": {"path": "/elsewhere"}}
    after = many(set(), settings=settings, corpus_sha256="c1", questions_sha256="d1", versions={"python": "3"})
    c = compare(many(set()), after)
    assert c.settings == (("retrieve.top_k", "5", "8"),)  # where an index lies changes nothing
    assert [note.split(" (")[0] for note in c.notes] == [
        "the questions are judged otherwise than before",
        "the documents' texts changed: a difference may come from them",
        "numpy 2, now none",
    ]
    fewer = report(*(replace(r, values={"right": 1.0}) for r in many(set()).rows))
    assert "only before: recall@5" in compare(many(set()), fewer).notes


def test_without_answers_the_evidence_says_what_changed() -> None:
    def searched(rank: int | None) -> Report:
        return report(row("a", None, None, rank=rank, values={"recall@5": float(rank == 1)}))

    (change,) = compare(searched(1), searched(None)).broken
    assert change.before == "passage 1 holds the evidence"


# ---- the threshold -----------------------------------------------------------------------------------------------


def test_calibrate_finds_the_lowest_threshold_that_keeps_the_risk() -> None:
    rows = [row(str(i), right=i != 3, confidence=0.95 - 0.05 * i) for i in range(10)]
    rows += [row("u", answerable=False, confidence=0.47)]  # answered, it would be wrong
    found = calibrate(report(*rows), 0.2)
    assert found.point is not None
    assert (found.point.answered, found.point.wrong) == (11, 2)
    found = calibrate(report(*rows), 0.12)
    assert found.point is not None
    assert (found.point.answered, found.point.wrong, found.setting) == (10, 1, 0.49)
    assert (found.n, found.n_answerable) == (11, 10)
    table = {risk: (one and one.answered, two and two.answered) for risk, one, two in found.table}
    assert table[0.12] == (10, 10)
    assert table[0.05] == (3, 3)
    assert found.assured is None  # eleven questions promise nothing for others


def test_calibrate_says_when_no_threshold_does() -> None:
    rows = [row("a", False, 0.9), row("b", True, 0.5), row("c", True, 0.4)]
    found = calibrate(report(*rows), 0.1)
    assert found.point is found.setting is None
    assert (found.lowest.threshold, found.lowest.wrong, found.lowest.answered) == (0.4, 1, 3)
    with pytest.raises(JudgementError, match="no question says what a right answer is"):
        calibrate(report(row("a", None)), 0.1)
    with pytest.raises(QueryError, match="the wanted risk is 2"):
        calibrate(SMALL, 2)


def test_enough_questions_promise_something_for_others() -> None:
    rows = [row(str(i), right=i < 150, confidence=0.9 if i < 150 else 0.1) for i in range(200)]
    found = calibrate(report(*rows), 0.05)
    assert found.assured is not None
    assert found.assured.answered == 150


@pytest.mark.parametrize(
    ("threshold", "below", "number"),
    [(0.87312, 0.86, 0.87), (0.87312, 0.87311, 0.87312), (0.5, 0.4999, 0.5), (0.02, -1.0, 0.0), (1 / 3, 0.333, 0.3333)],
)
def test_the_shortest_number_that_separates_the_same(threshold: float, below: float, number: float) -> None:
    assert shortest(threshold, below) == number


# ---- text and Markdown -------------------------------------------------------------------------------------------


def test_the_table_for_a_terminal() -> None:
    lines = render.text_table(SMALL).splitlines()
    assert lines[0] == "set: 3 questions (2 answerable), 1 document, 2 chunks"
    (right,) = [line for line in lines if line.startswith("  right ")]
    assert right.split()[1] == "0.667"
    assert right.split()[-1] == "3"
    assert max(map(len, lines)) <= 80
    assert any(line.split() == ["total", "20.0", "ms", "20.0", "ms"] for line in lines)


def test_the_table_of_a_comparison() -> None:
    after = many({29}, settings={"retrieve": {"top_k": 8, "kind": "hybrid"}, "store": {}})
    told = render.text_table(after, compare(many(set(range(12))), after))
    assert "set:    retrieve.top_k 5 -> 8" in told
    assert re.search(r"^right +0\.600 +0\.967 +\+0\.367 .* better$", told, re.MULTILINE)
    assert "right before, wrong now: 1\n  q29" in told
    assert "wrong before, right now: 12\n  q00" in told


def test_the_worst_come_first() -> None:
    rows = [
        row("good"),
        row("sure", False, 0.9),
        row("unsure", False, 0.4),
        row("far", False, 0.1, rank=9),
        row("lost", False, 0.1, rank=None),
        row("declined", answerable=False, declined=True, rank=None),
        row("made up", answerable=False, confidence=0.5),
    ]
    assert [r.id for r in render.worst(report(*rows))] == ["lost", "far", "sure", "made up", "unsure"]
    assert len(render.worst(report(*rows), 2)) == 2
    told = {r.id: render.outcome(r) for r in rows}
    assert told["declined"] == "rightly declined"
    assert told["made up"] == "answered, though the documents don't hold the answer"
    assert told["sure"] == "wrong"
    assert render.outcome(row("x", declined=True)) == "declined, though the documents hold the answer"


def test_markdown_shows_texts_as_they_are() -> None:
    evil = report(row("a|b", False, question=f"{EVIL} | [x](http://evil) `y`\n# z"), name="<b>", warnings=("a|b",))
    told = markdown(evil, compare(evil, evil))
    assert "<script" not in told
    assert not re.search(r"(?<!\\)\]\(", told)
    assert "\n# z" not in told
    assert r"\[x\](http://evil) \`y\` # z" in told
    for block in re.findall(r"(?:^\|.*\|$\n?)+", told, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(columns) == 1, block


# ---- HTML --------------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """Every tag with its attributes; raises when one is closed that isn't open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def evil_report() -> Report:
    hit = Hit(
        f"{EVIL}.md", Span(0, 9), 0.5, f"{EVIL}.md:1", False, (), (StageScore(EVIL, 0.4, 2),), f"{EVIL}\u202e\x00"
    )
    bad = row(
        EVIL, False, 0.8, question=EVIL, golds=(EVIL,), answer=f'"><img src=x onerror=alert(1)> {EVIL}',
        evidence=((EVIL, EVIL),), why=EVIL, found=(hit,), cited=((EVIL, EVIL),),
    )  # fmt: skip
    return report(
        bad, row("b"), name=EVIL, warnings=(EVIL,), machine=EVIL, settings={"retrieve": {"top_k": 5, "x": EVIL}},
        embedding={"model": EVIL}, versions={EVIL: EVIL},
    )  # fmt: skip


def test_nothing_of_a_document_or_a_question_becomes_markup() -> None:
    evil = evil_report()
    fine = replace(evil, rows=tuple(replace(r, right=True, held=True) for r in evil.rows))
    for told in (page(evil), page(evil, compare(fine, evil))):
        tags = Tags(told)
        assert not tags.open
        assert {"script", "img", "link", "iframe", "a", "form"}.isdisjoint({tag for tag, _ in tags.seen})
        assert not [a for _, attributes in tags.seen for a in attributes if a.startswith("on") or a in ("src", "href")]
        assert told.count("&lt;script&gt;") > 10
        assert not set("\u202e\x00") & set(told)
        assert "".join(tags.words).count("<script>") == told.count("&lt;script&gt;") - sum(
            (v or "").count("<script>") for _, attributes in tags.seen for v in attributes.values()
        )


def test_the_page_is_one_file_that_fetches_nothing() -> None:
    told = page(SMALL)
    assert not re.search(r"https?:|url\(|@import", told)
    policy = next(a["content"] for t, a in Tags(told).seen if t == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in told


def test_the_page_can_be_read_without_seeing_it() -> None:
    told = page(SMALL)
    tags = Tags(told)
    charts = [a for t, a in tags.seen if t == "svg" and a.get("role") == "img"]
    assert len(charts) == 3
    ids = [a["id"] for _, a in tags.seen if "id" in a]
    assert len(ids) == len(set(ids))
    for chart in charts:
        assert set((chart["aria-labelledby"] or "").split()) <= set(ids)
    assert all(a.get("aria-hidden") == "true" for t, a in tags.seen if t == "svg" and a not in charts)
    assert [a.get("scope") for t, a in tags.seen if t == "th"].count(None) == 0
    assert sum(t == "table" for t, _ in tags.seen) == sum(t == "caption" for t, _ in tags.seen)
    assert ("html", {"lang": "en"}) in tags.seen


def test_the_page_shows_what_went_wrong() -> None:
    told = page(SMALL)
    assert "question b?" in told
    assert "dense 0.400 (2)" in told
    assert "\u2713 all of it" in told
    assert "retrieve.top_k" in told
    assert "passage 1 holds the evidence" in told


def test_a_report_of_searches_alone_has_a_page() -> None:
    rows = [row("a", None, None, abstained=None, answer=None, rank=None, values={"recall@5": 0.0})]
    told = page(report(*rows))
    assert not Tags(told).open
    assert "Risk against coverage" not in told
    assert "Recall against k" in told


def test_every_figure_is_explained() -> None:
    from rag.evaluate.metrics import KINDS

    assert set(MEANINGS) == set(KINDS)
    page_told = Path(__file__).parents[1].joinpath("docs/evaluate.md").read_text(encoding="utf-8")
    assert [name for name in (*ANSWER_FIGURES, *JUDGE_FIGURES, *KINDS) if f"`{name}" not in page_told] == []


# ---- charts and markup -------------------------------------------------------------------------------------------


def points(svg: Markup) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polyline points="([^"]+)"', svg)
    return [[(float(x), float(y)) for x, y in (p.split(",") for p in line.split())] for line in found]


def test_recall_is_drawn_to_scale() -> None:
    (line,) = points(recall_chart({"recall": (0.0, 0.5, 1.0)}, 2))
    (x1, y1), (x2, y2), (x3, y3) = line
    assert x2 - x1 == pytest.approx(x3 - x2)
    assert y1 - y2 == pytest.approx(y2 - y3)
    assert y1 > y3  # higher is better, and up
    assert f'x1="{x2:g}"' in recall_chart({"recall": (0.0, 0.5, 1.0)}, 2)  # the mark of top_k stands at k 2


def test_risk_is_drawn_to_scale() -> None:
    a = SMALL.abstention
    assert a is not None
    chart = risk_chart(a)
    (line,) = points(chart)
    assert len(line) == len(a.curve)
    (x, y) = line[[p.coverage for p in a.curve].index(a.coverage)]
    mark = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="5">', chart)
    assert mark is not None
    assert (float(mark[1]), float(mark[2])) == (pytest.approx(x, abs=0.06), pytest.approx(y, abs=0.06))
    assert "67 % answered, 50 % of them wrong" in chart


def test_latency_bars_are_as_long_as_their_medians() -> None:
    chart = latency_chart([Latency("a", 0.1, 0.4, 9), Latency("b", 0.2, 0.3, 9), Latency("total", 9.0, 9.0, 9)])
    first, second = (float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)"', chart))
    assert second == pytest.approx(2 * first)
    assert "total" not in chart


def test_markup_escapes_what_is_not_markup() -> None:
    assert el("p", "a<b", [Markup("<br>"), None, "&"]) == "<p>a&lt;b<br>&amp;</p>"
    assert (
        el("i", class_='"x"', aria_hidden=True, tabindex=None, x=1.5)
        == '<i class="&quot;x&quot;" aria-hidden x="1.5"></i>'
    )
    told = table(("name", "n\u00a0"), [("<a>", "3")], "<c>")
    assert '<th scope="row">&lt;a&gt;</th><td class="number">3</td>' in told
    assert "<caption>&lt;c&gt;</caption>" in told
