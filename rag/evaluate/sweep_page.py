"""A sweep as a table for the terminal, and as one HTML page: no script, nothing fetched (see rag/evaluate/page.py)."""

from __future__ import annotations

from collections.abc import Sequence

from rag.evaluate.charts import interval_mark, scatter_chart
from rag.evaluate.page import document
from rag.evaluate.render import milliseconds, number, p_value
from rag.evaluate.report import Report, moment
from rag.evaluate.sweep import Standing, Sweep, summary
from rag.markup import Child, Markup, N, el, table

MOST_COLUMNS = 4  # figures beside the one that ranks


def text_table(found: Sweep) -> str:
    """Best first. `=`: not shown to be worse than the first."""
    names = _columns(found)
    heads = [*found.keys, *names, "chunks", "median", "against the first"]
    rows = [heads, *([*_values(s), *_figures(s, names), *_sizes(s), _told(s, i)] for i, s in _numbered(found))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    left = len(found.keys)
    lines = [
        "  ".join(c.ljust(w) if i < left or i == len(row) - 1 else c.rjust(w)
                  for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    return "\n".join([*lines, "", *summary(found)])


def sweep_page(found: Sweep, name: str) -> str:
    first = found.best.measured.report
    counts = f"{len(found.standings)} combinations, {first.counts['questions']:,} questions, by {found.by}."
    top = el(
        "header",
        el("h1", el("span", "Sweep over ", class_="soft"), name),
        el("p", f"{counts} Made {moment(first)}.", class_="soft"),
        [el("p", f"{line[0].upper()}{line[1:]}.") for line in summary(found)],
    )
    return document(f"Sweep: {name}", top, _chart(found), _standings(found), _made(first))


def _chart(found: Sweep) -> Markup:
    points = [(_size(s.measured.report), s.value, s.measured.cell.name, s.behind) for s in found.standings]
    told = (
        f"{found.by} against the mean length of a chunk. Filled: the first, and all that aren't shown to be worse; "
        "hollow: worse beyond the noise."
    )
    caption = el("figcaption", el("b", "Size against quality"), el("span", told, class_="soft small"))
    return el(
        "section", el("h2", "At a glance"), el("figure", caption, scatter_chart(points, found.by), class_="single")
    )


def _standings(found: Sweep) -> Markup:
    names = _columns(found)
    reach = max([abs(v) for s in found.standings for v in (s.low, s.high)] + [0.05])
    heads = (*found.keys, *(f"{n}{N}" for n in names), f"chunks{N}", f"median{N}", "against the first", "", f"p{N}")
    rows: list[list[Child]] = []
    for i, s in _numbered(found):
        mark = interval_mark(s.low, s.difference, s.high, (-reach, reach), "worse" if s.behind else "none")
        rows.append(
            [
                *_values(s), *_figures(s, names), *_sizes(s),
                el("span", _told(s, i), class_="worse" if s.behind else "none"),
                mark if i else None, p_value(s.p_holm) if i else "",
            ]
        )  # fmt: skip
    told = f"Best first; difference in {found.by} to the first, 95 % interval, p corrected after Holm"
    return el("section", el("h2", "All combinations"), table(heads, rows, told, "figures"))


def _made(report: Report) -> Markup:
    rows = [
        ("embedding", f"{report.embedding.get('model')} {report.embedding.get('weights_sha256', '')}"),
        ("corpus", report.corpus_sha256),
        ("questions", report.questions_sha256),
        ("seed", str(report.options["seed"])),
        ("machine", report.machine),
        *((package, version) for package, version in report.versions.items()),
    ]
    return el("section", el("h2", "How it was made"), table(("", ""), rows, "What it was made with", "mono"))


def _numbered(found: Sweep) -> list[tuple[int, Standing]]:
    return list(enumerate(found.standings))


def _columns(found: Sweep) -> list[str]:
    """The figure that ranks, and a few more of the kind that say most."""
    have = [f.name for f in found.best.measured.report.figures]
    wanted = ("right", "first_sentence", "recall@5", "ndcg@10", "span_recall@5", "char_iou@5")
    more = [n for n in wanted if n in have and n != found.by][:MOST_COLUMNS]
    return [found.by, *more]


def _values(s: Standing) -> list[str]:
    return [value for _, value in s.measured.cell.settings]


def _figures(s: Standing, names: Sequence[str]) -> list[str]:
    known = {f.name: f.value for f in s.measured.report.figures}
    return [number(n, known[n]) if n in known else "" for n in names]


def _sizes(s: Standing) -> list[str]:
    total = next((t.median for t in s.measured.report.latency if t.stage == "total"), 0.0)
    return [f"{s.measured.report.counts['chunks']:,}", milliseconds(total)]


def _told(s: Standing, place: int) -> str:
    if not place:
        return "the first"
    return f"{'worse' if s.behind else '='} {s.difference:+.3f} ({s.low:+.3f} .. {s.high:+.3f})"


def _size(report: Report) -> float:
    return report.counts["characters"] / max(1, report.counts["chunks"])
