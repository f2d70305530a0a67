"""A sentence -> questions about one piece of it, by rules that can be read.

What is asked for is a piece that can be checked: a number, a date, a name, what a term means. A question is put in
words where a rule is safe ("The hop size is 10 ms." -> "What is the hop size?"); else it is the sentence with a gap.
The rules for words are English; other languages get gaps. Every rule prefers to make no question over a wrong one.
"""

from __future__ import annotations

import re

from rag.evaluate.questions.pieces import UNSPACED, Cloze, Words, pieces
from rag.evaluate.questions.verbs import finite, verb_like
from rag.evaluate.questions.wording import worded

GAP = "____"
COMPLETE = {
    "en": "Complete: ",
    "de": "Ergänze: ",
    "fr": "Complétez : ",
    "es": "Completa: ",
    "zh": "填空：",
    "ja": "穴埋め：",
}


# ---- which sentences ---------------------------------------------------------------------------------------------

# They point at another sentence: first words, and words anywhere. For English; other languages: first words only.
_STARTS = {
    "en": """he she it they we i you his her its their our my this that these those such here there then thus so hence
        therefore however but and or nor yet also still instead otherwise moreover furthermore meanwhile later earlier
        afterwards finally first second third next last another other others both each either neither one some many most
        all none few several more less what which who how why when where while if because although though since as after
        before during until once unlike like despite for with without from by at to even only perhaps maybe overall
        similarly likewise additionally nevertheless nonetheless consequently accordingly see note among within today
        eventually initially originally recently currently again too not no every any same""",
    "de": """er sie es wir ich ihr sein seine ihre dies diese dieser dieses jene das dabei damit dadurch dann daher
        deshalb aber und oder doch jedoch auch hier dort so später danach zudem außerdem""",
    "fr": """il elle ils elles on nous je ce cet cette ces cela ceci son sa ses leur leurs mais et ou donc ainsi alors
        aussi cependant ici puis ensuite""",
    "es": """él ella ellos ellas este esta estos estas ese esa eso esto su sus pero y o entonces así también aquí
        luego después sin""",
}  # fmt: skip
_FIRST = {language: frozenset(words.split()) for language, words in _STARTS.items()}
_FIRST_UNSPACED = re.compile(
    r"[他她它这那其该此本我你您们而但并且因所如若另之以]|.{1,6}?(?:[他她它]|这|该)|除此|此外|其中|原因是|例如|特别是|在此|同时|然而|由于|随后|后来|之后|当时|これ|それ|この|その|彼"
)
_POINTS_HAN = re.compile(r"这[个里些]|该[^当]|[×。].")
_POINTS = re.compile(
    r"\b(?:this|these|those|such|here|above|below|following|previous|latter|former|aforementioned|we|our|us|i|my|also|"
    r"however|therefore|thus|hence|again|instead|too|respectively|meanwhile|likewise|similar|other|others|another|"
    r"the same|the two|the three|the company|the registrant|at the time|by then|that year|that time|section|chapter|"
    r"figure|table|item|page|appendix|e\.g|i\.e|etc|ago|say|suppose|imagine|for example|for instance|"
    r"sequential|sequentially|prior period|prior quarter|prior year|an example)\b"
    r"|(?<!^)\bthere\b",
    re.IGNORECASE,
)
_PERSON = re.compile(r"\b(?:he|she|him|his|her|hers|himself|herself)\b")
_THING = re.compile(r"\b(?:it|its|they|them|their|theirs|itself|themselves|one|ones)\b")
_DATED = re.compile(r"There (?:is|are|was|were) |(?:In|On|By|During) (?:\w+ )?(?:\w+,? )?\d{4}\b")
_RUN_IN = re.compile(r"(?i:(.{3,60}?) \1\b)|.*?[^,.;:\"“(] (?:In|On|During|As|For|At|We|Our|This|These|It) ")
_ENDS = (".", "。", "．", "।", "۔")


def stands_alone(text: str, language: str, words: Words) -> bool:
    """Nothing in the sentence seems to point at another one, and it is of a length that can be asked about."""
    if not text.endswith(_ENDS) or text.endswith(("..", "etc.")) or "?" in text or "!" in text:
        return False
    if UNSPACED.search(text):
        return 14 <= len(text) <= 90 and not _FIRST_UNSPACED.match(text) and not _POINTS_HAN.search(text)
    tokens = text.split()
    if not 5 <= len(tokens) <= 34 or len(text) > 240 or not (text[0].isupper() or text[0].isdigit()):
        return False
    if re.sub(r"\W.*", "", tokens[0]).lower() in _FIRST.get(language, ()) and not _DATED.match(text):
        return False
    if text.count('"') % 2 or text.count("(") != text.count(")") or text.count("“") != text.count("”"):
        return False
    if sum(t.isupper() and len(t) > 3 for t in tokens) > 3 or sum(c.isalpha() or c == " " for c in text) < 0.8 * len(
        text
    ):
        return False
    return language != "en" or _refers_to_itself(text, tokens, words)


def _refers_to_itself(text: str, tokens: list[str], words: Words) -> bool:
    if _POINTS.search(text):
        return False
    if _RUN_IN.match(text) or not any(finite(t.strip(",")) or t.endswith("ed") for t in tokens):
        return False  # a heading that ran into the text; a line without a verb
    if tokens[0] == "The" and (len(tokens) < 3 or verb_like(tokens[2]) or tokens[1].endswith((",", "'s", "’s"))):
        return False  # "The company was …": which?
    opening = " ".join(tokens[:5])
    named = any(span.start < len(opening) for span in words.names_in(text))
    if _PERSON.search(text) and not named:
        return False
    thing = _THING.search(text)
    return thing is None or (named and thing[0] in ("its", "their")) or len(text[: thing.start()].split()) > 6


# ---- questions ---------------------------------------------------------------------------------------------------


def clozes(text: str, language: str, words: Words) -> list[Cloze]:
    """Every question that the rules make of a sentence that stands alone; those in words first."""
    if not stands_alone(text, language, words):
        return []
    found: list[Cloze] = []
    if language == "en":
        found += worded(text, words)
    lead = COMPLETE.get(language, "")
    for span, piece in pieces(text, language, words):
        answer = span.cut(text)
        if text.count(answer) == 1 and len(answer) < 0.4 * len(text):
            found.append(Cloze(lead, text[: span.start] + GAP + text[span.end :], (answer,), piece, False))
    return [c for c in found if not leaks(c)]


def leaks(cloze: Cloze) -> bool:
    """The question holds its answer, or a word of a name that is asked for."""
    question = cloze.question.casefold()
    if any(re.search(rf"(?<!\w){re.escape(a.casefold())}(?!\w)", question) for a in cloze.answers):
        return True
    long = [w for w in re.findall(r"\w{4,}", cloze.answers[0].casefold()) if cloze.piece == "name"]
    return any(re.search(rf"(?<!\w){re.escape(w)}", question) for w in long)
