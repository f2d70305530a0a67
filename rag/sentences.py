"""Where sentences begin and end: for chunks, answers, citations, and short answers, which stay in one.

The boundaries come from sentencex (Wikimedia: maintained, compiled, 300 languages), chosen by measurement:
benchmarks/sentence_boundaries.py. Added here, because a retrieval chunk is no running prose:

* structure: blank lines, Markdown headings, list items, table rows, rules (`---`) and lines of `name: value` below each
  other end a sentence, whatever their punctuation;
* abbreviations that it doesn't know end none (rag/abbreviations.py); nor does what has no letter or digit begin one;
* a list marker belongs to the words behind it: "1." is no sentence, nor is "The first item 2.";
* the language is guessed from the script and a few function words, as abbreviations differ: one guess a text;
* the library is quadratic in long lists, so it sees at most WINDOW characters at once, and the sentence that a
  window cuts begins the next window;
* its rules for Danish and Italian cost 0.5 and 0.05 ms a sentence, others a thousandth: a text of very many sentences
  goes on with the rules of a near language.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rag.abbreviations import capitalized, goes_on
from rag.types import Span

WINDOW = 20_000
_MOST_SIGNS = 12  # without a letter or digit, that belong to the sentence before them
SAMPLE = 4_000  # characters that the language is guessed from

COLONS = (":", "\uff1a")
QUESTION_MARKS = ("?", "\uff1f", "\u061f")
BULLETS = "•‣⁃▪●*+-"
_STRUCTURE = re.compile(
    r"\n\s*\n"
    rf"|\n(?=[ \t]{{0,12}}(?:\#{{1,6}}[ ]|[{BULLETS}][ ]|\(?\d{{1,3}}[.)][ ]|\||```|~~~))"
    r"|(?<=\|)\n"
    r"|(?:(?<=\n)|\A)[ \t]*(?:-{3,}|={3,}|\*{3,}|_{3,})[ \t]*\n"
)
LABEL = r"\**\w[\w()/-]*(?: [\w()/-]+){0,3}:\**(?=\s)"  # `name:` of a line of `name: value`
_LABELLED = re.compile(rf"^[ \t]*(?:[-*+] )?{LABEL}", re.MULTILINE)
_HEADING = re.compile(r"^[ \t]{0,3}\#{1,6} [^\n]*\n", re.MULTILINE)
_TERMINATOR = re.compile(r"[.!?…:;。！？｡．।॥؟۔܀։՜՞።፧၊။។៕᙮᠃᠉⳹⸮·]|\s\(?\d{1,3}\)\s")
_MARKER = re.compile(rf"[{BULLETS}]?\s*\(?(?:(\d{{1,3}})|[A-Za-z])[.)]")
_MARKER_BEHIND = re.compile(rf"\s[{BULLETS}]?\(?(\d{{1,3}})[.)]$")
_MORE_IN_LINE = re.compile(r"[^\S\n]*\S")

_SLOW = {"da": (5_000, "de"), "it": (8_000, "es")}  # sentences of a text, then whose rules

_SCRIPTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (language, re.compile(f"[{characters}]"))
    for language, characters in (
        ("ja", "\u3040-\u30ff"),  # kana: before Han, which Japanese uses too
        ("zh", "\u3400-\u9fff"),
        ("ko", "\uac00-\ud7af"),
        ("kk", "әғқңөұүһі"),  # letters that Kazakh adds, before Russian
        ("ru", "\u0400-\u04ff"),
        ("el", "\u0370-\u03ff"),
        ("hy", "\u0530-\u058f"),
        ("ur", "ٹڈڑںےۓ"),  # letters that Urdu adds
        ("fa", "پچژگ"),  # letters that Persian adds
        ("ar", "\u0600-\u06ff"),
        ("hi", "\u0900-\u097f"),
        ("am", "\u1200-\u137f"),
        ("my", "\u1000-\u109f"),
        ("th", "\u0e00-\u0e7f"),
    )
)
_WORDS = {
    "en": "the and of to is in that it was for with are this you",
    "de": "der die das und ist nicht ein eine zu den mit von auf sich für im wir ich",
    "fr": "le la les et des est une du que qui dans pour pas sur au",
    "es": "el la los las y es una del que en por con para no se muy",
    "it": "il la le gli e è una del che di per con non si sono della",
    "pt": "o os as e é uma do da que em por com para não se",
    "nl": "de het een en van is dat op te zijn niet voor met aan",
    "da": "og det er en et at på til af ikke den som med jeg de",
    "pl": "i w na nie się jest z do że to jak od po dla",
    "sv": "och att det i på är en ett som av för med den till inte",
    "no": "og å det i på er en et som av for med til ikke etter",
    "fi": "ja on ei se että oli hän mutta kun tai ovat sekä myös",
    "cs": "a je v na se není s z to že do jako o by při",
    "ro": "și de la în cu nu pe care este din o un pentru",
    "hu": "a az és hogy nem is egy van meg volt vagy ezt",
    "tr": "ve bir bu da de için ile olarak gibi çok daha",
    "sk": "a je v na sa nie s z to že do ako o aj",
}
_VOTES = {language: frozenset(words.split()) for language, words in _WORDS.items()}


def guess_language(text: str) -> str:
    """A code that sentencex knows, from the text's first characters. English where nothing speaks against it."""
    sample = text[:SAMPLE]
    if not sample.isascii():
        letters = sum(c.isalpha() for c in sample)
        for language, script in _SCRIPTS:
            share = len(script.findall(sample)) / max(1, letters)
            if share > (0.02 if language in {"ja", "kk", "ur", "fa"} else 0.3):
                return language
    words = re.findall(r"[^\W\d_]+", sample.lower())
    votes = {language: sum(w in known for w in words) for language, known in _VOTES.items()}
    best = max(votes, key=lambda language: votes[language])
    return best if votes[best] > 1.3 * votes["en"] + 1 else "en"


def sentence_spans(text: str, language: str | None = None) -> list[Span]:
    """Sentences of `text` in order, without the white space around them; together they hold everything else.

    `language`: a code such as "en" or "zh"; None guesses. Linear in the length of the text.

    >>> [s.cut("Dr. Wu won. She left!") for s in sentence_spans("Dr. Wu won. She left!")]
    ['Dr. Wu won.', 'She left!']
    """
    return [Span(start, end) for start, end in sentence_ranges(text, language)]


def sentence_ranges(text: str, language: str | None = None) -> Iterator[tuple[int, int]]:
    """`sentence_spans` as plain pairs, for texts of a million sentences: kept, they would cost a fifth in collecting
    garbage."""
    language = language or guess_language(text)
    if not text.isascii():  # half a surrogate pair, which the library doesn't take: one character as well
        text = text.encode("utf-8", "replace").decode()
    capitals = capitalized(text[:SAMPLE])
    seen = 0
    for start, end in _blocks(text):
        if text[start] != "|" and _has_terminator(text, start, end):
            if language in _SLOW and seen > _SLOW[language][0]:
                language = _SLOW[language][1]
            found = _join_markers(text, _join_broken(text, _boundaries(text, start, end, language), language, capitals))
            seen += len(found)
            yield from found
        else:
            seen += 1
            yield start, end


def _has_terminator(text: str, start: int, end: int) -> bool:
    """Whether a sentence may end before the range does; the list marker it begins with ends none."""
    if not _TERMINATOR.search(text, start, end - 1):
        return False
    marker = _MARKER.match(text, start, end)
    return not marker or bool(_TERMINATOR.search(text, marker.end(), end - 1))


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Stripped ranges that no sentence crosses."""
    cuts = {m.end() for m in _STRUCTURE.finditer(text)}
    if "#" in text:
        cuts |= {m.end() for m in _HEADING.finditer(text)}
    cuts |= _labels(text)
    start = 0
    for end in (*sorted(cuts), len(text)):
        part = text[start:end].rstrip()
        bare = part.lstrip()
        if bare:
            yield start + len(part) - len(bare), start + len(part)
        start = end


def _labels(text: str) -> set[int]:
    """Where lines of `name: value` begin that stand below another such line, and a rule below them."""
    starts, below = set[int](), -1
    for label in _LABELLED.finditer(text):
        line = text.rfind("\n", 0, label.start()) + 1  # of white space in front of it, too
        if line == below:
            starts.add(line)
        below = text.find("\n", label.end()) + 1
        if below and text.startswith("---", below):
            starts.add(below)
    return starts


def _join_broken(
    text: str, found: Iterator[tuple[int, int]], language: str, capitals: bool
) -> Iterator[tuple[int, int]]:
    """What the library cut in the middle of a line: behind an abbreviation, or before signs alone."""
    held: tuple[int, int] | None = None
    for start, end in found:
        if held is not None:
            if _goes_on(text, held, (start, end), language, capitals):
                held = held[0], end
                continue
            stop = text.find("\n", start, min(end, start + _MOST_SIGNS))
            if stop >= 0 and _goes_on(
                text, held, (start, stop), language, capitals
            ):  # the signs end the line, and words follow
                held = held[0], start + len(text[start:stop].rstrip())
                start = end - len(text[stop:end].lstrip())
            yield held
        held = start, end
    if held is not None:
        yield held


def _goes_on(text: str, one: tuple[int, int], other: tuple[int, int], language: str, capitals: bool) -> bool:
    if text.find("\n", one[1], other[0]) >= 0:
        return False
    if not any(c.isalnum() for c in text[other[0] : min(other[1], other[0] + _MOST_SIGNS)]):
        return other[1] - other[0] < _MOST_SIGNS
    return goes_on(text, *one, other[0], language, capitals)


def _boundaries(text: str, start: int, end: int, language: str) -> Iterator[tuple[int, int]]:
    """What the library says of text[start:end], stripped."""
    from sentencex import get_sentence_boundaries

    seen = 0
    while start < end:
        if language in _SLOW and seen > _SLOW[language][0]:
            language = _SLOW[language][1]
        window = text[start : min(end, start + WINDOW)]
        found = [b["end_index"] for b in get_sentence_boundaries(language, window)]
        seen += len(found)
        whole = start + len(window) == end
        if not whole and len(found) > 1:
            found.pop()  # its end may lie behind the window
        base, at = start, start
        for stop in found:
            part = text[at : base + stop]
            bare = part.strip()
            if bare:
                begin = at + len(part) - len(part.lstrip())
                yield begin, begin + len(bare)
            at = max(at, base + stop)
        if at == base or (whole and at < end):  # nothing found, or the library left a rest
            bare_start = at + len(text[at : base + len(window)]) - len(text[at : base + len(window)].lstrip())
            if bare_start < base + len(window):
                yield bare_start, bare_start + len(text[bare_start : base + len(window)].rstrip())
            at = base + len(window)
        start = at


def _join_markers(text: str, found: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    """Give list markers to the words behind them.

    The library reads "1. One item 2. Another" as "1." + "One item 2." + "Another". A number at a sentence's end is
    a marker only when it continues the count that an earlier marker began and words follow in its line: a list of
    three points may end with "we meet in room 4."
    """
    joined: list[tuple[int, int]] = []
    waiting: tuple[int, int] | None = None  # a marker without its words yet
    number = -1  # of the latest marker
    for start, end in found:
        if waiting is None:
            marker = _MARKER.fullmatch(text, start, end) if end - start < 12 else None
            if marker:
                waiting = (start, end)
                number = int(marker[1]) if marker[1] else number
                continue
        else:
            start, waiting = waiting[0], None
        behind = _MARKER_BEHIND.search(text, max(start, end - 12), end) if number >= 0 else None
        if behind and int(behind[1]) == number + 1 and _MORE_IN_LINE.match(text, end):
            number += 1
            waiting = (behind.start() + 1, end)
            end = start + len(text[start : behind.start()].rstrip())
        joined.append((start, end))
    return [*joined, waiting] if waiting else joined
