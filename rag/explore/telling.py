"""Which words tell a group of texts from the others."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

from rag.store.analyze import FUNCTION_WORDS, Analyzer

LIFT = 1.5  # a word stands in so much larger a share of the group's texts than of the others', or it tells nothing


def telling_terms(pieces: Iterable[tuple[int, str]], classes: int, stemmer: str, most: int = 4) -> list[list[str]]:
    """(class, text) pairs -> for each of the `classes` its most telling words, best first; none where it has no text.

    Class-based TF-IDF (Grootendorst 2022, "BERTopic: Neural topic modeling with a class-based TF-IDF procedure",
    equation 2): all texts of a class are one document, and a term t of class c weighs tf(t, c) * log(1 + A / tf(t)),
    where A is the mean number of terms of a class. A word that is as common outside (LIFT) is left out: the lists of
    function words that this would otherwise need exist for few languages. Forms of a word count together; the commonest
    is shown.
    """
    words, stems = Analyzer("none"), Analyzer(stemmer)
    counts: list[Counter[str]] = [Counter() for _ in range(classes)]
    holding: list[Counter[str]] = [Counter() for _ in range(classes)]  # texts of the class that hold the term
    forms: dict[str, Counter[str]] = {}
    texts = [0] * classes
    for number, text in pieces:
        found = [(s, w) for s, w in zip(stems.terms(text), words.terms(text), strict=True) if _names_something(w)]
        texts[number] += 1
        counts[number].update(s for s, _ in found)
        holding[number].update({s for s, _ in found})
        for stem, word in found:
            forms.setdefault(stem, Counter())[word] += 1
    everywhere, in_texts = Counter[str](), Counter[str]()
    for count, held in zip(counts, holding, strict=True):
        everywhere.update(count)
        in_texts.update(held)
    average = everywhere.total() / max(1, sum(map(bool, counts)))

    def lifted(stem: str, c: int) -> bool:
        outside = sum(texts) - texts[c]
        if not outside:
            return True
        return holding[c][stem] / texts[c] >= LIFT * (in_texts[stem] - holding[c][stem]) / outside

    named = []
    for c, count in enumerate(counts):
        total = count.total()
        weights = {s: n / total * math.log(1 + average / everywhere[s]) for s, n in count.items()}
        kept = [s for s in weights if lifted(s, c)] or list(weights)
        best = sorted(kept, key=lambda s: (-weights[s], s))[:most]
        named.append([min(forms[s], key=lambda w: (-forms[s][w], w)) for s in best])
    return named


def _names_something(word: str) -> bool:
    """Not a number, an initial or an English function word."""
    return not word.isdigit() and (len(word) > 2 or not word.isascii()) and word not in FUNCTION_WORDS
