"""The pictures inside documents: PDF (read by PDFium) and Word, each with the place in the text where it stands.

The document is opened a second time for them, so that text loaders know nothing of pictures. Icons, rules and repeated
logos are passed over; a picture that can't be read costs nothing but itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, brief
from rag.load import kind_of, read_regular
from rag.types import Medium, Source

if TYPE_CHECKING:
    from PIL.Image import Image

    from rag.config import Load
    from rag.load.media import Pictures

SMALLEST = 48  # pixels of the shorter side: below are icons, bullets and rules
SLIMMEST = 20  # the longer side is at most so many times the shorter one, or it is a rule
NESTED = 3  # form objects in each other that are looked into

Found = tuple[int, "Image"]  # where in the text, and the picture


def with_pictures(source: Source, path: Path, config: Load, wanted: Pictures | None) -> Source:
    """The source with the pictures of its document as `media`, in the order of reading; at most `wanted.inside`."""
    if wanted is None or not wanted.inside:
        return source
    kind = kind_of(path)
    if kind == "pdf" and config.pdf == "pypdfium2":  # the other engine was asked for, or PDFium has crashed on it
        found = _in_pdf(source, read_regular(path), wanted)
    elif kind == "docx":
        found = _in_docx(source, read_regular(path), wanted)
    else:
        return source
    import numpy as np

    media: list[Medium] = []
    seen: set[bytes] = set()
    left_out = False
    try:
        for start, picture in found:
            array = np.array(picture)
            digest = hashlib.blake2b(array.tobytes(), digest_size=16).digest()
            if digest in seen:
                continue
            if left_out := len(media) >= wanted.inside:
                break
            seen.add(digest)
            media.append(Medium("images", array, source.locate(min(start, len(source.text))), start))
    except MemoryError:
        raise
    except Exception as error:  # the text was read: what is wrong with pictures doesn't take it away
        told = f"pictures left out: {brief(error, named=True)}"
        return replace(source, media=tuple(media), warnings=(*source.warnings, told))
    warnings = source.warnings
    if left_out:
        warnings = (*warnings, f"pictures after the first {wanted.inside} left out: images.inside")
    return replace(source, media=tuple(media), warnings=warnings)


def _is_picture(width: int, height: int, wanted: Pictures) -> bool:
    short, long = sorted((width, height))
    return short >= SMALLEST and long <= SLIMMEST * short and width * height <= wanted.max_megapixels * 1e6


def _read(data: bytes, wanted: Pictures) -> Image | None:
    """None: too small, too large, damaged, or in a format that isn't read (drawings such as EMF)."""
    from rag.media.picture import describe, read_picture

    with suppress(DocumentError, OSError, ValueError):
        told = describe(data)
        if _is_picture(told["width"], told["height"], wanted):
            return read_picture(data, wanted.max_megapixels, wanted.at_least)
    return None


# ---- PDF -------------------------------------------------------------------------------------------------------------


def _in_pdf(source: Source, data: bytes, wanted: Pictures) -> Iterator[Found]:
    import pypdfium2 as pdfium
    import pypdfium2.raw as pdfium_c

    document = pdfium.PdfDocument(data)
    try:
        for number, start in enumerate(source.pages[: len(document)]):
            page = document[number]
            try:
                for item in page.get_objects((pdfium_c.FPDF_PAGEOBJ_IMAGE,), max_depth=NESTED):
                    if picture := _drawn(item, wanted):
                        yield start, picture
            finally:
                page.close()
    finally:
        document.close()


def _drawn(item: Any, wanted: Pictures) -> Image | None:
    import pypdfium2 as pdfium

    from rag.media.picture import reduced

    with suppress(pdfium.PdfiumError, ValueError):
        width, height = item.get_px_size()
        if not _is_picture(width, height, wanted):
            return None
        if item.get_filters(skip_simple=True) == ["DCTDecode"]:  # a JPEG as it is, which can be decoded reduced
            picture = _read(bytes(item.get_data(decode_simple=True)), wanted)
            if picture is not None:
                return picture
        return reduced(item.get_bitmap(render=False).to_pil(), wanted.at_least)
    return None


# ---- Word ------------------------------------------------------------------------------------------------------------

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_BLIP = "{http://schemas.openxmlformats.org/drawingml/2006/main}blip"
_EMBED = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}embed"


def _in_docx(source: Source, data: bytes, wanted: Pictures) -> Iterator[Found]:
    """Each stands where the words before it end."""
    from rag.load.docx import opened, text_of

    document = opened(data)
    parts = document.part.related_parts
    at = 0
    for paragraph in document.element.body.iter(f"{_W}p"):
        words = text_of(paragraph).strip().split("\n")[0]
        found = source.text.find(words, at) if words else -1
        at = found if found >= 0 else at
        for blip in paragraph.iter(_BLIP):
            part = parts.get(blip.get(_EMBED))
            if part is not None and (picture := _read(part.blob, wanted)):
                yield at, picture
