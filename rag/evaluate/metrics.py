"""What was found, against what was wanted: one value a question, 0 to 1, so that systems can be compared in pairs.

    source metrics      ndcg mrr map recall precision hit           rank of sources, each counted at its best passage
    span metrics        span_recall span_hit span_mrr               rank of the first passage that holds a whole span
    character metrics   char_recall char_precision char_iou         characters of the first k passages

Source metrics are trec_eval's, as in BEIR: nDCG with linear gains, recall@k over all that is wanted, hit@k = success.
What is wanted is nuggets: of places that answer by themselves, finding one is finding all of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, assert_never, get_args

from rag.errors import QueryError
from rag.evaluate.judgements import Judgement
from rag.evaluate.spans import CharacterScores, Found, character_scores, span_ranks

SourceKind = Literal["ndcg", "mrr", "map", "recall", "precision", "hit"]
SpanKind = Literal["span_recall", "span_hit", "span_mrr"]
CharacterKind = Literal["char_recall", "char_precision", "char_iou"]
KINDS: tuple[str, ...] = (*get_args(SourceKind), *get_args(SpanKind), *get_args(CharacterKind))
DEEPEST = 10_000


@dataclass(frozen=True, slots=True)
class Metric:
    kind: SourceKind | SpanKind | CharacterKind
    k: int  # ranks looked at, 1 or more

    def __str__(self) -> str:
        return f"{self.kind}@{self.k}"

    @property
    def needs_spans(self) -> bool:
        return self.kind not in get_args(SourceKind)


def parse_metrics(text: str) -> tuple[Metric, ...]:
    """`"ndcg@10 mrr@10, recall@5"`: in that order, each once. Raises QueryError with the choices.

    >>> [str(m) for m in parse_metrics("ndcg@10, Recall@5 ndcg@10")]
    ['ndcg@10', 'recall@5']
    """
    metrics: dict[Metric, None] = {}
    for word in text.replace(",", " ").split():
        kind, at, depth = word.lower().partition("@")
        if not _is_kind(kind):
            raise QueryError(f"unknown metric {word!r}", f"choices: {', '.join(KINDS)}, each with @k, as in ndcg@10")
        if not at or not re.fullmatch("[0-9]{1,9}", depth) or not 1 <= int(depth) <= DEEPEST:
            k = f"k = {depth}" if depth else "no k"
            raise QueryError(f"metric {word!r} has {k}", f"k is a whole number from 1 to {DEEPEST}, as in {kind}@10")
        metrics[Metric(kind, int(depth))] = None
    if not metrics:
        raise QueryError("no metric is named", f"choices: {', '.join(KINDS)}, each with @k, as in ndcg@10")
    return tuple(metrics)


def _is_kind(word: str) -> TypeGuard[SourceKind | SpanKind | CharacterKind]:
    return word in KINDS


def retrieval_metrics(
    metrics: Sequence[Metric], judgements: Sequence[Judgement], found: Sequence[Sequence[Found]]
) -> dict[str, list[float]]:
    """Metric -> a value for each judgement, in order. `found[i]`: what came back for `judgements[i]`, best first.

    Each judgement needs evidence, with spans where a metric counts characters: leave out unanswerable questions.
    """
    if len(judgements) != len(found):
        raise ValueError(f"{len(judgements)} judgements, but results for {len(found)}")
    for j in judgements:
        if not j.evidence:
            raise j.error("evidence", "there is none to find", "leave such questions out of retrieval metrics")
        if any(m.needs_spans for m in metrics) and any(e.span is None for e in j.places):
            names = " ".join(str(m) for m in metrics if m.needs_spans)
            problem = f"has no span, which {names} would need"
            raise j.error("evidence", problem, f"for whole documents: {', '.join(get_args(SourceKind))}")
    by_source = _trec(judgements, found, [m for m in metrics if not m.needs_spans])
    ranks = [span_ranks(j, passages) for j, passages in zip(judgements, found, strict=True)]
    values: dict[str, list[float]] = {}
    for m in metrics:
        match m.kind:
            case "ndcg" | "mrr" | "map" | "recall" | "precision" | "hit":
                values[str(m)] = by_source[str(m)]
            case "span_recall":
                values[str(m)] = [sum(r is not None and r <= m.k for r in nuggets) / len(nuggets) for nuggets in ranks]
            case "span_hit":
                values[str(m)] = [float(any(r is not None and r <= m.k for r in nuggets)) for nuggets in ranks]
            case "span_mrr":
                firsts = [min((r for r in nuggets if r is not None), default=m.k + 1) for nuggets in ranks]
                values[str(m)] = [1 / first if first <= m.k else 0.0 for first in firsts]
            case "char_recall" | "char_precision" | "char_iou":
                scores = [character_scores(j, passages[: m.k]) for j, passages in zip(judgements, found, strict=True)]
                values[str(m)] = [_character_value(m.kind, s) for s in scores]
            case _:
                assert_never(m.kind)
    return values


# ---- sources -----------------------------------------------------------------------------------------------------


def _trec(
    judgements: Sequence[Judgement], found: Sequence[Sequence[Found]], metrics: Sequence[Metric]
) -> dict[str, list[float]]:
    """trec_eval's values. Scores are minus the rank, since trec_eval reorders by score and breaks ties by name."""
    if not metrics:
        return {}
    import pytrec_eval

    runs: dict[str, dict[str, float]] = {}
    wanted: dict[str, dict[str, int]] = {}
    for i, (j, passages) in enumerate(zip(judgements, found, strict=True)):
        units, grades = _units(j)
        relevant = {e.source for e in j.places}
        ranking = _ranking(passages, relevant)
        runs[f"u{i}"], wanted[f"u{i}"] = _ranked(_credited(ranking, units)), {f"u{u}": g for u, g in grades.items()}
        # precision counts every relevant source, also a second one that says the same
        runs[f"s{i}"], wanted[f"s{i}"] = _ranked(ranking), dict.fromkeys(relevant, 1)
    names = {str(m): _trec_name(m) for m in metrics}
    results: dict[str, dict[str, Any]] = pytrec_eval.RelevanceEvaluator(
        wanted, {asked for asked, _ in names.values()}
    ).evaluate(runs)
    values: dict[str, list[float]] = {}
    for m in metrics:
        prefix = "s" if m.kind == "precision" else "u"
        column = [float(results[f"{prefix}{i}"][names[str(m)][1]]) for i in range(len(judgements))]
        if m.kind == "mrr":  # trec_eval looks all the way down
            column = [v if v * m.k > 1 - 1e-9 else 0.0 for v in column]
        values[str(m)] = column
    return values


def _trec_name(m: Metric) -> tuple[str, str]:
    """How trec_eval is asked for it, and how it answers."""
    names = {"ndcg": "ndcg_cut", "map": "map_cut", "recall": "recall", "precision": "P", "hit": "success"}
    if m.kind == "mrr":
        return "recip_rank", "recip_rank"
    return f"{names[m.kind]}.{m.k}", f"{names[m.kind]}_{m.k}"


def _units(j: Judgement) -> tuple[dict[str, list[int]], dict[int, int]]:
    """What can be found at the level of sources: source -> its units, unit -> grade.

    A unit is a nugget's set of sources. A nugget whose sources include all of another's adds nothing: it is found
    whenever the other is.
    """
    grades: dict[frozenset[str], int] = {}
    for nugget in j.evidence:
        key = frozenset(e.source for e in nugget)
        grades[key] = max(grades.get(key, 0), *(e.grade for e in nugget))
    single = {next(iter(key)) for key in grades if len(key) == 1}
    kept: list[frozenset[str]] = []
    for key in sorted(grades, key=len):
        if len(key) == 1 or not (key & single or any(other <= key for other in kept if len(other) > 1)):
            kept.append(key)
    units: dict[str, list[int]] = {}
    for u, key in enumerate(kept):
        for source in key:
            units.setdefault(source, []).append(u)
    return units, {u: grades[key] for u, key in enumerate(kept)}


def _ranking(passages: Sequence[Found], relevant: Collection[str]) -> list[str]:
    """Sources in order of their best passage. One of several files with the same content goes by the wanted name."""
    names = ((p.source, *p.also_in) for p in passages)
    return list(dict.fromkeys(next((n for n in known if n in relevant), known[0]) for known in names))


def _credited(ranking: Sequence[str], units: dict[str, list[int]]) -> list[str]:
    """Each source under the name of the unit that it is the first to find; one that finds none keeps its own.

    A source that finds two units that share it but not all sources gets the first: trec_eval has one item a rank.
    """
    credited: dict[str, None] = {}
    for source in ranking:
        new = next((u for u in units.get(source, ()) if f"u{u}" not in credited), None)
        credited[f"-{source}" if new is None else f"u{new}"] = None
    return list(credited)


def _ranked(names: Sequence[str]) -> dict[str, float]:
    return {name: -float(rank) for rank, name in enumerate(names)}


def _character_value(kind: CharacterKind, scores: CharacterScores) -> float:
    match kind:
        case "char_recall":
            return scores.recall
        case "char_precision":
            return scores.precision
        case "char_iou":
            return scores.iou
        case _:
            assert_never(kind)
