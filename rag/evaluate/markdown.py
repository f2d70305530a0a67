"""A report as Markdown. Documents and questions are untrusted: they are escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from rag.evaluate.compare import Change, Comparison
from rag.evaluate.render import (
    WORST,
    abstention_lines,
    interval,
    judge_line,
    kind_name,
    kind_table,
    milliseconds,
    number,
    outcome,
    p_value,
    provenance,
    sections,
    short,
    summary,
    worst,
)
from rag.evaluate.report import Figure, Report, moment


def markdown(report: Report, comparison: Comparison | None = None) -> str:
    """For a pull request or a wiki: the figures, what changed, the worst questions, how it was made."""
    parts = [f"# Evaluation: {escaped(report.name)}", summary_markdown(report)]
    if comparison is not None:
        parts += list(_comparison_markdown(comparison))
    for title, figures in sections(report):
        rows = [(f"`{f.name}`", number(f.name, f.value), interval(f), str(f.n)) for f in figures]
        parts += [f"## {title}", _table(("figure", "mean", "95 % interval", "n"), rows)]
        if title == "Judge":
            parts.append(escaped(judge_line(report)) + ".")
    if report.kinds:
        names, cells = kind_table(report)
        lines = [
            (escaped(kind_name(kind)), str(kind.n), *map(_with_size, figures))
            for kind, figures in zip(report.kinds, cells, strict=True)
        ]
        parts += ["## By kind of question (n)", _table(("kind", "questions", *(f"`{n}`" for n in names)), lines)]
    if confidence := abstention_lines(report):
        parts += ["## Confidence", _table(("", ""), confidence)]
    if report.latency:
        times = [(f"`{s.stage}`", milliseconds(s.median), milliseconds(s.p95), str(s.n)) for s in report.latency]
        parts += ["## Latency", _table(("stage", "median", "p95", "n"), times)]
    if bad := worst(report):
        told = [(row.id, short(row.question), outcome(row), row.why) for row in bad]
        parts += ["## Worst questions", _table(("id", "question", "outcome", "evidence"), _escaped(told))]
    if unread := [row for row in report.rows if row.verdict and row.verdict.invalid]:
        replies = [(row.id, row.verdict.problem, short(row.verdict.reply)) for row in unread[:WORST] if row.verdict]
        parts += [f"## Invalid verdicts ({len(unread)})", _table(("id", "problem", "reply"), _escaped(replies))]
    parts += ["## Made with", _table(("", ""), _escaped(provenance(report)))]
    return "\n\n".join(parts) + "\n"


def _with_size(f: Figure | None) -> str:
    return f"{number(f.name, f.value)} ({f.n})" if f else "-"


def summary_markdown(report: Report) -> str:
    warned = "".join(f"\n\nNote: {escaped(w)}." for w in report.warnings)
    return f"{escaped(summary(report))}. {escaped(moment(report))}.{warned}"


def _comparison_markdown(comparison: Comparison) -> Iterator[str]:
    yield f"## Against {escaped(comparison.before)}"
    if comparison.settings:
        yield _table(("setting", "before", "after"), _escaped(comparison.settings))
    yield _table(
        ("figure", "before", "after", "difference", "95 % interval", "p", "Holm", "n", "verdict"),
        [
            (f"`{d.name}`", f"{d.before:.3f}", f"{d.after:.3f}", f"{d.difference:+.3f}",
             f"{d.low:+.3f} .. {d.high:+.3f}", p_value(d.p), p_value(d.p_holm), str(d.n), d.verdict)
            for d in comparison.differences
        ],
    )  # fmt: skip
    for title, changes in (
        ("Right before, wrong now", comparison.broken),
        ("Wrong before, right now", comparison.mended),
    ):
        if changes:
            yield f"### {title} ({len(changes)})"
            yield _table(("id", "question", "before", "after"), _escaped(map(_change_cells, changes)))
    if comparison.notes:
        yield "\n".join(f"- {escaped(note)}" for note in comparison.notes)


def _change_cells(c: Change) -> tuple[str, ...]:
    return c.id, short(c.question), short(c.before), short(c.after)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _escaped(rows: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    return [tuple(map(escaped, row)) for row in rows]


_MARKS = re.compile(r"([\\`*_\[\]|~])")


def escaped(text: str) -> str:
    r"""One line that Markdown shows as it is.

    >>> escaped("a|b\n<script> [x](y)")
    'a\\|b &lt;script> \\[x\\](y)'
    """
    return _MARKS.sub(r"\\\1", " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;"))
