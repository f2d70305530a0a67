"""Does `kill -9` lose anything? Kills at commits, within saves and at random, of sync, delete and import.

    python benchmarks/kill.py [--kills 100] [--seed 1] [--model real|fake] [--chroma 40]

After each kill the index must be what it was before or what it was to become (files, outcomes, chunks, vectors, same
ids in catalog, Chroma and lexical index); when what was killed is run again it must be as if nobody had disturbed it,
and no text whose vector was committed may have been embedded again. It ends with 1 when something differed.

`--chroma`: as many kills of a program that adds rows to plain Chroma and deletes some, for what the same killer finds
there: rows that it had taken and that are gone, or aren't found by their own vector.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import report

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from crashes import Crashes, Forker, change_folder, chroma_losses, delete_half, write_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", choices=["real", "fake"], default="real")
    parser.add_argument("--chroma", type=int, default=40)
    given = parser.parse_args()
    start = time.perf_counter()
    with TemporaryDirectory() as folder, Forker() as forker:
        here = Path(folder)
        lines = 6 if given.model == "fake" else 80  # several chunks a file, of 24 tokens or of 200
        crashes = Crashes(forker, here, given.seed, given.model, lines)
        write_folder(crashes.docs, given.seed, 12, lines)
        share = -(-given.kills // 4)
        crashes.crash("sync", share)
        change_folder(crashes.docs, given.seed + 1, lines)
        crashes.crash("sync", share)
        crashes.run("export", file=here / "archive")
        delete_half(crashes.docs)
        crashes.crash("sync", share)
        crashes.crash("import", share, file=here / "archive")
        seconds = round(time.perf_counter() - start, 1)
        (here / "chroma").mkdir()
        plain = chroma_losses(forker, here / "chroma", given.chroma, given.seed) if given.chroma else {}
        shutil.rmtree(here / "chroma")
    figures = crashes.figures()
    report("kill", {"model": given.model, "seed": given.seed, "seconds": seconds, **figures, "plain Chroma": plain})
    sys.exit(figures["stored_texts_embedded_again"] > 0)


if __name__ == "__main__":
    main()
