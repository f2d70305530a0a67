"""Does `kill -9` lose anything? Kills at commits, within saves and at random, of everything that writes.

    python benchmarks/kill.py [--kills 1000] [--seed 1] [--model real|fake] [--chroma 40]

Sync of a new folder, of a changed one and of one that lost half, compact, export, import and repair. After each kill
the index must be what it was before or what it was to become (files, outcomes, chunks, vectors, same ids in catalog,
Chroma and lexical index); when what was killed is run again it must be as if nobody had disturbed it, and no text whose
vector was committed may have been embedded again. The first difference ends the program with an error.

`--chroma`: as many kills of a program that adds rows to plain Chroma and deletes some, for what the same killer finds
there: rows that it had taken and that are gone, or aren't found by their own vector.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from crashes import Crashes, Forker, chroma_losses, crash_everywhere


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", choices=["real", "fake"], default="real")
    parser.add_argument("--chroma", type=int, default=40)
    given = parser.parse_args()
    start = time.perf_counter()
    with TemporaryDirectory() as folder, Forker() as forker:
        here = Path(folder)
        lines = 6 if given.model == "fake" else 80  # several chunks a file, of 24 tokens or of 200
        crashes = Crashes(forker, here, given.seed, given.model, lines)
        crash_everywhere(crashes, given.kills)
        seconds = round(time.perf_counter() - start, 1)
        (here / "chroma").mkdir()
        plain = chroma_losses(forker, here / "chroma", given.chroma, given.seed) if given.chroma else {}
    figures = crashes.figures()
    report("kill", {"model": given.model, "seed": given.seed, "seconds": seconds, **figures, "plain Chroma": plain})
    sys.exit(figures["stored_texts_embedded_again"] > 0)


if __name__ == "__main__":
    main()
