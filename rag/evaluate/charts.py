"""Charts as inline SVG. Colours come from the page's CSS, so they follow light and dark; each has a title and a text.

Pixels have their origin top left, values bottom left: `Frame.x` and `Frame.y` translate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rag.evaluate.render import milliseconds
from rag.evaluate.report import Abstention, Latency
from rag.markup import Markup, el

WIDTH, HEIGHT = 460.0, 280.0
BAR, ROW_GAP = 14.0, 26.0


@dataclass(frozen=True)
class Frame:
    """The plotting area and the values it spans."""

    x_low: float
    x_high: float
    y_low: float
    y_high: float
    left: float = 44.0
    right: float = WIDTH - 22.0
    top: float = 36.0
    bottom: float = HEIGHT - 42.0

    def x(self, value: float) -> float:
        return self.left + (value - self.x_low) / (self.x_high - self.x_low) * (self.right - self.left)

    def y(self, value: float) -> float:
        return self.bottom - (value - self.y_low) / (self.y_high - self.y_low) * (self.bottom - self.top)

    def axes(self, x_ticks: Sequence[tuple[float, str]], y_ticks: Sequence[tuple[float, str]], x_name: str) -> Markup:
        """Grid lines across, ticks below; the name of the y axis is the chart's heading."""
        lines = [
            el(
                "g",
                el("line", x1=self.left, x2=self.right, y1=self.y(v), y2=self.y(v), class_="grid"),
                el("text", name, x=self.left - 8, y=self.y(v) + 4, text_anchor="end"),
            )
            for v, name in y_ticks
        ]
        below = [el("text", name, x=self.x(v), y=self.bottom + 18, text_anchor="middle") for v, name in x_ticks]
        middle = (self.left + self.right) / 2
        named = el("text", x_name, x=middle, y=self.bottom + 36, text_anchor="middle", class_="axis")
        return el("g", lines, below, named)


def _svg(key: str, title: str, told: str, *children: Markup, height: float = HEIGHT) -> Markup:
    return el(
        "svg",
        el("title", title, id=f"{key}-title"),
        el("desc", told, id=f"{key}-desc"),
        children,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"{key}-title {key}-desc",
    )


# ---- recall against k --------------------------------------------------------------------------------------------

CURVES = {"recall": "a wanted file", "span_recall": "all of the evidence"}


def recall_chart(curves: Mapping[str, Sequence[float]], top_k: int) -> Markup:
    """Lines over k = 1, 2, ...; a mark at the k that answers are made from."""
    depth = max(len(c) for c in curves.values())
    lowest = min(min(c) for c in curves.values())
    frame = Frame(1, max(depth, 2), 0.0 if lowest < 0.55 else 0.5, 1.0)
    steps = [frame.y_low + i * (1 - frame.y_low) / 5 for i in range(6)]
    apart = 5 * math.ceil(depth / 40)
    ticks = [(float(k), str(k)) for k in range(1, depth + 1) if k == 1 or k % apart == 0]
    drawn = []
    for i, (name, curve) in enumerate(curves.items()):
        points = " ".join(f"{frame.x(k):.1f},{frame.y(v):.1f}" for k, v in enumerate(curve, 1))
        dots = [el("circle", cx=frame.x(k), cy=frame.y(v), r=2.2) for k, v in enumerate(curve, 1)]
        label = _legend(frame.left + 150 * i, CURVES[name])
        drawn.append(el("g", el("polyline", points=points), dots, label, class_=f"line {name}"))
    mark = el(
        "g",
        el("line", x1=frame.x(top_k), x2=frame.x(top_k), y1=frame.top, y2=frame.bottom),
        el("text", f"top_k {top_k}", x=frame.x(top_k) + 5, y=frame.bottom - 8),
        class_="mark",
    )
    said = "; ".join(f"{CURVES[n]}: {c[0]:.2f} at k 1, {c[-1]:.2f} at k {len(c)}" for n, c in curves.items())
    axes = frame.axes(ticks, [(v, f"{v:.1f}") for v in steps], "k, passages looked at")
    shown = [mark] if top_k <= depth else []
    return _svg("recall", "Recall against k", said, axes, *shown, *drawn)


def _legend(x: float, words: str) -> Markup:
    """A dot and its meaning above the plot, where no line can run."""
    return el("g", el("circle", cx=x + 4, cy=10, r=4), el("text", words, x=x + 14, y=14, class_="label"))


# ---- risk against coverage ---------------------------------------------------------------------------------------


def risk_chart(a: Abstention) -> Markup:
    """Risk at every coverage that a threshold can reach; a mark where the threshold in force is."""
    step = 0.1 if max(p.risk for p in a.curve) > 0.2 else 0.05
    top = step * max(2, math.ceil(max(p.risk for p in a.curve) / step - 1e-9))
    frame = Frame(0, 1, 0, top)
    points = [(frame.x(p.coverage), frame.y(p.risk)) for p in a.curve]
    line = el("polyline", points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
    shares = [(i / 5, f"{20 * i} %") for i in range(6)]
    every = 2 if top / step > 6 else 1
    steps = [(step * i, f"{100 * step * i:.0f} %") for i in range(0, round(top / step) + 1, every)]
    here = f"{100 * a.coverage:.0f} % answered, {100 * a.risk:.0f} % of them wrong"
    mark = el(
        "g",
        el("circle", cx=frame.x(a.coverage), cy=frame.y(a.risk), r=5) if a.coverage else None,
        _legend(frame.left, f"min_confidence {a.threshold:g}: {here}"),
        class_="here",
    )
    said = f"At the threshold in force, {a.threshold:g}: {here}. Answering all: {100 * a.curve[-1].risk:.0f} % wrong."
    axes = frame.axes(shares, steps, "coverage, share of the questions answered")
    return _svg("risk", "Risk against coverage", said, axes, el("g", line, class_="line risk"), mark)


# ---- latency -----------------------------------------------------------------------------------------------------


def latency_chart(latency: Sequence[Latency]) -> Markup:
    """A bar a stage: the median; a line to the 95th percentile."""
    stages = [s for s in latency if s.stage != "total"]
    most = max([s.p95 for s in stages] + [1e-6])
    left, right = 138.0, WIDTH - 74.0
    height = 12 + ROW_GAP * len(stages) + 8

    def x(seconds: float) -> float:
        return left + seconds / most * (right - left)

    rows = []
    for i, s in enumerate(stages):
        y = 12 + ROW_GAP * i
        middle = y + BAR / 2
        rows.append(
            el(
                "g",
                el("text", s.stage, x=left - 8, y=middle + 4, text_anchor="end"),
                el("rect", x=left, y=y, width=max(1.0, x(s.median) - left), height=BAR, rx=2.0),
                el("line", x1=x(s.median), x2=x(s.p95), y1=middle, y2=middle),
                el("line", x1=x(s.p95), x2=x(s.p95), y1=middle - 4, y2=middle + 4),
                el("text", milliseconds(s.median), x=x(s.p95) + 8, y=middle + 4, class_="label"),
                class_="bar",
            )
        )
    said = "; ".join(f"{s.stage} {milliseconds(s.median)}, p95 {milliseconds(s.p95)}" for s in stages)
    return _svg("latency", "Latency per stage: median and 95th percentile", said, *rows, height=height)


# ---- small ones, in tables ---------------------------------------------------------------------------------------


def interval_mark(low: float, value: float, high: float, reach: tuple[float, float], class_: str = "") -> Markup:
    """An interval on a line from reach[0] to reach[1]; the numbers stand beside it, so it is silent for readers."""
    width, height = 150.0, 16.0
    first, last = reach

    def x(v: float) -> float:
        return 4 + (min(max(v, first), last) - first) / (last - first) * (width - 8)

    zero = [el("line", x1=x(0), x2=x(0), y1=0, y2=height, class_="zero")] if first < 0 else []
    return el(
        "svg",
        el("line", x1=4, x2=width - 4, y1=8, y2=8, class_="track"),
        zero,
        el("rect", x=x(low), y=5, width=max(1.5, x(high) - x(low)), height=6, rx=3.0),
        el("circle", cx=x(value), cy=8, r=4),
        viewBox=f"0 0 {width:g} {height:g}",
        class_=f"interval {class_}".strip(),
        aria_hidden="true",
    )


# ---- size against quality ----------------------------------------------------------------------------------------


def scatter_chart(points: Sequence[tuple[float, float, str, bool]], name: str) -> Markup:
    """(mean characters of a chunk, figure, what it is, worse beyond the noise) a point; its name shows on hovering."""
    sizes, values = [p[0] for p in points], [p[1] for p in points]
    step = 0.05 if max(values) - min(values) > 0.1 else 0.01
    low = max(0.0, math.floor(min(values) / step - 0.5) * step)
    high = min(1.0, math.ceil(max(values) / step + 0.5) * step)
    wide = 100.0 * math.ceil(max(sizes) / 100 + 0.2)
    frame = Frame(0, wide, low, high)
    steps = max(1, round((high - low) / step))
    every = math.ceil(steps / 8)
    y_ticks = [(low + i * step, f"{low + i * step:.2f}") for i in range(0, steps + 1, every)]
    x_ticks = [(wide * i / 4, f"{wide * i / 4:,.0f}") for i in range(5)]
    dots = [
        el(
            "circle", el("title", f"{told}: {value:.3f}"), cx=frame.x(size), cy=frame.y(value), r=5,
            class_="hollow" if behind else None,
        )
        for size, value, told, behind in reversed(points)
    ]  # fmt: skip
    said = "; ".join(f"{told}: {value:.3f} at {size:.0f} characters" for size, value, told, _ in points)
    axes = frame.axes(x_ticks, y_ticks, "mean characters of a chunk")
    return _svg("sizes", f"{name} against the size of chunks", said, axes, el("g", dots, class_="dots"))
