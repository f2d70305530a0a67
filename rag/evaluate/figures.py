"""From rows to figures: means with their intervals, what confidence tells, how long each stage takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rag.evaluate.report import UNBOUNDED, Abstention, Figure, Latency, Row
from rag.evaluate.statistics import mean_interval


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
