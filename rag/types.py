"""The nouns that travel between the steps. Frozen, small, standard library only.

    Source ──split──> Chunk ──store──> (catalog) ──retrieve──> Passage ──answer──> Answer(Citation ...)

Offsets are characters (Python string indices), half-open, always into `Source.text`. Scores: higher is better.
Ranks: 1 is best. Pages and lines count from 1; times are seconds from a recording's start.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open range of characters [start, end) in a source's text."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a span needs 0 <= start <= end, got [{self.start}, {self.end})")

    def __len__(self) -> int:
        return self.end - self.start

    def __bool__(self) -> bool:
        """A span is a value, not a container: an empty one is still there."""
        return True

    def overlap(self, other: Span) -> int:
        """Number of characters in both spans."""
        return max(0, min(self.end, other.end) - max(self.start, other.start))

    def cut(self, text: str) -> str:
        return text[self.start : self.end]


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading at `start`; it governs the text up to the next heading of the same or a smaller level."""

    start: int
    level: int  # 1 is the outermost
    title: str


@dataclass(frozen=True, slots=True)
class Cue:
    """The text from `start` on was spoken, or shown, `seconds` after the recording began; up to the next cue."""

    start: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Location:
    """Where a character stands, in the words a person uses."""

    page: int | None  # None where the format has no pages; a slide or a notebook's cell is one
    line: int  # line within the source's text; 0 where there is none: a picture, a recording
    headings: tuple[str, ...] = ()
    seconds: float | None = None  # from the start of the recording; None where the text has no times
    ocr: bool = False  # the page was a picture: a program guessed the words


Within = Literal["text", "images", "audio"]  # what a search goes over
Space = Literal["images", "audio"]  # beside the texts': vectors of another kind, never compared with theirs


@dataclass(frozen=True, slots=True)
class Medium:
    """A picture or a recording of a source, decoded."""

    space: Space
    data: Any  # images: (height, width, 3) uint8, RGB; audio: (samples,) float32, mono, at the embedder's rate
    location: Location
    start: int = 0  # where in the source's text it stands


@dataclass(frozen=True)
class Source:
    """One file's text as loaded, and the map from its characters to page, line, headings and times.

    The text holds no BOM, no CR, no NUL and no lone surrogate: loaders replace them before anything counts
    characters, so offsets stay valid for whatever reads the text later.
    """

    path: str  # POSIX style, relative to the document folder
    text: str
    kind: str  # one of rag.load.KINDS: "md", "pdf", "code", ...
    title: str | None = None  # the document's own title, never made from the file's name
    pages: tuple[int, ...] = ()  # start offset of each page, ascending, first is 0; empty: format without pages
    headings: tuple[Heading, ...] = ()  # in order of start
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # what could not be read, for the report ("page 7: no text, scanned?")
    times: tuple[Cue, ...] = ()  # in order of start; empty: no recording
    media: tuple[Medium, ...] = field(default=(), repr=False, compare=False)  # as loaded only; the catalog has vectors

    @cached_property
    def _line_starts(self) -> list[int]:
        starts, at = [0], self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)
        return starts

    def line_at(self, offset: int) -> int:
        return bisect_right(self._line_starts, offset)

    def page_at(self, offset: int) -> int | None:
        return bisect_right(self.pages, offset) or 1 if self.pages else None

    def seconds_at(self, offset: int) -> float | None:
        """When these words are heard; before the first cue: as the first.

        >>> Source("a.srt", "One.\nTwo.", "subtitles", times=(Cue(0, 1.5), Cue(5, 133.0))).seconds_at(7)
        133.0
        """
        if not self.times:
            return None
        return self.times[max(0, bisect_right(self.times, offset, key=lambda cue: cue.start) - 1)].seconds

    @property
    def page_spans(self) -> list[Span]:
        """Of each page, in order; empty for a format without pages.

        >>> Source("a.pdf", "one two", "pdf", pages=(0, 4)).page_spans
        [Span(start=0, end=4), Span(start=4, end=7)]
        """
        return [Span(a, b) for a, b in zip(self.pages, (*self.pages[1:], len(self.text)), strict=False)]

    def heading_path_at(self, offset: int) -> tuple[str, ...]:
        """Titles of the headings above `offset`, outermost first.

        >>> s = Source("a.md", "# A\\n## B\\nx\\n# C\\ny", "md",
        ...            headings=(Heading(0, 1, "A"), Heading(4, 2, "B"), Heading(11, 1, "C")))
        >>> s.heading_path_at(9), s.heading_path_at(15)
        (('A', 'B'), ('C',))
        """
        stack: list[Heading] = []
        for heading in self.headings:
            if heading.start > offset:
                break
            while stack and stack[-1].level >= heading.level:
                stack.pop()
            stack.append(heading)
        return tuple(h.title for h in stack)

    def locate(self, offset: int) -> Location:
        page = self.page_at(offset)
        return Location(
            page, self.line_at(offset), self.heading_path_at(offset), self.seconds_at(offset), page in self.ocr_pages
        )

    @cached_property
    def ocr_pages(self) -> frozenset[int]:
        """Pages whose words a program read from a picture."""
        return frozenset(self.metadata.get("ocr_pages", ()))

    def line_span(self, first: int, last: int | None = None) -> Span:
        """Characters of lines first..last (1-based, inclusive), without the last line's newline."""
        last = first if last is None else last
        starts = self._line_starts
        if not 1 <= first <= len(starts) or last < first:
            raise ValueError(f"{self.path} has lines 1..{len(starts)}, asked for {first}..{last}")
        last = min(last, len(starts))
        end = starts[last] - 1 if last < len(starts) else len(self.text)
        return Span(starts[first - 1], end)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a source that is embedded. `source.text[span.start:span.end] == text`, always."""

    text: str
    span: Span
    location: Location
    prefix: str = ""  # title, headings and a table's head, before the text when it is embedded; never part of the span

    @property
    def embedded_text(self) -> str:
        return self.prefix + self.text

    @property
    def table_head(self) -> str:
        """The row at the head of the table in whose middle the chunk begins; "": there is none.

        >>> Chunk("| 3 | 4 |", Span(36, 45), Location(None, 4), "Sizes\n| a | b |\n").table_head
        '| a | b |'
        """
        last = self.prefix.rstrip("\n").rpartition("\n")[2]
        return last if last.startswith("| ") else ""


@dataclass(frozen=True, slots=True)
class StageScore:
    """What one retrieval stage said about a passage: `score` is that stage's own, `rank` counts from 1."""

    stage: str  # "dense", "lexical", "fusion", "mmr", ...
    score: float
    rank: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk as shown to the generator, numbered from 1."""

    number: int
    chunk_id: str
    source: str
    kind: str
    span: Span
    text: str
    location: Location
    score: float
    stages: tuple[StageScore, ...] = ()
    title: str | None = None
    also_in: tuple[str, ...] = ()  # other files with the same content
    table_head: str = ""  # of the table in whose middle the text begins; no part of the span
    space: Within = "text"  # of the vector it was found by; beside "text", `text` is empty

    @property
    def label(self) -> str:
        return label(self.source, self.location)

    @property
    def shown(self) -> str:
        """The text as a reader needs it: rows of a table below the table's head."""
        return f"{self.table_head}\n{self.text}" if self.table_head else self.text

    def head_above(self, start: int) -> str:
        """The row at the head of the table whose row holds character `start` of the source; "": of none."""
        lines = self.text[: start - self.span.start].split("\n")
        for at in range(len(lines) - 1, -1, -1):
            row = lines[at].strip()
            if not row.startswith("|"):
                return ""
            if "---" in row and not row.strip("|:- \t"):
                return lines[at - 1].strip() if at else self.table_head
        return self.table_head


@dataclass(frozen=True, slots=True)
class FoundSpan:
    """Words of a passage that may be the answer. `span` is in the passage's text; `score`: by how much they beat there
    being no answer in it (logits: start + end - nowhere)."""

    span: Span
    score: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reading model says of a question and one passage. Logits: 0 is undecided, higher is likelier."""

    relevance: float  # comparable between passages of one question
    answerable: float  # the answer stands in this passage
    spans: tuple[FoundSpan, ...]  # best first, none overlapping


def label(source: str, location: Location) -> str:
    """How a place is named to people: `handbook.pdf, page 3` or `notes.md:41 (Tokenization > Padding)`.

    >>> label("handbook.pdf", Location(3, 120))
    'handbook.pdf, page 3'
    >>> label("notes.md", Location(None, 41, ("Tokenization", "Padding")))
    'notes.md:41 (Tokenization > Padding)'
    >>> label("talk.srt", Location(None, 41, seconds=133.4))
    'talk.srt, at 02:13'
    >>> label("photo.jpg", Location(None, 0))
    'photo.jpg'
    >>> label("scan.pdf", Location(3, 120, ocr=True))
    'scan.pdf, page 3 (read by OCR)'
    """
    if location.seconds is not None:
        return f"{source}, at {clock(location.seconds)}"
    if location.page is not None:
        return f"{source}, {_page_word(source)} {location.page}{' (read by OCR)' if location.ocr else ''}"
    if not location.line:
        return source
    headings = f" ({' > '.join(location.headings)})" if location.headings else ""
    return f"{source}:{location.line}{headings}"


def _page_word(source: str) -> str:
    name = source.lower()
    return "slide" if name.endswith((".pptx", ".pptm")) else "cell" if name.endswith(".ipynb") else "page"


def clock(seconds: float) -> str:
    """As players show it.

    >>> clock(133.9), clock(3733)
    ('02:13', '1:02:13')
    """
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


@dataclass(frozen=True, slots=True)
class Citation:
    """Exact words of a source that support a statement. `number` is the passage's number in the answer."""

    number: int
    source: str
    location: Location
    span: Span
    quote: str
    verified: bool  # the quote stands at this span in the catalog's text
    table_head: str = ""  # of the table that the quote is a row of

    @property
    def label(self) -> str:
        return label(self.source, self.location)


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence of an answer, with the numbers of the passages it rests on (none: unsupported)."""

    text: str
    citations: tuple[int, ...] = ()
    supported: bool = True


@dataclass(frozen=True, slots=True)
class ShortAnswer:
    """The few words that answer, as they stand in passage `number`; among the citations too."""

    text: str
    number: int


@dataclass(frozen=True, slots=True)
class Answer:
    question: str
    text: str
    abstained: bool
    reason: str | None  # why it abstained, or why the extractive answer stands in; None when neither
    confidence: float  # 0..1, calibrated: share of answers this confident that were right on held-out data
    citations: tuple[Citation, ...]
    passages: tuple[Passage, ...]
    statements: tuple[Statement, ...]
    generator: str
    timings: dict[str, float]  # seconds per stage
    tokens: dict[str, int]  # "prompt", "completion", where the generator counts
    dropped_quotes: int = 0
    short: tuple[ShortAnswer, ...] = ()  # of the embedded reader, best first; several when passages differ

    def to_dict(self) -> dict[str, Any]:
        """The JSON form, documented in docs/answer.md."""
        return {
            "question": self.question,
            "text": self.text,
            "abstained": self.abstained,
            "reason": self.reason,
            "confidence": round(self.confidence, 4),
            "citations": [
                {
                    "number": c.number,
                    "source": c.source,
                    "page": c.location.page,
                    "line": c.location.line,
                    "seconds": c.location.seconds,
                    "ocr": c.location.ocr,
                    "start": c.span.start,
                    "end": c.span.end,
                    "quote": c.quote,
                    "table_head": c.table_head,
                    "verified": c.verified,
                }
                for c in self.citations
            ],
            "passages": [passage_to_dict(p) for p in self.passages],
            "statements": [
                {"text": s.text, "citations": list(s.citations), "supported": s.supported} for s in self.statements
            ],
            "short": [{"text": s.text, "number": s.number} for s in self.short],
            "generator": self.generator,
            "timings": {k: round(v, 4) for k, v in self.timings.items()},
            "tokens": dict(self.tokens),
            "dropped_quotes": self.dropped_quotes,
        }


def passage_to_dict(p: Passage) -> dict[str, Any]:
    return {
        "number": p.number,
        "source": p.source,
        "page": p.location.page,
        "line": p.location.line,
        "seconds": p.location.seconds,
        "ocr": p.location.ocr,
        "headings": list(p.location.headings),
        "start": p.span.start,
        "end": p.span.end,
        "score": round(p.score, 6),
        "text": p.text,
        "table_head": p.table_head,
        "chunk_id": p.chunk_id,
        "also_in": list(p.also_in),
        "space": p.space,
        "stages": [{"stage": s.stage, "score": round(s.score, 6), "rank": s.rank} for s in p.stages],
    }


class Outcome(StrEnum):
    """What became of a file in a sync. Each file ends in exactly one."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    EMPTY = "empty"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class FileReport:
    path: str
    outcome: Outcome
    reason: str | None = None  # always set for EMPTY, UNSUPPORTED and FAILED
    chunks: int = 0
    pictures: int = 0  # a picture itself, or those in a document
    windows: int = 0  # of a recording


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a sync did. `num_*` count files; `embedded` and `reused` count chunk vectors."""

    files: tuple[FileReport, ...]
    num_added: int
    num_updated: int
    num_moved: int
    num_skipped: int
    num_deleted: int
    chunks: int
    embedded: int
    reused: int
    tokens: int
    seconds: float
    generation: int

    def counts(self) -> dict[str, int | float]:
        """All but the files, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "files"}

    def by_outcome(self, outcome: Outcome) -> Iterator[FileReport]:
        return (f for f in self.files if f.outcome is outcome)

    @property
    def ok(self) -> bool:
        return not any(self.by_outcome(Outcome.FAILED))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `rag doctor` looked at."""

    name: str
    ok: bool
    told: str  # what was found
    hint: str = ""  # what to do when it isn't ok


@dataclass(frozen=True, slots=True)
class Health:
    """Whether an index is what it says it is."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    """An index that was written to a file, or read from one."""

    files: int
    chunks: int
    vectors: int
    bytes: int  # of the file
    seconds: float


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat, as it goes to a generator."""

    role: Literal["system", "user", "assistant"]
    content: str
