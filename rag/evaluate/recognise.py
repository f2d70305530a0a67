"""Which known form a set of questions has: told by its content, and refused rather than guessed."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from rag.errors import JudgementError
from rag.evaluate.judgements import Format
from rag.evaluate.records import parse, read_text, shown

KNOWN = (
    "known: JSON lines with id, question, answers, evidence; SQuAD or XQuAD JSON; a BEIR folder with corpus.jsonl, "
    "queries.jsonl and qrels/test.tsv (or the path of another qrels file in it); Chroma's questions_df.csv with "
    "corpora/ beside it; CLAPNQ's clapnq_*.jsonl"
)
CHROMA_HEADER = ["question", "references", "corpus_id"]
QRELS_HEADER = ["query-id", "corpus-id", "score"]


def recognise(path: Path) -> Format:
    """Looks at names in a folder, and at the first line of a file or, where that is no JSON, at all of it."""
    if path.is_dir():
        return _recognise_folder(path)
    text = read_text(path)
    lines = text.split("\n")
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise JudgementError(f"{path}: is empty", "a set needs at least one question")
    if first.lstrip().startswith(("{", "[")):
        try:
            value = json.loads(first)
        except (ValueError, RecursionError):
            value = parse(text, path.name)  # spread over lines, or broken: then this says where
        return _recognise_json(path, value)
    columns = next(csv.reader([first], delimiter="\t" if "\t" in first else ","))
    if columns == CHROMA_HEADER:
        return "chroma"
    if columns == QRELS_HEADER and (path.parent.parent / "corpus.jsonl").is_file():
        return "beir"
    raise _unknown(path, f"it begins with {shown(first.strip())}")


def _recognise_folder(folder: Path) -> Format:
    names = sorted(p.name for p in folder.iterdir())
    found: list[Format] = []
    if {"corpus.jsonl", "queries.jsonl", "qrels"} <= {*names}:
        found.append("beir")
    if "questions_df.csv" in names:
        found.append("chroma")
    if any(folder.glob("clapnq_*.jsonl")):
        found.append("clapnq")
    if len(found) == 1:
        return found[0]
    held = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
    several = f"{' and '.join(found)} together, " if found else ""
    raise _unknown(folder, f"a folder with {several}{held or 'nothing in it'}")


def _recognise_json(path: Path, value: object) -> Format:
    if not isinstance(value, dict):
        raise _unknown(path, f"JSON that begins with {shown(value)}")
    keys = set(value)
    if isinstance(value.get("data"), list):
        return "squad"
    if {"id", "input", "passages", "output"} <= keys:
        return "clapnq"
    if {"_id", "text"} <= keys:
        raise JudgementError(f"{path}: is one file of a BEIR set", "give the folder that holds it")
    if {"id", "question"} & keys:  # one of them alone: then what it lacks is said with its line
        return "jsonl"
    raise _unknown(path, f"an object with {', '.join(map(shown, list(value)[:8])) or 'nothing'}")


def _unknown(path: Path, seen: str) -> JudgementError:
    return JudgementError(f"{path}: not a known set of questions: {seen}", KNOWN)
