"""What comes in and goes out, for FastAPI's checks and the OpenAPI schema. The fields of an answer: docs/answer.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from rag.types import Within

QUESTION = "How long is a search index kept before it is rebuilt?"
MOST_TURNS = 2000  # only the last few are used; the size of a body bounds them anyway


class Form(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Filter = str | dict[str, Any] | None
FILTER = "As `--filter`, or $eq $in $and … as a mapping"
HISTORY = "What was said before; a model rewrites the question"


class Searching(Form):
    query: Text = Field(examples=[QUESTION])
    filter: Filter = Field(None, examples=["type=pdf page>=3"], description=FILTER)
    top_k: StrictInt | None = Field(None, ge=1, le=1000, description="How many passages; null: as configured")
    kind: Literal["hybrid", "dense", "lexical"] | None = None
    min_score: StrictFloat | None = None
    mmr: StrictBool | None = Field(None, description="Prefer passages that differ from each other")
    neighbours: StrictInt | None = Field(None, ge=0, le=10, description="Chunks to add around each hit")


class Turn(Form):
    role: Literal["user", "assistant"]
    content: str = Field(max_length=100_000)


class Question(Form):
    question: Text = Field(examples=[QUESTION])
    history: list[Turn] = Field([], max_length=MOST_TURNS, description=HISTORY)
    filter: Filter = Field(None, examples=["path=ops/*"])
    top_k: StrictInt | None = Field(None, ge=1, le=1000)
    kind: Literal["hybrid", "dense", "lexical"] | None = None
    min_score: StrictFloat | None = None
    stream: StrictBool = Field(False, description="Answer as server-sent events")


class Stage(BaseModel):
    stage: str
    score: float
    rank: int


class PassageOut(BaseModel):
    number: int
    source: str
    page: int | None
    line: int
    seconds: float | None
    ocr: bool
    headings: list[str]
    start: int
    end: int
    score: float
    text: str
    table_head: str
    chunk_id: str
    also_in: list[str]
    space: Within
    stages: list[Stage]


class Found(BaseModel):
    query: str
    passages: list[PassageOut]
    timings: dict[str, float]


class CitationOut(BaseModel):
    number: int
    source: str
    page: int | None
    line: int
    seconds: float | None
    ocr: bool
    start: int
    end: int
    quote: str
    table_head: str
    verified: bool


class StatementOut(BaseModel):
    text: str
    citations: list[int]
    supported: bool


class ShortOut(BaseModel):
    text: str
    number: int


class AnswerOut(BaseModel):
    question: str
    text: str
    abstained: bool
    reason: str | None
    confidence: float
    citations: list[CitationOut]
    passages: list[PassageOut]
    statements: list[StatementOut]
    short: list[ShortOut] = Field(description="The few words that answer, before the sentences; mostly none")
    generator: str
    timings: dict[str, float]
    tokens: dict[str, int]
    dropped_quotes: int


class Said(BaseModel):
    type: str
    message: str
    hint: str


class ProblemOut(BaseModel):
    error: Said


class Health(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    ready: bool
    reason: str | None


class Overview(BaseModel):
    """`rag status`, and what the server answers with."""

    name: str
    generator: str
    generation: int
    files: int
    chunks: int
    characters: int
    outcomes: dict[str, int]
    embedding: dict[str, Any] | None
    splitting: dict[str, Any] | None
    warnings: dict[str, list[str]]
    rewrites: bool = Field(description="Whether a follow-up question is rewritten with what was said before")
    changes: bool = Field(description="Whether files may be uploaded and deleted")
    syncing: bool
    min_confidence: float


class SyncOptions(Form):
    reindex: StrictBool = Field(False, description="The model or splitter changed: make the index anew")
    rebuild: StrictBool = Field(False, description="Make the derived indexes anew from the catalog")
    allow_empty: StrictBool = Field(False, description="The folder was emptied on purpose")


class NotIndexed(BaseModel):
    path: str
    outcome: str
    reason: str


class SyncReportOut(BaseModel):
    ok: bool
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


class SyncOut(BaseModel):
    state: Literal["idle", "running", "stopping", "done", "stopped", "failed"]
    number: int = Field(description="Counts the syncs since the server started")
    files: int = Field(description="Files seen")
    settled: int = Field(description="Files that were more than looked at")
    tokens: int
    bytes: int
    total_bytes: int
    not_indexed: list[NotIndexed]
    report: SyncReportOut | None
    error: Said | None


class FileOut(BaseModel):
    path: str
    outcome: str
    reason: str | None
    chunks: int
    pictures: int = Field(description="A picture itself, or those in a document")
    windows: int = Field(description="Of a recording")


class Files(BaseModel):
    files: list[FileOut]


class PageSpan(BaseModel):
    page: int
    start: int
    end: int


class HeadingOut(BaseModel):
    start: int
    level: int
    title: str


class CueOut(BaseModel):
    start: int
    seconds: float


class TextOut(BaseModel):
    path: str
    kind: str
    title: str | None
    characters: int = Field(description="Of the whole text")
    start: int
    end: int
    line: int = Field(description="Number of the first line here")
    text: str
    pages: list[PageSpan]
    headings: list[HeadingOut]
    times: list[CueOut]
    warnings: list[str]


class PageOut(BaseModel):
    path: str
    page: int
    pages: int
    width: float = Field(description="Points")
    height: float
    boxes: list[list[float]] = Field(description="Left, top, width and height, as fractions of the page")
    found: bool | None
    note: str


class StoredFile(BaseModel):
    path: str
    bytes: int


class Stored(BaseModel):
    stored: list[StoredFile]
