"""Corridor 2, question -> answer.

retrieve ──> is the evidence good enough? ──no──> "not in the documents"
                │ yes
                ├── extractive: the words that the reading model points at, and the best sentences of the passages
                └── a language model: prompt ──> text ──> each sentence is held against the passages;
                    what nothing supports is dropped or marked, and if nothing is left the extractive answer
                    stands in
                └──> every quote is looked up in the catalog; one that isn't there is dropped and counted
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Generator as Steps
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from rag.answer.evidence import Evidence, Reader, measure
from rag.answer.lists import said
from rag.config import Config
from rag.errors import Cancelled, ContextOverflow, QueryError
from rag.generate import extractive
from rag.generate.attribution import strip_markers, support, without_frame
from rag.generate.extractive import Candidate
from rag.generate.short import Short, short_answers
from rag.prompt import BuiltPrompt, build_condense, build_prompt, find_prompt, load_prompt, one_line, read_condensed
from rag.retrieve import Filter, Retriever
from rag.sentences import sentence_spans
from rag.types import Answer, Citation, Message, Passage, Reading, ShortAnswer, Source, Span, Statement

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rag.generate import Generator

    Floats = NDArray[np.float32]

_QUOTE_MARKS = re.compile(r"\n[ \t]*(?:>[ \t]?)+")
NOT_FOUND = "The documents don't hold an answer to this."


@dataclass(frozen=True)
class Event:
    """One step of a streamed answer: `stage` before it runs, `passages` found, `text` as it comes, the `answer`."""

    kind: Literal["stage", "passages", "text", "answer"]
    value: Any


class Answerer:
    """Holds no state of a conversation: pass `history`. Safe to share between threads."""

    def __init__(
        self,
        config: Config,
        retriever: Retriever,
        reader: Reader,
        embed: Callable[[Sequence[str]], Floats],
        generator: Generator | None,
        read: Callable[[str, Sequence[str]], Sequence[Reading]] | None = None,
    ) -> None:
        """`generator` None: the extractive one. embed: n texts -> (n, dimension) unit vectors. read: a question and
        texts -> a Reading of each; None: no reading model."""
        self.config, self.retriever, self.reader = config, retriever, reader
        self._embed, self.generator, self._read = embed, generator, read

    @property
    def generator_name(self) -> str:
        """Says so when short answers were wanted and can't be given."""
        if self.generator:
            return self.generator.name
        missing = self._read is None and self.config.generate.reader != "none"
        return "extractive (its reader isn't installed)" if missing else "extractive"

    # ---- the corridor -------------------------------------------------------------------------------------

    def ask(
        self,
        question: str,
        history: Sequence[Message] = (),
        filter: str | Mapping[str, Any] | Filter | None = None,
        cancel: threading.Event | None = None,
        **overrides: Any,
    ) -> Answer:
        """The last event of `stream`."""
        for event in self.stream(question, history, filter, cancel, **overrides):
            if event.kind == "answer":
                answer: Answer = event.value
                return answer
        raise Cancelled("the answer was stopped before it was complete")

    def stream(
        self,
        question: str,
        history: Sequence[Message] = (),
        filter: str | Mapping[str, Any] | Filter | None = None,
        cancel: threading.Event | None = None,
        **overrides: Any,
    ) -> Iterator[Event]:
        """Events as the answer is made; the last one is the whole answer, checked.

        Text events are what the model writes, unchecked; only the answer's text is checked.
        """
        question = self.retriever.check(question)
        for n, turn in enumerate(history):
            if not isinstance(turn, Message):
                hint = 'a turn is a rag.types.Message: Message("user", "...") or Message("assistant", "...")'
                raise QueryError(f"history[{n}] is {turn!r:.80}, no message", hint)
        timings: dict[str, float] = {}
        clock = time.perf_counter
        if history and self.generator:
            yield Event("stage", "condense")
            start = clock()
            question = self._condense(question, history, cancel)
            timings["condense"] = clock() - start
        yield Event("stage", "retrieve")
        retrieval = self.retriever.search(question, filter, **overrides)
        timings.update({f"retrieve.{k}": v for k, v in retrieval.timings.items()})
        yield Event("passages", retrieval.passages)
        start = clock()
        evidence = measure(retrieval, self.reader, self._embed, self._read)
        timings["evidence"] = clock() - start
        made = _Made(question, retrieval.passages, evidence.confidence, self.generator_name, timings)
        if evidence.confidence < self.config.answer.min_confidence:
            reason = self._nothing_found(filter, overrides) if not retrieval.passages else (
                f"the best evidence has confidence {evidence.confidence:.2f}, below answer.min_confidence "
                f"{self.config.answer.min_confidence:g}"
            )  # fmt: skip
            yield Event("answer", made.abstain(reason))
            return
        yield Event("stage", "generate")
        if self.generator is None:
            answer = self._extract(made, evidence)
            yield Event("text", answer.text)
        else:
            answer = yield from self._generate(made, evidence, self.generator, cancel)
        yield Event("answer", answer)

    def _nothing_found(self, filter: str | Mapping[str, Any] | Filter | None, overrides: Mapping[str, Any]) -> str:
        """It may be there, and left out by what was asked for."""
        least = overrides.get("min_score")
        least = self.config.retrieve.min_score if least is None else least
        within = f" within the filter {filter}" if filter else ""
        return f"nothing was found{within}" + ("" if least is None else f" with a score of {least:g}, min_score")

    # ---- the two ways to an answer ------------------------------------------------------------------------

    def _extract(self, made: _Made, evidence: Evidence, stage: str = "generate") -> Answer:
        """`stage`: what its time is called; where a model wrote first, "generate" is the model's."""
        start = time.perf_counter()
        most = self.config.generate.max_sentences
        picked = [p.candidate for p in extractive.pick(evidence.candidates, evidence.scores, most, evidence.terms)]
        short = short_answers(made.question, made.passages, evidence.readings) if evidence.readings else []
        if short:
            read = _each_once(_sentence_of(s, evidence.candidates, made.passages) for s in short)
            # Where reader and sentences agree, that sentence is the answer; where not, both are shown.
            picked = read if picked[0] in read else [*read, picked[0]][:most]
        found = [(Statement(_unquoted(c, made.passages), (c.passage,)), c) for c in picked]
        answer = self._cited(made, found, short)
        made.timings[stage] = time.perf_counter() - start
        return answer

    def _generate(
        self, made: _Made, evidence: Evidence, generator: Generator, cancel: threading.Event | None
    ) -> Steps[Event, None, Answer]:
        clock = time.perf_counter
        start = clock()
        prompt = self.build_prompt(made.question, made.passages)
        made.timings["prompt"] = clock() - start
        start = clock()
        pieces: list[str] = []
        for piece in generator.stream(prompt.messages, cancel=cancel):
            if not pieces:
                made.timings["first_token"] = clock() - start
            pieces.append(piece)
            yield Event("text", piece)
        text = "".join(pieces)
        made.timings["generate"] = clock() - start
        if cancel is not None and cancel.is_set():
            raise Cancelled("the answer was stopped", "ask again")
        made.tokens.update(prompt=prompt.tokens, completion=generator.count_text(text) if text else 0)
        start = clock()
        found = self._attribute(text, made.question, prompt.passages, evidence)
        made.timings["attribute"] = clock() - start
        unsupported = sum(candidate is None for _, candidate in found)
        if unsupported == len(found):
            answer = self._extract(made, evidence, stage="extract")
            what = "wrote nothing" if not text.strip() else "wrote nothing that the passages support"
            reason = f"{generator.name} {what}; these are the documents' own sentences"
            return replace(answer, reason=reason, generator=f"extractive (for {generator.name})")
        if self.config.answer.unsupported == "mark":
            return self._cited(made, found)
        answer = self._cited(made, [(s, candidate) for s, candidate in found if candidate])
        if not unsupported or answer.abstained:
            return answer
        reason = f"{unsupported} unsupported {'sentence was' if unsupported == 1 else 'sentences were'} dropped"
        return replace(answer, reason=reason)

    def build_prompt(self, question: str, passages: Sequence[Passage]) -> BuiltPrompt:
        """The exact prompt that the generator gets; needs a language model."""
        if self.generator is None:
            raise QueryError(
                "the extractive generator takes no prompt",
                "choose a language model: --generator smollm2, or generate.kind in config.yaml",
            )
        config = self.config.prompt
        template = load_prompt(find_prompt(config.directory, config.answer))
        count, budget = self.generator.count, self._budget(self.generator)
        return build_prompt(template, question, passages, count=count, budget=budget)

    def _budget(self, generator: Generator) -> int:
        """Tokens that a prompt may have: the configured number, or what the window leaves beside the reply."""
        return min(self.config.prompt.max_tokens, generator.context_window - generator.max_new_tokens)

    def _condense(self, question: str, history: Sequence[Message], cancel: threading.Event | None) -> str:
        """A follow-up question as one that stands alone. When the model fails at it, the question stays as it is."""
        generator, config = self.generator, self.config.prompt
        assert generator is not None
        template = load_prompt(find_prompt(config.directory, config.condense), "condense")
        try:
            budget = self._budget(generator)
            built = build_condense(template, history, question, count=generator.count, budget=budget)
            return read_condensed("".join(generator.stream(built.messages, cancel=cancel)), question)
        except ContextOverflow:
            return question

    def _attribute(
        self, text: str, question: str, passages: Sequence[Passage], evidence: Evidence
    ) -> list[tuple[Statement, Candidate | None]]:
        """Hold each sentence against the passages: as a statement, with what supports it, if anything does."""
        numbers = {p.number for p in passages}
        # Lists support nothing a model writes: "call within 24 hours" has its words from two items.
        rows = [i for i, c in enumerate(evidence.candidates) if c.passage in numbers and not c.listed]
        candidates = [evidence.candidates[i] for i in rows]
        sentences = [strip_markers(span.cut(text)) for span in sentence_spans(text)]
        sentences = [(s, cited) for s, cited in sentences if any(c.isalnum() for c in s)]
        sentences = list({one_line(s).casefold(): (s, cited) for s, cited in reversed(sentences)}.values())[::-1]
        if not sentences or not candidates:
            return [(Statement(one_line(s), (), supported=False), None) for s, _ in sentences]
        vectors = self._embed([s for s, _ in sentences])
        known = evidence.vectors[rows]
        asked = set(self.reader.terms(question))
        likely = extractive.likely(evidence.scores[rows])[: self.config.generate.max_sentences]
        texts = {p.number: p.shown for p in passages}
        attributed: list[tuple[Statement, Candidate | None]] = []
        for (sentence, cited), vector in zip(sentences, vectors, strict=True):
            terms = self.reader.terms(sentence)
            with self.reader.catalog.snapshot() as generation:
                rarity = self.reader.rarity(terms, generation)
            added = [t for t in self.reader.query_terms(without_frame(sentence)) if t not in asked]
            found = support(
                sentence, terms, added, cited, candidates, likely, known @ vector, rarity, texts, self.reader.terms
            )
            candidate = found.candidate if found else None
            numbered = (candidate.passage,) if candidate else ()
            attributed.append((Statement(one_line(sentence), numbered, supported=candidate is not None), candidate))
        return attributed

    def _cited(
        self, made: _Made, found: Sequence[tuple[Statement, Candidate | None]], short: Sequence[Short] = ()
    ) -> Answer:
        """The answer: a statement or short answer goes with its quote when that doesn't stand in the catalog where it
        says.

        An abstention when no supported statement is left.
        """
        by_number = {p.number: p for p in made.passages}
        kept: list[Statement] = []
        citations: dict[tuple[str, Span], Citation] = {}
        sources: dict[str, Source] = {}  # each read once: several quotes often come from one file
        dropped = 0
        with self.reader.catalog.snapshot() as generation:

            def cite(number: int, span: Span, text: str) -> bool:
                """Whether the words stand there; then they are among the citations."""
                nonlocal dropped
                source = by_number[number].source
                if self.reader.catalog.text_at(source, generation, span) != text:
                    dropped += 1
                    return False
                if source not in sources:
                    file = self.reader.catalog.file_at(source, generation)
                    sources[source] = self.reader.catalog.source(file.content_id, source)
                location = sources[source].locate(span.start)
                head = one_line(by_number[number].head_above(span.start))
                citations[source, span] = Citation(number, source, location, span, text, verified=True, table_head=head)
                return True

            exact = [ShortAnswer(one_line(s.text), s.passage) for s in short if cite(s.passage, s.span, s.text)]
            for statement, candidate in found:
                if candidate is None or cite(candidate.passage, candidate.span, candidate.text):
                    kept.append(statement)
        if not any(s.supported for s in kept):
            return made.abstain("no quote could be verified in the catalog", dropped)
        return made.answer(kept, list(citations.values()), dropped, exact)


def _each_once(candidates: Iterable[Candidate]) -> list[Candidate]:
    return list({c.span: c for c in candidates}.values())


def _unquoted(candidate: Candidate, passages: Sequence[Passage]) -> str:
    """The sentence on one line; without the marks of further lines where it stands in a quote, as in a reply."""
    if candidate.listed:
        return said(candidate.text)
    passage = next(p for p in passages if p.number == candidate.passage)
    before = passage.text[: candidate.span.start - passage.span.start].rpartition("\n")[2]
    quoted = before.lstrip().startswith(">")
    return one_line(_QUOTE_MARKS.sub("\n", candidate.text) if quoted else candidate.text)


def _sentence_of(short: Short, candidates: Sequence[Candidate], passages: Sequence[Passage]) -> Candidate:
    """The sentence that a short answer stands in; the words themselves where it stands in none, as in a heading."""
    for candidate in candidates:
        if candidate.passage == short.passage and candidate.span.overlap(short.span) > 0:
            return candidate
    passage = next(p for p in passages if p.number == short.passage)
    inside = Span(short.span.start - passage.span.start, short.span.end - passage.span.start)
    for span in sentence_spans(passage.text):
        if span.overlap(inside):
            text = span.cut(passage.text).strip()
            start = passage.text.index(text, span.start) + passage.span.start
            return Candidate(short.passage, Span(start, start + len(text)), text, frozenset())
    return Candidate(short.passage, short.span, short.text, frozenset())


@dataclass
class _Made:
    """What is known of an answer before its text."""

    question: str
    passages: tuple[Passage, ...]
    confidence: float
    generator: str
    timings: dict[str, float]
    tokens: dict[str, int] = field(default_factory=dict)

    def abstain(self, reason: str, dropped: int = 0) -> Answer:
        return self._with(text=NOT_FOUND, abstained=True, reason=reason, dropped_quotes=dropped)

    def answer(
        self,
        statements: Sequence[Statement],
        citations: Sequence[Citation],
        dropped: int,
        short: Sequence[ShortAnswer] = (),
    ) -> Answer:
        """Short answers on a line of their own, before the sentences."""
        line = "; ".join(f"{s.text} [{s.number}]" for s in short)
        text = "\n".join(filter(None, [line, " ".join(map(_shown, statements))]))
        return self._with(
            text=text,
            citations=tuple(citations),
            statements=tuple(statements),
            dropped_quotes=dropped,
            short=tuple(short),
        )

    def _with(self, text: str, **rest: Any) -> Answer:
        blank: dict[str, Any] = {"abstained": False, "reason": None, "citations": (), "statements": ()}
        return Answer(
            question=self.question,
            text=text,
            confidence=self.confidence,
            passages=self.passages,
            generator=self.generator,
            timings=self.timings,
            tokens=self.tokens,
            **{**blank, **rest},
        )


def _shown(statement: Statement) -> str:
    """The statement as a part of the answer's text, with its passages' numbers."""
    numbers = "".join(f" [{n}]" for n in statement.citations)
    return statement.text + numbers + ("" if statement.supported else " [unsupported]")
