"""The mean of exported files' weights -> rag/models/reader.safetensors.

    git show COMMIT:rag/models/reader.safetensors > before.safetensors
    python training/reader/average.py before.safetensors rag/models/reader.safetensors --shares 3 7 --rank 96

Runs that began with the same weights end at places between which the loss is low, and in their middle it is mostly
lower than at either (Wortsman et al. 2022, arXiv:2203.05482). It costs nothing to train and nothing to read with.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).resolve().parent))
from export import changes

from rag.bert import read_weights
from rag.config import Embed
from rag.embed.resolve import resolve_model
from rag.read import WEIGHTS
from rag.read.passage_reader import merged


def average(files: list[Path], shares: list[float], folder: Path, target: Path, rank: int) -> None:
    """`folder`: of the model that they all began with."""
    base = read_weights(folder / "model.safetensors")
    headers = []
    for file in files:
        with safe_open(file, "np") as opened:
            headers.append(opened.metadata())
    if len({header["base_sha256"] for header in headers}) > 1:
        raise SystemExit("the files were trained from different bases: " + ", ".join(h["base_sha256"] for h in headers))
    whole = [merged(base, read_weights(file)) for file in files]
    part = [share / sum(shares) for share in shares]
    # The name as train.py's checkpoints have it.
    mean = {
        f"encoder.{name}": torch.from_numpy(sum(p * w[name] for p, w in zip(part, whole, strict=True)))
        for name in whole[0]
    }
    trained = "; ".join(f"{p:.2g} of {h['trained']}" for p, h in zip(part, headers, strict=True))
    metadata = {**headers[0], "trained": trained, "rank": str(rank or "full")}
    save_file(changes(mean, {n: torch.from_numpy(t) for n, t in base.items()}, rank), target, metadata)
    print(target, f"{target.stat().st_size / 1e6:.1f} MB", metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="*", help="of each file; default: equal ones")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--rank", type=int, default=0, help="0: whole matrices")
    args = parser.parse_args()
    shares = args.shares or [1.0] * len(args.files)
    if len(shares) != len(args.files):
        parser.error(f"{len(args.files)} files and {len(shares)} shares")
    average(args.files, shares, resolve_model(Embed().model).folder, args.out, args.rank)


if __name__ == "__main__":
    main()
