"""Subtitles: words with their times."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.config import Load
from rag.errors import DocumentError
from rag.load import load_file
from rag.load.subtitles import load
from rag.types import Source, label

SRT = """\ufeff1
00:00:01,500 --> 00:00:03,000
<i>The heron</i> stands
in the river.

2
00:00:03,200 --> 00:00:05,000 X1:40 X2:600
{\\an8}It waits.

3
00:02:13,000 --> 00:02:15,000
Copper melts at 1085 degrees.
"""
VTT = """WEBVTT - A talk

NOTE nobody reads this

STYLE
::cue { color: lime }

intro
01.500 --> 00:03.000
not a time

00:04.000 --> 00:06.000 align:start
<v Ann>Tom &amp; Jerry <00:05.000>run.

01:02:03.004 --> 01:02:05.000
Late.
"""


def read(text: str, name: str) -> Source:
    return load(text.encode(), name, Load())


def test_who_speaks_is_told_where_it_changes() -> None:
    source = read(
        "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Anna Schmidt>Hello all.</v>\n\n"
        "00:02.500 --> 00:03.000\n<v Anna Schmidt>So.\n\n"
        "00:03.500 --> 00:05.000\n<v.loud Bob>No budget.</v> <v Cleo>Why?\n\n00:10.000 --> 00:11.000\n<v Cleo>Well.\n",
        "a.vtt",
    )
    assert source.text == "Anna Schmidt: Hello all.\nSo.\nBob: No budget. Cleo: Why?\n\nCleo: Well."


def test_captions_that_roll_are_taken_once() -> None:
    source = read(
        "WEBVTT\n\n00:00:00.160 --> 00:00:02.470 align:start position:0%\n \nhello<00:00:00.480><c> everyone</c>\n\n"
        "00:00:02.470 --> 00:00:02.480 align:start position:0%\nhello everyone\n \n\n"
        "00:00:02.480 --> 00:00:05.000 align:start position:0%\nhello everyone\n"
        "welcome<00:00:02.800><c> to the show</c>\n\n"
        "00:00:05.000 --> 00:00:05.010 align:start position:0%\nwelcome to the show\n \n\n"
        "00:00:07.000 --> 00:00:08.000\nwelcome to the show\n",
        "a.vtt",
    )
    assert source.text == "hello everyone\nwelcome to the show\nwelcome to the show"
    assert (source.warnings, [c.seconds for c in source.times]) == ((), [0.16, 2.48, 7.0])


def test_srt(tmp_path: Path) -> None:
    file = tmp_path / "talk.srt"
    file.write_text(SRT, encoding="utf-8")
    source = load_file(file, "talk.srt", Load())
    assert source.text == "The heron stands in the river.\nIt waits.\n\nCopper melts at 1085 degrees."
    assert [(c.start, c.seconds) for c in source.times] == [(0, 1.5), (31, 3.2), (42, 133.0)]
    assert label("talk.srt", source.locate(source.text.index("melts"))) == "talk.srt, at 02:13"


def test_vtt_takes_the_words_and_leaves_the_rest() -> None:
    source = read(VTT, "talk.vtt")
    assert source.text == "Ann: Tom & Jerry run.\n\nLate."
    assert [c.seconds for c in source.times] == [4.0, 3723.004]
    assert source.warnings == ("1 blocks without a time left out",)


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        ("If load < 2 t and slope > 5 %, use a and <b.", "If load < 2 t and slope > 5 %, use a and <b."),
        ("a<b and c>d, <5 or 6>, f<int>", "a<b and c>d, <5 or 6>, f<int>"),
        ('<c.green.bg_x>5 < 6</c> <lang en>yes</lang> <FONT color="#fff">12</FONT>', "5 < 6 yes 12"),
        ("<i>so</I> <00:01:02.500>it<00:03.000> <b>is</b><br/>{\\an8}done", "so it is done"),
    ],
)
def test_only_marks_are_taken_for_marks(words: str, plain: str) -> None:
    assert read(f"1\n00:00:01,000 --> 00:00:02,000\n{words}\n", "a.srt").text == plain


def test_a_cue_goes_from_its_times_to_the_next() -> None:
    tight = "1\n00:00:01,000 --> 00:00:02,000\nOne\nof 2\n2\n00:00:02,000 --> 00:00:03,000\nTwo.\n"
    assert read(tight, "a.srt").text == "One of 2\nTwo."
    torn = "1\n00:00:01,000 --> 00:00:02,000\nOne\n\nNOTES follow.\n\n2\n00:00:02,000 --> 00:00:03,000\n3 --> 4.\n"
    source = read(torn, "a.srt")
    assert (source.text, source.warnings) == ("One NOTES follow.\n3 --> 4.", ())
    web = "00:01.000 --> 00:02.000\nOne\n\nof 2\n\nNOTE no\n\nname\n00:02.000 --> 00:03.000\nB"
    assert read(f"WEBVTT\nKind: captions\n\nintro\n{web}", "a.vtt").text == "One of 2\nB"


def test_what_is_said_twice_stands_twice() -> None:
    cues = "00:01.000 --> 00:02.000\n- No.\n\n00:02.000 --> 00:03.000\n- No.\n"
    assert read(f"WEBVTT\n\n{cues}", "a.vtt").text == "- No.\n- No."


def test_a_file_without_a_cue_is_refused() -> None:
    with pytest.raises(DocumentError, match="no cue with its time"):
        read("Just some words.", "talk.srt")


@given(st.text(alphabet="01:,.->\n <>{}\\\\ab&;", max_size=200))
def test_whatever_it_holds_it_ends_in_one_outcome(text: str) -> None:
    try:
        source = read(text, "a.srt")
    except DocumentError:
        return
    assert [c.start for c in source.times] == sorted(c.start for c in source.times)
    assert all(c.start < len(source.text) for c in source.times)
