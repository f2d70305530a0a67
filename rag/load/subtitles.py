"""Subtitles and transcripts (srt, vtt): what is said, a line a cue, with the time of each: `talk.srt, at 02:13`.

WebVTT as in https://www.w3.org/TR/webvtt1/, SubRip as players read it. Marks of style and position are left out, and so
are notes, styles and cues without words. A paragraph ends where nothing is said for PAUSE_S.
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
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_MARK = re.compile(r"<[^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")
_ENTITY = re.compile(r"&(?:amp|lt|gt|nbsp|lrm|rlm);")
_NOT_CUES = ("WEBVTT", "NOTE", "STYLE", "REGION")


def load(data: bytes, relative: str, config: Load) -> Source:
    text, encoding, warnings = decode(data)
    parts: list[str] = []
    times: list[Cue] = []
    length, last, unread = 0, 0.0, 0
    for block in re.split(r"\n[ \t]*\n", text.strip("\n")):
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines[:2]) if "-->" in line), None)
        timing = _TIMING.fullmatch(lines[at]) if at is not None else None
        if timing is None:
            unread += not block.lstrip().startswith(_NOT_CUES) and bool(block.strip())
            continue
        said = " ".join(_plain(" ".join(lines[(at or 0) + 1 :])).split())
        if not said:
            continue
        start, end = _seconds(timing.groups()[:4]), _seconds(timing.groups()[4:])
        gap = "" if not parts else "\n\n" if start - last > PAUSE_S else "\n"
        times.append(Cue(length + len(gap), start))
        parts.append(gap + said)
        length += len(gap) + len(said)
        last = end
    if not parts and unread:
        raise DocumentError("holds no cue with its time", "a cue is 00:01:02,500 --> 00:01:04,000 and the words below")
    if unread:
        warnings = (*warnings, f"{unread} blocks without a time left out")
    metadata = {"encoding": encoding}
    return Source(relative, "".join(parts), "subtitles", metadata=metadata, warnings=warnings, times=tuple(times))


def _seconds(fields: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (f or "0" for f in fields)
    return int(hours) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _plain(text: str) -> str:
    return _ENTITY.sub(lambda m: unescape(m[0]), _MARK.sub("", text))
