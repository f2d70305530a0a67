"""Judged questions: what is asked, where the answer stands, what it says. And their plain form, JSON lines.

    {"id": "q030", "question": "How long does a rebuild take?", "answers": ["19 hours"],
     "evidence": [{"source": "ops/index.docx", "quote": "A full rebuild takes 19 hours", "start": 511, "end": 540}]}

`evidence` as a flat list: each place answers by itself, finding one is enough. As a list of lists: each inner list is
one thing to find (a nugget, in TREC's word), and any of its places will do. `start` and `end` count characters of the
text as loaded; without them the quote is looked up. Evidence is in spans, so it survives every splitter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rag.errors import JudgementError
from rag.evaluate.records import Record, json_lines, read_text, shown
from rag.types import Span

Format = Literal["jsonl", "squad", "beir", "chroma", "clapnq"]

FIELDS = ("id", "question", "answerable", "answers", "evidence", "group", "about", "kind", "note", "hard_negatives")
EVIDENCE_FIELDS = ("source", "quote", "start", "end", "grade")


@dataclass(frozen=True, slots=True)
class Evidence:
    """A place that answers. Without span and quote it is the whole document."""

    source: str  # POSIX style, relative to the document folder
    span: Span | None = None
    quote: str = ""  # what stands at the span; runs of white space count as one, since PDFs break lines anywhere
    grade: int = 1  # how relevant, 1 or more: BEIR's score; in CLAPNQ the number of annotators who chose it


Nugget = tuple[Evidence, ...]  # one thing to find; each of its places is enough


@dataclass(frozen=True, slots=True)
class Judgement:
    """A question with what answers it. Unanswerable: no evidence, no answers.

    SQuAD's golds are one nugget with a place each; Chroma's references and BEIR's documents a nugget each.
    """

    id: str
    question: str
    evidence: tuple[Nugget, ...] = ()  # every nugget is wanted
    answers: tuple[str, ...] = ()  # any of them is right
    answerable: bool = True
    group: str | None = None  # article or corpus: what a split must not tear apart
    about: str | None = None  # the document it was asked about, answered there or not
    kind: str | None = None  # how it was made ("cloze"): what a report can be split by
    note: str | None = None  # for whoever reviews it
    hard_negatives: tuple[Evidence, ...] = ()  # passages near the question that don't answer it
    origin: str = field(default="", compare=False, repr=False)  # file and line, for messages

    def __post_init__(self) -> None:
        for name, value in (("id", self.id), ("question", self.question)):
            if not value.strip():
                raise self.error(name, "is blank", "it has to be a text")
        for i, answer in enumerate(self.answers):
            if not answer.strip():  # nothing that is said holds it: the question could never be right
                raise self.error(f"answers[{i}]", "is blank", "give a short answer, or leave it out")
        if self.answerable and not self.evidence and not self.answers:
            hint = "give one of them, or set answerable to false"
            raise self.error("evidence", "there is neither evidence nor an answer", hint)
        if not self.answerable and (self.evidence or self.answers):
            raise self.error("answerable", "is false, yet there is evidence or an answer", "leave one of them out")
        for i, nugget in enumerate(self.evidence):
            if not nugget:
                raise self.error(f"evidence[{i}]", "is an empty list", "give a place, or leave it out")
            for e in nugget:
                if not e.source or e.grade < 1:
                    raise self.error(f"evidence[{i}]", f"is {shown(e)}", "it needs a source, and a grade of 1 or more")

    def error(self, name: str, problem: str, hint: str) -> JudgementError:
        return JudgementError(f"{self.origin or f'question {shown(self.id)}'}: {name}: {problem}", hint)

    @property
    def places(self) -> Iterator[Evidence]:
        return (e for nugget in self.evidence for e in nugget)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Judgements, and the documents they are about: file name -> text. None: they are about an existing folder."""

    name: str
    judgements: tuple[Judgement, ...]
    documents: Mapping[str, str] | None = None
    format: Format = "jsonl"
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.judgements:
            raise JudgementError(f"{self.name}: holds no questions", "a set needs at least one")


# ---- checks ------------------------------------------------------------------------------------------------------


def check_ids(judgements: Iterable[Judgement]) -> None:
    first: dict[str, Judgement] = {}
    for j in judgements:
        if other := first.get(j.id):
            raise j.error("id", f"{shown(j.id)} is taken: {other.origin or shown(other.question)}", "ids are unique")
        first[j.id] = j


def repeated(judgements: Iterable[Judgement]) -> list[tuple[Judgement, Judgement]]:
    """(first, later) that ask the same of the same document, or of the folder."""
    first: dict[tuple[str, str | None], Judgement] = {}
    pairs = [(first.setdefault((_folded(j.question), j.about), j), j) for j in judgements]
    return [(a, b) for a, b in pairs if a is not b]


def contradict(a: Judgement, b: Judgement) -> bool:
    """Two judgements of one question have no answer in common."""
    mine, theirs = ({*map(_folded, j.answers)} for j in (a, b))
    return a.answerable != b.answerable or bool(mine and theirs and not mine & theirs)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def located(judgements: Iterable[Judgement], text_of: Callable[[str], str | None]) -> list[Judgement]:
    """The same, each quote and span held against the text of its source (None: no such source).

    Evidence with a quote alone gets its span; a quote that stands several times becomes that many places of its
    nugget. Raises JudgementError at the first that is outside its source or isn't what stands there.
    """
    done = []
    for j in judgements:
        nuggets = []
        for i, nugget in enumerate(j.evidence):
            places: list[Evidence] = []
            for e in nugget:
                places += _places(j, f"evidence[{i}]", e, text_of(e.source))
            nuggets.append(tuple(dict.fromkeys(places)))
        done.append(replace(j, evidence=tuple(nuggets)))
    return done


def _places(j: Judgement, name: str, e: Evidence, text: str | None) -> list[Evidence]:
    if text is None:
        raise j.error(f"{name}.source", f"there is no {shown(e.source)}", "paths are relative to the document folder")
    if e.span is None:
        if not e.quote.strip():
            return [e]
        if found := find_quote(e.quote, text):
            return [replace(e, span=span, quote=span.cut(text)) for span in found]
        raise j.error(f"{name}.quote", f"{shown(e.quote)} stands nowhere in {e.source}", "copy it from the text")
    if e.span.end > len(text):
        problem = f"[{e.span.start}, {e.span.end}) is outside {e.source}, which has {len(text)} characters"
        raise j.error(f"{name}.end", problem, _where(e.quote, text))
    stands = e.span.cut(text)
    if e.quote and e.quote.split() != stands.split():
        problem = f"{shown(e.quote)} isn't at [{e.span.start}, {e.span.end}) of {e.source}: there is {shown(stands)}"
        raise j.error(f"{name}.quote", problem, _where(e.quote, text))
    return [replace(e, quote=stands)]


def _where(quote: str, text: str) -> str:
    found = find_quote(quote, text)
    return f"it stands at {', '.join(f'[{s.start}, {s.end})' for s in found[:3])}" if found else "has the file changed?"


def find_quote(quote: str, text: str) -> list[Span]:
    """Everywhere it stands, any white space for any white space.

    >>> find_quote("a b", "a b, a\\n  b")
    [Span(start=0, end=3), Span(start=5, end=10)]
    """
    words = quote.split()
    if not words:
        return []
    return [Span(*m.span()) for m in re.finditer(r"\s+".join(map(re.escape, words)), text)]


def cleaned(dataset: Dataset, clean: Callable[[str], str]) -> Dataset:
    """The set with documents as a loader would leave them (`rag.load.decode.clean`), and its spans moved along.

    Public sets hold byte-order marks and the like in their texts, which a loader takes out before it counts.
    """
    documents = {name: clean(text) for name, text in (dataset.documents or {}).items()}
    changed = {name for name, text in documents.items() if text != (dataset.documents or {})[name]}

    def move(e: Evidence) -> Evidence:
        if e.source not in changed or e.span is None:
            return e
        text = (dataset.documents or {})[e.source]
        span = Span(len(clean(text[: e.span.start])), len(clean(text[: e.span.end])))
        return replace(e, span=span, quote=span.cut(documents[e.source]))

    moved = tuple(
        replace(j, evidence=tuple(tuple(move(e) for e in nugget) for nugget in j.evidence)) for j in dataset.judgements
    )
    return replace(dataset, judgements=moved, documents=None if dataset.documents is None else documents)


# ---- JSON lines --------------------------------------------------------------------------------------------------


def read_jsonl(path: Path) -> Dataset:
    """Questions about an existing folder. Raises JudgementError that names file, line and field."""
    judgements = tuple(_judgement(r) for r in json_lines(read_text(path), path.name))
    check_ids(judgements)
    for first, later in repeated(judgements):
        answers = "with other answers" if contradict(first, later) else "with the same answers"
        hint = f"{first.origin} asks it {answers}: make one question of them"
        raise later.error("question", f"{shown(later.question)} is asked twice", hint)
    return Dataset(path.stem, judgements)


def _judgement(r: Record) -> Judgement:
    for key in r.body:
        if key not in FIELDS:
            raise r.error(key, "there is no such field", f"fields: {', '.join(FIELDS)}")
    answers, evidence = r.texts("answers"), _evidence(r)
    answerable = r.maybe_flag("answerable")
    return Judgement(
        id=r.filled("id"),
        question=r.filled("question"),
        evidence=evidence,
        answers=answers,
        answerable=bool(answers or evidence) if answerable is None else answerable,
        group=r.maybe_text("group"),
        about=r.maybe_text("about"),
        kind=r.maybe_text("kind"),
        note=r.maybe_text("note"),
        hard_negatives=tuple(map(_place, r.records("hard_negatives"))) if r.body.get("hard_negatives") else (),
        origin=r.origin,
    )


def _evidence(r: Record) -> tuple[Nugget, ...]:
    values = r.body.get("evidence") or []
    if isinstance(values, list) and values and all(isinstance(v, list) for v in values):
        return tuple(
            tuple(_place(r.below(f"evidence[{i}][{n}]", v)) for n, v in enumerate(nugget))
            for i, nugget in enumerate(values)
        )
    flat = tuple(map(_place, r.records("evidence"))) if values else ()
    return (flat,) if flat else ()


def _place(r: Record) -> Evidence:
    for key in r.body:
        if key not in EVIDENCE_FIELDS:
            raise r.error(key, "there is no such field", f"fields: {', '.join(EVIDENCE_FIELDS)}")
    start, end = r.maybe_number("start"), r.maybe_number("end")
    if (start is None) != (end is None):
        raise r.error("end" if end is None else "start", "is missing", "give both start and end, or neither")
    if start is not None and end is not None and not 0 <= start < end:
        raise r.error("end", f"[{start}, {end}) is no span", "it needs 0 <= start < end")
    return Evidence(
        source=r.filled("source"),
        span=None if start is None or end is None else Span(start, end),
        quote=r.maybe_text("quote") or "",
        grade=1 if (grade := r.maybe_number("grade")) is None else grade,
    )


def write_jsonl(path: Path, judgements: Sequence[Judgement]) -> None:
    """What read_jsonl reads: fields that say nothing are left out, but for `answerable`."""
    lines = [json.dumps(_to_dict(j), ensure_ascii=False) + "\n" for j in judgements]
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def _to_dict(j: Judgement) -> dict[str, Any]:
    nuggets = [[_place_to_dict(e) for e in nugget] for nugget in j.evidence]
    body: dict[str, Any] = {"id": j.id, "question": j.question, "answerable": j.answerable}
    body |= {"answers": list(j.answers), "evidence": nuggets[0] if len(nuggets) == 1 else nuggets}
    texts = (("group", j.group), ("about", j.about), ("kind", j.kind), ("note", j.note))
    body |= {k: v for k, v in texts if v is not None}
    return body | ({"hard_negatives": [*map(_place_to_dict, j.hard_negatives)]} if j.hard_negatives else {})


def _place_to_dict(e: Evidence) -> dict[str, Any]:
    body: dict[str, Any] = {"source": e.source}
    if e.quote:
        body["quote"] = e.quote
    if e.span is not None:
        body |= {"start": e.span.start, "end": e.span.end}
    return body | ({"grade": e.grade} if e.grade != 1 else {})
