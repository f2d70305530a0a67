"""A checkpoint of train.py -> rag/models/reader.safetensors, in half precision: what training changed, and no more.

    python training/reader/export.py [--rank 64]     # --rank: each matrix's change as a product of two thin ones

A low rank keeps most of what was learned in a fraction of the bytes: the singular value decomposition of the change
(Eckart & Young 1936), as LoRA (Hu et al. 2021, arXiv:2106.09685) has it from the start.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from data import HERE, ROOT
from rag.bert import read_weights
from rag.config import Embed
from rag.embed.resolve import resolve_model
from rag.read import WEIGHTS


def changes(state: dict[str, torch.Tensor], base: dict[str, torch.Tensor], rank: int) -> dict[str, torch.Tensor]:
    out = {}
    for name, value in state.items():
        short = name.removeprefix("encoder.")
        if short.startswith(("embeddings.", "pooler.")):
            continue
        if rank and value.ndim == 2 and short in base:
            u, s, v = torch.linalg.svd(value - base[short], full_matrices=False)
            root = s[:rank].sqrt()
            out[f"{short}.up"] = (u[:, :rank] * root).half().contiguous()
            out[f"{short}.down"] = (root[:, None] * v[:rank]).half().contiguous()
        else:
            out[short] = value.half().contiguous()
    return out


def export(checkpoint: Path, target: Path, rank: int, trained: str) -> None:
    from safetensors.torch import save_file

    model = resolve_model(Embed().model)
    base = {n: torch.from_numpy(t) for n, t in read_weights(model.folder / "model.safetensors").items()}
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    metadata = {
        "base": model.name,
        "base_sha256": model.weights_sha256,
        "trained": f"{trained}, {state['step']} steps" + (f", after {state['after']}" if state["after"] else ""),
        "rank": str(rank or "full"),
    }
    target.parent.mkdir(exist_ok=True)
    save_file(changes(state["model"], base, rank), target, metadata)
    print(target, f"{target.stat().st_size / 1e6:.1f} MB", metadata)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    config = yaml.safe_load((HERE / "reader.yaml").read_text(encoding="utf-8"))
    parser.add_argument("--checkpoint", type=Path, default=ROOT / config["folder"] / "last.pt")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    parser.add_argument("--rank", type=int, default=0, help="0: whole matrices")
    args = parser.parse_args()
    export(args.checkpoint, args.out, args.rank, f"training/reader/reader.yaml, seed {config['seed']}")


if __name__ == "__main__":
    main()
