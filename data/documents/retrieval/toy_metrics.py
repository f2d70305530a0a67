"""Retrieval metrics in plain Python, as the page on evaluation defines them.

Each function takes the ranking (ids, best first) and the judgements of one question. Averages over questions
are left to the caller, except in `paired_bootstrap`, which needs all of them at once.
"""

import math
import random


def recall_at(k: int, ranking: list[str], relevant: set[str]) -> float:
    """Share of the relevant items among the first k. A question without relevant items is a mistake."""
    if not relevant:
        raise ValueError("unanswerable questions have no recall; measure abstention on them")
    return len(set(ranking[:k]) & relevant) / len(relevant)


def reciprocal_rank(ranking: list[str], relevant: set[str]) -> float:
    """One over the rank of the first relevant item, or 0.0 if none was returned."""
    return next((1 / rank for rank, item in enumerate(ranking, start=1) if item in relevant), 0.0)


def ndcg_at(k: int, ranking: list[str], gains: dict[str, float]) -> float:
    """Discounted gain divided by the best possible one. Items without a judgement gain nothing."""
    found = [gains.get(item, 0.0) for item in ranking[:k]]
    ideal = sorted(gains.values(), reverse=True)[:k]

    def discounted(values: list[float]) -> float:
        return sum(value / math.log2(rank + 1) for rank, value in enumerate(values, start=1))

    best = discounted(ideal)
    return discounted(found) / best if best else 0.0


def span_iou(a: tuple[int, int], b: tuple[int, int]) -> float:
    """Intersection over union of two half-open spans. Spans that only touch get 0.0."""
    shared = max(0, min(a[1], b[1]) - max(a[0], b[0]))
    covered = (a[1] - a[0]) + (b[1] - b[0]) - shared
    return shared / covered if covered else 0.0


def paired_bootstrap(
    new: list[float], old: list[float], rounds: int = 1000, seed: int = 7
) -> tuple[float, float]:
    """Bounds of the middle 95 % of the mean difference, questions drawn with replacement.

    The seed is fixed at 7, so that two runs over the same numbers print the same interval.
    """
    differences = [n - o for n, o in zip(new, old, strict=True)]
    dice = random.Random(seed)
    means = sorted(
        sum(dice.choices(differences, k=len(differences))) / len(differences) for _ in range(rounds)
    )
    return means[int(0.025 * rounds)], means[int(0.975 * rounds) - 1]


if __name__ == "__main__":
    # The worked example: relevant items at ranks 2 and 5, and a third one that was never found.
    hits = ["x1", "r1", "x2", "x3", "r2"]
    print(f"recall@5 {recall_at(5, hits, {'r1', 'r2', 'r3'}):.3f}")
    print(f"reciprocal rank {reciprocal_rank(hits, {'r1', 'r2', 'r3'}):.2f}")
    print(f"nDCG@5 {ndcg_at(5, hits, {'r1': 1.0, 'r2': 1.0, 'r3': 1.0}):.3f}")
    print(f"IoU {span_iou((100, 200), (150, 250)):.3f}")
