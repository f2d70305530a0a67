"""Check ``data/questions.jsonl`` against the documents it refers to.

    python data/check_questions.py

Every quote must stand in its document, a short answer in every quote, and every document must be asked
about. Text is extracted with common libraries (see ``make_documents.extract``), not with the product's own
loaders, so that the questions are checked independently of the code they are meant to judge.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

from make_documents import DOCUMENTS, HERE, extract

ANSWERABLE = 60
UNANSWERABLE = 20
QUESTIONS_PER_FILE = 2
LONGEST_ANSWER = 8  # words
FIELDS = {"id", "question", "answerable", "answers", "evidence"}


def collapse(text: str) -> str:
    """The text with every run of white space turned into one blank."""
    return " ".join(text.split())


def read_documents() -> dict[str, str]:
    """The collapsed text of every document, by its path relative to ``data/documents``."""
    media = {".png", ".ogg", ".flac"}  # hold no text
    paths = sorted(path for path in DOCUMENTS.rglob("*") if path.is_file() and path.suffix not in media)
    names = [path.relative_to(DOCUMENTS).as_posix() for path in paths]
    return {name: collapse(extract(name, path.read_bytes())) for name, path in zip(names, paths, strict=True)}


def read_questions() -> list[dict[str, Any]]:
    """All questions, one from each line."""
    lines = (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def check_question(question: dict[str, Any], texts: dict[str, str]) -> list[str]:
    """What is wrong with one question, one line for each fault."""
    name = question.get("id", "?")
    if missing := FIELDS - question.keys():
        return [f"{name}: lacks {', '.join(sorted(missing))}"]
    answers, evidence = question["answers"], question["evidence"]
    if not question["answerable"]:
        return [f"{name}: unanswerable, yet has answers or evidence"] if answers or evidence else []
    problems = [] if answers and evidence else [f"{name}: answerable, yet lacks answers or evidence"]
    problems += [f"{name}: answer too long: {text}" for text in answers if len(text.split()) > LONGEST_ANSWER]
    for item in evidence:
        source, quote = item["source"], collapse(item["quote"])
        if source not in texts:
            problems.append(f"{name}: no such document: {source}")
        elif quote not in texts[source]:
            problems.append(f"{name}: not found in {source}: {quote}")
        if not any(answer.casefold() in quote.casefold() for answer in answers):
            problems.append(f"{name}: none of its answers stands in the quote: {quote}")
    return problems


def check() -> list[str]:
    """All faults of the question set."""
    texts, questions = read_documents(), read_questions()
    problems = [line for question in questions for line in check_question(question, texts)]
    for what, key in (("id", "id"), ("question", "question")):
        counts = Counter(question[key] for question in questions)
        problems += [f"{what} used {count} times: {value}" for value, count in counts.items() if count > 1]
    answerable = sum(question["answerable"] for question in questions)
    if (answerable, len(questions) - answerable) != (ANSWERABLE, UNANSWERABLE):
        problems.append(
            f"{answerable} answerable and {len(questions) - answerable} unanswerable questions; "
            f"{ANSWERABLE} and {UNANSWERABLE} were wanted"
        )
    asked = Counter(source for question in questions for source in {item["source"] for item in question["evidence"]})
    problems += [
        f"{source}: {asked[source]} questions, at least {QUESTIONS_PER_FILE} were wanted"
        for source in texts
        if asked[source] < QUESTIONS_PER_FILE
    ]
    return problems


def main() -> int:
    """Print the faults, or one line that says there are none."""
    problems = check()
    print("\n".join(problems) or f"{ANSWERABLE + UNANSWERABLE} questions are in order")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
