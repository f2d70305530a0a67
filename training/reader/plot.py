"""A picture of the training's log: loss and the figures on articles kept aside.

python training/reader/plot.py     # .checkpoints/reader/log.jsonl -> loss.png beside it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent))
from data import HERE, ROOT


def main() -> None:
    from PIL import Image, ImageDraw

    folder = ROOT / yaml.safe_load((HERE / "reader.yaml").read_text(encoding="utf-8"))["folder"]
    # A run that was cut and resumed logs some steps twice: the later line counts.
    lines = {row["step"]: row for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines())}
    steps = sorted(lines)
    curves = {
        "loss": ("black", {s: lines[s]["loss"] for s in steps}),
        "token_f1": ("blue", {s: lines[s]["token_f1"] for s in steps if "token_f1" in lines[s]}),
        "answerable_auroc": ("green", {s: lines[s]["answerable_auroc"] for s in steps if "token_f1" in lines[s]}),
    }
    width, height, edge = 900, 420, 50
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((edge, edge, width - edge, height - edge), outline="gray")
    for n, (name, (colour, curve)) in enumerate(curves.items()):
        top = max(curve.values(), default=1.0) if name == "loss" else 100.0
        points = [
            (edge + (width - 2 * edge) * s / steps[-1], height - edge - (height - 2 * edge) * v / top)
            for s, v in curve.items()
        ]
        if len(points) > 1:
            draw.line(points, fill=colour, width=2)
        draw.text((edge + 10 + 180 * n, 15), f"{name}, 0 to {top:.3g}", fill=colour)
    draw.text((width - edge - 60, height - edge + 10), f"{steps[-1]} steps", fill="gray")
    image.save(folder / "loss.png")
    print(folder / "loss.png")


if __name__ == "__main__":
    main()
