"""English verb forms, for turning "X takes 19 hours" into "How many hours does X take".

A closed list: what isn't in it stays a sentence with a gap. Guessing a verb's base from its ending is wrong too often
("founded" is of "found" or of "find").
"""

from __future__ import annotations

_REGULAR = """
    accept achieve acquire add adopt affect allow announce answer appear apply appoint approve arrive ask attack attempt
    attend attract award belong call carry cause change claim close collect compare complete complain compute contain
    continue convert cost cover create cross decide declare define deliver demand describe design destroy determine
    develop die discover divide double earn employ enable encode end enter establish estimate exceed expand expect
    explain express extend fail fill finish follow form gain generate handle happen help hold include increase indicate
    invade invent involve issue join keep kill last launch limit list live load lose maintain make map mark marry mean
    measure merge mix move multiply name need normalise number occupy offer open operate order own pass perform permit
    place play pool possess prevent produce promise propose protect prove provide publish purchase raise reach read
    receive record reduce refer reject release remain remove replace report represent require resign retain retire
    return reveal rule sample save score serve settle share show sign split stand start stay stop store suffer suggest
    support surrender surround take terminate test total train transfer translate travel treat turn use vary visit vote
    wait want weigh win work yield
""".split()  # noqa: SIM905  (a list of words reads better than a list of strings)
_IRREGULAR = {
    "become": "became", "begin": "began", "break": "broke", "bring": "brought", "build": "built", "buy": "bought",
    "choose": "chose", "come": "came", "cost": "cost", "cut": "cut", "draw": "drew", "fall": "fell", "fight": "fought",
    "find": "found", "fly": "flew", "get": "got", "give": "gave", "go": "went", "grow": "grew", "have": "had",
    "hold": "held", "keep": "kept", "know": "knew", "lead": "led", "leave": "left", "lose": "lost", "make": "made",
    "mean": "meant", "meet": "met", "pay": "paid", "put": "put", "read": "read", "rise": "rose", "run": "ran",
    "say": "said", "see": "saw", "sell": "sold", "send": "sent", "set": "set", "show": "showed", "speak": "spoke",
    "spend": "spent", "split": "split", "spread": "spread", "stand": "stood", "take": "took", "teach": "taught",
    "tell": "told", "think": "thought", "win": "won", "write": "wrote",
}  # fmt: skip
_DOUBLED = {"map", "stop", "refer", "permit", "transfer"}
_PLAIN_PAST = {base for base, past in _IRREGULAR.items() if base == past}  # "cost", "set": no telling the tense

AUXILIARIES = frozenset(["is", "are", "was", "were", "can", "could", "will", "would", "must", "may", "might", "should"])
_SINGULAR = {"have": "has", "go": "goes"}


def _third(base: str) -> str:
    if base in _SINGULAR:
        return _SINGULAR[base]
    if base.endswith(("ss", "sh", "ch", "x", "z")):
        return base + "es"
    return base[:-1] + "ies" if base.endswith("y") and base[-2] not in "aeiou" else base + "s"


def _past(base: str) -> str:
    if base in _IRREGULAR:
        return _IRREGULAR[base]
    if base.endswith("e"):
        return base + "d"
    if base.endswith("y") and base[-2] not in "aeiou":
        return base[:-1] + "ied"
    return base + (base[-1] if base in _DOUBLED else "") + "ed"


_BASES = sorted({*_REGULAR, *_IRREGULAR})
BASES = frozenset(_BASES)
FORMS: dict[str, tuple[str, str]] = {  # form -> (helping verb, base); bases themselves are left out: "do" is a guess
    **{_past(b): ("did", b) for b in _BASES if b not in _PLAIN_PAST},
    **{_third(b): ("does", b) for b in _BASES},
}


def finite(word: str) -> bool:
    return word in FORMS or word in AUXILIARIES or word in ("has", "had", "have", "does", "did", "do")


def verb_like(word: str) -> bool:
    """Behind a noun it starts the predicate, or a phrase that can't be told from one."""
    word = word.strip(",.")
    return (
        finite(word) or word.endswith("ed") or word in ("of", "in", "and", "also", "then", "for", "to", "that", "who")
    )
