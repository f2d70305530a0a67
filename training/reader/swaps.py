"""Questions that a passage no longer answers because one thing in them was changed: a name, a number, the direction.

People who write unanswerable questions for a paragraph (Rajpurkar, Jia & Liang 2018, arXiv:1806.03822, table 2) swap
entities, use antonyms and negate. The same by rule, for questions whose answer is known: on the topic, in the passage's
words, and wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w'’-]+(?: [A-Z][\w'’-]+)*")  # not where a sentence begins
NUMBER = re.compile(r"\b\d[\d,.]*\d\b|\b\d\b")
VERB = re.compile(r"\b(is|are|was|were|did|does|do|has|have|had|could|would|should)\b(?! not)", re.IGNORECASE)
_PAIRS = """
first/last before/after most/least more/less more/fewer largest/smallest larger/smaller highest/lowest
higher/lower biggest/smallest oldest/youngest older/younger longest/shortest best/worst better/worse north/south
east/west northern/southern eastern/western left/right increase/decrease increased/decreased male/female
men/women above/below early/late earlier/later maximum/minimum major/minor beginning/end began/ended start/end
started/ended allowed/prohibited public/private upper/lower positive/negative win/lose won/lost opened/closed
new/old inside/outside strongest/weakest fastest/slowest easy/difficult common/rare always/never support/oppose
supported/opposed accept/reject accepted/rejected buy/sell bought/sold internal/external advantage/disadvantage
day/night father/mother son/daughter king/queen winter/summer hot/cold warm/cold strong/weak rich/poor
light/dark high/low long/short
"""
OPPOSITES = [pair.split("/") for pair in _PAIRS.split()]
OTHER = {a: b for x, y in OPPOSITES for a, b in ((x, y), (y, x))}
WORD = re.compile(r"[A-Za-z]+")


def swapped(question: str, context: str, answers: list[str], rng: np.random.Generator) -> str | None:
    """The question with one thing changed, or None where nothing in it can be."""
    ways = [w for w in (of(question, context, answers, rng) for of in WAYS) if w]
    if not ways:
        return None
    return ways[0] if rng.random() < 0.6 else ways[int(rng.integers(len(ways)))]


def by_name(question: str, context: str, answers: list[str], rng: np.random.Generator) -> str | None:
    return another(NAME, question, context, answers, rng)


def by_number(question: str, context: str, answers: list[str], rng: np.random.Generator) -> str | None:
    if found := another(NUMBER, question, context, answers, rng):
        return found
    digits = list(NUMBER.finditer(question))
    if not digits:
        return None
    at = digits[int(rng.integers(len(digits)))]
    value = re.sub(r"\D", "", at[0])
    changed = str(int(value) + int(rng.integers(1, 9)))
    return question[: at.start()] + changed + question[at.end() :] if changed not in context else None


def by_opposite(question: str, context: str, answers: list[str], rng: np.random.Generator) -> str | None:
    there = [m for m in WORD.finditer(question) if m[0].lower() in OTHER]
    if not there:
        return None
    at = there[int(rng.integers(len(there)))]
    return question[: at.start()] + OTHER[at[0].lower()] + question[at.end() :]


def by_negation(question: str, context: str, answers: list[str], rng: np.random.Generator) -> str | None:
    at = VERB.search(question)
    return question[: at.end()] + "n't" + question[at.end() :] if at and rng.random() < 0.3 else None


def another(
    kind: re.Pattern[str], question: str, context: str, answers: list[str], rng: np.random.Generator
) -> str | None:
    """A name or number of the question replaced by one that the passage gives to something else."""
    mine = [m for m in kind.finditer(question) if m[0] in context]
    held = " ".join((question, *answers))
    taken = words(held)
    others = sorted({m[0] for m in kind.finditer(context) if m[0] not in held and not taken & words(m[0])})
    if not mine or not others:
        return None
    at = mine[int(rng.integers(len(mine)))]
    return question[: at.start()] + others[int(rng.integers(len(others)))] + question[at.end() :]


def words(text: str) -> set[str]:
    return {w.lower() for w in WORD.findall(text)}


WAYS: tuple[Callable[..., str | None], ...] = (by_name, by_number, by_opposite, by_negation)
