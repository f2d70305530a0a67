"""Questions in, a report out: each is searched for deeply, asked as `rag ask` does, and held against its judgement.

    Dataset ──sample──> located ──> retrieve ──> hits ──> ranks, metrics ┐
                                └─> ask ──────> answer ──> right? cited? ┼──> Row ──> Report
                                                   └─ (a judge, if any) ─┘

`rag` answers whatever its confidence; what is below `threshold` counts as declined. So one run tells what a user gets,
and also what another threshold would have done.

The two searches aren't made one: with retrieve.neighbours, or fewer candidates than the depth, the first passages of a
deep search are others than those of the search that an answer is made from.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from rag.config import Config
from rag.errors import QueryError
from rag.evaluate.choose import chosen_metrics, has_spans, questions_hash, sampled
from rag.evaluate.figures import abstention_of, figures_of, kinds_of, latency_of
from rag.evaluate.folder import corpus_hash
from rag.evaluate.judgements import Dataset, Judgement, check_ids, located
from rag.evaluate.metrics import Metric, parse_metrics, retrieval_metrics
from rag.evaluate.report import ANSWER_FIGURES, JUDGE_FIGURES, Judged, Report, Row, Verdict
from rag.evaluate.rows import judged, searched, with_entailment, with_verdict
from rag.types import Answer, FileReport, Passage, Source

Listener = Callable[[dict[str, Any]], None]

DEPTH = 20  # passages looked at: as far as the search ranks with all its stages (rag.retrieve.search.READ)
PACKAGES = (
    "rag-folder",
    "chromadb",
    "numpy",
    "scikit-learn",
    "scipy",
    "tantivy",
    "tokenizers",
    "torch",
    "transformers",
)


class Retrieved(Protocol):
    @property
    def passages(self) -> tuple[Passage, ...]: ...
    @property
    def timings(self) -> dict[str, float]: ...


class Answering(Protocol):
    """What an evaluation needs of a document folder; rag.build.Rag has it."""

    @property
    def config(self) -> Config: ...
    def retrieve(self, question: str, k: int | None = None) -> Retrieved: ...
    def stream(self, question: str) -> Iterator[Any]: ...
    def status(self) -> dict[str, Any]: ...
    def files(self) -> list[FileReport]: ...
    def source(self, path: str) -> Source: ...


class Judging(Protocol):
    """An opinion on an answer; rag.evaluate.judge has the one that asks a language model."""

    def __call__(self, j: Judgement, answer: Answer) -> Verdict: ...
    def summary(self, rows: Sequence[Row]) -> Judged: ...


class Entailing(Protocol):
    """Whether one of the passages entails each statement; rag.evaluate.nli has the one that asks a model."""

    def __call__(self, statements: Sequence[str], passages: Sequence[str]) -> Sequence[bool]: ...


def evaluate(
    rag: Answering,
    dataset: Dataset,
    *,
    metrics: str = "",
    answers: bool = True,
    threshold: float | None = None,
    sample: int | None = None,
    seed: int = 0,
    judge: Judging | None = None,
    nli: Entailing | None = None,
    listener: Listener | None = None,
) -> Report:
    """`metrics` as parse_metrics reads them; "": those that the set's evidence allows. `answers` False: only search.

    `threshold`: confidence below which an answer counts as declined, None: answer.min_confidence, which then has to be
    0 in `rag.config`. `judge` and `nli` are asked about the answers that a user would see. `listener` gets
    {"event": "question", "done", "total", "id"} after each. Raises JudgementError and QueryError before anything is
    asked.
    """
    if answers and rag.config.answer.min_confidence > 0:
        raise ValueError("evaluate needs a rag that answers whatever its confidence: answer.min_confidence 0")
    threshold = rag.config.answer.min_confidence if threshold is None else threshold
    check_ids(dataset.judgements)
    judgements = sampled(dataset.judgements, sample, seed)
    chosen = chosen_metrics(metrics, judgements, answers)
    asked_hash = questions_hash(judgements)
    judgements = located(judgements, _text_of(rag))
    depth = max([DEPTH, rag.config.retrieve.top_k, *(m.k for m in chosen)])
    rag.retrieve("the first search loads the models, which is no question's latency")
    rows = []
    for done, j in enumerate(judgements, 1):
        row, answer = _asked(rag, j, depth, answers, threshold)
        if answer and not row.abstained:
            if nli:
                said = nli([s.text for s in answer.statements], [p.text for p in answer.passages])
                row = with_entailment(row, said)
            if judge:
                row = with_verdict(row, judge(j, answer))
        rows.append(row)
        if listener:
            listener({"event": "question", "done": done, "total": len(judgements), "id": j.id})
    rows = _with_metrics(rows, judgements, chosen)
    names = [*map(str, chosen), *ANSWER_FIGURES, *JUDGE_FIGURES]
    status = rag.status()
    config = rag.config.model_copy(
        update={"answer": rag.config.answer.model_copy(update={"min_confidence": threshold})}
    )
    return Report(
        name=dataset.name,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        figures=figures_of(rows, names, seed),
        rows=tuple(rows),
        recall=_recall_curves(rows, judgements, depth),
        latency=latency_of(rows),
        abstention=abstention_of(rows, threshold),
        options={
            "metrics": [str(m) for m in chosen],
            "depth": depth,
            "answers": answers,
            "sample": sample,
            "seed": seed,
        },
        counts={
            "questions": len(rows),
            "answerable": sum(j.answerable for j in judgements),
            "with_evidence": sum(bool(j.evidence) for j in judgements),
            "documents": int(status["files"]),
            "chunks": int(status["chunks"]),
            "characters": int(status["characters"]),
        },
        settings=config.model_dump(mode="json"),
        versions=_versions(),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        embedding=dict(status["embedding"]),
        corpus_sha256=corpus_hash((p, rag.source(p).text) for p in sorted(f.path for f in rag.files() if f.chunks)),
        questions_sha256=asked_hash,
        warnings=dataset.warnings,
        judge=judge.summary(rows) if judge and answers else None,
        kinds=kinds_of(rows, names, seed),
    )


def _text_of(rag: Answering) -> Callable[[str], str | None]:
    @lru_cache(maxsize=256)
    def text_of(path: str) -> str | None:
        try:
            source = rag.source(path)
        except QueryError:
            return None
        return source.text if source.path == path else None  # a name that is enough for people isn't for evidence

    return text_of


# ---- one question ------------------------------------------------------------------------------------------------


def _asked(rag: Answering, j: Judgement, depth: int, answers: bool, threshold: float) -> tuple[Row, Answer | None]:
    try:
        found = rag.retrieve(j.question, depth)
        answer, written = _answered(rag, j.question) if answers else (None, "")
    except QueryError as error:
        raise j.error("question", error.message, error.hint) from None
    row = searched(j, found.passages, found.timings)
    if answer is None:
        return row, None
    # The search above made the question's vector, and the answer found it ready.
    vector = {"retrieve.embed": found.timings["embed"]} if "embed" in found.timings else {}
    return judged(row, j, answer, threshold, vector, written), answer


def _answered(rag: Answering, question: str) -> tuple[Answer, str]:
    """What `rag ask` answers, and what a language model wrote for it, unchecked."""
    pieces: list[str] = []
    for event in rag.stream(question):
        if event.kind == "text":
            pieces.append(event.value)
        elif event.kind == "answer":
            answer: Answer = event.value
    return answer, "".join(pieces) if answer.tokens else ""  # the extractive generator counts no tokens


# ---- all of them -------------------------------------------------------------------------------------------------


def _with_metrics(rows: Sequence[Row], judgements: Sequence[Judgement], metrics: Sequence[Metric]) -> list[Row]:
    """Each metric for the questions that have what it needs: evidence, and spans in it."""
    added: list[dict[str, float]] = [{} for _ in rows]
    for needs_spans in (False, True):
        wanted = [m for m in metrics if m.needs_spans is needs_spans]
        able = [i for i, j in enumerate(judgements) if (has_spans(j) if needs_spans else j.evidence)]
        if not (wanted and able):
            continue
        columns = retrieval_metrics(wanted, [judgements[i] for i in able], [rows[i].found for i in able])
        for name, column in columns.items():
            for i, value in zip(able, column, strict=True):
                added[i][name] = value
    order = [str(m) for m in metrics]
    return [
        replace(row, values={**{n: values[n] for n in order if n in values}, **row.values})
        for row, values in zip(rows, added, strict=True)
    ]


def _recall_curves(rows: Sequence[Row], judgements: Sequence[Judgement], depth: int) -> dict[str, tuple[float, ...]]:
    """Mean recall at k = 1 ... depth, of files and of whole evidence."""
    curves = {}
    for kind, able in (
        ("recall", [i for i, j in enumerate(judgements) if j.evidence]),
        ("span_recall", [i for i, j in enumerate(judgements) if has_spans(j)]),
    ):
        if able:
            metrics = parse_metrics(" ".join(f"{kind}@{k}" for k in range(1, depth + 1)))
            found = retrieval_metrics(metrics, [judgements[i] for i in able], [rows[i].found for i in able])
            curves[kind] = tuple(sum(column) / len(column) for column in found.values())
    return curves


def _versions() -> dict[str, str]:
    versions = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
