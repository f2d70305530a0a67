"""Does `kill -9` during a sync lose anything? 30 kills at random instants, with the real embedding model.

    python benchmarks/kill.py [--kills 30] [--seed 1] [--model real|fake]

Each killed sync is run again (some are killed again first); then the index must be equal to that of a sync which
nobody disturbed (files, outcomes, chunks, vectors, the same ids in catalog, Chroma and lexical index), and no text
whose vector was committed may have been embedded again. Prints one JSON line; ends with 1 when something differed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from kills import kill_and_check


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", choices=["real", "fake"], default="real")
    given = parser.parse_args()
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        found = kill_and_check(Path(folder), given.kills, given.seed, given.model)
    seconds = round(time.perf_counter() - start, 1)
    report("kill", {"model": given.model, "seed": given.seed, "seconds": seconds, **found})


if __name__ == "__main__":
    main()
