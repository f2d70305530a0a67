"""What is asked and what is measured, before anything is: the sample, the metrics, the hash of the questions."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence

from rag.config import Retrieve
from rag.errors import JudgementError, QueryError
from rag.evaluate.judgements import Evidence, Judgement
from rag.evaluate.metrics import Metric, parse_metrics

SOURCE_METRICS = "recall@5 ndcg@10 mrr@10"
SPAN_METRICS = "span_recall@1 span_recall@5 span_recall@10 span_mrr@10 char_recall@5 char_precision@5 char_iou@5"


def sampled(judgements: Sequence[Judgement], sample: int | None, seed: int) -> list[Judgement]:
    """So many of them, drawn by `seed`, in the order of the set; all when there are no more."""
    if sample is None:
        return list(judgements)
    if sample < 1:
        raise QueryError(f"a sample of {sample} questions", "it has to be 1 or more")
    if sample >= len(judgements):
        return list(judgements)
    return [judgements[i] for i in sorted(random.Random(seed).sample(range(len(judgements)), sample))]


def chosen_metrics(metrics: str, judgements: Sequence[Judgement], answers: bool) -> tuple[Metric, ...]:
    """Those named, or those that the evidence allows. Raises when there is nothing to measure."""
    wanted = [j for j in judgements if j.evidence]
    spans = [j for j in wanted if has_spans(j)]
    if not metrics.strip():
        if not wanted and not answers:
            raise JudgementError("no question has evidence, and answers are left out", "there is nothing to measure")
        return parse_metrics(f"{SOURCE_METRICS} {SPAN_METRICS if spans else ''}") if wanted else ()
    chosen = parse_metrics(metrics)
    limit = _most_passages()
    for m in chosen:
        if m.k > limit:
            raise QueryError(f"metric {m} needs {m.k} passages", f"a search finds at most {limit} (retrieve.top_k)")
        if not wanted:
            raise JudgementError(f"no question has evidence, which {m} needs", "leave metrics out, or add evidence")
        if m.needs_spans and not spans:
            hint = "for whole documents: ndcg, mrr, map, recall, precision, hit"
            raise JudgementError(f"the evidence is whole documents; {m} needs spans", hint)
    return chosen


def _most_passages() -> int:
    bounds = Retrieve.model_fields["top_k"].metadata
    return next(int(b.le) for b in bounds if hasattr(b, "le"))


def has_spans(j: Judgement) -> bool:
    """A quote becomes a span when it is looked up."""
    return bool(j.evidence) and all(e.span is not None or e.quote.strip() for e in j.places)


def questions_hash(judgements: Sequence[Judgement]) -> str:
    """Of what is asked and what is right, as the set says it: before quotes are looked up."""
    asked = [
        [j.id, j.question, j.answerable, j.answers, [[_place(e) for e in nugget] for nugget in j.evidence]]
        for j in judgements
    ]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _place(e: Evidence) -> list[str | int | None]:
    start, end = (e.span.start, e.span.end) if e.span else (None, None)
    return [e.source, start, end, e.quote, e.grade]
