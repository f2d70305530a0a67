"""Subtitles and transcripts (srt, vtt): what is said, a line a cue, with the time of each: `talk.srt, at 02:13`.

WebVTT as in https://www.w3.org/TR/webvtt1/, SubRip as players read it. Marks of style and position are left out, and so
are notes, styles and cues without words. Who speaks (`<v Ann>`) stands before the words where that changes. Captions
that roll, as YouTube makes them, show each line twice: it is taken once. A paragraph ends where nothing is said for
PAUSE_S.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

from rag.errors import DocumentError
from rag.load.decode import decode
from rag.types import Cue, Source

if TYPE_CHECKING:
    from rag.config import Load

PAUSE_S = 3.0
AT_ONCE_S = 0.1  # between two cues that roll
MOST_ROLLED = 10  # lines
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_MARK = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_SPEAKER = re.compile(r"<v(?:\.[^<>\s]{0,100})?\s([^<>\n]{1,200})>")
_ENTITY = re.compile(r"&(?:amp|lt|gt|nbsp|lrm|rlm);")
_NOT_CUES = ("WEBVTT", "NOTE", "STYLE", "REGION")


def load(data: bytes, relative: str, config: Load) -> Source:
    text, encoding, warnings = decode(data)
    parts: list[str] = []
    times: list[Cue] = []
    length, last, unread = 0, 0.0, 0
    before, speaker = list[str](), ""
    rolls = text.startswith("WEBVTT")
    for block in re.split(r"\n\n" if rolls else r"\n[ \t]*\n", text.strip("\n")):
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines[:2]) if "-->" in line), None)
        timing = _TIMING.fullmatch(lines[at]) if at is not None else None
        if timing is None:
            unread += not block.lstrip().startswith(_NOT_CUES) and bool(block.strip())
            continue
        start, end = _seconds(timing.groups()[:4]), _seconds(timing.groups()[4:])
        gap = "" if not parts else "\n\n" if start - last > PAUSE_S else "\n"
        speaker = "" if gap == "\n\n" else speaker
        shown, speaker = _with_speakers(lines[(at or 0) + 1 :], speaker)
        new = shown
        if rolls and abs(start - last) < AT_ONCE_S:
            new = shown[next((n for n in range(min(len(shown), MOST_ROLLED), 0, -1) if before[-n:] == shown[:n]), 0) :]
        before = shown or before
        said = " ".join(new)
        last = end
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
    return _ENTITY.sub(lambda m: unescape(m[0]), _MARK.sub("", text))
