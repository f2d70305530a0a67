"""The questions on a report's page: the worst as cards with what was found, all of them in a table."""

from __future__ import annotations

from rag.evaluate.render import outcome, verdict_words, worst
from rag.evaluate.report import Hit, Report, Row
from rag.markup import Child, Markup, N, el, join, own, table

OPEN = 3  # of the worst questions, those whose passages are shown at once
MOST_ROWS = 1000  # of the table of all questions


def worst_questions(report: Report) -> Markup | None:
    bad = worst(report)
    if not bad:
        return None
    told = "First those whose evidence wasn't found, or far down, then the surest mistakes."
    cards = [_card(row, open=i < OPEN) for i, row in enumerate(bad)]
    return el("section", el("h2", f"Worst questions ({len(bad)})"), el("p", told, class_="soft"), cards)


def _card(row: Row, open: bool) -> Markup:
    facts: list[tuple[str, Child]] = []
    if row.golds:
        facts.append(("Right would be", own(" · ".join(row.golds))))
    facts += [("Evidence", [el("code", own(source)), " ", _quoted(quote)]) for source, quote in row.evidence]
    if row.answer is not None:
        sure = f" (confidence {row.confidence:.2f})" if row.confidence is not None else ""
        facts.append(("Answer", ["none" if row.abstained else own(row.answer), el("span", sure, class_="soft")]))
    if row.entailed:
        facts.append(("NLI model", f"{sum(row.entailed)} of {len(row.entailed)} statements entailed"))
    if row.verdict:
        facts.append(("Judge", own(verdict_words(row.verdict))))
    facts.append(("Search", row.why))
    said = outcome(row)
    tag = el("span", said, class_="tag bad") if said != row.why else None
    meta = [tag, el("span", f"{' · ' if tag else ''}{row.id}", class_="meta small")]
    return el(
        "article",
        el("h3", own(row.question)),
        el("div", meta),
        el("dl", [join([el("dt", name), el("dd", value)]) for name, value in facts]),
        _passages(row, open),
        class_="question",
    )


def _passages(row: Row, open: bool) -> Markup | None:
    shown = [(rank, h) for rank, h in enumerate(row.found, 1) if h.text or h.holds]
    if not shown:
        return None
    rows = [(str(rank), _held(h), own(h.place), f"{h.score:.3f}", _stages(h), own(h.text)) for rank, h in shown]
    heads = (f"rank{N}", "evidence", "place", f"score{N}", "stages (score, rank)", "begins")
    listed = table(heads, rows, f"Passages found for {row.id}", "hits")
    return el("details", el("summary", "What was found"), listed, open=open)


def _held(h: Hit) -> Markup | None:
    return el("span", "\u2713 all of it", class_="holds") if h.holds else None


def _stages(h: Hit) -> Child:
    return [el("div", f"{s.stage} {s.score:.3f} ({s.rank})", class_="small") for s in h.stages]


def all_questions(report: Report) -> Markup:
    rows: list[list[Child]] = [
        [row.id, own(row.question), outcome(row), row.why, "" if row.confidence is None else f"{row.confidence:.2f}"]
        for row in report.rows[:MOST_ROWS]
    ]
    heads = ["id", "question", "outcome", "search", f"confidence{N}"]
    if report.judge:
        heads.append("judge")
        for cells, row in zip(rows, report.rows, strict=False):
            cells.append(own(verdict_words(row.verdict)) if row.verdict else "not asked")
    more = len(report.rows) - len(rows)
    told = (
        f"All questions ({len(report.rows)})" if not more else f"The first {len(rows)} of {len(report.rows)} questions"
    )
    listed = table(heads, rows, told)
    return el("section", el("h2", "Question by question"), el("details", el("summary", told), listed))


def _quoted(quote: str) -> Child:
    return ["“", own(quote), "”"] if quote else "the whole document"
