"""What the two engines have in common: a PDF opened by one of them, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Literal, Protocol, assert_never

from rag.load.pdf.flow import Line

Engine = Literal["pypdfium2", "pypdf"]


class Opened(Protocol):
    """Pages count from 0. Every method may raise whatever a damaged file makes the library stumble over."""

    @property
    def count(self) -> int: ...
    def lines(self, number: int) -> list[Line]: ...
    def is_blank(self, number: int) -> bool:
        """Nothing is drawn on it, so a page without text has lost nothing."""
        ...

    def hidden(self, number: int) -> tuple[int, int]:
        """Characters of a page, spaces aside, that it has but doesn't show; and of those that lie invisibly over a
        scan, as OCR lays them. (0, 0) where the engine can't tell."""
        ...

    def title(self) -> str: ...
    def outline(self) -> Iterator[tuple[int, str, int]]:
        """(level from 1, title, page); page -1: unknown."""
        ...


def opened(engine: Engine, data: bytes) -> AbstractContextManager[Opened]:
    """Decrypted with the empty password where that opens it. Raises DocumentError where it doesn't."""
    match engine:
        case "pypdfium2":
            from rag.load.pdf import by_pypdfium2

            return by_pypdfium2.opened(data)
        case "pypdf":
            from rag.load.pdf import by_pypdf

            return by_pypdf.opened(data)
        case _:
            assert_never(engine)
