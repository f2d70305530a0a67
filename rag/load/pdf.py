"""PDF: text by pypdf, page by page, with lines joined so that sentences read on.

The final text is the text: pages, headings and all spans count in it, never in what the parser gave. It is
changed only where a reader of the page would agree:
- runs of spaces become one, ligatures (`ﬁ`) become letters;
- a word cut at a line's end is put together, keeping the hyphen where the document itself writes one;
- a line that runs on in the next is joined to it (`_gap` has the rules);
- a head or foot line repeated on most pages, the same but for the page's number, stays only where it first
  stands.

pypdf's own limits stop most bombs; its time and memory are held by worker.py.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, EmptyError
from rag.load.decode import clean
from rag.types import Heading, Source

if TYPE_CHECKING:
    from pypdf import PdfReader

    from rag.config import Load

_LIMITS: dict[str, Any] = {
    # the default of 100,000 refuses two of twenty ordinary 10-Q filings; the worker limits memory anyway
    "array_maximum_element_count": 1_000_000,
    "dictionary_maximum_element_count": 1_000_000,
    "jbig2dec_binary": None,  # no foreign program is started; images aren't decoded for text
}


def load(data: bytes, relative: str, config: Load) -> Source:
    import pypdf

    with pypdf.apply_configuration(**_LIMITS):
        reader = _open(data)
        total = len(reader.pages)
        pages, empty, failed, warnings = _extract(reader, min(total, config.max_pages), config.max_chars)
        if total > config.max_pages:
            warnings.append(f"{_numbers(range(config.max_pages, total))}left out: load.max_pages is {config.max_pages}")
        if failed and len(failed) == len(pages):
            raise DocumentError(f"none of {total} pages can be read: {failed[0]}", "open it and print it to a new PDF")
        if not any(pages):
            raise EmptyError(f"no text on any of {total} pages, scanned?", "run it through OCR first")
        if empty:
            warnings.insert(0, f"{_numbers(empty)}no text, scanned?")
        for reason in dict.fromkeys(failed.values()):
            warnings.append(f"{_numbers(n for n, r in failed.items() if r == reason)}can't be read: {reason}")
        text, starts = flow(pages)
        return Source(
            relative,
            text,
            "pdf",
            title=_title(reader),
            pages=starts,
            headings=tuple(_headings(reader, text, starts)),
            metadata={"pages": total},
            warnings=tuple(warnings),
        )


def _open(data: bytes) -> PdfReader:
    """The reader, decrypted with the empty password where that opens it."""
    from pypdf import PasswordType, PdfReader
    from pypdf.errors import PdfReadError

    reader = PdfReader(BytesIO(data), strict=False)
    if reader.is_encrypted and reader.decrypt("") == PasswordType.NOT_DECRYPTED:
        raise DocumentError("encrypted, needs a password", "save a copy without a password")
    if not reader.pages:
        raise PdfReadError("it has no pages")
    return reader


def _extract(
    reader: PdfReader, count: int, max_chars: int
) -> tuple[list[list[str]], list[int], dict[int, str], list[str]]:
    """Lines of each page, numbers (from 0) of pages without text, reasons of those that failed, warnings."""
    pages: list[list[str]] = []
    empty: list[int] = []
    failed: dict[int, str] = {}
    length = 0
    for number in range(count):
        lines: list[str] = []
        try:
            page = reader.pages[number]
            lines = _lines(page.extract_text())
            if not lines and page.get_contents() is not None:  # a blank page has lost nothing
                empty.append(number)
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # whatever a damaged page makes pypdf stumble over
            failed[number] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        pages.append(lines)
        length += sum(map(len, lines)) + len(lines)
        if length > max_chars and number + 1 < count:
            left = _numbers(range(number + 1, count))
            return (
                pages,
                empty,
                failed,
                [f"{left}left out: the text is longer than load.max_chars ({max_chars})"],
            )
    return pages, empty, failed, []


_LIGATURES = str.maketrans({"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st"})


def _lines(raw: str) -> list[str]:
    raw = clean(raw).translate(_LIGATURES)
    raw = re.sub("\xad(?!\n)", "", raw.replace("\xad\n", "-\n"))  # soft hyphens: only those at a line's end are seen
    return [line for line in (" ".join(line.split()) for line in raw.split("\n")) if line]


def flow(pages: list[list[str]]) -> tuple[str, tuple[int, ...]]:
    """Lines of pages -> the running text and the start of each page in it.

    >>> flow([["A sentence that fills a whole line of this tok-", "enised page."], ["Second."]])
    ('A sentence that fills a whole line of this tokenised page.\\n\\nSecond.', (0, 60))
    """
    pages = _without_furniture(pages)
    words = _vocabulary(pages)
    parts: list[str] = []
    starts: list[int] = []
    length, previous, width = 0, "", 0
    for lines in pages:
        starts.append(length)
        longest = sorted(map(len, lines))[-3:]  # the third longest: one wide line shouldn't make all others short
        for number, line in enumerate(lines):
            # the last line of the page before is measured by that page's own width
            gap = _gap(previous, line, width, words) if previous else ""
            if gap == "\n" and number == 0:
                gap = "\n\n"
            if gap is None:  # a hyphen to drop
                parts[-1], length, gap = parts[-1][:-1], length - 1, ""
            if number == 0:
                width = longest[0]
                starts[-1] = length + len(gap)
            parts += [gap, line]
            length += len(gap) + len(line)
            previous = line
    for number in range(len(starts) - 1, 0, -1):  # a page without text starts where the next one with text does
        if not pages[number - 1]:
            starts[number - 1] = starts[number]
    return "".join(parts), (0, *starts[1:])


_HYPHENS = "-\u2010"
_LAST_WORD = re.compile(rf"([^\W\d_]+(?:[{_HYPHENS}][^\W\d_]+)*)[{_HYPHENS}]$")
_FIRST_WORD = re.compile(rf"[^\W\d_]+(?:[{_HYPHENS}][^\W\d_]+)*")
_ITEM = re.compile(r"[•▪◦●○■□☐☒*–—-]\s?|\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{2,5})[.)]\s")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uff00-\uff60、。]")  # scripts without spaces between words


def _gap(line: str, following: str, width: int, words: Counter[str]) -> str | None:
    r"""What goes between two lines: "" or " " where the text reads on, else "\n"; None: drop the hyphen.

    It reads on where the next line begins with a small letter and this one is no mere table cell, or where
    this line is full (0.8 of the page's width), ends in the middle of a sentence and the next one isn't an
    item of a list.
    """
    if (cut := _LAST_WORD.search(line)) and following[0].islower() and (rest := _FIRST_WORD.match(following)):
        left, right = cut[1].casefold(), rest[0].casefold()
        if words[f"{left}-{right}"]:
            return ""
        compound = len(left) >= 3 and words[left] and words[right] and not words[left + right]
        return "" if compound else None
    small = following[0].isalpha() and not following[0].isupper()
    if small and len(line) >= max(30, 0.4 * width) and not _ITEM.match(following):
        return "" if _UNSPACED.match(line[-1]) and _UNSPACED.match(following) else " "
    unfinished = line[-1] == "," or (line[-1].isalpha() and not line[-1].isupper())
    if unfinished and len(line) >= max(50, 0.8 * width) and not _ITEM.match(following):
        return " "
    return "\n"


def _vocabulary(pages: list[list[str]]) -> Counter[str]:
    """How often the document writes each word, compounds with their hyphen; not the halves at line ends."""
    words: Counter[str] = Counter()
    cut = False
    for line in (line for lines in pages for line in lines):
        found = [word.casefold().replace("\u2010", "-") for word in _FIRST_WORD.findall(line)]
        was_cut, cut = cut, line[-1] in _HYPHENS
        words.update(found[1 if was_cut else 0 : -1 if cut else None])
    return words


def _without_furniture(pages: list[list[str]]) -> list[list[str]]:
    """Without the head and foot lines that three and most pages share, but for where they first stand.

    "Share": the same line, or the same but for a number that counts with the pages; a bare page number goes
    everywhere. A page's only line stays.
    """
    pages = [list(lines) for lines in pages]
    for edge in (0, -1, 0, -1, 1, -2):  # two lines deep, also behind one that changes with the chapter
        held = [(number, lines) for number, lines in enumerate(pages) if len(lines) > (1 if edge in (0, -1) else 2)]
        seen = Counter(key for number, lines in held for key in _alike(lines[edge], number))
        shared = {key for key, count in seen.items() if count >= max(3, 0.5 * len(pages))}
        shown: set[tuple[str, int | None]] = set()
        for number, lines in held:
            if keys := shared.intersection(_alike(lines[edge], number)):
                if shown & keys or not any(map(str.isalpha, lines[edge])):
                    del lines[edge]
                shown |= keys
    return pages


def _alike(line: str, number: int) -> set[tuple[str, int | None]]:
    """What this line would have in common with its like on other pages."""
    numbers = re.finditer(r"(?<!\d)\d{1,4}(?!\d)", line)
    return {(line, None)} | {(f"{line[: m.start()]}\0{line[m.end() :]}", int(m[0]) - number) for m in numbers}


def _headings(reader: PdfReader, text: str, starts: tuple[int, ...]) -> Iterator[Heading]:
    """The outline's entries whose title really stands on the page they point to; the others are left out."""
    try:
        entries = list(_entries(reader, reader.outline, 1))
    except Exception:  # an outline is an extra: a damaged one costs nothing but itself
        return
    found = []
    for level, title, page in entries:
        if not title or len(title) > 300 or not 0 <= page < len(starts):
            continue
        end = starts[page + 1] if page + 1 < len(starts) else len(text)
        pattern = re.compile(r"\s+".join(map(re.escape, title.split())), re.IGNORECASE)
        if match := pattern.search(text, starts[page], end):
            found.append(Heading(match.start(), level, title))
    yield from sorted(found, key=lambda heading: heading.start)


def _entries(reader: PdfReader, outline: Iterable[Any], level: int) -> Iterator[tuple[int, str, int]]:
    for entry in outline:
        if isinstance(entry, list):
            yield from _entries(reader, entry, level + 1)
            continue
        page = reader.get_destination_page_number(entry)
        title = " ".join(clean(str(entry.title or "")).translate(_LIGATURES).split())
        yield level, title, -1 if page is None else page


_NO_TITLE = re.compile(
    r"untitled.*|document\d*|microsoft \w+ - .*|.*\.(?:pdf|docx?|tex|dvi|indd|pptx?|xlsx?|html?)",
    re.IGNORECASE,
)


def _title(reader: PdfReader) -> str | None:
    """The metadata's title, unless it is a file's name, a number or a program's default."""
    try:
        metadata = reader.metadata
        title = " ".join(clean(str(metadata.get("/Title") or "")).split()) if metadata else ""
    except Exception:  # damaged metadata
        return None
    sane = 3 <= len(title) <= 300 and any(map(str.isalpha, title)) and "\ufffd" not in title
    return title if sane and not _NO_TITLE.fullmatch(title) else None


def _numbers(pages: Iterable[int]) -> str:
    """Page numbers (from 0) in words, counted from 1.

    >>> _numbers([6]), _numbers([2, 3, 4, 8])
    ('page 7: ', 'pages 3-5, 9: ')
    """
    ranges: list[list[int]] = []
    for page in pages:
        if ranges and ranges[-1][1] == page:
            ranges[-1][1] = page + 1
        else:
            ranges.append([page + 1, page + 1])
    words = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)
    return f"page{'s' if any(a != b for a, b in ranges) or len(ranges) > 1 else ''} {words}: "
