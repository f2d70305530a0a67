"""Subtitles and transcripts (srt, vtt): what is said, a line a cue, with the time of each: `talk.srt, at 02:13`.

WebVTT as in https://www.w3.org/TR/webvtt1/, SubRip as players read it. A cue goes from its timing to the next one: an
empty line neither has to end it nor does. Marks of style and position are left out, and so are notes, styles and cues
without words. Who speaks (`<v Ann>`) stands before the words where that changes. Captions that roll, as YouTube makes
them, show each line twice: it is taken once. A paragraph ends where nothing is said for PAUSE_S.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from typing import TYPE_CHECKING

from rag.errors import DocumentError
from rag.load.decode import decode
from rag.types import Cue, Source

if TYPE_CHECKING:
    from rag.config import Load

PAUSE_S = 3.0
AT_ONCE_S = 0.1  # between two cues that roll; and no longer stands one that only passes a line on
MOST_ROLLED = 10  # lines
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_BEGINS = re.compile(r"\s*\d+[:.,][\d:.,]*\s*-->")  # a cue, though its times may be none
_NUMBER = re.compile(r"\s*\d+\s*")
_MARK = re.compile(  # no other `<`: "load < 2 t and slope > 5 %" are words
    r"</?(?:[ibusc]|em|strong|ruby|rt)(?:\.[^<>\s]{0,100})?\s{0,9}/?>"
    r"|</?(?:v|lang|font|span)(?:[.\s][^<>\n]{0,200})?>"
    r"|<(?:\d{1,4}:)?\d{1,2}:\d{2}\.\d{3}>"
    r"|\{\\[^{}\n]{0,200}\}",
    re.IGNORECASE,
)
_BREAK = re.compile(r"<br\s{0,9}/?>", re.IGNORECASE)
_SPEAKER = re.compile(r"<v(?:\.[^<>\s]{0,100})?\s([^<>\n]{1,200})>")
_ENTITY = re.compile(r"&(?:amp|lt|gt|nbsp|lrm|rlm);")
_NO_CUE = re.compile(r"(?:WEBVTT|NOTE|STYLE|REGION)(?:\s|$)")


def load(data: bytes, relative: str, config: Load) -> Source:
    text, encoding, warnings = decode(data)
    parts: list[str] = []
    times: list[Cue] = []
    length, last, lasted, unread = 0, 0.0, 0.0, 0
    before, speaker = list[str](), ""
    rolls = text.startswith("WEBVTT")
    for begin, lines in _cues(text, named=rolls):
        timing = _TIMING.fullmatch(begin)
        if timing is None:
            unread += any(map(str.strip, (begin, *lines)))
            continue
        start, end = _seconds(timing.groups()[:4]), _seconds(timing.groups()[4:])
        gap = "" if not parts else "\n\n" if start - last > PAUSE_S else "\n"
        speaker = "" if gap == "\n\n" else speaker
        shown, speaker = _with_speakers(lines, speaker)
        new = shown
        if rolls and abs(start - last) < AT_ONCE_S:
            new = _new(before, shown, passing=min(lasted, end - start) < AT_ONCE_S)
        before = shown or before
        said = " ".join(new)
        last, lasted = end, end - start
        if not said:
            continue
        times.append(Cue(length + len(gap), start))
        parts.append(gap + said)
        length += len(gap) + len(said)
    if not parts and unread:
        raise DocumentError("holds no cue with its time", "a cue is 00:01:02,500 --> 00:01:04,000 and the words below")
    if unread:
        warnings = (*warnings, f"{unread} blocks without a time left out")
    metadata = {"encoding": encoding}
    return Source(relative, "".join(parts), "subtitles", metadata=metadata, warnings=warnings, times=tuple(times))


def _cues(text: str, *, named: bool) -> Iterator[tuple[str, list[str]]]:
    """The line with the times of each cue, and the lines below it; first, below "", what stands before all cues.
    `named`: as in WebVTT, where any line may be a cue's name, and notes and styles stand between cues."""
    begin, lines, skipped, after_empty, count = "", list[str](), False, True, 0
    for line in text.split("\n"):
        if _BEGINS.match(line):
            parted = not begin or lines[-2:-1] == [""]
            number = int(lines[-1]) if lines and _NUMBER.fullmatch(lines[-1]) else -1
            if lines and ((parted and (named or number >= 0)) or (not named and number in (count, count + 1))):
                lines.pop()  # its number or name; else the last words of the cue before: "It was / 1984"
            count += 1
            yield begin, lines
            begin, lines, skipped = line, [], False
        else:
            skipped = named and (skipped or (after_empty and bool(_NO_CUE.match(line)))) and line != ""
            if not skipped:
                lines.append(line)
        after_empty = line == ""
    yield begin, lines


def _new(before: list[str], shown: list[str], *, passing: bool) -> list[str]:
    """The lines of a cue below those that the one before ended with. Where none are left, the same was said again,
    unless one of the two was only passing."""
    most = min(len(shown), MOST_ROLLED)
    rolled = next((n for n in range(most, 0, -1) if before[-n:] == shown[:n]), 0)
    return shown[rolled:] if passing or rolled < len(shown) else shown


def _seconds(fields: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (f or "0" for f in fields)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _with_speakers(lines: list[str], speaker: str) -> tuple[list[str], str]:
    """The words of a cue's lines, and who spoke last. `speaker`: who did before."""

    def named(mark: re.Match[str]) -> str:
        nonlocal speaker
        name = " ".join(mark[1].split())
        told, speaker = ("" if name == speaker else f"{name}: "), name
        return told

    words = (" ".join(_plain(_SPEAKER.sub(named, line)).split()) for line in lines)
    return [line for line in words if line], speaker


def _plain(text: str) -> str:
    return _ENTITY.sub(lambda m: unescape(m[0]), _MARK.sub("", _BREAK.sub(" ", text)))
