"""The sample folder: what was made is up to date, its questions point at words that stand there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[1] / "data"
ROWS = [json.loads(line) for line in (DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("script", ["make_documents.py --check", "check_questions.py", "locate_evidence.py --check"])
def test_the_folder_checks_itself(script: str) -> None:
    name, *flags = script.split()
    done = subprocess.run([sys.executable, DATA / name, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_evidence_is_found_by_the_default_search(tmp_path: Path) -> None:
    """A floor well below what is measured (docs/results.md), so that only a real loss fails."""
    from rag import Rag

    found = right = 0
    answerable = [r for r in ROWS if r["answerable"]]
    with Rag.open(DATA.parent / "config.yaml", docs=DATA / "documents", store__path=tmp_path / "index") as rag:
        assert rag.sync().ok
        for row in answerable:
            spans = [(e["source"], e["start"], e["end"]) for e in row["evidence"]]
            passages = rag.search(row["question"])
            found += any(_touches(p, *span) for p in passages for span in spans)
            right += passages[0].source in {s for s, _, _ in spans}
    assert found >= 0.9 * len(answerable)
    assert right >= 0.7 * len(answerable)


def _touches(passage: Any, source: str, start: int, end: int) -> bool:
    return passage.source == source and passage.span.start < end and start < passage.span.end
