"""How long does each splitter take over 4 MB of a hostile text? The longest of them, with the default model's tokens.

    python benchmarks/splitters.py [--mb 4]

The texts are those of tests/test_split_properties.py: a unit repeated until it has that size. Splitting includes
finding the tokens. `semantic` gets letter counts for vectors, since embedding isn't splitting.
"""

from __future__ import annotations

import argparse
import sys
import time

from common import ROOT, report

sys.path.insert(0, str(ROOT / "tests"))
from test_split_properties import KINDS, UNITS, of_size, splitter

from rag.types import Source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mb", type=float, default=4)
    size = int(parser.parse_args().mb * 2**20)
    found = {}
    for kind in KINDS:
        made = splitter(kind, "all-MiniLM-L6-v2", 200)
        made.split(Source("warm", "A few words.", "md"))
        for name, unit in UNITS.items():
            source = Source("a", of_size(unit, size), "md")
            wall, cpu = time.perf_counter(), time.process_time()
            chunks = len(made.split(source))
            found[kind, name] = (time.perf_counter() - wall, time.process_time() - cpu, chunks)
            print(kind, name, *(round(f, 2) for f in found[kind, name]), flush=True)
    worst = {}
    for kind in KINDS:
        (_, name), (wall, cpu, chunks) = max((i for i in found.items() if i[0][0] == kind), key=lambda i: i[1][0])
        worst[kind] = {"text": name, "wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "chunks": chunks}
    report("splitters", {"mb": size / 2**20, "texts": len(UNITS), "longest": worst})


if __name__ == "__main__":
    main()
