"""How long is a sync when nothing changed? 1,000 small text files, the real embedding model, a process per sync.

    python benchmarks/sync_unchanged.py [--files 1000]

`second` is `Rag.sync()` alone, wall and CPU seconds; `process_seconds` has the interpreter's start and imports too.
Its files are older than the clock's grain, as a folder's usually are. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import report

CHILD = """
import json, sys, time
from rag import Rag
rag = Rag.open(docs=sys.argv[1], store__path=sys.argv[2])
wall, cpu = time.perf_counter(), time.process_time()
report = rag.sync()
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
found = {"wall": round(wall, 3), "cpu": round(cpu, 3), "embedded": report.embedded, "files": len(report.files)}
print(json.dumps(found))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=1000)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        docs, index = Path(folder) / "docs", Path(folder) / "index"
        for i in range(given.files):
            path = docs / f"{i % 37}" / f"{i}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"Note {i}. The shipment of lot {i * 7} left the harbour on day {i % 365}.\n")
            os.utime(path, (10**9, 10**9))
        time.sleep(2.1)  # the grain of the slowest clock (rag.sync.CLOCK_GRAIN_NS)
        first, _ = sync(docs, index)
        second, seconds = sync(docs, index)
    report("sync-unchanged", {"first": first, "second": second, "second process, wall_s": round(seconds, 3)})


def sync(docs: Path, index: Path) -> tuple[dict[str, Any], float]:
    start = time.perf_counter()
    command = [sys.executable, "-c", CHILD, str(docs), str(index)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found, time.perf_counter() - start


if __name__ == "__main__":
    main()
