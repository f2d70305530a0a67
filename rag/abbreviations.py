"""Periods that end no sentence, where sentencex, which knows many of them, ends one.

Two things are asked of what stands behind the period: does it begin with a small letter, or with a figure or a capital
behind an abbreviation that one may follow?
"""

from __future__ import annotations

import re

# A figure follows, in any language and in some. Words that end sentences as well are in none of these lists.
_ANY = r"approx|incl|excl|avg|max|min|est|tel|ext|temp|resp|qty|acct|para|vol|ch|apt|rm|hrs|wk|eqs?|refs?|a\.m|p\.m"
_FIGURE = {
    "en": "tabs?",
    "de": "s|nr|bd|tab|rd|pos",
    "fr": r"janv|févr|avr|juil|sept|oct|nov|déc|env|hab|pers|tél|chap|éd|J\.-C|art|al|par|réf|no|n|pp?|fig|tab|av",
    "es": (
        "aprox|máx|mín|págs?|arts?|núms?|caps?|figs?|tabs?|teléf|ene|feb|abr|ago|sept|oct|nov|dic|párr|apdo|ed|vto"
        "|cta|cód|pp?"
    ),
    "it": "pag|artt?|nn?|capp?|figg?|tab|rif|ca|genn?|febb?|apr|giu|lug|ag|sett?|ott|nov|dic|sec|ed|cod|pp?",
    "pt": "aprox|máx|mín|págs?|arts?|n|núm|caps?|figs?|tabs?|telef|jan|fev|abr|jun|jul|ago|out|nov|dez|séc|ed|cód|pp?",
    "sv": r"kl|nr|ca|sid|kap|bil|tab",
    "no": r"kl|nr|ca|pkt|kap|tab",
    "fi": r"klo|nro|ks|taul|kuv|n",
    "ro": r"pag|pp?|art|alin|lit|nr|aprox|cca|cap|fig|tab|sec",
    "hu": r"kb|ld|tel|pl|bek",
    "tr": r"bkz|s|md|m|yakl|no|tel|mah|sok|cad|çev",
    "nl": r"blz|pag|artt?|afb|fig|tab|hfst|par|ca|ong|nrs?|sept|okt|nov|dec|\w+str|pp?",
    "pl": "artt?|ust|pkt|lit|poz|rozdz|str|ss?|rys|tab|nr|godz|ok|ur|zm|wyd|maks|sek|zał|par|tj|rdz|m|lok",
}
# A name or a noun follows, with a capital.
_CAPITAL = {
    "de": "abs|inkl|exkl|zzgl|max|mind|tel|kap|abb|gem|einschl|ziff|anm|hrn|evtl|ggf|lt|bzgl|vgl",
    "fr": r"MM?|[A-Z]\.-(?!C)[A-Z]|Mmes?|Mlles?|Dr|Pr|Me|Mgr|Ste?|[Bb]d|[Ii]ncl|[Ee]xcl",
    "es": "sra?|srta|sres|dra?|dña|profa?|lic|ing|arq|avda|av|pza|incl|excl|uds?|vds?|excm[oa]|ilm[oa]",
    "it": r"sig|sig\.ra|sigg|dott|dott\.ssa|dr|prof|prof\.ssa|avv|ing|arch|geom|incl|escl|spett|gent|egr",
    "pt": "sra?|srta|srs|dra?|profa?|eng|arq|exm[oa]|av|incl|excl|ilm[oa]",
    "nl": r"dhr|mevr|mw|mr|drs|prof|dr|ir|ing|fam|incl|excl|vgl|zgn|t\.a\.v|m\.m\.v|i\.o\.v|i\.s\.m|bijv",
    "ro": r"dl|d-l|dna|d-na|dr|prof|ing|av|str|bd|incl|excl",
    "pl": "ul|al|pl|dr|mgr|inż|prof|hab|dyr|płk|kpt|gen|ks|bp|św|zob|por|dz|woj|pow|gm|wg|tzw|im|p|np|red|oprac",
}
_BEFORE_A_FIGURE = {
    language: re.compile(rf"(?i)(?<!\w)(?:{_ANY}|{words})\.$") for language, words in {**_FIGURE, "": _ANY}.items()
}
_BEFORE_A_CAPITAL = {
    language: re.compile(rf"{'' if language == 'fr' else '(?i)'}(?<![\w.])(?:{words})\.$")  # "M." isn't "m."
    for language, words in _CAPITAL.items()
}
_LETTER = re.compile(r"(?<![\w.])[^\W\d_]\.$")
_LETTER_BEHIND = re.compile(r"[^\W\d_]\.\s")
_ROMAN = re.compile(r"(?:[IVXLC]{2,}|[VX])\b")
_INITIAL = re.compile(r"(?:(?:^|\s)\w{1,3}\s|[^\W\d_]\.\s?|^)[^\W\d_]\.$")  # "de J. Roy", not "vitamine D."
_SPLITS_INITIALS = {"es", "fr", "pt", "da", "sk", "cs"}
_ORDINAL = re.compile(r"\w.*\s\d{1,4}\.$", re.DOTALL)  # behind a word: alone, it counts a list
_CUTS_ORDINALS = {"no", "hu"}
_DAY = re.compile(r"\b\d{1,2}\.$")
_GERMAN_BEHIND_A_FIGURE = re.compile(  # months with long names are known there
    r"(?:Jan|Feb|Mär|Mrz|Apr|Jun|Jul|Aug|Sept?|Okt|Nov|Dez|Jhd?|Aufl)\.|Jänner|Feber"
)
_REACH = 14  # characters that an abbreviation stands in
_BEGINNING = re.compile(r"(?:\A|\n[^\S\n]*\n|[.!?]\s+)[\"'“„«(*_]*([^\W\d_])")


def capitalized(sample: str) -> bool:
    """Whether a text's sentences begin with capitals, so that a small letter behind a period begins none.

    Of nine such in the papers of Chroma's chunking set one does ("function. mRNA"); its annual report, which is written
    small, has 2,853, all of them sentences.
    """
    letters: list[str] = _BEGINNING.findall(sample)
    return 2 * sum(letter.islower() for letter in letters) <= len(letters)


def goes_on(text: str, start: int, stop: int, behind: int, language: str, capitals: bool) -> bool:
    """Whether the sentence text[start:stop] goes on at `behind`, in the same line.

    `capitals`: what `capitalized` says of the text.
    """
    first = text[behind]
    if (stop == behind and first in "-\u2010") or first in "\u00ba\u00aa":  # "av. J.-C.", "n.º"
        return True
    if text[stop - 1] != ".":
        return False
    tail = max(start, stop - _REACH)
    if language in _BEFORE_A_CAPITAL and _BEFORE_A_CAPITAL[language].search(text, tail, stop):
        return True
    if language == "de" and _DAY.search(text, tail, stop) and _GERMAN_BEHIND_A_FIGURE.match(text, behind):
        return True
    if (
        language in _SPLITS_INITIALS
        and first.isupper()
        and text[stop - 2].isupper()
        and _INITIAL.search(text[tail:stop])
    ):
        return True
    if language in _CUTS_ORDINALS and first.islower() and _ORDINAL.search(text, tail, stop):
        return True
    letter = _LETTER.search(text, tail, stop)
    if _LETTER_BEHIND.match(text, behind):  # of a list ("b. the rest"), or of one abbreviation ("a. C.")
        return letter is not None and text[letter.start()].islower()
    if first.isupper() and not _ROMAN.match(text, behind):
        return False
    if _BEFORE_A_FIGURE.get(language, _BEFORE_A_FIGURE[""]).search(text, tail, stop):
        return True
    return capitals and first.islower() and text[stop - 2 : stop - 1].isalpha()
