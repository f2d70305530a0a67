"""How long does the command line take from a cold start?

Each command runs in a process of its own on data/documents, already synced, in turn with `python -c pass`, so a busy
moment hits all of them alike. Medians over the rounds; wall is what a person waits, cpu is what the machine works
(children's user + system time: it moves little when others work beside it). Files come from the page cache.

    python benchmarks/cold_start.py [ROUNDS]      prints one JSON line
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import report

ROOT = Path(__file__).resolve().parents[1]
DOCS = str(ROOT / "data" / "documents")
RAG = [sys.executable, "-m", "rag"]
QUESTION = "What does cosine similarity measure?"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "rag --help": [*RAG, "--help"],
    "rag list": [*RAG, "list", "--docs", DOCS],
    "rag search": [*RAG, "search", QUESTION, "--docs", DOCS, "--no-sync"],
    "rag search --docs": [*RAG, "search", QUESTION, "--docs", DOCS],  # looks for changes first
    "rag ask": [*RAG, "ask", QUESTION, "--docs", DOCS, "--no-sync"],
}


def run(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """(wall, cpu) seconds of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as data:
        environment = {**os.environ, "XDG_DATA_HOME": data}
        subprocess.run([*RAG, "sync", "-q", "--docs", DOCS], env=environment, cwd=ROOT, check=True)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
        for _ in range(rounds):
            for name, command in COMMANDS.items():
                times[name].append(run(command, environment))
    figures = {
        name: {
            "wall_s": round(statistics.median(wall for wall, _ in each), 3),
            "wall_best_s": round(min(wall for wall, _ in each), 3),
            "cpu_s": round(statistics.median(cpu for _, cpu in each), 3),
        }
        for name, each in times.items()
    }
    report("cold-start", {"rounds": rounds, **figures})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
