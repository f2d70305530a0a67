"""English sentences -> questions in words, by six rules that each take one shape of sentence apart.

A rule matches the whole sentence or nothing, and its subject has to be one noun phrase that holds no verb, so that
moving the verb in front of it can't go wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rag.evaluate.questions.pieces import DATE, NUMBER, Cloze, Piece, Words
from rag.evaluate.questions.verbs import BASES, FORMS, finite, verb_like
from rag.types import Span

Asked = Iterator[tuple[str, tuple[str, ...], Piece]]  # question, answers, what is asked for

_NP = r"(?P<subject>(?:[Tt]he|[Aa]n?|[A-Z0-9][\w.-]*)(?: [\w'’.%-]+){0,6}?)"
_ABOUT = r"(?:about |around |only |at most |at least |approximately |nearly |roughly |exactly |up to |over |almost )?"
_PREPOSITION = r"(?:in|on|at|for|of|from|to|with|by|per|under|over|during|between|within|without|across|after|before)"
_REST = rf"(?P<rest>| {_PREPOSITION}\b[^,]*)"
_COUNTED = (
    rf"{_ABOUT}(?P<n>\d[\d,]*(?:\.\d+)?(?: (?:thousand|million|billion))?) "
    rf"(?P<noun>(?:[a-z][a-z'-]+ ){{0,2}}?(?:[a-z-]{{2,}}s|people|children|men|women)){_REST}$"
)
_ANY = "|".join(sorted(FORMS))
_PAST = "|".join(sorted(form for form, (helping, _) in FORMS.items() if helping == "did"))
_BASE = "|".join(sorted(BASES))
_THERE = re.compile(rf"There (?P<be>are|were) {_COUNTED}")
_COUNT = re.compile(rf"{_NP} (?:(?P<verb>{_ANY})|(?P<helping>can|will|must|should) (?P<base>{_BASE})) {_COUNTED}")
_MEASURE = re.compile(rf"{_NP} (?P<be>is|was) {_ABOUT}(?P<whole>{NUMBER.pattern}){_REST}$")
_DATE_FIRST = re.compile(rf"(?:In|On) (?P<date>{DATE}), ?{_NP} (?P<verb>was|were|{_PAST}) (?P<what>[^,]+)$")
_DATE_LAST = re.compile(rf"{_NP} (?P<verb>was|were|{_PAST})(?: (?P<what>[^,]+?))? (?:in|on) (?P<date>{DATE})$")
_BY = re.compile(
    rf"{_NP} (?P<be>is|are|was|were) (?P<done>(?:first |originally )?[a-z]+(?:ed|en|wn|lt|nt|ght)"
    r"(?: (?:in|on|at|for) [^,]+?)? by) (?P<name>[A-Z][^,]*)$"
)
_IS = re.compile(r"(?P<subject>(?:An? |The )?[\w-]+(?: [\w-]+){0,3}?) is (?P<what>(?:an?|the) [^,]{15,120})$")
_CLAUSE = re.compile(
    r"\b(?:when|while|since|until|after|before|and|but|which|that|who|because|is|are|was|were|has|have|had|\d{4})\b"
)
_FRONT = frozenset(["in", "on", "at", "by", "for", "from", "with", "of", "to", "during", "under", "over", "since"])
_NOT_IN_SUBJECT = frozenset(
    """that which who whose whom if when while because although as since how what where whether and or but to not than
    there""".split()  # noqa: SIM905  (a list of words reads better than a list of strings)
)
_HAZY = frozenset(
    """reason problem point goal idea result answer rule cause most aim purpose way aspect example part kind
    type common major key main important good typical controversial popular famous notable""".split()  # noqa: SIM905
)
_HUMAN = re.compile(
    r"\b(?:born|died|wrote|married|argued|believed|said|studied|taught|resigned|his|her|himself|herself)\b"
)


_ELSEWHERE = re.compile(r"\b(?:it|its|they|their|he|she|him|them|later|but)\b")  # in the rest of a "Who …"


def worded(text: str, words: Words) -> Iterator[Cloze]:
    if re.search(r"[\"“”;:()\[\]—–]| - ", text):
        return
    body = text.rstrip(".")
    for rule in (_measure, _count, _when, _by_whom, _meaning, _who):
        for question, answers, piece in rule(body, words):
            yield Cloze("", question, answers, piece, True)


def _subject(given: str, words: Words) -> str | None:
    """As it stands inside a question; None where it may be more than one noun phrase, or points elsewhere."""
    tokens = given.split()
    if any(t.lower() in _NOT_IN_SUBJECT or finite(t) or t.endswith("ly") for t in tokens):
        return None
    if (tokens[0].lower() == "the" and len(tokens) < 3) or tokens[0].lower() in _FRONT:
        return None
    if tokens[-1] in ("the", "a", "an", "of", "in", "on", "at", "for", "with", "can", "been", "its"):
        return None
    longer = any(t[0].isupper() for t in tokens[1:2]) or (
        len(tokens) > 2 and tokens[1] == "of" and tokens[2][0].isupper()
    )
    named = longer or any(s.start == 0 for s in words.names_in(given))
    plain = tokens[0] in ("The", "A", "An") or (tokens[0].istitle() and not named)  # not "Bank of America"
    return given[0].lower() + given[1:] if plain else given


def _measure(body: str, words: Words) -> Asked:
    """The hop size is 10 ms for speech -> What is the hop size for speech?"""
    match = _MEASURE.match(body)
    if match and (subject := _subject(match["subject"], words)):
        yield f"What {match['be']} {subject}{match['rest']}?", (match["whole"],), "number"


def _count(body: str, words: Words) -> Asked:
    """There are 12 tables in it -> How many tables are there in it? A run takes 19 hours -> How many hours does ..."""
    if match := _THERE.match(body):
        yield f"How many {match['noun']} {match['be']} there{match['rest']}?", _both(match), "number"
        return
    match = _COUNT.match(body)
    if not match or not (subject := _subject(match["subject"], words)) or _CLAUSE.search(match["rest"]):
        return
    if match["noun"].split()[0] in ("of", "and", "or", "to", "times", "percent", "per", "in"):
        return
    helping, base = FORMS[match["verb"]] if match["verb"] else (match["helping"], match["base"])
    yield f"How many {match['noun']} {helping} {subject} {base}{match['rest']}?", _both(match), "number"


def _both(match: re.Match[str]) -> tuple[str, ...]:
    return match["n"], f"{match['n']} {match['noun']}"


def _when(body: str, words: Words) -> Asked:
    """X was founded in 1890 -> When was X founded?  In 1890, X moved to Y -> When did X move to Y?"""
    match = _DATE_FIRST.match(body) or _DATE_LAST.match(body)
    if not match or not (subject := _subject(match["subject"], words)) or _CLAUSE.search(match["what"] or ""):
        return
    what = f" {match['what']}" if match["what"] else ""
    if match["verb"] in ("was", "were"):
        if re.match(r" (?:an?|the) ", what):
            return  # it was something: the verb may belong to that
        yield f"When {match['verb']} {subject}{what}?", (match["date"],), "date"
    elif not re.match(r" (?:been|\w+ed)\b", what):
        yield f"When did {subject} {FORMS[match['verb']][1]}{what}?", (match["date"],), "date"


def _by_whom(body: str, words: Words) -> Asked:
    """X was designed by Y -> Who or what was X designed by?"""
    match = _BY.match(body)
    if not match or not (subject := _subject(match["subject"], words)):
        return
    if [*words.names_in("by " + match["name"])] == [Span(3, 3 + len(match["name"]))]:
        yield f"Who or what {match['be']} {subject} {match['done']}?", (match["name"],), "name"


def _meaning(body: str, words: Words) -> Asked:
    """Hop size is the distance between two frames -> What is hop size?"""
    match = _IS.match(body)
    if not match or not (subject := _subject(match["subject"], words)):
        return
    bare = re.sub(r"^(?:An?|The) ", "", match["subject"])
    hazy = any(w in _HAZY or w.endswith("est") for w in bare.lower().split())
    if (
        hazy
        or any(s.end <= len(match["subject"]) for s in words.names_in(body))
        or not words.is_common(bare.split()[0])
    ):
        return
    if 4 <= len(match["what"].split()) <= 16:
        yield f"What is {subject}?", (match["what"],), "meaning"


def _who(body: str, words: Words) -> Asked:
    """Marie Curie discovered radium in pitchblende -> Who or what discovered radium in pitchblende?"""
    start = 4 if body.startswith("The ") else 0
    first = next((s for s in words.names_in(body) if s.start == start), None)
    if first is None:
        return
    rest = body[first.end :].strip()
    verb = rest.split(" ", 1)[0]
    noun = FORMS.get(verb, ("",))[0] == "does" and verb_like(rest.split(" ", 2)[1] if " " in rest else "")
    one = verb in ("is", "was", "has", "had", "can", "will", "must") or verb in FORMS
    if (
        not one
        or noun
        or len(rest.split()) < 6
        or re.search(r"\b(?:it|its|they|their|he|she|him|them|later|but)\b", rest)
    ):
        return
    yield f"{'Who' if _HUMAN.search(rest) else 'Who or what'} {rest}?", (first.cut(body),), "name"
