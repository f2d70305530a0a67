"""One question: what came back for it, held against its judgement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rag.evaluate.answers import answer_within, exact_match, f1, score_citations
from rag.evaluate.judgements import Evidence, Judgement
from rag.evaluate.report import Hit, Row, Verdict
from rag.generate.attribution import strip_markers
from rag.prompt import one_line
from rag.sentences import sentence_spans
from rag.types import Answer, Passage

SHOWN = 5  # hits whose stages and text are kept, beside those that hold evidence
EXCERPT = 400  # characters of a hit's text
STANDS_IN = "extractive (for "  # the generator of an answer whose model wrote nothing that could stand (docs/answer.md)
UNTIMED = frozenset({"first_token"})  # a moment within another stage
WRITING = frozenset({"prompt", "generate", "attribute", "first_token", "extract"})  # doesn't run for what is declined


def searched(j: Judgement, passages: Sequence[Passage], timings: Mapping[str, float]) -> Row:
    """What a search alone says; `timings` are its stages'."""
    hits = tuple(_hit(p, j) for p in passages)
    return Row(
        id=j.id,
        question=j.question,
        group=j.group,
        kind=j.kind,
        answerable=j.answerable,
        golds=j.answers,
        evidence=tuple((e.source, one_line(e.quote)) for e in j.places),
        ranks=tuple(_rank(hits, nugget) for nugget in j.evidence),
        why=why(hits, j),
        found=hits,
        values={},
        seconds=_seconds({f"retrieve.{stage}": s for stage, s in timings.items()}),
    )


def _hit(p: Passage, j: Judgement) -> Hit:
    holds = any(_holds(p, e) for e in j.places)
    shown = holds or p.number <= SHOWN
    return Hit(
        source=p.source,
        span=p.span,
        score=p.score,
        place=p.label,
        holds=holds,
        also_in=p.also_in,
        stages=p.stages if shown else (),
        text=_beginning(p.text) if shown else "",
    )


def _holds(p: Passage | Hit, e: Evidence) -> bool:
    """All of a place; of a whole document any part will do."""
    if e.source != p.source and e.source not in p.also_in:
        return False
    return e.span is None or (p.span.start <= e.span.start and e.span.end <= p.span.end)


def _rank(hits: Sequence[Hit], nugget: Sequence[Evidence]) -> int | None:
    return next((rank for rank, h in enumerate(hits, 1) if any(_holds(h, e) for e in nugget)), None)


def why(hits: Sequence[Hit], j: Judgement) -> str:
    """What became of the evidence. Of several pieces that are wanted, of the one that fared worst."""
    if not j.evidence:
        return "there is no evidence to find"
    nugget = max(j.evidence, key=lambda n: _rank(hits, n) or len(hits) + 1)
    if (rank := _rank(hits, nugget)) is not None:
        return f"passage {rank} holds the evidence"
    for rank, h in enumerate(hits, 1):
        for e in nugget:
            if e.span is not None and e.source in (h.source, *h.also_in) and e.span.overlap(h.span):
                return f"passage {rank} holds a part of the evidence, none of {len(hits)} all of it"
    sources = dict.fromkeys(e.source for e in nugget)
    for rank, h in enumerate(hits, 1):
        if near := next((n for n in (h.source, *h.also_in) if n in sources), None):
            return f"none of {len(hits)} passages holds the evidence; {near} is first at {rank}, at another place"
    return f"none of {len(hits)} passages is from {' or '.join(sources)}"


def judged(
    row: Row, j: Judgement, answer: Answer, threshold: float, vector: dict[str, float], written: str = ""
) -> Row:
    """The row with what a user sees: below the threshold the answer is that there is none.

    `vector`: the seconds of stages that ran before the answer was asked for, and that it found done. `written`: what a
    language model wrote for it, before it was checked.
    """
    abstained = answer.abstained or answer.confidence < threshold
    sentences = [s.text for s in answer.statements]
    judgeable = bool(j.answers) or not j.answerable
    held = answer_within(sentences, j.answers, max(1, len(sentences))) if judgeable else None
    right = None if held is None else (held and not abstained if j.answerable else abstained)
    said = [] if abstained else sentences
    values: dict[str, float] = {"answered" if j.answerable else "declined": float(abstained != j.answerable)}
    if right is not None:
        text = " ".join(said) if abstained or not answer.short else answer.short[0].text  # SQuAD's: one short answer
        values |= {"right": float(right), "exact_match": exact_match(text, j.answers), "f1": f1(text, j.answers)}
    if j.answers:
        values |= {
            "first_sentence": float(answer_within(said, j.answers, 1)),
            "first_three": float(answer_within(said, j.answers, 3)),
        }
    if j.evidence:
        scores = score_citations(j, () if abstained else answer.citations)
        values["citation_recall"] = scores.recall
        if not abstained:
            values["citation_precision"] = scores.precision
    if not abstained:
        values["words"] = float(len(" ".join(said).split()))
        values["grounded"] = sum(s.supported for s in answer.statements) / max(1, len(answer.statements))
        if wrote := _sentences(written):
            values["written_grounded"] = min(1.0, _stood(answer) / len(wrote))
        if answer.citations:
            values["verified"] = sum(c.verified for c in answer.citations) / len(answer.citations)
    timings = {s: t for s, t in {**answer.timings, **vector}.items() if not (abstained and s in WRITING)}
    return replace(
        row,
        values=values,
        seconds=_seconds(timings),
        answer="" if abstained else answer.text,
        confidence=answer.confidence,
        abstained=abstained,
        cited=() if abstained else tuple((c.label, one_line(c.quote)) for c in answer.citations),
        right=right,
        held=held,
    )


def _sentences(written: str) -> set[str]:
    """As the check of an answer counts them: each once, without passage numbers."""
    found = (strip_markers(span.cut(written))[0] for span in sentence_spans(written))
    return {one_line(s).casefold() for s in found if any(c.isalnum() for c in s)}


def _stood(answer: Answer) -> int:
    """Sentences of the model that passed the check; none where the documents' own words stand in for them."""
    return 0 if answer.generator.startswith(STANDS_IN) else sum(s.supported for s in answer.statements)


def with_entailment(row: Row, entailed: Sequence[bool]) -> Row:
    """`entailed`: for each statement."""
    return replace(
        row,
        values=row.values | {"grounded_nli": sum(entailed) / len(entailed)},
        entailed=tuple(entailed),
    )


def with_verdict(row: Row, v: Verdict) -> Row:
    values = {"judge_invalid": float(v.invalid)}
    if v.correct is not None:
        values["judge_correct"] = float(v.correct)
    if v.grounded:
        values["judge_grounded"] = sum(v.grounded) / len(v.grounded)
    return replace(row, values=row.values | values, verdict=v)


def _seconds(timings: dict[str, float]) -> dict[str, float]:
    return {**timings, "total": sum(t for stage, t in timings.items() if stage not in UNTIMED)}


def _beginning(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= EXCERPT else text[:EXCERPT].rsplit(" ", 1)[0] + " …"
