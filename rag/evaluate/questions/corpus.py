"""The sentences of a folder, and which of them hold what: full text, so that a question can be checked against all.

A question made from one sentence is good only if no other sentence of the folder answers it differently. That is
looked up here, in every sentence, tables and headings included, and not in the search that the questions will measure.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rag.types import Passage, Source, Span


@dataclass(frozen=True)
class Tools:
    """What the product lends: this package knows no splitter and no index."""

    sentences: Callable[[str], list[Span]]
    language: Callable[[str], str]  # text -> "en", "zh", ...
    terms: Callable[[str], list[str]]  # as the lexical index makes them
    query_terms: Callable[[str], list[str]]  # the different ones, without function words
    search: Callable[[str, int], Sequence[Passage]]  # the nearest passages, best first


@dataclass(frozen=True, slots=True)
class Sentence:
    source: str
    span: Span  # exact, in the source's text
    text: str  # one line, Markdown's marks taken out
    language: str
    prose: bool  # neither heading, table, code nor list head


_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
_LEADING = re.compile(r"(?:[>\s]|[-*+•](?=\s)|\(?\d{1,3}[.)](?=\s))+")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_MARKS = re.compile(r"\*\*|__|(?<!\w)[*_](?=\w)|(?<=[\w.])[*_](?!\w)|`")
_WORD = re.compile(r"[^\W_][\w'’.&-]*[^\W_]|[^\W_]")
_NUMBERS = re.compile(r"(?<!\w)[$€£(]?\d[\d,.]*")
_MONTHS = frozenset(
    """january february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday""".split()  # noqa: SIM905  (a list of words reads better than a list of strings)
)
_JOINED = re.compile(r"(?:of|de|du|von|van|der|del|la|the|&)$")  # small words inside a name


class Folder:
    """Every sentence, and the term -> sentences map. About 5 bytes a word beside the texts."""

    def __init__(self, sources: Iterable[Source], tools: Tools) -> None:
        self.tools = tools
        self.sources = sorted(sources, key=lambda s: s.path)
        self._texts = {source.path: source.text for source in self.sources}
        self.sentences: list[Sentence] = []
        self._postings: dict[str, array[int]] = defaultdict(lambda: array("L"))
        self.alike: dict[str, list[int]] = defaultdict(list)  # folded text -> sentences
        self._small: set[str] = set()  # words seen in lower case
        self._capital: Counter[str] = Counter()  # words seen with a capital, not at a sentence's start
        for source in self.sources:
            self._add(source)
        self._names: dict[str, list[int]] | None = None

    def _add(self, source: Source) -> None:
        language = self.tools.language(source.text)
        fenced = [Span(*m.span()) for m in _FENCED.finditer(source.text)]
        for span in self.tools.sentences(source.text):
            while fenced and fenced[0].end <= span.start:
                fenced.pop(0)
            raw = span.cut(source.text)
            prose = source.kind != "code" and not (fenced and fenced[0].overlap(span)) and _is_prose(source.text, span)
            if lead := _LEADING.match(raw):
                span = Span(span.start + lead.end(), span.end)
            text = plain(span.cut(source.text))
            if not text:
                continue
            number = len(self.sentences)
            self.sentences.append(Sentence(source.path, span, text, language, prose))
            self.alike[text.casefold()].append(number)
            for term in set(self.tools.terms(text)):
                self._postings[term].append(number)
            for i, word in enumerate(_WORD.findall(text)):
                if word[0].islower():
                    self._small.add(word)
                elif prose and i and word[0].isupper():
                    self._capital[word] += 1

    # ---- words ---------------------------------------------------------------------------------------------------

    def is_common(self, word: str) -> bool:
        """It is written in lower case inside sentences, so a capital comes from standing first."""
        return word.lower() in self._small or word.lower() in ("the", "a", "an")

    def is_name(self, word: str) -> bool:
        """Always with a capital, or made like a code name: HNSW, wav2vec, L6-v2."""
        if word.lower() in _MONTHS or len(word) < 2:
            return False
        if any(c.isdigit() for c in word):
            return any(c.isalpha() for c in word) and not re.match(r"\d", word)
        if not word[0].isupper() and not any(c.isupper() for c in word[1:]):
            return False
        if word[1:].lower() != word[1:]:
            return not (word.isupper() and self.is_common(word))
        return self._capital[word] > 0 and not self.is_common(word)

    def names_in(self, text: str) -> list[Span]:
        """Runs of words with a capital of which one at least is a name."""
        found: list[Span] = []
        run: list[re.Match[str]] = []
        for match in [*_WORD.finditer(text), None]:
            joins = match is not None and (not run or text[run[-1].end() : match.start()] == " ")
            word = match[0] if match else ""
            capital = bool(word) and (word[0].isupper() or self.is_name(word)) and word.lower() not in _MONTHS
            joined = bool(run) and _JOINED.match(word) and (word != "the" or run[-1][0] == "of")
            if match is not None and joins and (capital or joined):
                run.append(match)
                continue
            if (span := self._name(text, run)) is not None:
                found.append(span)
            run = [match] if match is not None and capital else []
        return found

    def _name(self, text: str, run: list[re.Match[str]]) -> Span | None:
        while run and _JOINED.match(run[-1][0]):
            run = run[:-1]
        if run and run[0].start() == 0 and self.is_common(run[0][0]) and not self.is_name(run[0][0]):
            run = run[1:]  # "The", "In": a capital because it stands first
            while run and _JOINED.match(run[0][0]):
                run = run[1:]
        if not run or not any(self.is_name(m[0]) for m in run) or len(run) > 6:
            return None
        end = run[-1].end()
        return Span(run[0].start(), end - 2 if text[:end].endswith(("'s", "’s")) else end)

    @property
    def names(self) -> dict[str, list[int]]:
        """Name -> the sentences it stands in, prose only. Made when first asked for."""
        if self._names is None:
            self._names = defaultdict(list)
            for number, sentence in enumerate(self.sentences):
                if sentence.prose:
                    for name in {span.cut(sentence.text) for span in self.names_in(sentence.text)}:
                        self._names[name].append(number)
        return self._names

    # ---- full text -----------------------------------------------------------------------------------------------

    def count(self, term: str) -> int:
        return len(self._postings.get(term, ()))

    def holding(self, terms: Iterable[str]) -> list[int]:
        """Sentences with all the terms, in order."""
        lists = sorted((self._postings.get(t, array("L")) for t in set(terms)), key=len)
        if not lists:
            return []
        found = list(lists[0])
        for other in lists[1:]:
            found = [n for n in found if (at := bisect_left(other, n)) < len(other) and other[at] == n]
        return found

    def raw(self, number: int) -> str:
        """Exactly what stands at the sentence's span."""
        sentence = self.sentences[number]
        return sentence.span.cut(self._texts[sentence.source])

    def around(self, number: int, reach: int = 1) -> str:
        """The sentence with its neighbours of the same file."""
        here = self.sentences[number].source
        near = range(max(0, number - reach), min(len(self.sentences), number + reach + 1))
        return " ".join(self.sentences[i].text for i in near if self.sentences[i].source == here)


def holds(text: str, answers: Iterable[str]) -> bool:
    """One of the answers stands in the text, as a whole, whatever the case and the white space.

    >>> holds("It takes 19\\n hours.", ["19 Hours"]), holds("It takes 190.", ["19"])
    (True, False)
    """
    text = _folded(text)
    return any(re.search(rf"(?<![a-z0-9]){re.escape(_folded(a))}(?![a-z0-9])", text) for a in answers)


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


def plain(text: str) -> str:
    """One line without Markdown's marks.

    >>> plain("Use **a\\nhop** of `10 ms` ([why](x.md)).")
    'Use a hop of 10 ms (why).'
    """
    return " ".join(_MARKS.sub("", _LINK.sub(r"\1", text)).split())


def _is_prose(text: str, span: Span) -> bool:
    piece = span.cut(text)
    if piece.lstrip().startswith(("#", "|", "```", "~~~", "<", "    ")) or "|" in piece or "\n\n" in piece:
        return False
    line_start = text.rfind("\n", 0, span.start) + 1
    if text[line_start : span.start].lstrip().startswith("#") or text[line_start : span.start + 1].startswith("    "):
        return False
    if re.search(r"\S {3,}\S|\t", piece):  # columns
        return False
    words = piece.split()
    return len(_NUMBERS.findall(piece)) <= max(3, len(words) // 6)
