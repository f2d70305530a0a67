"""A map as a PNG, for a report or a slide: the same dots, colours and names as the page in its light form."""

from __future__ import annotations

import io
from statistics import median
from typing import TYPE_CHECKING, Any

from rag.explore.mapping import COLOURS, Map
from rag.tame import tame

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH, HEIGHT, SIDE, TOP, EDGE = 1600, 1000, 420, 90, 30  # pixels; SIDE: of the legend
FINER = 2  # drawn so much larger, then made smaller: smooth edges
PALETTE = ("#1c5fc2", "#c2570c", "#1a7f4b", "#8a3ffc", "#b3265f", "#0f7f8c", "#8a6d00", "#5a6472", "#d64545", "#4b5bd6")
INK, SOFT, RULE, MARK, GROUND = "#1d2126", "#5d656e", "#e2e4e6", "#d0112b", "#ffffff"
LABELLED = 12  # groups with their name among the dots, as on the page
LISTED = 24


def png(drawn: Map) -> bytes:
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH * FINER, HEIGHT * FINER), GROUND)
    pen = ImageDraw.Draw(image)
    _write(pen, (EDGE, 22), _short(drawn.title, 80), 28, INK)
    told = f"{len(drawn.dots):,} {drawn.what}, coloured by {drawn.color}. {'. '.join(drawn.notes)}"
    _write(pen, (EDGE, 60), _short(told, 170), 17, SOFT)
    frame = (EDGE, TOP, WIDTH - SIDE, HEIGHT - EDGE)
    pen.rounded_rectangle([FINER * v for v in frame], 10 * FINER, outline=RULE, width=FINER)

    def place(x: float, y: float) -> tuple[float, float]:
        return frame[0] + x * (frame[2] - frame[0]), frame[1] + y * (frame[3] - frame[1])

    if drawn.asked:
        for row, _ in drawn.asked.near:
            _dashes(pen, place(drawn.asked.x, drawn.asked.y), place(drawn.dots[row].x, drawn.dots[row].y))
    for dot in reversed(drawn.dots):
        _dot(pen, place(dot.x, dot.y), dot.group)
    taken: list[tuple[float, float, float]] = []
    if drawn.asked:
        x, y = place(drawn.asked.x, drawn.asked.y)
        _star(pen, x, y)
        _label(pen, (x, y), _short(drawn.asked.text, 60), MARK, frame, taken)
    if len(drawn.groups) <= LABELLED:
        for number, name in enumerate(drawn.groups):
            own = [d for d in drawn.dots if d.group == number]
            middle, high = median(d.x for d in own), sorted(d.y for d in own)[int(0.15 * len(own))]
            _label(pen, place(middle, high), _short(name, 40), PALETTE[number % COLOURS], frame, taken)
    _legend(pen, drawn)
    buffer = io.BytesIO()
    image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _legend(pen: ImageDraw, drawn: Map) -> None:
    left, y = WIDTH - SIDE + 24, TOP + 8
    for number, name in enumerate(drawn.groups[:LISTED]):
        _dot(pen, (left + 8, y + 12), number)
        count = sum(d.group == number for d in drawn.dots)
        for n, line in enumerate(_wrapped(f"{name}  {count:,}", SIDE - 24 - 24 - EDGE)):
            _write(pen, (left + 24, y + 22 * n), line, 17, INK)
            y += 22 if n else 0
        y += 30
    if len(drawn.groups) > LISTED:
        _write(pen, (left + 24, y), f"and {len(drawn.groups) - LISTED} more", 17, SOFT)


def _dot(pen: ImageDraw, at: tuple[float, float], group: int) -> None:
    x, y, r = at[0] * FINER, at[1] * FINER, 6 * FINER
    shape, color = group // COLOURS % 4, PALETTE[group % COLOURS]
    if shape == 0:
        pen.ellipse([x - r, y - r, x + r, y + r], fill=color, outline=GROUND, width=FINER)
        return
    corners = (
        [(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)],
        [(x, y - r), (x + r, y + r), (x - r, y + r)],
        [(x, y - r), (x + r, y), (x, y + r), (x - r, y)],
    )[shape - 1]
    pen.polygon(corners, fill=color, outline=GROUND)


def _star(pen: ImageDraw, x: float, y: float) -> None:
    points = [(0, -11), (2.9, -3.6), (10.5, -3.4), (4.5, 1.4), (6.5, 8.9), (0, 4.6), (-6.5, 8.9), (-4.5, 1.4),
              (-10.5, -3.4), (-2.9, -3.6)]  # fmt: skip
    pen.polygon([((x + 1.2 * a) * FINER, (y + 1.2 * b) * FINER) for a, b in points], fill=MARK, outline=GROUND)


def _dashes(pen: ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    for at in range(0, int(length), 10):
        a, b = at / length, min(1.0, (at + 6) / length)
        ends = [tuple(FINER * (p + s * (q - p)) for p, q in zip(start, end, strict=True)) for s in (a, b)]
        pen.line(ends, fill=MARK, width=FINER)


def _label(
    pen: ImageDraw,
    at: tuple[float, float],
    text: str,
    color: str,
    frame: tuple[int, int, int, int],
    taken: list[tuple[float, float, float]],
) -> None:
    """Above `at`, within the frame, and below whatever stands there already."""
    half = pen.textlength(text, font=_font(17)) / FINER / 2 + 4
    x = min(max(at[0], frame[0] + half + 4), frame[2] - half - 4)
    y = max(at[1] - 32, frame[1] + 6)
    while y < frame[3] - 50 and any(abs(a - x) < half + c and abs(b - y) < 22 for a, b, c in taken):
        y += 22
    taken.append((x, y, half))
    _write(pen, (x - half + 4, y), text, 17, color, halo=3)


def _write(pen: ImageDraw, at: tuple[float, float], text: str, size: int, color: str, halo: int = 0) -> None:
    place = (at[0] * FINER, at[1] * FINER)
    pen.text(place, text, font=_font(size), fill=color, stroke_width=halo * FINER, stroke_fill=GROUND if halo else None)


def _font(size: int) -> Any:
    from PIL import ImageFont

    for name in ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "Arial.ttf"):
        try:
            return ImageFont.truetype(name, size * FINER)
        except OSError:
            continue
    return ImageFont.load_default(size * FINER)


def _short(text: str, most: int) -> str:
    line = " ".join(tame(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _wrapped(text: str, wide: int) -> list[str]:
    from textwrap import wrap

    lines = wrap(" ".join(tame(text).split()), wide // 9)
    return lines if len(lines) <= 2 else [lines[0], _short(" ".join(lines[1:]), wide // 9)]
