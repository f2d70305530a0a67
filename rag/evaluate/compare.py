"""Two reports over the same questions: which differences are more than noise, and which questions changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rag.errors import JudgementError
from rag.evaluate import statistics
from rag.evaluate.figures import groups_of
from rag.evaluate.records import shown
from rag.evaluate.report import NEUTRAL, PARTS, Judged, Report, Row, moment, part_of
from rag.evaluate.statistics import Verdict, holm, verdict


@dataclass(frozen=True, slots=True)
class Difference:
    """after - before, over the n questions that have this value in both."""

    name: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    p: float
    p_holm: float  # corrected for the comparisons made in its part of the report, search or answers
    n: int
    changed: int  # questions whose value differs
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Change:
    """A question that was right and is wrong now, or the other way round."""

    id: str
    question: str
    before: str  # what was answered; the evidence's rank where nothing was asked
    after: str


@dataclass(frozen=True)
class Comparison:
    before: str  # name and time
    after: str
    differences: tuple[Difference, ...]
    mended: tuple[Change, ...]
    broken: tuple[Change, ...]
    settings: tuple[tuple[str, str, str], ...]  # what was set otherwise: key, before, after
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare(before: Report, after: Report) -> Comparison:
    """Raises JudgementError when they aren't about the same questions."""
    check_same_questions(before, {row.id: row.question for row in after.rows})
    old = {row.id: row for row in before.rows}
    pairs = [(old[row.id], row) for row in after.rows]
    differences = _differences(before, after, pairs)
    flipped = [(a, b) for a, b in pairs if a.good is not None and b.good is not None and a.good != b.good]
    return Comparison(
        before=f"{before.name}, {moment(before)}",
        after=f"{after.name}, {moment(after)}",
        differences=differences,
        mended=tuple(_change(a, b) for a, b in flipped if b.good),
        broken=tuple(_change(a, b) for a, b in flipped if a.good),
        settings=_settings(before.settings, after.settings),
        notes=tuple(_notes(before, after, {d.name for d in differences})),
    )


def check_same_questions(before: Report, questions: Mapping[str, str]) -> None:
    """`questions`: id -> text. Cheap, so that it can be asked before hours of measuring."""
    old = {row.id: row.question for row in before.rows}
    only = [f"{_some(old.keys() - questions.keys())} only before", f"{_some(questions.keys() - old.keys())} only after"]
    if said := [text for text in only if not text.startswith("0 ")]:
        raise JudgementError(
            f"the reports are over different questions: {', '.join(said)}",
            "compare runs over the same set, with the same sample and seed",
        )
    for key, text in questions.items():
        if text != old[key]:
            problem = f"question {shown(key)} was {shown(old[key])} and is {shown(text)}"
            raise JudgementError(f"the reports are over different questions: {problem}", "make the older report again")


def _some(ids: Iterable[str]) -> str:
    names = sorted(ids)
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else "0 "


def _differences(before: Report, after: Report, pairs: list[tuple[Row, Row]]) -> tuple[Difference, ...]:
    known = {f.name for f in before.figures} - NEUTRAL
    results = []
    for name in (f.name for f in after.figures if f.name in known):
        both = [(a, b) for a, b in pairs if name in a.values and name in b.values]
        if both:
            values = ([row.values[name] for row in side] for side in zip(*both, strict=True))
            results.append((name, statistics.compare(*values, groups=groups_of([b for _, b in both]))))
    corrected = _corrected(results)
    return tuple(
        Difference(
            name, c.before, c.after, c.difference, c.low, c.high, c.p, corrected[name], c.n, c.changed,
            verdict(c.low, c.high, corrected[name]),
        )
        for name, c in results
    )  # fmt: skip


def _corrected(results: Iterable[tuple[str, statistics.Comparison]]) -> dict[str, float]:
    """Holm's correction, for search, for answers and for the judge's opinion by itself.

    Where no question changed there was nothing to test, and it counts for nothing (Tarone, 1990): such a p is 1
    whatever the others are.
    """
    corrected = {}
    for part in PARTS:
        mine = [(name, c) for name, c in results if part_of(name) == part]
        moved = [(name, c) for name, c in mine if c.changed]
        corrected.update({name: 1.0 for name, _ in mine})
        if moved:
            corrected.update(zip((name for name, _ in moved), holm([c.p for _, c in moved]), strict=True))
    return corrected


def _change(a: Row, b: Row) -> Change:
    if a.right is None or b.right is None:
        return Change(a.id, a.question, a.why, b.why)
    return Change(a.id, a.question, _said(a), _said(b))


def _said(row: Row) -> str:
    return "declined" if row.abstained else row.answer or ""


def _settings(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Only what can change a result; not where things lie."""
    flat = [
        {f"{section}.{key}": _shown(value) for section, values in side.items() for key, value in values.items()}
        for side in (before, after)
    ]
    keys = [k for k in dict.fromkeys([*flat[0], *flat[1]]) if k not in {"documents.path", "store.path"}]
    pairs = [(k, flat[0].get(k, "not there"), flat[1].get(k, "not there")) for k in keys]
    return tuple((k, a, b) for k, a, b in pairs if a != b)


def _shown(value: object) -> str:
    """
    >>> _shown("hybrid"), _shown(None), _shown([".*"])
    ('hybrid', 'null', '[".*"]')
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _notes(before: Report, after: Report, compared: set[str]) -> Iterable[str]:
    if before.questions_sha256 != after.questions_sha256:
        yield "the questions are judged otherwise than before (answers or evidence changed)"
    if before.corpus_sha256 != after.corpus_sha256:
        yield "the documents' texts changed: a difference may come from them"
    if before.embedding.get("weights_sha256") != after.embedding.get("weights_sha256"):
        yield f"another embedding model: {before.embedding.get('model')}, now {after.embedding.get('model')}"
    if before.judge and after.judge and _who(before.judge) != _who(after.judge):
        yield f"another judge: {before.judge.model}, now {after.judge.model} (prompts/{after.judge.prompt}.yaml)"
    for side, report in (("before", before), ("after", after)):
        if alone := [f.name for f in report.figures if f.name not in compared | NEUTRAL]:
            yield f"only {side}: {', '.join(alone)}"
    changed = [p for p in {*before.versions, *after.versions} if before.versions.get(p) != after.versions.get(p)]
    for package in sorted(changed):
        yield f"{package} {before.versions.get(package, 'none')}, now {after.versions.get(package, 'none')}"


def _who(judge: Judged) -> tuple[str, str]:
    return judge.model, judge.prompt_sha256
