"""A test set from one's own folder, without a language model: questions made by rules, reviewed by a person.

    sentence ──cloze───> a number, date, name or meaning is asked for    evidence: that sentence
    heading ──headings─> "What does … say about …?"                      evidence: the text below it
    either ──swaps─────> the same about something else                   nothing in the folder says it

Kept are questions that one sentence of the folder answers and no other contradicts, looked up in every sentence
(corpus.py). To each come its hard negatives: the nearest passages that don't hold the answer.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, repeat, zip_longest
from typing import Literal, TypeVar, get_args

from rag.errors import JudgementError
from rag.evaluate.judgements import Evidence, Judgement
from rag.evaluate.questions.cloze import clozes
from rag.evaluate.questions.corpus import Folder, Tools, holds
from rag.evaluate.questions.headings import Section, about, sections
from rag.evaluate.questions.pieces import Cloze, Words, pieces
from rag.evaluate.questions.swaps import Swapper
from rag.types import Source

T = TypeVar("T")
Kind = Literal["cloze", "heading", "unanswerable"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MIN_TERMS = 3  # of a question, function words left out; fewer name nothing in particular
MAX_ALIKE = 12  # sentences with all of a question's words: more, and it asks about everything
NEGATIVES = 3  # hard negatives a question
LOOKED_AT = 10  # passages that they are chosen from


@dataclass(frozen=True)
class Made:
    """The questions, and why there are no more."""

    judgements: tuple[Judgement, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(j.kind for j in self.judgements)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}


def make_questions(
    sources: Iterable[Source],
    tools: Tools,
    n: int,
    seed: int = 0,
    unanswerable: float = 0.25,
    kinds: Sequence[str] = KINDS,
) -> Made:
    """At most `n`, of which the share `unanswerable`, balanced over files; fewer where the folder gives no more.

    The same for the same folder and seed. An id depends on the sentence and what is asked of it, so it stays when
    other files change. Raises JudgementError for a wrong `n`, share or kind, and when nothing can be asked.
    """
    check(n, unanswerable, kinds)
    folder = Folder(sources, tools)
    maker = _Maker(folder, seed)
    answerable = [k for k in KINDS if k in kinds and k != "unanswerable"]
    share = (unanswerable if answerable else 1.0) if "unanswerable" in kinds else 0.0
    found: dict[str, list[Judgement]] = {}
    if share:
        found["unanswerable"] = _take(maker.unanswerable(), round(n * share))
    left = n - len(found.get("unanswerable", ()))
    for i, kind in enumerate(reversed(answerable)):  # headings first: they run out, and sentences fill the rest
        found[kind] = _take(maker.cloze() if kind == "cloze" else maker.heading(), left // (len(answerable) - i))
        left -= len(found[kind])
    made = tuple(maker.with_negatives(j) for kind in KINDS for j in found.get(kind, []))
    if not made:
        prose = sum(s.prose for s in folder.sentences)
        raise JudgementError(
            f"no question ({', '.join(kinds)}) can be made of {len(folder.sources)} files ({prose} sentences of prose)",
            "it takes sentences that say a number, a date or a name, or headings with text below them",
        )
    notes = []
    if (few := len(found.get("unanswerable", ()))) < round(n * share):
        notes.append(f"{few} of {round(n * share)} unanswerable: nothing more to swap that is sure to be unanswerable")
    if len(made) < n:
        notes.append(f"{len(made)} of {n} questions: the rules let no more pass")
    return Made(made, tuple(notes))


def check(n: int, unanswerable: float, kinds: Sequence[str]) -> None:
    if n < 1:
        raise JudgementError(f"{n} questions are asked for", "ask for 1 or more: -n 200")
    if not 0 <= unanswerable <= 1:
        raise JudgementError(
            f"the share of unanswerable questions is {unanswerable}", "it is 0 to 1: --unanswerable 0.25"
        )
    if unknown := [k for k in kinds if k not in KINDS]:
        raise JudgementError(f"there is no kind of question {unknown[0]!r}", f"choices: {', '.join(KINDS)}")
    if not kinds:
        raise JudgementError("no kind of question is named", f"choices: {', '.join(KINDS)}")


def _take(judgements: Iterator[Judgement], quota: int) -> list[Judgement]:
    """The first `quota`, each question once."""
    taken: dict[str, Judgement] = {}
    if quota:
        for judgement in judgements:
            taken.setdefault(" ".join(judgement.question.split()).casefold(), judgement)
            if len(taken) == quota:
                break
    return list(taken.values())


class _Maker:
    def __init__(self, folder: Folder, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.words = Words(folder.is_common, folder.names_in)

    # ---- the three kinds, each in the order of choice, as far as they are wanted -------------------------------------

    def cloze(self) -> Iterator[Judgement]:
        """One question a sentence; questions in words before sentences with a gap."""
        for judged in self._clozes():
            yield from islice(judged, 1)

    def _clozes(self) -> Iterator[Iterator[Judgement]]:
        """For each sentence the questions about it that pass."""
        by_file: dict[str, list[tuple[int, list[Cloze]]]] = defaultdict(list)
        for number, sentence in enumerate(self.folder.sentences):
            first = self.folder.alike[sentence.text.casefold()][0] == number
            found = clozes(sentence.text, sentence.language, self.words) if sentence.prose and first else []
            if found:
                by_file[sentence.source].append((number, self._ordered(sentence.text, found)))
        for file in by_file.values():
            file.sort(key=lambda item: (not item[1][0].worded, self._hash(self.folder.sentences[item[0]].text)))
        for number, found in self._spread(by_file):
            judged = map(self._judge, repeat(number), found)
            yield (j for j in judged if j is not None)

    def heading(self) -> Iterator[Judgement]:
        by_file: dict[str, list[Section]] = defaultdict(list)
        for section in sorted(sections(self.folder), key=lambda s: self._hash(s.title, s.heading)):
            by_file[section.source.path].append(section)
        for section in self._spread(by_file):
            span = section.span
            place = Evidence(section.source.path, span, span.cut(section.source.text))
            yield Judgement(
                id=_id("heading", section.title, section.heading),
                question=about(self.folder, section.source, section.title, section.heading),
                evidence=((place,),),
                group=section.source.path,
                kind="heading",
            )

    def unanswerable(self) -> Iterator[Judgement]:
        """Near misses, of names and of headings in turn: swaps.py tells how they are known to be unanswerable."""
        swapper = Swapper(self.folder, self._hash)
        names, headings = self._other_names(swapper), self._other_sections(swapper)
        for judgement in chain.from_iterable(zip_longest(names, headings)):
            if judgement is not None:
                yield judgement

    def _other_names(self, swapper: Swapper) -> Iterator[Judgement]:
        for judged in self._clozes():
            swaps = ((j, swapper.name(j)) for j in judged)
            for judgement, swap in islice(((j, swap) for j, swap in swaps if swap is not None), 1):
                note = f"from {judgement.id}: “{swap.old}” became “{swap.new}”, which {swap.path} speaks of"
                yield _unanswerable(swap.question, judgement.group, note)

    def _other_sections(self, swapper: Swapper) -> Iterator[Judgement]:
        by_file: dict[str, list[Section]] = defaultdict(list)
        for section in sorted(sections(self.folder), key=lambda s: self._hash("swap", s.title, s.heading)):
            by_file[section.source.path].append(section)
        for section in self._spread(by_file):
            other = swapper.section(section)
            if other is not None:
                source, title = other
                note = f"{section.source.path} has “{section.heading}”, {source.path} says nothing of it"
                yield _unanswerable(about(self.folder, source, title, section.heading), source.path, note)

    # ---- order ---------------------------------------------------------------------------------------------------

    def _hash(self, *parts: str) -> str:
        return _digest(str(self.seed), *parts)

    def _spread(self, by_file: dict[str, list[T]]) -> Iterator[T]:
        """Each file's first, then each file's second, ..."""
        files = [by_file[path] for path in sorted(by_file, key=self._hash)]
        for row in zip_longest(*files):
            yield from (item for item in row if item is not None)

    def _ordered(self, text: str, found: list[Cloze]) -> list[Cloze]:
        return sorted(found, key=lambda c: (not c.worded, self._hash(text, c.question)))

    # ---- checks --------------------------------------------------------------------------------------------------

    def _judge(self, number: int, cloze: Cloze) -> Judgement | None:
        """None: too few words to know what is meant, or another sentence answers the same question differently."""
        folder = self.folder
        sentence = folder.sentences[number]
        terms = folder.tools.query_terms(cloze.text.removeprefix("How many "))
        alike = folder.alike[sentence.text.casefold()]
        others = [i for i in folder.holding(terms) if i not in alike]
        # "What is the hop size?" has two, and is clear where little else is said of it; "It was made in ____" is not.
        needed = 1 if cloze.piece == "meaning" else 2 if cloze.worded and cloze.piece == "number" else MIN_TERMS
        if len(terms) < needed or len(others) > (MAX_ALIKE if len(terms) >= MIN_TERMS else MAX_ALIKE // 4):
            return None
        places = [self._place(i) for i in alike]
        for i in others:
            text = folder.sentences[i].text
            if holds(text, cloze.answers):
                places.append(self._place(i))
            elif self._contradicts(text, cloze, i):
                return None
        if cloze.answers[0] not in " ".join(places[0].quote.split()):
            return None  # Markdown's marks stand inside it: it couldn't be found again
        return Judgement(
            id=_id("cloze", sentence.text, cloze.question),
            question=cloze.question,
            evidence=(tuple(places),),
            answers=cloze.answers,
            group=sentence.source,
            kind="cloze",
        )

    def _contradicts(self, text: str, cloze: Cloze, number: int) -> bool:
        """It has all the words of the question and another piece of the kind that is asked for."""
        if cloze.piece == "meaning":
            return re.search(r"\b(?:is|are|means|stands for)\b", text) is not None
        language = self.folder.sentences[number].language
        return any(
            piece == cloze.piece and not holds(cloze.question, (span.cut(text),))
            for span, piece in pieces(text, language, self.words)
        )

    def _place(self, number: int) -> Evidence:
        sentence = self.folder.sentences[number]
        return Evidence(sentence.source, sentence.span, self.folder.raw(number))

    def with_negatives(self, judgement: Judgement) -> Judgement:
        negatives: list[Evidence] = []
        for passage in self.folder.tools.search(judgement.question, LOOKED_AT):
            here = {passage.source, *passage.also_in}
            answers = any(e.source in here and e.span and e.span.overlap(passage.span) for e in judgement.places)
            if not answers and not holds(passage.text, judgement.answers):
                negatives.append(Evidence(passage.source, passage.span))
        return replace(judgement, hard_negatives=tuple(negatives[:NEGATIVES]))


def _unanswerable(question: str, group: str | None, note: str) -> Judgement:
    identity = _id("unanswerable", question)
    return Judgement(identity, question, answerable=False, group=group, kind="unanswerable", note=note)


def _id(kind: Kind, *parts: str) -> str:
    return f"{kind}-{_digest(*parts)[:10]}"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()
