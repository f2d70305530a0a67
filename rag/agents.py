"""What an agent's model reads and writes, through whichever door: the arguments of tools and the text of their results.

    rag/langchain/tool.py ──┐
                            ├── Search, Ask (arguments) ──> narrowed (filter) ──> passages_text, answer_text
    rag/serve/mcp/ ─────────┘

A model decides by these words, so both doors share them. No description holds text of a document.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rag.errors import RagError
from rag.load import Kind
from rag.prompt import MARKER_NOTICE, fresh_marker, one_line, render_passage
from rag.retrieve.filters import Filter, parse_filter
from rag.types import Answer, Passage, clock

MOST = 50  # passages a call may ask for: about 10,000 tokens of an agent's window

SEARCH = (
    "Search the user's documents by meaning and by words. Returns the nearest passages, numbered, each with its file, "
    "page or line and exact text. They are the nearest there are and need not hold the answer: use only what they say, "
    "name the place of each statement, and if they don't answer, search again in other words or say so."
)
ASK = (
    "Ask a question that the user's documents may answer. Returns a short answer from the documents only, with the "
    "exact words it rests on and their file and page or line, each looked up in the file; or says that the documents "
    "hold no answer."
)


K = Annotated[int | None, Field(ge=1, le=MOST, description="How many passages, best first. Default: as configured.")]
Path = Annotated[
    str | None,
    Field(description="Only files with this path; * stands for anything: reports/*, *.md. Paths are as results show."),
]
Type = Annotated[Kind | None, Field(description="Only files of this type.")]


class Search(BaseModel):
    """Arguments of a search. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[str, Field(description="What to look for: a question, or a few words.")]
    k: K = None
    path: Path = None
    type: Type = None


class Ask(BaseModel):
    """Arguments of a question. Unknown ones are refused."""

    model_config = ConfigDict(extra="forbid")

    question: Annotated[str, Field(description="One question that can be understood without the talk around it.")]
    k: K = None
    path: Path = None
    type: Type = None


def named(name: str, path: str | None) -> bool:
    """Whether an argument `path` means this file: none given, its very name, or a pattern.

    >>> named("notes/[a].md", "notes/*"), named("notes/[a].md", "notes/[a].md"), named("a.md", "b.md")
    (True, True, False)
    """
    return path is None or name == path or fnmatch.fnmatchcase(name, path)


def narrowed(filter: str | Mapping[str, Any] | Filter | None, path: str | None, type: str | None) -> Filter | None:
    """`filter`, which a caller can't widen, and the caller's own path and type. Raises QueryError for a bad `filter`.

    >>> only = narrowed("type=md", "notes/*", None)
    >>> only.allows("notes/a.md", "md", None), only.allows("notes/a.pdf", "pdf", 1), only.allows("b.md", "md", None)
    (True, False, False)
    """
    base = filter if isinstance(filter, Filter) else parse_filter(filter)
    if path is None and type is None:
        return base

    def allows(name: str, kind: str, page: int | None) -> bool:
        return (base is None or base.allows(name, kind, page)) and named(name, path) and (type is None or kind == type)

    wanted = [str(base) if base else "", f"path={path}" if path else "", f"type={type}" if type else ""]
    return Filter(allows, " ".join(part for part in wanted if part))


# ---- results as text ---------------------------------------------------------------------------------------------


def passages_text(passages: Sequence[Passage]) -> str:
    """Numbered passages behind a fresh marker, each with its place: what a model cites from."""
    if not passages:
        return "Nothing was found."
    marker = fresh_marker([part for p in passages for part in (p.shown, p.label)])
    count = "1 passage" if len(passages) == 1 else f"{len(passages)} passages, best first"
    head = f"{count}. {MARKER_NOTICE.format(marker=marker)} Cite the place, like [{_place(passages[0])}]."
    return "\n\n".join([head, *(render_passage(p, marker) for p in passages)])


def answer_text(answer: Answer) -> str:
    """The answer with its quotes behind a fresh marker; an abstention with its reason and the nearest places."""
    quotes = [f'[{c.number}] {one_line(c.label)}: "{one_line(c.quote)}"' for c in answer.citations]
    nearest = [f"[{p.number}] {one_line(p.label)}" for p in answer.passages[:3]]
    if answer.abstained:
        head, body = f"{answer.text} Why: {answer.reason}.", ["Nearest places:", *nearest] if nearest else []
    else:
        unsure = f" Note: {answer.reason}." if answer.reason else ""
        head = f"An answer from the documents, confidence {answer.confidence:.2f}.{unsure}"
        body = [answer.text, *quotes]
    if not body:
        return head
    marker = fresh_marker(body)
    return "\n".join([f"{head} {MARKER_NOTICE.format(marker=marker)}", f"<{marker}>", *body, f"</{marker}>"])


def _place(passage: Passage) -> str:
    """Page or line alone: a file's name could hold anything, and this stands outside the markers."""
    here = passage.location
    if here.seconds is not None:
        return f"FILE, at {clock(here.seconds)}"
    return f"FILE, page {here.page}" if here.page is not None else "FILE:LINE"


def error_text(error: RagError) -> str:
    return f"{error.message}\n{error.hint}" if error.hint else error.message


def problems(error: ValidationError, arguments: type[BaseModel]) -> str:
    """What is wrong with a call's arguments, each with its value, and which there are: for the model to mend.

    >>> try:
    ...     Search.model_validate({"query": "x", "k": 0, "limit": 3})
    ... except ValidationError as error:
    ...     print(problems(error, Search))
    k is 0: Input should be greater than or equal to 1; limit: there is no such argument
    arguments: query, k, path, type
    """
    told = [wrong(each, ".".join(map(str, each["loc"])) or "arguments") for each in error.errors(include_url=False)]
    return f"{'; '.join(told)}\narguments: {', '.join(arguments.model_fields) or 'none'}"


def wrong(error: Mapping[str, Any], name: str) -> str:
    """One of pydantic's errors in words, with the value."""
    match error["type"]:
        case "extra_forbidden":
            return f"{name}: there is no such argument"
        case "missing":
            return f"{name} is missing"
        case _:
            return f"{name} is {_short(error['input'])}: {error['msg']}"


def _short(value: Any, most: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= most else text[:most] + "…"
