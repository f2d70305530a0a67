"""From rows to figures: means with their intervals, what confidence tells, how long each stage takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rag.evaluate.report import UNBOUNDED, Abstention, Figure, Kind, Latency, Row, part_of
from rag.evaluate.statistics import mean_interval

FOUND = ("span_recall@5", "recall@5")  # the first that there is stands for the search
ANSWERED = ("right", "answered", "declined", "citation_recall")


def figures_of(rows: Sequence[Row], names: Iterable[str], seed: int = 0) -> tuple[Figure, ...]:
    """Of those names that a row has."""
    figures = []
    for name in names:
        having = [row for row in rows if name in row.values]
        if having:
            values, groups = [row.values[name] for row in having], groups_of(having)
            interval = mean_interval(values, groups=groups, share=name not in UNBOUNDED, seed=seed)
            figures.append(Figure(name, interval.mean, interval.low, interval.high, interval.n))
    return tuple(figures)


def kinds_of(rows: Sequence[Row], names: Sequence[str], seed: int = 0) -> tuple[Kind, ...]:
    """The main ones of those figures for each kind of question. Nothing where no question has a kind."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    if kinds == [None] or not kinds:
        return ()
    mine = {kind: [row for row in rows if row.kind == kind] for kind in kinds}
    main = main_figures(names)
    return tuple(Kind(kind, len(some), figures_of(some, main, seed)) for kind, some in mine.items())


def main_figures(names: Sequence[str]) -> list[str]:
    """Few enough for a line: how much of the evidence was found, and what became of the answers.

    >>> main_figures(["ndcg@10", "recall@5", "right", "f1", "declined"])
    ['recall@5', 'right', 'declined']
    """
    searching = [name for name in names if part_of(name) == "Retrieval"]
    best = next((name for name in (*FOUND, *searching) if name in searching), None)
    return [*([best] if best else []), *(name for name in ANSWERED if name in names)]


def groups_of(rows: Sequence[Row]) -> list[tuple[str, str]] | None:
    """What belongs together; a question without a group is its own. None where no question has one."""
    if all(row.group is None for row in rows):
        return None
    return [("question", row.id) if row.group is None else ("group", row.group) for row in rows]


def latency_of(rows: Sequence[Row]) -> tuple[Latency, ...]:
    import numpy as np

    stages = dict.fromkeys(stage for row in rows for stage in row.seconds)
    latency = []
    for stage in stages:
        seconds = [row.seconds[stage] for row in rows if stage in row.seconds]
        median, p95 = (float(q) for q in np.percentile(seconds, (50, 95)))
        latency.append(Latency(stage, median, p95, len(seconds)))
    return tuple(latency)


def abstention_of(rows: Sequence[Row], threshold: float) -> Abstention | None:
    from rag.evaluate.abstention import abstention_at, aurc, auroc, risk_coverage

    asked = [(row.confidence, row) for row in rows if row.confidence is not None]
    judged = [(confidence, row) for confidence, row in asked if row.held is not None]
    if not judged:
        return None
    confidences, held = [c for c, _ in judged], [bool(row.held) for _, row in judged]
    answered = [row for _, row in judged if not row.abstained]
    everywhere, answerable = [c for c, _ in asked], [row.answerable for _, row in asked]
    return Abstention(
        threshold=threshold,
        coverage=len(answered) / len(judged),
        risk=sum(not row.held for row in answered) / len(answered) if answered else 0.0,
        n=len(judged),
        auroc_right=auroc(confidences, held),
        auroc_answerable=auroc(everywhere, answerable),
        aurc=aurc(confidences, held),
        curve=risk_coverage(confidences, held),
        scores=None if all(answerable) else abstention_at(threshold, everywhere, answerable),
    )
