"""The tools: what each does with the Rag, and what it says. None of it knows the protocol.

A tool's function runs in a thread. It gets a `Call` and returns its result twice: as text for the model, with
everything from documents behind a fresh marker, and as the fields of its schema.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import BaseModel

from rag import agents
from rag.build import Rag
from rag.errors import Cancelled, RagError
from rag.prompt import MARKER_NOTICE, fresh_marker, one_line
from rag.serve.mcp import forms
from rag.types import Answer, SyncReport

MOST_CHARS = 40_000  # of a file's text in one result: about 10,000 tokens of an agent's window
LISTED = 50  # files that aren't indexed, in one result
AT_ONCE = 8  # calls that work in threads at the same time, and questions beside them; the next ones wait
TELL_S = 0.25  # between two words about a text that grows

Tell = Callable[[float, float | None, str], None]  # progress, total, message
Told = Callable[[Answer], None]  # hears the answer that a turn was taken for
Turn = Callable[[threading.Event], AbstractContextManager[Told]]


@contextmanager
def at_once(cancel: threading.Event) -> Iterator[Told]:
    yield lambda answer: None


class Preparing(Protocol):
    @property
    def running(self) -> bool: ...
    @property
    def error(self) -> RagError | None: ...
    def wait(self, tell: Tell, cancel: threading.Event) -> None: ...


@dataclass(frozen=True)
class Library:
    """What is served. `turn` is held while an answer is made, so a server can let one model write at a time: it gets
    the call's cancel event and may block, or raise a RagError. `preparing`: a sync that goes on beside the calls, if
    there is one. `most_asks`: questions that have a thread each; more than `turn` lets in, where it sends some away.
    `at_work`: the cancel events of the calls that are being worked on."""

    rag: Rag
    allow_sync: bool = False
    turn: Turn = at_once
    preparing: Preparing | None = None
    most_asks: int = AT_ONCE
    at_work: set[threading.Event] = field(default_factory=set)


@dataclass(frozen=True)
class Call:
    library: Library
    tell: Tell  # may be called from any thread; costs nothing when nobody listens
    cancel: threading.Event

    @property
    def rag(self) -> Rag:
        """Once there is something to look at."""
        if self.library.preparing:
            self.library.preparing.wait(self.tell, self.cancel)
        return self.library.rag

    def check(self) -> None:
        if self.cancel.is_set():
            raise Cancelled("the call was cancelled")


Run = Callable[[Call, Any], tuple[str, BaseModel]]


@dataclass(frozen=True)
class Tool:
    name: str
    title: str
    description: str
    arguments: type[BaseModel]
    result: type[BaseModel]
    run: Run
    writes: bool = False


def tools(library: Library) -> dict[str, Tool]:
    return {tool.name: tool for tool in ALL if library.allow_sync or not tool.writes}


# ---- finding -----------------------------------------------------------------------------------------------------


def search(call: Call, args: agents.Search) -> tuple[str, BaseModel]:
    filter = agents.narrowed(None, args.path, args.type)
    passages = call.rag.search(args.query, args.k, filter)
    return agents.passages_text(passages), forms.SearchResult(passages=[forms.found(p) for p in passages])


def ask(call: Call, args: agents.Ask) -> tuple[str, BaseModel]:
    filter = agents.narrowed(None, args.path, args.type)
    rag, step, told, written = call.rag, 0, 0.0, 0
    answer: Answer | None = None
    with call.library.turn(call.cancel) as told_of:
        for event in rag.stream(args.question, filter=filter, cancel=call.cancel, top_k=args.k):
            call.check()
            match event.kind:
                case "stage":
                    step += 1
                    call.tell(step, None, {"retrieve": "searching", "generate": "writing"}.get(event.value, "reading"))
                case "passages":
                    step += 1
                    call.tell(step, None, f"{len(event.value)} passages found")
                case "text":  # what a model writes is checked at the end, so only its length is told
                    written += len(event.value)
                    if time.monotonic() - told > TELL_S:
                        told, step = time.monotonic(), step + 1
                        call.tell(step, None, f"{written} characters written")
                case "answer":
                    answer = event.value
        assert answer is not None  # the last event
        told_of(answer)
    return agents.answer_text(answer), forms.asked(answer)


# ---- reading -----------------------------------------------------------------------------------------------------


def get(call: Call, args: forms.Get) -> tuple[str, BaseModel]:
    source, span = call.rag.get(args.path, args.first_line, args.last_line, args.page)
    text, next_line = span.cut(source.text), None
    first = source.line_at(span.start)
    if len(text) > MOST_CHARS:
        whole_lines = text.rfind("\n", 0, MOST_CHARS)
        text = text[: whole_lines if whole_lines > 0 else MOST_CHARS]
        next_line = first + text.count("\n") + 1
        if next_line > source.line_at(max(span.end - 1, span.start)):
            next_line = None  # one line that is too long by itself
    last = first + text.count("\n")
    location = source.locate(span.start)
    result = forms.GetResult(
        file=source.path,
        page=location.page,
        line=first,
        seconds=location.seconds,
        ocr=location.ocr,
        title=source.title,
        last_line=last,
        lines=source.line_at(len(source.text)),
        pages=len(source.pages) or None,
        text=text,
        next_line=next_line,
    )
    marker = fresh_marker([text, source.path])
    cut = len(text) < len(span)
    more = f" Cut: go on with first_line={next_line}." if next_line else " Cut: one very long line." if cut else ""
    return _fenced(marker, f"Lines {first} to {last} of {result.lines}.{more}", [one_line(source.path), text]), result


def neighbours(call: Call, args: forms.Neighbours) -> tuple[str, BaseModel]:
    around = call.rag.neighbours(args.chunk_id, args.before, args.after + 1)  # one more tells whether there is more
    at = next(i for i, p in enumerate(around) if p.chunk_id == args.chunk_id)
    shown = around[: at + args.after + 1]
    chunks = [
        forms.Piece.model_validate(
            {
                **forms.place(p),
                "number": p.number,
                "headings": list(p.location.headings),
                "text": p.text,
                "chunk_id": p.chunk_id,
                "wanted": p.chunk_id == args.chunk_id,
            }
        )
        for p in shown
    ]
    result = forms.NeighboursResult(chunks=chunks, more_before=shown[0].number > 1, more_after=len(around) > len(shown))
    marker = fresh_marker([part for p in shown for part in (p.text, p.label)])
    parts = [f"[{p.number}] {one_line(p.label)}\n{p.text}" for p in shown]
    return _fenced(marker, "Chunks in reading order, numbered as in the file.", parts), result


# ---- the folder --------------------------------------------------------------------------------------------------


def list_files(call: Call, args: forms.ListFiles) -> tuple[str, BaseModel]:
    every = [f for f in call.rag.files() if agents.named(f.path, args.path)]
    shown = every[args.first - 1 : args.first - 1 + args.limit]
    after = args.first + len(shown)
    result = forms.ListFilesResult(
        files=[forms.file(f) for f in shown], total=len(every), next=after if after <= len(every) else None
    )
    lines = [one_line(f"{f.path} ({f.reason or f.outcome.value})") for f in shown]
    head = f"{len(shown)} of {len(every)} files." + (f" Go on with first={after}." if result.next else "")
    return _fenced(fresh_marker(lines), head, lines), result


def status(call: Call, args: forms.Nothing) -> tuple[str, BaseModel]:
    rag = call.rag
    body, files = rag.status(), rag.files()
    preparing = call.library.preparing
    result = forms.StatusResult(
        documents=body["documents"],
        generation=body["generation"],
        files=body["files"],
        chunks=body["chunks"],
        characters=body["characters"],
        outcomes=body["outcomes"],
        not_indexed=[forms.file(f) for f in files if f.reason][:LISTED],
        embedding=str(body["embedding"]["model"]),
        generator=rag.generator_name,
        syncing=preparing is not None and preparing.running,
        sync_error=agents.error_text(preparing.error) if preparing and preparing.error else None,
    )
    lines = [one_line(f"{f.file}: {f.reason}") for f in result.not_indexed]
    head = (
        f"{result.files} files with text, {result.chunks} chunks, {result.characters:,} characters; "
        f"{sum(bool(f.reason) for f in files)} files not indexed. {'A sync is running. ' if result.syncing else ''}"
        f"{f'The last sync failed: {result.sync_error}. ' if result.sync_error else ''}"
        f"Answers: {result.generator}."
    )
    return (_fenced(fresh_marker(lines), head, lines) if lines else head), result


def sync(call: Call, args: forms.Nothing) -> tuple[str, BaseModel]:
    seen = {"files": 0, "settled": 0}

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "scan":
            seen["files"] = event["files"]
            call.tell(0, event["files"], "reading the folder")
        elif event["event"] == "file":
            seen["settled"] += 1
            call.tell(seen["settled"], max(seen["files"], seen["settled"]), "files read")

    report: SyncReport = call.rag.sync(listener=listen, cancel=call.cancel)
    bad = [forms.file(f) for f in report.files if f.reason]
    result = forms.SyncResult(
        added=report.num_added,
        updated=report.num_updated,
        moved=report.num_moved,
        deleted=report.num_deleted,
        unchanged=report.num_skipped,
        not_indexed=bad[:LISTED],
        chunks=report.chunks,
        generation=report.generation,
        seconds=round(report.seconds, 3),
    )
    counts = ("added", "updated", "moved", "deleted", "unchanged")
    head = ", ".join(f"{getattr(result, name)} {name}" for name in counts) + f"; {len(bad)} files not indexed."
    lines = [one_line(f"{f.file}: {f.reason}") for f in result.not_indexed]
    return (_fenced(fresh_marker(lines), head, lines) if lines else head), result


def _fenced(marker: str, head: str, parts: list[str]) -> str:
    return "\n".join([f"{head} {MARKER_NOTICE.format(marker=marker)}", f"<{marker}>", *parts, f"</{marker}>"])


ALL = (
    Tool("search", "Search the documents", agents.SEARCH, agents.Search, forms.SearchResult, search),
    Tool("ask", "Ask the documents", agents.ASK, agents.Ask, forms.AskResult, ask),
    Tool(
        "get",
        "Read a document",
        "Read a document's text as it was indexed: all of it, some lines, or a page. A long text comes in parts: go on "
        "with `next_line`.",
        forms.Get,
        forms.GetResult,
        get,
    ),
    Tool(
        "neighbours",
        "Read around a passage",
        "The chunks of text before and after a passage that search or ask found, in reading order.",
        forms.Neighbours,
        forms.NeighboursResult,
        neighbours,
    ),
    Tool(
        "list_files",
        "List the documents",
        "The files of the document folder as of the last sync, sorted by path, with what became of each.",
        forms.ListFiles,
        forms.ListFilesResult,
        list_files,
    ),
    Tool(
        "status",
        "State of the index",
        "How much is indexed, which files couldn't be read and why, and who writes the answers.",
        forms.Nothing,
        forms.StatusResult,
        status,
    ),
    Tool(
        "sync",
        "Index what changed",
        "Make the index equal to the document folder: new and changed files are read, deleted ones leave the index. "
        "The folder itself is never changed.",
        forms.Nothing,
        forms.SyncResult,
        sync,
        writes=True,
    ),
)
