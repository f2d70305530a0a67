"""Arguments and results of the tools. Their JSON schemas are what a client sees; unknown arguments are refused."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rag.types import Answer, Citation, FileReport, Passage

MOST_FILES = 500  # in one list
MOST_AROUND = 20  # chunks before or after


class Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid")


Path = Annotated[str, Field(description="A file as results name it: reports/2024.pdf")]


class Get(Arguments):
    path: Path
    first_line: Annotated[int | None, Field(ge=1, description="First line wanted. Default: the file's first.")] = None
    last_line: Annotated[int | None, Field(ge=1, description="Last line wanted. Default: only the first line.")] = None
    page: Annotated[int | None, Field(ge=1, description="A page instead of lines, in a file that has pages.")] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.page is not None and self.first_line is not None:
            raise ValueError("give page, or first_line and last_line, not both")
        if self.last_line is not None and self.first_line is None:
            raise ValueError("last_line needs first_line")
        return self


class Neighbours(Arguments):
    chunk_id: Annotated[str, Field(description="Of a passage, as search and ask give it.")]
    before: Annotated[int, Field(ge=0, le=MOST_AROUND, description="How many chunks before it.")] = 1
    after: Annotated[int, Field(ge=0, le=MOST_AROUND, description="How many chunks after it.")] = 1


class ListFiles(Arguments):
    path: Annotated[str | None, Field(description="Only files with this path; * stands for anything.")] = None
    first: Annotated[int, Field(ge=1, description="Begin with this file of the list; `next` of the last call.")] = 1
    limit: Annotated[int, Field(ge=1, le=MOST_FILES, description="How many files at most.")] = 100


class Nothing(Arguments):
    pass


# ---- results -----------------------------------------------------------------------------------------------------


class Place(BaseModel):
    file: str = Field(description="Path, relative to the document folder.")
    page: int | None = Field(description="From 1; null where the format has no pages.")
    line: int = Field(description="From 1, in the file's text as it was read.")
    seconds: float | None = Field(None, description="From the start of a recording; null for other files.")
    ocr: bool = Field(False, description="The page was a picture: a program guessed the words.")


class Found(Place):
    number: int
    score: float = Field(description="Higher is better; compares passages of one query only.")
    headings: list[str]
    text: str
    table_head: str = Field("", description="Head of the table in whose middle the text begins.")
    chunk_id: str = Field(description="For `neighbours`; valid until the file changes.")
    also_in: list[str] = Field(description="Other files with the same content.")


class SearchResult(BaseModel):
    passages: list[Found]


class Cited(Place):
    number: int = Field(description="Of the passage, as in the answer's [1].")
    quote: str
    table_head: str = Field("", description="Head of the table that the quote is a row of.")
    verified: bool = Field(description="These words stand at this place in the file.")


class Near(Place):
    number: int
    score: float
    chunk_id: str


class Short(BaseModel):
    text: str
    number: int = Field(description="Of the passage it stands in.")


class AskResult(BaseModel):
    answer: str
    short: list[Short] = Field(description="The few words that answer, best first, where they could be told.")
    abstained: bool = Field(description="True: the documents hold no answer, as far as could be found.")
    reason: str | None
    confidence: float = Field(description="0 to 1.")
    citations: list[Cited]
    passages: list[Near] = Field(description="What was looked at, best first.")
    generator: str


class GetResult(Place):
    title: str | None
    last_line: int
    lines: int = Field(description="Of the whole file.")
    pages: int | None = Field(description="Of the whole file.")
    text: str
    next_line: int | None = Field(description="Where to go on, when the text wanted was too long for one result.")


class Piece(Place):
    number: int = Field(description="Of the chunk in the file, from 1.")
    headings: list[str]
    text: str
    chunk_id: str
    wanted: bool = Field(description="The chunk that was asked for.")


class NeighboursResult(BaseModel):
    chunks: list[Piece]
    more_before: bool
    more_after: bool


class File(BaseModel):
    file: str
    outcome: str = Field(description="unchanged or indexed: it can be found; empty, unsupported, failed: it can't.")
    reason: str | None
    chunks: int


class ListFilesResult(BaseModel):
    files: list[File]
    total: int
    next: int | None = Field(description="`first` of the call that goes on; null at the end.")


class StatusResult(BaseModel):
    documents: str = Field(description="The document folder.")
    generation: int = Field(description="Counts the syncs that changed something.")
    files: int = Field(description="Those with text.")
    chunks: int
    characters: int
    outcomes: dict[str, int]
    not_indexed: list[File] = Field(description="Files that can't be found, with the reason; the first 50.")
    embedding: str
    generator: str
    syncing: bool = Field(description="A sync by this server is running.")
    sync_error: str | None = Field(description="Why the sync that this server began with failed.")


class SyncResult(BaseModel):
    added: int
    updated: int
    moved: int
    deleted: int
    unchanged: int
    not_indexed: list[File]
    chunks: int
    generation: int
    seconds: float


def place(p: Passage | Citation) -> dict[str, str | int | float | None]:
    here = p.location
    return {"file": p.source, "page": here.page, "line": here.line, "seconds": here.seconds, "ocr": here.ocr}


def found(p: Passage) -> Found:
    return Found.model_validate(
        {
            **place(p),
            "number": p.number,
            "score": round(p.score, 6),
            "headings": list(p.location.headings),
            "text": p.text,
            "table_head": p.table_head,
            "chunk_id": p.chunk_id,
            "also_in": list(p.also_in),
        }
    )


def asked(answer: Answer) -> AskResult:
    near = [
        {**place(p), "number": p.number, "score": round(p.score, 6), "chunk_id": p.chunk_id} for p in answer.passages
    ]
    cited = [
        {**place(c), "number": c.number, "quote": c.quote, "table_head": c.table_head, "verified": c.verified}
        for c in answer.citations
    ]
    return AskResult.model_validate(
        {
            "answer": answer.text,
            "short": [{"text": s.text, "number": s.number} for s in answer.short],
            "abstained": answer.abstained,
            "reason": answer.reason,
            "confidence": round(answer.confidence, 4),
            "citations": cited,
            "passages": near,
            "generator": answer.generator,
        }
    )


def file(report: FileReport) -> File:
    return File(file=report.path, outcome=report.outcome.value, reason=report.reason, chunks=report.chunks)
