"""Files -> sources: text with the map from each character to page, line and heading path.

    paths ──worker.LoaderPool.load_many──> Source | DocumentError    a run: guarded, parallel, in order
    path ──kind_of──> kind ──load_file──> Source                     one file, as a worker process does it

    decode.py     bytes -> clean text: encodings, BOM, line ends, controls, surrogates, mislabelled files
    blocks.py     headings, paragraphs, tables, code -> Markdown text and its map of headings
    raised.py     what stands above the line, 10³, and what is struck out
    equation.py   equations in a line
    edges.py      head and foot lines of pages
    numerals.py   numbers as they stand in front of sections and items: iv, (b)
    container.py  zip containers and XML, with caps: docx, pptx, xlsx
    text.py       .txt and its like, source code
    markdown.py   .md
    html.py       .html, main text only; of its tree elements.py, html_raised.py, html_tables.py, keep.py
    pdf/          .pdf           docx.py   .docx, with docx_numbers.py
    pptx.py       .pptx          xlsx.py   .xlsx           csv.py   .csv, .tsv
    cells.py      a cell's value in words; number_format.py: what its format makes of a number
    subtitles.py  .srt, .vtt: with the time of each line
    media.py      pictures and recordings, decoded; inside.py: the pictures in PDF and Word documents
    json.py       .json, .jsonl  xml.py    .xml            notebook.py .ipynb
    eml.py        .eml           epub.py   .epub           rtf.py    .rtf
    odt.py        .odt, with odt_numbers.py
    worker.py     LoaderPool: files are parsed in processes, with limits on time and memory
    child.py      what runs in such a process

To add a format: one new module with `load(data, relative, config) -> Source`, its suffixes in KINDS, its name
in Kind, and the arm that mypy then asks for in `_load`.

Each file ends in a Source or in exactly one DocumentError: EmptyError (no text), UnsupportedError (no loader)
or a plain one. Their messages don't repeat the path: whoever reports them has it.

A file whose first bytes say that it is something else than its suffix promises is refused, not guessed at:
"is a PDF, not what .txt says". A renamed file deserves a correction.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from io import BufferedReader
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, assert_never

from rag.errors import DocumentError, EmptyError, UnsupportedError, brief
from rag.types import Source

if TYPE_CHECKING:  # the loaders only read its numbers; pydantic stays out of the import
    from rag.config import Load

MOST_BYTES = 256 * 2**20  # of one file, whatever documents.max_file_mb says; also while it grows under the reader
MOST_TITLE = 300  # characters of a title or heading; its text keeps all
LOADER_VERSION = 7  # raise it when a loader gives another text for the same bytes: files are then read again

Kind = Literal[
    "text",
    "md",
    "html",
    "pdf",
    "docx",
    "pptx",
    "xlsx",
    "csv",
    "subtitles",
    "code",
    "json",
    "xml",
    "ipynb",
    "eml",
    "epub",
    "odt",
    "rtf",
]

KINDS: Mapping[str, Kind] = MappingProxyType(  # suffix, or the whole name of a file without one -> kind
    {
        **dict.fromkeys((".txt", ".text", ".log", ".rst", ".adoc", ".org", ".tex", "readme", "license"), "text"),
        **dict.fromkeys((".md", ".markdown", ".mdx"), "md"),
        **dict.fromkeys((".html", ".htm", ".xhtml"), "html"),
        ".pdf": "pdf",
        **dict.fromkeys((".docx", ".docm"), "docx"),
        **dict.fromkeys((".pptx", ".pptm"), "pptx"),
        **dict.fromkeys((".xlsx", ".xlsm"), "xlsx"),
        **dict.fromkeys((".csv", ".tsv"), "csv"),
        **dict.fromkeys((".srt", ".vtt"), "subtitles"),
        **dict.fromkeys((".json", ".jsonl", ".ndjson", ".geojson"), "json"),
        **dict.fromkeys((".xml", ".rss", ".atom"), "xml"),
        ".ipynb": "ipynb",
        ".eml": "eml",
        ".epub": "epub",
        ".odt": "odt",
        ".rtf": "rtf",
        **dict.fromkeys((".py", ".pyi", ".js", ".mjs", ".jsx", ".ts", ".tsx", ".vue", ".css", ".scss"), "code"),
        **dict.fromkeys((".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".cu", ".rs", ".go", ".zig", ".swift"), "code"),
        **dict.fromkeys((".java", ".kt", ".scala", ".cs", ".fs", ".rb", ".php", ".pl", ".lua", ".r", ".jl"), "code"),
        **dict.fromkeys((".hs", ".ml", ".ex", ".exs", ".erl", ".clj", ".el", ".lisp", ".dart", ".m"), "code"),
        **dict.fromkeys((".sh", ".bash", ".zsh", ".ps1", ".sql", ".proto", ".graphql", ".tf", ".cmake"), "code"),
        **dict.fromkeys((".yaml", ".yml", ".toml", ".ini", ".cfg", "makefile", "dockerfile"), "code"),
    }
)

_BEGINS: Mapping[Kind, str | None] = MappingProxyType(  # what `sniff` may say of a kind; of all others "an HTML page"
    {
        "pdf": "a PDF",
        **dict.fromkeys(("docx", "pptx", "xlsx", "epub", "odt"), "a zip archive"),
        "rtf": "an RTF document",
        "csv": None,
    }
)

_OLD = {".doc": ("Word", ".docx"), ".xls": ("Excel", ".xlsx"), ".ppt": ("PowerPoint", ".pptx")}


def kind_of(path: PurePath) -> Kind | None:
    """The kind of a file by its name alone; None: no loader.

    >>> kind_of(Path("a/Handbook.PDF")), kind_of(Path("Makefile")), kind_of(Path("song.mp3"))
    ('pdf', 'code', None)
    """
    return KINDS.get(path.suffix.lower() or path.name.lower())


def load_file(path: Path, relative: str, config: Load) -> Source:
    """Read one file, in this process. `relative` becomes `Source.path`.

    Raises EmptyError, UnsupportedError or DocumentError, whatever the bytes are.
    """
    kind = kind_of(path)
    if kind is None:
        raise UnsupportedError(*unsupported(path))
    return load_bytes(read_regular(path), kind, path.name, relative, config)


def load_bytes(data: bytes, kind: Kind, name: str, relative: str, config: Load, depth: int = 0) -> Source:
    """What `load_file` makes of these bytes of a file of that name; `depth`: how many messages they are attached in.
    Raises as it does."""
    with guarded(kind, config):
        if not data.removeprefix(b"\xef\xbb\xbf").strip():
            raise EmptyError("the file holds no text")
        check_beginning(data, kind, name)
        return _within(_load(kind, data, relative, config, depth), config.max_chars)


@contextmanager
def guarded(kind: str, config: Load) -> Iterator[None]:
    """Whatever a parser raises becomes a DocumentError."""
    try:
        yield
    except DocumentError:
        raise
    except MemoryError:
        raise DocumentError(f"needs more than {config.memory_mb} MB", "raise load.memory_mb") from None
    except RecursionError:
        raise DocumentError(f"can't be read as {kind}: nested too deeply", "the file may be damaged") from None
    except Exception as error:  # the parsers raise whatever a damaged file makes them stumble over
        detail = brief(error)
        name = type(error).__name__
        raise DocumentError(
            f"can't be read as {kind}: {name}: {detail}" if detail else f"can't be read as {kind}: {name}",
            "the file may be damaged: open it and save it anew",
        ) from error


def needs_password() -> DocumentError:
    return DocumentError("encrypted, needs a password", "save a copy without a password")


def unsupported(path: PurePath) -> tuple[str, str]:
    """Why there is no loader for a file of this name, and what to do.

    >>> unsupported(Path("prices.xls"))
    ('no loader for .xls, the old Excel format', 'save it as .xlsx')
    """
    suffix = path.suffix.lower()
    if old := _OLD.get(suffix):
        return f"no loader for {suffix}, the old {old[0]} format", f"save it as {old[1]}"
    suffixes = ", ".join(sorted(s for s in KINDS if s.startswith(".")))
    return f"no loader for {suffix or 'a name without a suffix'}", f"choices: {suffixes}"


def _load(kind: Kind, data: bytes, relative: str, config: Load, depth: int) -> Source:
    match kind:
        case "text" | "code":
            from rag.load import text

            return text.load(data, relative, config, kind)
        case "md":
            from rag.load import markdown

            return markdown.load(data, relative, config)
        case "html":
            from rag.load import html

            return html.load(data, relative, config)
        case "pdf":
            from rag.load import pdf

            return pdf.load(data, relative, config)
        case "docx":
            from rag.load import docx

            return docx.load(data, relative, config)
        case "pptx":
            from rag.load import pptx

            return pptx.load(data, relative, config)
        case "xlsx":
            from rag.load import xlsx

            return xlsx.load(data, relative, config)
        case "csv":
            from rag.load import csv

            return csv.load(data, relative, config)
        case "subtitles":
            from rag.load import subtitles

            return subtitles.load(data, relative, config)
        case "json":
            from rag.load import json

            return json.load(data, relative, config)
        case "xml":
            from rag.load import xml

            return xml.load(data, relative, config)
        case "ipynb":
            from rag.load import notebook

            return notebook.load(data, relative, config)
        case "eml":
            from rag.load import eml

            return eml.load(data, relative, config, depth)
        case "epub":
            from rag.load import epub

            return epub.load(data, relative, config)
        case "odt":
            from rag.load import odt

            return odt.load(data, relative, config)
        case "rtf":
            from rag.load import rtf

            return rtf.load(data, relative, config)
        case _:
            assert_never(kind)


def open_regular(path: Path) -> BufferedReader:
    """Open for reading what is a regular file at this moment: a pipe, device or socket that took its place since it was
    looked at would block for ever, or never end. Raises OSError, DocumentError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DocumentError("not a regular file", "exclude it")
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> bytes:
    """All bytes of a file. Raises DocumentError."""
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            data = b"" if size > MOST_BYTES else stream.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise DocumentError(
            "no such file", "name one that is there; in a sync: it has gone meanwhile, sync again"
        ) from None
    except OSError as error:
        if path.is_dir() or error.errno == errno.ENXIO:  # a folder, a socket
            raise DocumentError("not a regular file", "exclude it") from None
        raise DocumentError(f"can't be opened: {error.strerror or error}", "check the file's permissions") from None
    if max(size, len(data)) > MOST_BYTES:
        raise DocumentError(f"larger than {MOST_BYTES >> 20} MB", "split it, or exclude it")
    return data


def check_beginning(data: bytes, kind: Kind, name: str) -> None:
    """Raises DocumentError where the first bytes say that it is something else than its name promises."""
    from rag.load.decode import sniff

    found = sniff(data)
    if not found or found == _BEGINS.get(kind, "an HTML page"):
        return
    hint = "give the file its right suffix"
    if found.startswith("an old "):
        hint = next((f"save it as {new}" for program, new in _OLD.values() if program in found), "save it anew")
    elif found.startswith("an encrypted "):
        hint = "save a copy without a password"
    raise DocumentError(f"is {found}, not what {Path(name).suffix.lower() or name} says", hint)


def _brief(title: str) -> str:
    return title if len(title) <= MOST_TITLE else title[: MOST_TITLE - 1].rstrip() + "…"


def _within(source: Source, max_chars: int) -> Source:
    """No more than `max_chars` characters, titles that can be shown, and some text at all."""
    if not source.text.strip():
        raise EmptyError("the file holds no text")
    source = replace(
        source,
        title=source.title and _brief(source.title),
        headings=tuple(replace(h, title=_brief(h.title)) for h in source.headings),
    )
    if len(source.text) <= max_chars:
        return source
    lost = f"text after character {max_chars} left out: it has {len(source.text)}, load.max_chars is {max_chars}"
    return replace(
        source,
        text=source.text[:max_chars],
        pages=tuple(p for p in source.pages if p < max_chars),
        headings=tuple(h for h in source.headings if h.start < max_chars),
        times=tuple(c for c in source.times if c.start < max_chars),
        warnings=(*source.warnings, lost),
    )
