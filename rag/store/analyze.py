"""Text -> terms for BM25, the same for documents and questions.

Compatibility forms and case are folded; Latin, Greek and Cyrillic diacritics and the points of Hebrew and Arabic, which
most writers leave out, are dropped; words are stemmed (Snowball); scripts written
without spaces (Chinese, Japanese, Thai, Lao, Khmer, Burmese) become overlapping pairs of characters, the usual way
to search them without a dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

from rag.errors import ConfigError

VERSION = 2  # raise it when the terms change: the lexical index is then rebuilt
MAX_TERM = 64  # characters; longer "words" are keys, hashes, base64: their head is enough to find them

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
_INDIC = "\u0900-\u0963\u0966-\u0dff"  # with their vowel signs, which \w leaves out, without the danda
_WORD = re.compile(rf"[{_UNSPACED}]+|(?:[^\W_{_UNSPACED}]|[{_INDIC}])+")
_DROPPED = re.compile(
    r"[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u200c\u200d]+"
)
_ASCII_WORD = re.compile(r"[a-z0-9]+")  # what _WORD finds in folded ASCII, in half the time
_FIRST_UNSPACED = re.compile(rf"[{_UNSPACED}]")


# English function words. "What" and "who" are rare in documents, so BM25 would weigh them like names.
FUNCTION_WORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below
    between both but by can could did do does doing down during each few for from further had has have having he
    her here hers him his how i if in into is it its itself me might more most my no nor not of off on once only
    or other our out over own same she should so some such than that the their them then there these they this
    those through to too under until up us very was we were what when where which while who whom whose why will
    with would you your
    """.split()  # noqa: SIM905  (a list of words reads better than a list of strings)
)


class Analyzer:
    def __init__(self, stemmer: str = "english") -> None:
        self.stemmer = stemmer

    @property
    def name(self) -> str:
        return f"{VERSION}:{self.stemmer}"

    def terms(self, text: str) -> list[str]:
        """In order, with repetitions.

        >>> Analyzer("english").terms("Refunds, NAÏVE tokenizers; 日本語")
        ['refund', 'naiv', 'token', '日本', '本語']
        """
        words: list[str] = []
        folded = fold(text)
        if folded.isascii():
            return self._stem([word[:MAX_TERM] for word in _ASCII_WORD.findall(folded)])
        for word in _WORD.findall(folded):
            if _FIRST_UNSPACED.match(word):
                words.extend([word] if len(word) == 1 else [word[i : i + 2] for i in range(len(word) - 1)])
            else:
                words.append(word[:MAX_TERM])
        return self._stem(words)

    def query_terms(self, text: str) -> list[str]:
        """The different terms to look for, sorted. English function words are left out, unless there is nothing else.

        >>> Analyzer("english").query_terms("What is the hop size?"), Analyzer("english").query_terms("Who is it?")
        (['hop', 'size'], ['is', 'it', 'who'])
        """
        if self.stemmer == "english":
            kept = [w for w in _WORD.findall(fold(text)) if w not in FUNCTION_WORDS]
            text = " ".join(kept) or text
        return sorted(set(self.terms(text)))

    def _stem(self, words: list[str]) -> list[str]:
        if self.stemmer == "none":
            return words
        stemmed: list[str] = _stemmer(self.stemmer).stemWords(words)
        return stemmed


def fold(text: str) -> str:
    """NFKC, case folded, without the marks of _DROPPED. Those of other scripts carry meaning and stay."""
    text = text.casefold()
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", _DROPPED.sub("", unicodedata.normalize("NFKD", text))).casefold()


@lru_cache(maxsize=4)
def _stemmer(name: str) -> Any:
    import Stemmer

    if name not in Stemmer.algorithms():
        raise ConfigError(f"store.stemmer is {name!r}", f"choices: none, {', '.join(Stemmer.algorithms())}")
    return Stemmer.Stemmer(name)
