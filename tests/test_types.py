"""The nouns: what they promise about offsets, lines, pages and their JSON."""

from __future__ import annotations

import dataclasses
import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag import errors
from rag.types import (
    Answer,
    Citation,
    Cue,
    FileReport,
    Heading,
    Location,
    Outcome,
    Passage,
    Source,
    Span,
    StageScore,
    Statement,
    SyncReport,
    label,
)

spans = st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: Span(min(pair), max(pair)))


@given(spans, spans)
def test_overlap_counts_shared_characters(a: Span, b: Span) -> None:
    shared = set(range(a.start, a.end)) & set(range(b.start, b.end))
    assert a.overlap(b) == b.overlap(a) == len(shared)


def test_spans() -> None:
    assert len(Span(2, 5)) == 3
    assert Span(2, 5).cut("abcdefg") == "cde"
    assert Span(3, 3)  # empty, but there
    assert sorted([Span(2, 3), Span(0, 9), Span(0, 1)]) == [Span(0, 1), Span(0, 9), Span(2, 3)]
    for start, end in ((-1, 2), (3, 2)):
        with pytest.raises(ValueError, match="0 <= start <= end"):
            Span(start, end)


@given(st.text(st.sampled_from("ab\n語"), max_size=40))
def test_lines_agree_with_splitting_at_newlines(text: str) -> None:
    source = Source("a.txt", text, "txt")
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        span = source.line_span(number)
        assert span.cut(text) == line
        assert source.line_at(span.start) == number
    assert source.line_span(1, len(lines)).cut(text) == text
    assert source.line_span(1, 10**6).cut(text) == text  # a last line beyond the end means: to the end


def test_lines_that_arent_there() -> None:
    source = Source("a.txt", "one\ntwo", "txt")
    for first, last in ((0, None), (3, None), (2, 1), (-1, 1)):
        with pytest.raises(ValueError, match=r"a\.txt has lines 1\.\.2"):
            source.line_span(first, last)


@given(st.lists(st.integers(0, 50), unique=True, max_size=5), st.integers(0, 60))
def test_pages(starts: list[int], offset: int) -> None:
    pages = (0, *sorted(s + 1 for s in starts))
    found = Source("a.pdf", "", "pdf", pages=pages).page_at(offset)
    assert found is not None
    assert pages[found - 1] <= offset
    assert found == len(pages) or offset < pages[found]
    assert Source("a.md", "", "md").page_at(offset) is None


def test_headings_of_the_same_level_replace_each_other() -> None:
    heads = (Heading(0, 1, "A"), Heading(5, 3, "B"), Heading(10, 2, "C"), Heading(15, 3, "D"), Heading(20, 1, "E"))
    source = Source("a.md", "x" * 30, "md", headings=heads)
    told = {at: source.heading_path_at(at) for at in (0, 6, 12, 16, 25)}
    assert told == {0: ("A",), 6: ("A", "B"), 12: ("A", "C"), 16: ("A", "C", "D"), 25: ("E",)}


def test_labels() -> None:
    assert label("a.md", Location(None, 3)) == "a.md:3"
    assert label("a.pdf", Location(2, 3, ("H",))) == "a.pdf, page 2"
    assert label("a.PPTX", Location(2, 3, ("H",))) == "a.PPTX, slide 2"
    assert label("a.srt", Location(None, 3, ("H",), 3600.4)) == "a.srt, at 1:00:00"


def test_a_row_knows_its_tables_head() -> None:
    text = "Prices:\n\n| part | price |\n| --- | ---: |\n| bolt | --- |\n| nut | 2 |\n\n| x |"
    whole = Passage(1, "1x", "a.md", "md", Span(50, 50 + len(text)), text, Location(None, 1), 0.5)
    found = {word: whole.head_above(50 + text.index(word)) for word in ("Prices", "part", "bolt", "nut", "x |")}
    assert found == {"Prices": "", "part": "", "bolt": "| part | price |", "nut": "| part | price |", "x |": ""}
    text = "| nut | 2 |\n| pin | 3 |"
    middle = Passage(1, "1x", "a.md", "md", Span(0, 23), text, Location(None, 1), 0.5, table_head="| part | price |")
    assert middle.head_above(2) == middle.head_above(14) == "| part | price |"


def test_times_of_a_recording() -> None:
    source = Source("a.srt", "One.\nTwo.\nThree.", "subtitles", times=(Cue(0, 1.5), Cue(5, 9.0), Cue(10, 70.25)))
    assert [source.seconds_at(i) for i in (0, 4, 5, 9, 10, 99)] == [1.5, 1.5, 9.0, 9.0, 70.25, 70.25]
    assert source.locate(12) == Location(None, 3, (), 70.25)
    assert Source("a.txt", "x", "text").seconds_at(0) is None
    assert Source("a.mp3", "xy", "audio", times=(Cue(1, 4.0),)).seconds_at(0) == 4.0


def answer() -> Answer:
    place = Location(2, 9, ("Methods",))
    passage = Passage(1, "1abc", "a.pdf", "pdf", Span(4, 9), "Text.", place, 0.5, (StageScore("dense", 0.5, 1),))
    citation = Citation(1, "a.pdf", place, Span(4, 9), "Text.", True)
    return Answer("Q?", "Text. [1]", False, None, 0.87654321, (citation,), (passage,), (Statement("Text.", (1,)),),
                  "extractive", {"retrieve": 0.123456}, {})  # fmt: skip


def test_the_json_form_of_an_answer() -> None:
    body = answer().to_dict()
    assert json.loads(json.dumps(body)) == body
    assert set(body) == {f.name for f in dataclasses.fields(Answer)}
    assert body["confidence"] == 0.8765
    assert body["citations"][0] == {
        "number": 1, "source": "a.pdf", "page": 2, "line": 9, "seconds": None, "ocr": False,
        "start": 4, "end": 9, "quote": "Text.", "table_head": "", "verified": True,
    }  # fmt: skip
    assert body["passages"][0]["stages"] == [{"stage": "dense", "score": 0.5, "rank": 1}]


def test_values_are_frozen_and_cross_process_borders() -> None:
    made = answer()
    assert pickle.loads(pickle.dumps(made)) == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.text = "other"  # type: ignore[misc]


def test_a_report_with_a_failed_file_is_not_ok() -> None:
    files = (FileReport("a", Outcome.INDEXED, chunks=2), FileReport("b", Outcome.EMPTY, "no text"))
    report = SyncReport(files, 1, 0, 0, 1, 0, 2, 2, 0, 9, 0.1, 1)
    assert report.ok
    assert [f.path for f in report.by_outcome(Outcome.EMPTY)] == ["b"]
    assert not dataclasses.replace(report, files=(*files, FileReport("c", Outcome.FAILED, "why"))).ok


def test_errors_cross_process_borders_whole() -> None:
    error = pickle.loads(pickle.dumps(errors.IndexLocked("it is locked", "wait")))
    assert (type(error), error.message, error.hint, str(error)) == (
        errors.IndexLocked, "it is locked", "wait", "it is locked\n  wait",
    )  # fmt: skip
    assert str(errors.RagError("alone")) == "alone"
    assert (errors.RagError("x").exit_code, errors.PromptError("x").exit_code) == (1, 2)
