"""What an evaluation found: figures with intervals, a row a question, and all it takes to make it again.

    rows ──> figures       mean and interval of each value, over the questions that have it
         ──> abstention    how well confidence tells right from wrong
         ──> latency       median and 95th percentile of each stage

As JSON it goes both ways: `Report.from_dict(report.to_dict()) == report`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from rag.errors import ConfigError, JudgementError
from rag.evaluate.abstention import AbstentionScores, RiskPoint
from rag.evaluate.records import parse, read_text, shown
from rag.types import Span, StageScore

SCHEMA = 1
MAKE_ONE = "`rag evaluate --out FILE.json` writes one"

# name of a figure -> what it says; in the order of the tables
ANSWER_FIGURES = {
    "right": "the answer holds a short answer, or was rightly declined",
    "first_sentence": "the first sentence holds a short answer",
    "first_three": "one of the first three sentences does",
    "exact_match": "EM: the answer is a short answer, nothing more (SQuAD)",
    "f1": "F1: words in common with a short answer (SQuAD)",
    "answered": "answerable questions that got an answer",
    "declined": "unanswerable questions that were declined",
    "citation_precision": "citations that overlap the evidence, where there was an answer",
    "citation_recall": "pieces of evidence that a citation overlaps",
    "verified": "citations whose words stand in the catalog",
    "grounded": "statements that a passage supports",
    "grounded_nli": "statements that a passage entails, says the NLI model",
    "written_grounded": "sentences of a language model that a passage supports; the others were dropped or marked",
    "words": "length of an answer in words",
}
JUDGE_FIGURES = {  # of a language model that was asked for its opinion
    "judge_correct": "answers that say what a short answer says, says the judge",
    "judge_grounded": "statements that the passages say, says the judge",
    "judge_invalid": "answers whose verdict can't be read: they count in no other figure of the judge",
}
PARTS = ("Retrieval", "Answers", "Judge")
UNBOUNDED = frozenset({"words"})  # no share
NEUTRAL = UNBOUNDED | {"judge_invalid"}  # more of it is neither better nor worse


@dataclass(frozen=True, slots=True)
class Hit:
    """A passage that was found. Its place in `Row.found` is its rank."""

    source: str
    span: Span
    score: float
    place: str  # as people read it: file, page or line, headings
    holds: bool  # a place of the evidence, whole
    also_in: tuple[str, ...] = ()
    stages: tuple[StageScore, ...] = ()  # of the first few hits, as the text
    text: str = ""  # its beginning


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said of one answer."""

    correct: bool | None = None  # None: no short answer to hold it against, or invalid
    grounded: tuple[bool, ...] = ()  # for each statement
    problem: str = ""  # why it is invalid: what is wrong with the reply, or why there is none
    reply: str = ""  # its beginning
    left_out: int = 0  # passages that didn't fit into the prompt; those that are cited come first

    @property
    def invalid(self) -> bool:
        return bool(self.problem)


@dataclass(frozen=True, slots=True)
class Row:
    """One question."""

    id: str
    question: str
    group: str | None
    kind: str | None  # how the question was made
    answerable: bool
    golds: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]  # (source, quote), of all places
    ranks: tuple[int | None, ...]  # of each nugget: the first passage that holds it whole, from 1
    why: str  # what became of the evidence, in words
    found: tuple[Hit, ...]
    values: dict[str, float]  # metric, name of ANSWER_FIGURES or JUDGE_FIGURES -> value; only what can be said of it
    seconds: dict[str, float]  # per stage
    answer: str | None = None  # what a user would see; None: not asked
    confidence: float | None = None
    abstained: bool | None = None
    cited: tuple[tuple[str, str], ...] = ()  # (place, quote)
    right: bool | None = None  # None: not asked, or nothing to judge it by
    held: bool | None = None  # right if it is answered whatever the confidence; False where nothing could be right
    verdict: Verdict | None = None  # None: no judge was asked
    entailed: tuple[bool, ...] = ()  # for each statement; empty: no NLI model was asked

    @property
    def good(self) -> bool | None:
        """Right; where answers weren't judged, whether the evidence was found."""
        if self.right is not None or not self.ranks:
            return self.right
        return all(rank is not None for rank in self.ranks)


@dataclass(frozen=True, slots=True)
class Figure:
    """Mean over n questions, with its bootstrap interval."""

    name: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Kind:
    """The main figures of the questions made in one way."""

    name: str | None  # Row.kind
    n: int  # questions
    figures: tuple[Figure, ...]  # those that some of them have


@dataclass(frozen=True, slots=True)
class Latency:
    stage: str
    median: float  # seconds
    p95: float
    n: int


@dataclass(frozen=True, slots=True)
class Abstention:
    """Over the questions whose answer can be judged; unanswerable ones count as wrong when answered."""

    threshold: float  # answer.min_confidence
    coverage: float  # share answered at it
    risk: float  # share of those that are wrong
    n: int
    auroc_right: float | None  # does confidence tell right answers from wrong ones? None: all are one or the other
    auroc_answerable: float | None  # and answerable questions from the others?
    aurc: float
    curve: tuple[RiskPoint, ...]
    scores: AbstentionScores | None  # at the threshold; None without unanswerable questions


@dataclass(frozen=True, slots=True)
class Judged:
    """Who judged, and how many of the verdicts can't be read."""

    model: str
    prompt: str  # name of the prompt file
    prompt_sha256: str
    asked: int  # answers
    invalid: int


@dataclass(frozen=True)
class Report:
    name: str
    made: str  # date and time, ISO 8601, UTC
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]
    recall: dict[str, tuple[float, ...]]  # "recall", "span_recall": the mean at k = 1, 2, ... depth
    latency: tuple[Latency, ...]
    abstention: Abstention | None  # None: nothing was asked, or no answer can be judged
    options: dict[str, Any]  # metrics, depth, answers, sample, seed
    counts: dict[str, int]
    settings: dict[str, Any]  # the config, every section
    versions: dict[str, str]
    machine: str
    embedding: dict[str, Any]  # the index's fingerprint, with the hash of the model's weights
    corpus_sha256: str  # of all documents' paths and texts
    questions_sha256: str  # of the judgements asked
    warnings: tuple[str, ...] = ()
    judge: Judged | None = None  # None: none was asked
    kinds: tuple[Kind, ...] = ()  # in the order of the set; empty where no question says how it was made
    schema: int = SCHEMA

    def __getitem__(self, name: str) -> float:
        """A figure's value: `report["recall@5"]`. Raises KeyError, which names the figures."""
        for figure in self.figures:
            if figure.name == name:
                return figure.value
        raise KeyError(f"no figure {name!r}; there are {', '.join(f.name for f in self.figures)}")

    def to_dict(self) -> dict[str, Any]:
        body: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any], origin: str = "report") -> Self:
        """Raises JudgementError: no report, or of a version that isn't known."""
        from pydantic import ValidationError

        if not isinstance(body, Mapping) or "schema" not in body or "rows" not in body:
            raise JudgementError(f"{origin}: is no report of `rag evaluate`", MAKE_ONE)
        if body["schema"] != SCHEMA:
            problem = f"{origin}: is a report of schema {shown(body['schema'])}, this version reads {SCHEMA}"
            raise JudgementError(problem, "make it again with this version")
        try:
            report: Self = _adapter().validate_python({k: v for k, v in body.items() if k != "comparison"})
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            problem = f"{origin}: {place}: is {shown(first['input'])}: {first['msg']}"
            raise JudgementError(problem, f"the file was changed or cut short; {MAKE_ONE}") from None
        return report

    @classmethod
    def read(cls, path: Path | str) -> Self:
        path = Path(path)
        try:
            body = parse(read_text(path), path.name)
        except JudgementError as error:  # whose hint is for a set of questions
            raise JudgementError(error.message, f"give the path of a whole report; {MAKE_ONE}") from None
        return cls.from_dict(body, path.name)

    def write(self, path: Path | str, **more: Any) -> None:
        """`more`: further keys of the file, which `read` passes over."""
        text = json.dumps({**self.to_dict(), **more}, ensure_ascii=False, indent=1) + "\n"
        Path(path).write_text(text, encoding="utf-8")

    def frame(self) -> Any:
        """A pandas.DataFrame with a line a question: its values, answer, confidence and seconds."""
        try:
            import pandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise ConfigError("pandas isn't installed, which a frame needs", "pip install pandas") from None

        names = list(dict.fromkeys(name for row in self.rows for name in row.values))
        plain = ("id", "question", "group", "kind", "answerable", "answer", "confidence", "abstained")
        return pandas.DataFrame(
            [
                {name: getattr(row, name) for name in plain}
                | {name: row.values.get(name) for name in names}
                | {f"seconds.{stage}": seconds for stage, seconds in row.seconds.items()}
                for row in self.rows
            ]
        )


def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Report)


def part_of(name: str) -> Literal["Retrieval", "Answers", "Judge"]:
    """The part of the report that a figure stands in: one of PARTS."""
    if name in ANSWER_FIGURES:
        return "Answers"
    return "Judge" if name in JUDGE_FIGURES else "Retrieval"


def moment(report: Report) -> str:
    """When it was made, as people read it: `2026-11-24 23:08:28 UTC`."""
    return report.made.replace("T", " ").replace("+00:00", " UTC")
