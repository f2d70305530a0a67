"""A report in plain text, as a table for the terminal; and the words that markdown.py and page.py share with it.

Documents and questions are untrusted: a terminal's control characters are its printer's matter (rag.tame).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from textwrap import shorten, wrap

from rag.evaluate.abstention import RiskPoint
from rag.evaluate.calibrate import Calibration
from rag.evaluate.compare import Comparison
from rag.evaluate.report import PARTS, UNBOUNDED, Figure, Kind, Report, Row, Verdict, moment, part_of

WORST = 20  # questions shown
LONGEST = 160  # characters of a question or answer in a table
LONGEST_KIND = 40
TERMINAL = 80  # characters of a line


def sections(report: Report) -> Iterator[tuple[str, list[Figure]]]:
    """The figures under their headings; headings without figures are left out, unless a judge had nothing to judge."""
    for title in PARTS:
        figures = [f for f in report.figures if part_of(f.name) == title]
        if figures or (title == "Judge" and report.judge):
            yield title, figures


def judge_line(report: Report) -> str:
    """Who judged, and what became of the replies; nothing where nobody did."""
    judge = report.judge
    if judge is None:
        return ""
    told = f"{judge.model} was asked about {_count(judge.asked, 'answer')}"
    if not judge.asked:
        return told
    problems = Counter(kind_of(row.verdict.problem) for row in report.rows if row.verdict and row.verdict.invalid)
    why = "; ".join(f"{problem}: {n}" for problem, n in problems.most_common())
    said = f"{judge.invalid} invalid ({why}), left out of its figures" if judge.invalid else "every reply could be read"
    short_of = sum(bool(row.verdict and row.verdict.left_out) for row in report.rows)
    return f"{told}; {said}" + (f"; {short_of} without all passages, which didn't fit" if short_of else "")


def kind_table(report: Report) -> tuple[list[str], list[list[Figure | None]]]:
    """Names of the main figures, and for each kind of question its figures in that order (None: it has none)."""
    names = list(dict.fromkeys(f.name for kind in report.kinds for f in kind.figures))
    names.sort(key=[f.name for f in report.figures].index)
    return names, [[next((f for f in kind.figures if f.name == name), None) for name in names] for kind in report.kinds]


def kind_name(kind: Kind) -> str:
    return "(no kind)" if kind.name is None else shorten(kind.name, LONGEST_KIND, placeholder=" …") or "(blank)"


def kind_of(problem: str) -> str:
    """
    >>> kind_of("no verdict on correct, 1"), kind_of("the model failed: status 400")
    ('no verdict', 'the model failed')
    """
    return problem.partition(":")[0].partition(" on ")[0]


def verdict_words(v: Verdict) -> str:
    if v.invalid:
        return f"invalid: {v.problem}" + (f", in {v.reply!r}" if v.reply else "")
    said = {True: ["correct"], False: ["not correct"], None: []}[v.correct]
    return ", ".join([*said, f"{sum(v.grounded)} of {_count(len(v.grounded), 'statement')} grounded"])


def number(name: str, value: float, digits: int = 3) -> str:
    """
    >>> number("recall@5", 0.98333), number("words", 41.26)
    ('0.983', '41.3')
    """
    return f"{value:.1f}" if name in UNBOUNDED else f"{value:.{digits}f}"


def interval(f: Figure) -> str:
    return f"{number(f.name, f.low)} .. {number(f.name, f.high)}"


def p_value(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def milliseconds(seconds: float) -> str:
    """
    >>> milliseconds(0.00052), milliseconds(0.4611), milliseconds(12.4)
    ('0.5 ms', '461 ms', '12.40 s')
    """
    if seconds >= 10:
        return f"{seconds:.2f} s"
    return f"{1000 * seconds:.{1 if seconds < 0.0995 else 0}f} ms"


def summary(report: Report) -> str:
    """`80 questions (60 answerable), 22 documents, 157 chunks`."""
    counts = report.counts
    drawn = f", drawn with seed {report.options['seed']}" if report.options["sample"] else ""
    return (
        f"{_count(counts['questions'], 'question')} ({counts['answerable']:,} answerable{drawn}), "
        f"{_count(counts['documents'], 'document')}, {_count(counts['chunks'], 'chunk')}"
    )


def _count(n: int, thing: str) -> str:
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def abstention_lines(report: Report) -> list[tuple[str, str]]:
    """(what, value) about confidence; nothing where no answer could be judged."""
    a = report.abstention
    if a is None:
        return []
    lines = [
        (f"coverage at answer.min_confidence {a.threshold:g}", f"{a.coverage:.3f}"),
        ("risk there: answered and wrong", f"{a.risk:.3f}"),
    ]
    for name, value in (("AUROC, right or wrong", a.auroc_right), ("AUROC, answerable or not", a.auroc_answerable)):
        if value is not None:
            lines.append((name, f"{value:.3f}"))
    lines.append(("area under risk and coverage", f"{a.aurc:.3f}"))
    if a.scores is not None:
        lines.append(("F1 of declining the unanswerable", f"{a.scores.abstain_f1:.3f}"))
    return lines


def worst(report: Report, n: int = WORST) -> list[Row]:
    """Questions that went wrong. First those whose evidence wasn't found, or far down, then the surest mistakes."""
    top_k = int(report.settings["retrieve"]["top_k"])

    def badness(row: Row) -> tuple[bool, int, float]:
        lost = any(rank is None for rank in row.ranks)
        lowest = max((rank for rank in row.ranks if rank is not None), default=0)
        return lost, lowest if lowest > top_k else 0, row.confidence or 0.0

    return sorted((row for row in report.rows if row.good is False), key=badness, reverse=True)[:n]


def outcome(row: Row) -> str:
    """What happened, in a few words."""
    if row.abstained is None:
        return row.why
    if row.abstained:
        return "declined, though the documents hold the answer" if row.answerable else "rightly declined"
    if not row.answerable:
        return "answered, though the documents don't hold the answer"
    return {True: "right", False: "wrong", None: "answered"}[row.right]


# ---- terminal ----------------------------------------------------------------------------------------------------


def text_table(report: Report, comparison: Comparison | None = None) -> str:
    """One table. With a comparison: before, after and their difference."""
    lines = [f"{report.name}: {summary(report)}"]
    if comparison is not None:
        return "\n".join([*lines, *_compared(comparison)])
    for title, figures in sections(report):
        lines += ["", f"{title.lower():<34}{'mean':>8}   {'95 % interval':<18}{'n':>6}"]
        lines += [f"  {f.name:<32}{number(f.name, f.value):>8}   {interval(f):<18}{f.n:>6}" for f in figures]
    if told := judge_line(report):
        lines += wrap(f"judge: {told}", TERMINAL, initial_indent="  ", subsequent_indent="    ")
    lines += _kinds(report)
    if confidence := abstention_lines(report):
        lines += ["", "confidence", *(f"  {what:<46}{value}".rstrip() for what, value in confidence)]
    if report.latency:
        lines += ["", f"{'latency':<34}{'median':>10}{'p95':>10}"]
        lines += [f"  {s.stage:<32}{milliseconds(s.median):>10}{milliseconds(s.p95):>10}" for s in report.latency]
    return "\n".join(lines)


def _kinds(report: Report) -> Iterator[str]:
    if not report.kinds:
        return
    names, rows = kind_table(report)
    widths = [len(name) + 2 for name in names]
    first = max(len("kind of question"), *(len(kind_name(k)) + 2 for k in report.kinds))
    yield ""
    yield f"{'kind of question':<{first}}{'n':>6}" + "".join(f"{n:>{w}}" for n, w in zip(names, widths, strict=True))
    for kind, figures in zip(report.kinds, rows, strict=True):
        cells = (number(f.name, f.value) if f else "-" for f in figures)
        told = "".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        yield f"  {kind_name(kind):<{first - 2}}{kind.n:>6}{told}"


def _compared(comparison: Comparison) -> Iterator[str]:
    yield f"before: {comparison.before}"
    yield f"after:  {comparison.after}"
    yield from (f"set:    {key} {a} -> {b}" for key, a, b in comparison.settings)
    yield ""
    yield f"{'':<20}{'before':>8}{'after':>8}{'change':>8}   {'95 % interval':<18}{'p':>8}{'Holm':>9}{'n':>6}  verdict"
    for d in comparison.differences:
        change = f"{d.low:+.3f} .. {d.high:+.3f}"
        yield (
            f"{d.name:<20}{d.before:>8.3f}{d.after:>8.3f}{d.difference:>+8.3f}   {change:<18}"
            f"{p_value(d.p):>8}{p_value(d.p_holm):>9}{d.n:>6}  {d.verdict}"
        )
    for title, changes in (
        ("right before, wrong now", comparison.broken),
        ("wrong before, right now", comparison.mended),
    ):
        if changes:
            yield from ("", f"{title}: {len(changes)}", *(f"  {c.id:<8} {short(c.question)}" for c in changes))


def short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[: LONGEST - 2] + " …"


def calibration_table(report: Report, c: Calibration) -> str:
    """The lowest threshold for each risk, over all questions and over the answerable alone."""
    lines = [f"{report.name}: {summary(report)}"]
    lines += [f"{what:<40}{value}" for what, value in abstention_lines(report) if what.startswith("AUROC")]
    heads = "".join(f"{name:>10}" for name in ("threshold", "answered", "wrong", "risk"))
    lines += ["", f"{'':<10}{f'all {c.n} questions':>40}   {f'the {c.n_answerable} answerable alone':>40}"]
    lines += [f"{'risk':<10}{heads}   {heads}"]
    for risk, everything, answerable in c.table:
        mark = " *" if risk == c.max_risk else ""
        lines.append(f"{f'<= {risk:g}{mark}':<10}{_point(everything)}   {_point(answerable)}".rstrip())
    return "\n".join(lines)


def _point(p: RiskPoint | None) -> str:
    if p is None:
        return f"{'none':>10}{'':30}"
    return f"{p.threshold:>10.3f}{p.answered:>10}{p.wrong:>10}{p.risk:>10.3f}"


def provenance(report: Report) -> list[tuple[str, str]]:
    """All it takes to make the report again, but for the settings."""
    options = report.options
    rows = [
        ("made", moment(report)),
        ("machine", report.machine),
        ("passages looked at", str(options["depth"])),
        ("sample", f"{options['sample'] or 'all questions'}, seed {options['seed']}"),
        ("embedding model", str(report.embedding.get("model"))),
        ("its weights, SHA-256", str(report.embedding.get("weights_sha256") or "not known")),
        ("documents, SHA-256", report.corpus_sha256),
        ("questions, SHA-256", report.questions_sha256),
        ("versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())),
    ]
    if report.judge:
        rows.append(("judge", f"{report.judge.model}, prompt {report.judge.prompt} {report.judge.prompt_sha256}"))
    return [*rows, *(("note", w) for w in report.warnings)]
