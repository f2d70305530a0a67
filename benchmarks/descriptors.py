"""What the weightless descriptors find: the same digit in spoken-digits, the original of altered drawings.

    python benchmarks/descriptors.py

The sound descriptor was chosen on the other voices; `theo` and the drawings made here weren't looked at then.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from common import DATA, need, report
from PIL import Image, ImageDraw, ImageEnhance

from rag.embed import AudioEmbedder, ImageEmbedder

PICTURES = 200


def digits() -> dict[str, Any]:
    files = sorted(need(DATA / "spoken-digits").glob("*.wav"))
    digit = np.asarray([f.stem.split("_")[0] for f in files])
    voice = np.asarray([f.stem.split("_")[1] for f in files])
    vectors = AudioEmbedder().vectors(files)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -np.inf)

    def right(rows: Any, allowed: Any) -> float:
        nearest = np.where(allowed[rows], likeness[rows], -np.inf).argmax(axis=1)
        return round(100 * float(np.mean(digit[nearest] == digit[rows])), 1)

    same = voice[:, None] == voice[None, :]
    every = np.arange(len(files))
    within = {name: right(every[voice == name], same) for name in sorted(set(voice))}
    return {
        "recordings": len(files),
        "same voice": within,
        "any voice": right(every, np.ones_like(same)),
        "other voices only": right(every, ~same),
    }


def drawing(draw: np.random.Generator) -> Image.Image:
    """A few shapes on a ground, all at random."""
    width, height = (int(n) for n in draw.integers(200, 500, 2))
    image = Image.new("RGB", (width, height), tuple(int(c) for c in draw.integers(0, 256, 3)))
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(3, 9))):
        x, y = draw.integers(0, width), draw.integers(0, height)
        box = [int(x), int(y), int(x + draw.integers(20, width)), int(y + draw.integers(20, height))]
        colour = tuple(int(c) for c in draw.integers(0, 256, 3))
        (pen.ellipse if draw.random() < 0.5 else pen.rectangle)(box, fill=colour)
    return image


def altered(image: Image.Image, draw: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    width, height = image.size
    by = float(draw.uniform(0.4, 1.8))
    yield "scaled", encoded(image.resize((max(8, int(width * by)), max(8, int(height * by)))), "PNG")
    left, top, right, bottom = (int(n) for n in draw.integers(0, 10, 4))  # up to a tenth of each side
    box = (width * left // 100, height * top // 100, width - width * right // 100, height - height * bottom // 100)
    yield "cropped", encoded(image.crop(box), "PNG")
    yield "re-encoded", encoded(image, "JPEG", quality=int(draw.integers(20, 60)))
    yield "brighter or darker", encoded(ImageEnhance.Brightness(image).enhance(float(draw.choice([0.6, 1.4]))), "PNG")
    yield "grey", encoded(image.convert("L").convert("RGB"), "PNG")


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def look_alikes() -> dict[str, Any]:
    draw = np.random.default_rng(2026)
    originals = [drawing(draw) for _ in range(PICTURES)]
    made = [(row, how, data) for row, image in enumerate(originals) for how, data in altered(image, draw)]
    embedder = ImageEmbedder()
    nearest = (embedder.vectors([d for *_, d in made]) @ embedder.vectors(originals).T).argmax(axis=1)
    ways = dict.fromkeys(how for _, how, _ in made)
    found = {
        way: round(
            100 * float(np.mean([r == n for (r, how, _), n in zip(made, nearest, strict=True) if how == way])), 1
        )
        for way in ways
    }
    every = round(100 * float(np.mean([r == n for (r, _, _), n in zip(made, nearest, strict=True)])), 1)
    return {"drawings": PICTURES, **found, "all": every}


def main() -> None:
    report("descriptors", {"spoken digits": digits(), "look-alikes": look_alikes()})


if __name__ == "__main__":
    main()
