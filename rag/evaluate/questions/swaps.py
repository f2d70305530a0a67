"""Near misses: what an answerable question asks about is swapped for something that another file speaks of.

A question about a file that was left out would be unanswerable for certain, but it would fit no index that a user has.
So the full text is asked instead: where the new name stands, neither the sentence and its neighbours nor a passage that
the search brings may hold much of the question's other words. What is said in quite other words can still slip
through; that is for the review.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rag.evaluate.judgements import Judgement
from rag.evaluate.questions.cloze import GAP
from rag.evaluate.questions.corpus import Folder
from rag.evaluate.questions.headings import Section, title_of
from rag.evaluate.questions.pieces import is_whole
from rag.types import Source, Span

TRIED = 3000  # names that are looked at for one question
ASKED = 10  # of them, most alike first, that are held against the full text
ALIKE = 0.45  # cosine of the words around two names: below, one may be a person and the other a river
MENTIONS = 3  # of a new name; fewer say little about what it is
SAID = 0.5  # share of the question's other words, weighted by rarity, near the new name: it may be answered there
IN_PASSAGE = 0.75  # the same for a passage, which holds more words anyway
SEARCHED = 5  # passages


@dataclass(frozen=True)
class Swap:
    question: str
    old: str
    new: str
    path: str  # a file that speaks of the new one


class Swapper:
    def __init__(self, folder: Folder, order: Callable[..., str]) -> None:
        """`order`: texts -> a key that sorts by chance, always the same."""
        self.folder, self.order = folder, order
        names = (n for n, mentions in folder.names.items() if len(mentions) >= MENTIONS)
        self._names = sorted(names, key=order)[:TRIED]
        self._profiles: dict[str, Counter[str]] = {}
        self._terms: dict[str, frozenset[str]] = {}  # of whole files

    def name(self, judgement: Judgement) -> Swap | None:
        """The same question about another name, which is used alike in other files."""
        lead = judgement.question.find(": ") + 2 if GAP in judgement.question else 0
        text = judgement.question[lead:]
        span = self._topic(text)
        if span is None:
            return None
        old = span.cut(text)
        likeness = self._alike(text, span)
        for new in sorted(likeness, key=lambda n: (-likeness[n], self.order(judgement.id, n)))[:ASKED]:
            asked = judgement.question[: lead + span.start] + new + text[span.end :]
            if not self._may_be_answered(asked, new, text[: span.start] + " " + text[span.end :]):
                return Swap(asked, old, new, self.folder.sentences[self.folder.names[new][0]].source)
        return None

    def _topic(self, text: str) -> Span | None:
        """The name that the question is about. With another detail swapped, what is asked could still be told.

        It is the subject of a "When …" or of one clause with a gap; in a "Who …" it follows the verb closely.
        """
        names = self.folder.names_in(text)
        if not names or names[0].cut(text) not in self.folder.names or not is_whole(text, names[0]):
            return None
        first = names[0]
        if text[first.end :].startswith(("'", "’")) or re.search(r"[,;:]|\band\b", text):
            return None
        if GAP in text:
            return first if text[: first.start] in ("", "The ") else None
        return first if len(text[: first.start].split()) <= (3 if text.startswith("When ") else 9) else None

    def _alike(self, text: str, span: Span) -> dict[str, float]:
        """Names of the same make that keep the same company, never mentioned in a file of the old one.

        Names of the same file would make nearer misses, and wrong ones: Genghis Khan is Temüjin.
        """
        folder, old = self.folder, span.cut(text)
        before, profile = _company(text, span)[0], self._profile(old)
        if text.startswith("When ") and before != "-1 the":
            before = "-1 ^"  # the subject, which begins a sentence elsewhere
        own = {folder.sentences[i].source for i in folder.names[old]}
        found: dict[str, float] = {}
        for new in self._names:
            if not _same_make(old, new) or new in text or own & {folder.sentences[i].source for i in folder.names[new]}:
                continue
            other = self._profile(new)
            if before in other and (cosine := _cosine(profile, other)) >= ALIKE:
                found[new] = cosine
        return found

    def _profile(self, name: str) -> Counter[str]:
        """The company it keeps in the folder: people, places and things keep different ones."""
        if name not in self._profiles:
            found = self._profiles[name] = Counter()
            for number in self.folder.names[name][:50]:
                text = self.folder.sentences[number].text
                at = text.find(name)
                found.update(_company(text, Span(at, at + len(name))))
        return self._profiles[name]

    def _may_be_answered(self, question: str, new: str, rest: str) -> bool:
        tools = self.folder.tools
        name = set(tools.terms(new))
        wanted = set(tools.query_terms(rest)) - name
        near = (self.folder.around(i) for i in self.folder.holding(name))
        if any(self._share(wanted, tools.terms(text)) >= SAID for text in near):
            return True
        passages = (set(tools.terms(p.text)) for p in tools.search(question, SEARCHED))
        return any(name <= held and self._share(wanted, held) >= IN_PASSAGE for held in passages)

    def _held(self, source: Source) -> frozenset[str]:
        if source.path not in self._terms:
            self._terms[source.path] = frozenset(self.folder.tools.terms(source.text))
        return self._terms[source.path]

    def _share(self, wanted: set[str], held: Iterable[str]) -> float:
        weights = {t: math.log1p(len(self.folder.sentences) / (1 + self.folder.count(t))) for t in wanted}
        return sum(weights[t] for t in wanted & set(held)) / (sum(weights.values()) or 1.0)

    def section(self, section: Section) -> tuple[Source, str] | None:
        """Another file, and its title, in which most of the heading's words stand nowhere, its rarest among them."""
        folder = self.folder
        terms = set(folder.tools.query_terms(section.heading))
        vague = len(terms) < 2 and all(
            map(folder.is_common, section.heading.split())
        )  # "People": any text may speak of some
        if not terms or vague or section.heading.endswith("?"):
            return None
        rarest = min(terms, key=lambda t: (folder.count(t), t))
        said_in = {folder.sentences[i].source for i in folder.holding([rarest])}
        titled = [(s, t) for s in folder.sources if s is not section.source and (t := title_of(s))]
        free = [
            (s, t)
            for s, t in titled
            if s.path not in said_in and self._share(terms, {*self._held(s), *folder.tools.terms(t)}) < SAID
        ]
        return min(free, key=lambda pair: self.order(section.heading, pair[0].path)) if free and said_in else None


def _same_make(old: str, new: str) -> bool:
    """As many words but for one, both or neither all capitals, both or neither with digits; neither in the other."""
    if old in new or new in old or len(new) < 3 or abs(len(new.split()) - len(old.split())) > 1:
        return False
    return new.isupper() == old.isupper() and any(map(str.isdigit, new)) == any(map(str.isdigit, old))


def _company(text: str, span: Span) -> list[str]:
    """The word before and the two behind, each with its place."""
    before = re.findall(r"[\w']+|[,.(]", text[: span.start])[-1:] or ["^"]
    after = (*re.findall(r"['’]?\w+|[,.?)]", text[span.end :])[:2], ".", ".")
    return [f"-1 {before[0].lower()}", f"1 {after[0].lower()}", f"2 {after[1].lower()}"]


def _cosine(a: Counter[str], b: Counter[str]) -> float:
    product = sum(n * b[word] for word, n in a.items())
    return product / math.sqrt(sum(n * n for n in a.values()) * sum(n * n for n in b.values()))
