"""pypdf: written in Python, with limits of its own against bombs. Slower, and a second opinion on damaged files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rag.load import needs_password
from rag.load.decode import clean
from rag.load.pdf.flow import Line, tidy

if TYPE_CHECKING:
    from pypdf import PdfReader

_LIMITS: dict[str, Any] = {
    # the default of 100,000 refuses two of twenty ordinary 10-Q filings; the worker limits memory anyway
    "array_maximum_element_count": 1_000_000,
    "dictionary_maximum_element_count": 1_000_000,
    "jbig2dec_binary": None,  # no foreign program is started; images aren't decoded for text
}


@contextmanager
def opened(data: bytes) -> Iterator[Opened]:
    import pypdf
    from pypdf.errors import PdfReadError

    with pypdf.apply_configuration(**_LIMITS):
        reader = pypdf.PdfReader(BytesIO(data), strict=False)
        if reader.is_encrypted and reader.decrypt("") == pypdf.PasswordType.NOT_DECRYPTED:
            raise needs_password()
        if not reader.pages:
            raise PdfReadError("it has no pages")
        yield Opened(reader)


class Opened:
    def __init__(self, reader: PdfReader) -> None:
        self._reader = reader

    @property
    def count(self) -> int:
        return len(self._reader.pages)

    def lines(self, number: int) -> list[Line]:
        text = clean(self._reader.pages[number].extract_text())
        return [Line(line) for line in map(tidy, text.split("\n")) if line]

    def is_blank(self, number: int) -> bool:
        return self._reader.pages[number].get_contents() is None

    def hidden(self, number: int) -> tuple[int, int]:
        return 0, 0

    def title(self) -> str:
        metadata = self._reader.metadata
        return str(metadata.get("/Title") or "") if metadata else ""

    def outline(self) -> Iterator[tuple[int, str, int]]:
        return self._entries(self._reader.outline, 1)

    def _entries(self, entries: Iterable[Any], level: int) -> Iterator[tuple[int, str, int]]:
        for entry in entries:
            if isinstance(entry, list):
                yield from self._entries(entry, level + 1)
                continue
            page = self._reader.get_destination_page_number(entry)
            yield level, str(entry.title or ""), -1 if page is None else page
