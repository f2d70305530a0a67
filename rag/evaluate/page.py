"""A report as one HTML file: no script, nothing fetched, light and dark, readable without its charts.

Documents, questions and answers are untrusted: rag.markup escapes every text, and the page's own policy
forbids whatever could run or be loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from rag.evaluate.cards import all_questions, worst_questions
from rag.evaluate.charts import CURVES, interval_mark, latency_chart, recall_chart, risk_chart
from rag.evaluate.compare import Change, Comparison
from rag.evaluate.render import (
    abstention_lines,
    interval,
    judge_line,
    kind_name,
    kind_table,
    milliseconds,
    number,
    p_value,
    provenance,
    sections,
    summary,
)
from rag.evaluate.report import ANSWER_FIGURES, JUDGE_FIGURES, UNBOUNDED, Figure, Report, moment
from rag.markup import Child, Markup, N, el, join, own, table

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(report: Report, comparison: Comparison | None = None) -> str:
    parts = (_top(report), _comparison(comparison), _charts(report), _figures(report))
    questions = (worst_questions(report), all_questions(report))
    return document(f"Evaluation: {report.name}", *parts, *questions, _made(report))


def document(title: str, *parts: Child) -> str:
    """A whole HTML file with our style and policy."""
    head = el(
        "head",
        el("meta", charset="utf-8"),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", http_equiv="Content-Security-Policy", content=POLICY),
        el("title", title),
        el("style", Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))),
    )
    body = el("body", el("main", *parts))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


# ---- the parts, from top to bottom -------------------------------------------------------------------------------


def _top(report: Report) -> Markup:
    notes = [el("p", f"Note: {w}.", class_="note small") for w in report.warnings]
    tiles = [el("li", el("b", value), el("span", name), el("span", more, class_="soft small"), class_="tile")
             for name, value, more in _headlines(report)]  # fmt: skip
    made = f"{summary(report)}. Made {moment(report)}."
    return join(
        [
            el(
                "header",
                el("h1", el("span", "Evaluation of ", class_="soft"), own(report.name)),
                el("p", made, class_="soft"),
                notes,
            ),
            el("ul", tiles, class_="tiles"),
        ]
    )


def _headlines(report: Report) -> Iterator[tuple[str, str, str]]:
    """Up to four figures that say the most."""
    known = {f.name: f for f in report.figures}
    for name, words in (
        ("span_recall@5", "evidence in 5 passages"),
        ("recall@5", "right file in 5"),
        ("right", "answered rightly, or rightly declined"),
    ):
        if (f := known.get(name)) and not (name == "recall@5" and "span_recall@5" in known and "right" in known):
            yield words, number(name, f.value), f"{name}, {interval(f)}"
    if a := report.abstention:
        yield "wrong among the answered", f"{a.risk:.3f}", f"{100 * a.coverage:.0f} % answered"
    if total := next((s for s in report.latency if s.stage == "total"), None):
        yield "median time", milliseconds(total.median), f"p95 {milliseconds(total.p95)}"


def _comparison(c: Comparison | None) -> Markup | None:
    if c is None:
        return None
    reach = max([abs(v) for d in c.differences for v in (d.low, d.high)] + [0.05])
    rows = [
        (
            d.name, f"{d.before:.3f}", f"{d.after:.3f}", f"{d.difference:+.3f}",
            interval_mark(d.low, d.difference, d.high, (-reach, reach), _class(d.verdict)),
            f"{d.low:+.3f} .. {d.high:+.3f}", p_value(d.p), p_value(d.p_holm), str(d.n),
            el("span", d.verdict, class_=_class(d.verdict)),
        )
        for d in c.differences
    ]  # fmt: skip
    heads = (
        "figure",
        f"before{N}",
        f"after{N}",
        f"difference{N}",
        "",
        f"95 % interval{N}",
        f"p{N}",
        f"Holm{N}",
        f"n{N}",
        "verdict",
    )
    parts: list[Child] = [
        el("h2", "Against the earlier run"),
        el("p", f"Before: {c.before}. After: {c.after}.", class_="soft"),
        [el("p", note, class_="note small") for note in c.notes],
        table(("setting", "before", "after"), c.settings, "What was set otherwise", "narrow") if c.settings else None,
        table(heads, rows, "Paired differences, question by question", "compared"),
        _changes("Right before, wrong now", c.broken),
        _changes("Wrong before, right now", c.mended),
    ]
    return el("section", parts)


def _class(verdict: str) -> str:
    return verdict if verdict in ("better", "worse") else "none"


def _changes(title: str, changes: Sequence[Change]) -> Markup | None:
    if not changes:
        return None
    rows = [(c.id, own(c.question), own(c.before), own(c.after)) for c in changes]
    listed = table(("id", "question", "before", "after"), rows, title)
    return el("details", el("summary", f"{title}: {len(changes)}"), listed, open=True)


def _charts(report: Report) -> Markup:
    figures = []
    if report.recall:
        top_k = int(report.settings["retrieve"]["top_k"])
        rows = [[str(k), *(f"{c[k - 1]:.3f}" for c in report.recall.values())]
                for k in range(1, int(report.options["depth"]) + 1)]  # fmt: skip
        heads = (f"k{N}", *(f"{CURVES[name]}{N}" for name in report.recall))
        told = "Share of what is wanted that is among the first k passages."
        figures.append(_figure("Recall against k", told, recall_chart(report.recall, top_k), heads, rows))
    if a := report.abstention:
        rows = [[f"{p.threshold:.3f}", f"{p.coverage:.3f}", f"{p.risk:.3f}", str(p.answered), str(p.wrong)]
                for p in a.curve]  # fmt: skip
        heads = tuple(f"{h}{N}" for h in ("threshold", "coverage", "risk", "answered", "wrong"))
        told = f"Wrong answers when only the surest of {a.n} are given; answering the unanswerable is wrong."
        figures.append(_figure("Risk against coverage", told, risk_chart(a), heads, rows))
    if report.latency:
        rows = [[s.stage, milliseconds(s.median), milliseconds(s.p95), str(s.n)] for s in report.latency]
        heads = ("stage", f"median{N}", f"p95{N}", f"n{N}")
        told = f"Bar: median. Line: to the 95th percentile. {report.machine}."
        figures.append(_figure("Latency per stage", told, latency_chart(report.latency), heads, rows, wide=True))
    return el("section", el("h2", "At a glance"), el("div", figures, class_="charts"))


def _figure(
    title: str, told: str, chart: Markup, heads: Sequence[str], rows: Sequence[Sequence[str]], wide: bool = False
) -> Markup:
    """`wide`: a row of its own, with the table in sight."""
    caption = el("figcaption", el("b", title), el("span", told, class_="soft small"))
    listed = table(heads, rows, title, "small")
    beside = listed if wide else el("details", el("summary", "As a table"), listed)
    return el("figure", caption, chart, beside, class_="wide" if wide else None)


def _figures(report: Report) -> Markup:
    parts: list[Child] = []
    for title, figures in sections(report):
        heads = ("figure", f"mean{N}", "", f"95 % interval{N}", f"n{N}", "what it says")
        rows = [(f.name, number(f.name, f.value), _mark(f), interval(f), str(f.n), _meaning(f.name)) for f in figures]
        told = el("p", judge_line(report) + ".", class_="soft") if title == "Judge" else None
        parts.append(el("section", el("h2", title), told, table(heads, rows, "Mean over n questions", "figures")))
    if report.kinds:
        parts.append(_kinds(report))
    if confidence := abstention_lines(report):
        parts.append(
            el("section", el("h2", "Confidence"), table(("", f"value{N}"), confidence, "Over all questions", "narrow"))
        )
    return join(parts)


def _kinds(report: Report) -> Markup:
    names, cells = kind_table(report)
    rows = [
        [own(kind_name(kind)), str(kind.n), *(_with_interval(f) if f else "\u2013" for f in figures)]
        for kind, figures in zip(report.kinds, cells, strict=True)
    ]
    told = "Mean over the n questions of a kind that have the figure, with its 95 % interval"
    heads = ("kind", f"questions{N}", *(f"{name}{N}" for name in names))
    return el("section", el("h2", "By kind of question"), table(heads, rows, told))


def _with_interval(f: Figure) -> Child:
    return [number(f.name, f.value), el("span", f" {interval(f)}, n {f.n}", class_="soft small")]


def _mark(f: Figure) -> Markup | None:
    return None if f.name in UNBOUNDED else interval_mark(f.low, f.value, f.high, (0, 1))


MEANINGS = {
    "ndcg": "wanted files, discounted by rank",
    "mrr": "one over the rank of the first wanted file",
    "map": "mean precision at each wanted file",
    "recall": "wanted files at rank {k} or better",
    "precision": "files at rank {k} or better that are wanted",
    "hit": "a wanted file at rank {k} or better",
    "span_recall": "evidence that stands whole in a passage at rank {k} or better",
    "span_hit": "some evidence stands whole in a passage at rank {k} or better",
    "span_mrr": "one over the rank of the first passage that holds evidence whole",
    "char_recall": "characters of the evidence that passages at rank {k} or better cover",
    "char_precision": "characters of those passages that are evidence",
    "char_iou": "characters in evidence and passages, of those in either",
}


def _meaning(name: str) -> str:
    kind, _, k = name.partition("@")
    return (ANSWER_FIGURES | JUDGE_FIGURES).get(name) or MEANINGS[kind].format(k=k)


def _made(report: Report) -> Markup:
    settings = [(f"{section}.{key}", json.dumps(value, ensure_ascii=False))
                for section, values in report.settings.items() for key, value in values.items()]  # fmt: skip
    origin = table(
        ("", ""), [(k, el("span", v, class_="mono")) for k, v in provenance(report)], "What it was made with"
    )
    listed = table(
        ("setting", "value"), [(k, el("span", v, class_="mono")) for k, v in settings], "Every setting in force"
    )
    return el("section", el("h2", "How it was made"), origin, el("details", el("summary", "Settings"), listed))
