"""Knowing when not to answer: does confidence tell right from wrong, and where should the threshold be?

Throughout, `confidence[i]` belongs to question i, higher is surer, and a question is answered if its confidence is at
least the threshold. Selective risk and coverage: El-Yaniv & Wiener, JMLR 2010; Geifman & El-Yaniv, NeurIPS 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class RiskPoint:
    """What one threshold does."""

    threshold: float
    coverage: float  # share of questions answered
    risk: float  # share of the answered that are wrong
    answered: int
    wrong: int


def auroc(confidence: Sequence[float], positive: Sequence[bool]) -> float | None:
    """Chance that a positive (answerable, or right) has more confidence than another one; ties count half.

    None if there are only positives or none: then there is nothing to tell apart.
    """
    from sklearn.metrics import roc_auc_score

    values, labels = _arrays(confidence, positive)
    return float(roc_auc_score(labels, values)) if 0 < labels.sum() < len(labels) else None


def risk_coverage(confidence: Sequence[float], right: Sequence[bool]) -> tuple[RiskPoint, ...]:
    """A point for each distinct confidence as threshold, from the highest down; the last one answers everything."""
    thresholds, answered, wrong = _steps(*_arrays(confidence, right))
    return tuple(
        RiskPoint(float(t), int(n) / len(confidence), int(w) / int(n), int(n), int(w))
        for t, n, w in zip(thresholds, answered, wrong, strict=True)
    )


def aurc(confidence: Sequence[float], right: Sequence[bool]) -> float:
    """Area under the risk-coverage curve: mean over i of the risk when the i surest are answered. 0 is best.

    Among equal confidences the wrong ones are spread evenly, so the order of the questions doesn't matter.
    """
    _, answered, wrong = _steps(*_arrays(confidence, right))
    n = np.arange(1, len(confidence) + 1)
    expected = np.interp(n, np.concatenate(([0], answered)), np.concatenate(([0], wrong)))
    return float(np.mean(expected / n))


def threshold_for(
    confidence: Sequence[float], right: Sequence[bool], max_risk: float, assurance: float | None = None
) -> RiskPoint | None:
    """The point that answers most with a risk of at most `max_risk`; None: no threshold does.

    With `assurance` (such as 0.95) the risk's upper confidence bound (Clopper & Pearson) has to be that small,
    corrected for the number of thresholds tried, so the promise holds on new questions too and needs far more of them.
    """
    if not 0 <= max_risk <= 1 or (assurance is not None and not 0 < assurance < 1):
        raise ValueError(f"max_risk is 0..1 and assurance between 0 and 1, got {max_risk} and {assurance}")
    points = risk_coverage(confidence, right)
    if assurance is None:
        good = [p for p in points if p.risk <= max_risk]
    else:
        from scipy.stats import beta

        wrong, answered = (np.asarray([getattr(p, name) for p in points]) for name in ("wrong", "answered"))
        level = 1 - (1 - assurance) / len(points)
        upper = np.where(wrong == answered, 1.0, beta.ppf(level, wrong + 1, np.maximum(answered - wrong, 1)))
        good = [p for p, u in zip(points, upper, strict=True) if u <= max_risk]
    return good[-1] if good else None


@dataclass(frozen=True, slots=True)
class AbstentionScores:
    """Deciding answerable or not by a threshold."""

    accuracy: float
    answer_f1: float  # F1 of finding the answerable
    abstain_f1: float  # F1 of finding the unanswerable
    answered_unanswerable: float  # share of the unanswerable that were answered all the same
    abstained_answerable: float  # share of the answerable that were not answered


def abstention_at(threshold: float, confidence: Sequence[float], answerable: Sequence[bool]) -> AbstentionScores:
    """F1 of a class that neither occurs nor is predicted is 0, a share of nothing too."""
    from sklearn.metrics import accuracy_score, f1_score

    values, truth = _arrays(confidence, answerable)
    said = values >= threshold
    return AbstentionScores(
        accuracy=float(accuracy_score(truth, said)),
        answer_f1=float(f1_score(truth, said, pos_label=True, zero_division=0)),
        abstain_f1=float(f1_score(truth, said, pos_label=False, zero_division=0)),
        answered_unanswerable=float(said[~truth].mean()) if (~truth).any() else 0.0,
        abstained_answerable=float((~said)[truth].mean()) if truth.any() else 0.0,
    )


def _arrays(confidence: Sequence[float], truth: Sequence[bool]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    values, labels = np.asarray(confidence, np.float64), np.asarray(truth, np.bool_)
    if values.shape != labels.shape or values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"needs one finite confidence for each question, got {values.shape} for {labels.shape}")
    return values, labels


def _steps(
    values: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Distinct confidences, highest first; how many have at least that much; how many of those are wrong."""
    order = np.argsort(-values, kind="stable")
    values, wrong = values[order], np.cumsum(~right[order])
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    return values[last], last + 1, wrong[last]
