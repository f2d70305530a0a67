"""Names made of what they name: equal text, place and settings give equal keys, on every machine."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from rag.types import Span


def canonical(settings: Any) -> str:
    """One text for equal settings, whether they were stored in between or not."""
    return json.dumps(settings, sort_keys=True)


def vector_key(fingerprint: str, text: str) -> bytes:
    """16 bytes. `fingerprint`: the embedding's, `canonical`; `text`: all that is embedded, with its prefix."""
    return hashlib.blake2b(f"{fingerprint}\0{text}".encode(), digest_size=16).digest()


def chunk_key(content_key: str, span: Span, prefix: str) -> str:
    """'1' for the format, then a hash of the content, the place in it and what was put before it."""
    text = f"{content_key} {span.start} {span.end} {prefix}"
    return "1" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def array_key(fingerprint: str, data: bytes | memoryview, place: str) -> bytes:
    """As `vector_key`, of a picture's pixels or the samples of a recording's window. `place`: their shape."""
    digest = hashlib.blake2b(f"{fingerprint}\0{place}\0".encode(), digest_size=16)
    digest.update(data)
    return digest.digest()


def media_key(content_key: str, space: str, number: int) -> str:
    """As `chunk_key`, of the picture or window `number` of a content."""
    return "1" + hashlib.blake2b(f"{content_key} {space} {number}".encode(), digest_size=16).hexdigest()
