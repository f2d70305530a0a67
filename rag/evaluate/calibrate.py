"""From a report to `answer.min_confidence`: the lowest threshold at which few enough of the answers are wrong."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rag.errors import JudgementError, QueryError
from rag.evaluate.abstention import RiskPoint, threshold_for
from rag.evaluate.report import Report, Row

RISKS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)  # of the table, beside the one that is wanted
ASSURANCE = 0.95


@dataclass(frozen=True)
class Calibration:
    """`point` None: no threshold reaches the wanted risk on these questions."""

    max_risk: float
    point: RiskPoint | None
    setting: float | None  # for answer.min_confidence: the shortest number that separates the same questions
    assured: RiskPoint | None  # also for new questions, with probability ASSURANCE; None: too few questions
    lowest: RiskPoint  # the smallest risk that any threshold reaches
    table: tuple[tuple[float, RiskPoint | None, RiskPoint | None], ...]  # risk, over all, over the answerable alone
    n: int
    n_answerable: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def calibrate(report: Report, max_risk: float) -> Calibration:
    """Raises JudgementError when no answer can be judged: the set has evidence alone, or nothing was asked."""
    check_risk(max_risk)
    a = report.abstention
    can_be_calibrated(report.name, a is not None)
    assert a is not None
    judged = [row for row in report.rows if row.held is not None]
    answerable = [row for row in judged if row.answerable]
    point = _threshold(judged, max_risk)
    below = max((p.threshold for p in a.curve if point and p.threshold < point.threshold), default=-1.0)
    return Calibration(
        max_risk=max_risk,
        point=point,
        setting=shortest(point.threshold, below) if point else None,
        assured=_threshold(judged, max_risk, ASSURANCE),
        lowest=min(a.curve, key=lambda p: (p.risk, -p.answered)),
        table=tuple((r, _threshold(judged, r), _threshold(answerable, r)) for r in sorted({*RISKS, max_risk})),
        n=len(judged),
        n_answerable=len(answerable),
    )


def check_risk(max_risk: float) -> None:
    if not 0 <= max_risk <= 1:
        raise QueryError(f"the wanted risk is {max_risk:g}", "it is the share of answers that may be wrong: 0 to 1")


def can_be_calibrated(name: str, judged: bool) -> None:
    if not judged:
        raise JudgementError(
            f"{name}: no question says what a right answer is",
            "a threshold needs questions with `answers`, or unanswerable ones",
        )


def _threshold(rows: Sequence[Row], max_risk: float, assurance: float | None = None) -> RiskPoint | None:
    if not rows:
        return None
    return threshold_for([row.confidence or 0.0 for row in rows], [bool(r.held) for r in rows], max_risk, assurance)


def shortest(threshold: float, below: float) -> float:
    """The number with the fewest decimals in (below, threshold]: `below` is the next lower confidence seen.

    >>> shortest(0.87312, 0.86), shortest(0.87312, 0.87311), shortest(0.012, -1.0)
    (0.87, 0.87312, 0.0)
    """
    for digits in range(1, 12):
        scale: float = 10.0**digits
        number = math.floor(threshold * scale) / scale
        if below < number <= threshold:
            return number
    return threshold
