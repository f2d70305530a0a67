"""Give each evidence quote of questions.jsonl its span: characters [start, end) of the text as rag loads it.

    python data/locate_evidence.py            # writes the spans
    python data/locate_evidence.py --check    # exit code 1 when one is missing or stale

Quotes are compared with runs of white space folded, since pdf and docx texts break lines where they like.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from functools import lru_cache
from pathlib import Path

from rag.config import Load
from rag.load import load_file

HERE = Path(__file__).resolve().parent
FILE = HERE / "questions.jsonl"


@lru_cache(maxsize=64)
def text_of(source: str) -> str:
    return load_file(HERE / "documents" / source, source, Load()).text


def locate(source: str, quote: str) -> tuple[int, int]:
    """The first place of the quote; ValueError when the source doesn't hold it."""
    pattern = r"\s+".join(map(re.escape, quote.split()))
    found = re.search(pattern, text_of(source))
    if found is None:
        raise ValueError(f"{source} doesn't hold: {quote}")
    return found.span()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    before = FILE.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in before.splitlines()]
    for row in rows:
        for evidence in row["evidence"]:
            evidence["start"], evidence["end"] = locate(evidence["source"], evidence["quote"])
    after = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if check:
        sys.exit(after != before)
    FILE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
