"""Plain text and source code: the file's own characters and lines, nothing taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rag.load.decode import decode
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load


def load(data: bytes, relative: str, config: Load, kind: Literal["text", "code"] = "text") -> Source:
    text, encoding, warnings = decode(data)
    return Source(relative, text, kind, metadata={"encoding": encoding}, warnings=warnings)
