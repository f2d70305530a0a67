"""A table that is cut stays readable: its head goes with each later chunk, outside of the span."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_split_properties import KINDS, check, limits, splitter

from rag.load.blocks import Blocks
from rag.prompt import render_passage
from rag.split.outline import tables
from rag.types import Chunk, Passage, Source

CELL = st.text("ab1.| \\", max_size=6)
TABLE = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.lists(CELL, min_size=width, max_size=width), min_size=2, max_size=12)
)
PART = TABLE | st.sampled_from(["Some words before it.", "A line | with a bar", "| --- | --- |"])


def heads(source: Source, chunk: Chunk) -> str:
    return next((head for body, end, head in tables(source.text) if body <= chunk.span.start < end), "")


@settings(max_examples=60)
@given(
    st.lists(PART, min_size=1, max_size=4),
    st.sampled_from(KINDS),
    st.sampled_from(["words", "glued in words"]),
    st.integers(8, 30),
    st.sampled_from(["none", "headings"]),
)
def test_every_chunk_in_a_table_has_its_head(parts: Any, kind: str, name: str, size: int, prepend: str) -> None:
    blocks = Blocks()
    blocks.heading(1, "| Prices")
    for part in parts:
        blocks.add(part) if isinstance(part, str) else blocks.table(part)
    source = Source("a.md", blocks.text, "md", headings=blocks.headings)
    chunks = splitter(kind, name, size, prepend=prepend).split(source)
    check(source, chunks, limits(name), size, 0)
    for chunk in chunks:
        head = heads(source, chunk)
        assert bool(chunk.table_head) == bool(head)
        words = head.replace("|", " ").split()
        if head and limits(name).embedder.count(" ".join(head.split())) <= 30 // 4:  # type: ignore[union-attr]
            assert chunk.table_head.replace("|", " ").split() == words
            assert chunk.embedded_text.endswith(f"{chunk.table_head}\n{chunk.text}")
        passage = Passage(1, "x", "a.md", "md", chunk.span, chunk.text, chunk.location, 0.0,
                          table_head=chunk.table_head)  # fmt: skip
        assert f'"{passage.shown}"' in render_passage(passage, "m")
        assert passage.shown.endswith(chunk.text)


@given(st.text("|-: \nab\\", max_size=80))
def test_tables_are_found_in_order_and_within_the_text(text: str) -> None:
    found = list(tables(text))
    assert all(0 < body < end <= len(text) for body, end, _ in found)
    assert all(a[1] <= b[0] for a, b in pairwise(found))
    assert all("|" in text[body:end] and head in text[:body] for body, end, head in found)


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("a | b\n-|-\n1 | 2", "a | b"),  # without outer bars, as in Markdown by hand
        ("| a |\n|:-:|\n| 1 |", "| a |"),
        ("| a \\| b | c |\n| --- | --- |\n| 1 | 2 |", "| a \\| b | c |"),
        ("| a | b |\n| --- |\n| 1 | 2 |", None),  # the widths differ
        ("words\n---\n| 1 |", None),  # a heading
        ("| a | b |\n| --- | --- |\n", None),  # nothing below it
        ("| a | b |\n| 1 | 2 |\n| 3 | 4 |", None),
    ],
)
def test_what_is_a_table(text: str, head: str | None) -> None:
    assert [found[2] for found in tables(text)] == ([] if head is None else [head])


@pytest.mark.parametrize("unit", ["\n| - ", "\n|-|-", "|" + "-" * 50, "\n| a |\n| - |", "\n" + " " * 9, "-:", "| \\"])
def test_hostile_tables_cost_no_time(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    start = time.perf_counter()
    list(tables(text))
    assert time.perf_counter() - start < 10


def test_no_table_is_seen_in_code() -> None:
    text = "| a | b |\n| --- | --- |\n" + "| 1 | 2 |\n" * 40
    for kind, seen in (("code", False), ("text", False), ("md", True)):
        chunks = splitter("sentence", "words", 30).split(Source("a", text, kind))
        assert any(c.table_head for c in chunks) is seen


def test_a_question_is_answered_from_a_row_below_its_head(docs: Path, make_rag: Callable[..., Any]) -> None:
    rows = "".join(f"pump{n},{n * 10},{n * 100}\n" for n in range(200))
    (docs / "pumps.csv").write_text("name,pressure in bar,price in euro\n" + rows)
    (docs / "notes.md").write_text("# Notes\n\nNothing of this kind stands here.")
    rag = make_rag(split__max_tokens=60)
    rag.sync()
    found = rag.search("price of pump150")
    hit = next(p for p in found if "pump150 " in p.text)
    assert hit.table_head == "| name | pressure in bar | price in euro |"
    assert hit.text == rag.source("pumps.csv").text[hit.span.start : hit.span.end]
    assert not hit.text.startswith("| name")
    assert hit.shown in render_passage(hit, "m")
    wide = rag.search("price of pump150", neighbours=1)
    assert all(p.table_head or p.text.startswith(("| name", "# Notes")) for p in wide)
