"""Which library finds sentence boundaries? Golden rules in 22 languages, speed, upkeep.

    python benchmarks/sentence_boundaries.py        (needs ../shared/data/sentence-boundary)

A case counts when every sentence is right, compared without white space at the ends. Cases whose expected sentences
don't stand in their text (pysbd's "clean" rules rewrite it) can't be met by spans; they are left out and counted.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rag.sentences import guess_language, sentence_spans

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"
CODES = {
    "amharic": "am", "armenian": "hy", "bulgarian": "bg", "burmese": "my", "chinese": "zh", "danish": "da",
    "deutsch": "de", "dutch": "nl", "english": "en", "french": "fr", "greek": "el", "hindi": "hi", "italian": "it",
    "japanese": "ja", "kazakh": "kk", "marathi": "mr", "persian": "fa", "polish": "pl", "russian": "ru",
    "slovak": "sk", "spanish": "es", "urdu": "ur",
}  # fmt: skip
Case = tuple[str, list[str]]
Finder = Callable[[str, str], list[str]]


def cases() -> dict[str, list[tuple[str, Case]]]:
    """ "english": the 48 golden rules; "all": (language, case) of every language that spans can meet."""
    data = json.loads((SHARED / "sentence-boundary" / "golden_rules.json").read_text(encoding="utf-8"))
    found: dict[str, list[tuple[str, Case]]] = {"english": [], "all": []}
    for name, rules in data.items():
        if "english_golden_rules" in name:
            found["english"] += [("en", (text, want)) for text, want in rules]
            continue
        language = CODES[name.split("test_")[1].split(".py")[0].split("_")[0]]
        for text, want in rules:
            at = 0
            for sentence in want:
                at = text.find(sentence.strip(), at)
                if at < 0:
                    break
            else:
                found["all"].append((language, (text, want)))
    return found


def ours(text: str, language: str) -> list[str]:
    return [s.cut(text) for s in sentence_spans(text, language)]


def ours_guessing(text: str, language: str) -> list[str]:
    return [s.cut(text) for s in sentence_spans(text)]


def sentencex(text: str, language: str) -> list[str]:
    from sentencex import segment

    return list(segment(language, text))


def sentencex_english(text: str, language: str) -> list[str]:
    return sentencex(text, "en")


def pysbd(text: str, language: str) -> list[str]:
    from pysbd import Segmenter  # type: ignore[import-untyped]

    return list(Segmenter(language=language, clean=False).segment(text))


def expression(text: str, language: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+|(?<=[。！？])|\n\s*\n", text)


def right(find: Finder, language: str, case: Case) -> bool:
    text, want = case
    try:
        found = [s.strip() for s in find(text, language) if s.strip()]
    except (ValueError, KeyError):  # a language that the library doesn't know
        return False
    return found == [w.strip() for w in want]


FINDERS: list[tuple[str, Finder, str]] = [
    ("ours (language given)", ours, "sentencex and the rules of rag/sentences.py"),
    ("ours (language guessed)", ours_guessing, ""),
    ("sentencex", sentencex, "Wikimedia, compiled, crate released May 2026"),
    ("sentencex, always en", sentencex_english, ""),
    ("pysbd", pysbd, "pure Python, last release February 2021"),
    ("regular expression", expression, "four alternatives"),
]


def main() -> None:
    found = cases()
    guessed = sum(guess_language(text) == language for language, (text, _) in found["all"])
    prose = (SHARED / "chroma-chunking" / "corpora" / "state_of_the_union.md").read_text(encoding="utf-8")
    print(f"{len(found['all'])} cases in other tests; language guessed right in {guessed}")
    print(f"{'':<24} {'English':>7} {'all':>9} {'MB/s':>6}  upkeep")
    for name, find, upkeep in FINDERS:
        english = sum(right(find, *case) for case in found["english"])
        everything = sum(right(find, *case) for case in found["all"])
        sample = prose[:20_000] if find is pysbd else prose
        began = time.perf_counter()
        find(sample, "en")
        speed = len(sample.encode()) / 1e6 / (time.perf_counter() - began)
        print(f"{name:<24} {english:>4}/48 {everything:>5}/{len(found['all'])} {speed:6.2f}  {upkeep}")
    for package in ("sentencex", "pysbd"):
        try:
            print(package, version(package))
        except PackageNotFoundError:
            print(package, "is not installed")
    print("English golden rules that ours misses:")
    for language, case in found["english"]:
        if not right(ours, language, case):
            print("  ", case[0], "\n     ->", ours(case[0], language))


if __name__ == "__main__":
    main()
