"""What was filled into a page's form, and what was written over it: neither is part of the page's text.

It stands in the line that it is level with, between what is to its left and to its right: a value behind its label, a
box's sign before its words. Anything else stands below the page's last line.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rag.load.decode import clean

MOST = 10_000  # fields of a page
_UNSEEN = 2 | 32  # annotation flags: hidden, no view (ISO 32000-1, table 165)


class Field(NamedTuple):
    """By points from the lower left corner."""

    left: float
    bottom: float
    right: float
    top: float
    text: str


def fields(page: Any, form: Any) -> Iterator[Field]:
    """`form`: PDFium's form environment; None where the document has no form."""
    import pypdfium2.raw as pdfium_c

    for number in range(min(pdfium_c.FPDFPage_GetAnnotCount(page), MOST)):
        note = pdfium_c.FPDFPage_GetAnnot(page, number)
        if not note:
            continue
        try:
            if pdfium_c.FPDFAnnot_GetFlags(note) & _UNSEEN:
                continue
            kind = pdfium_c.FPDFAnnot_GetSubtype(note)
            text = ""
            if kind == pdfium_c.FPDF_ANNOT_WIDGET and form is not None:
                text = _value(form, note)
            elif kind == pdfium_c.FPDF_ANNOT_FREETEXT:
                text = _words(lambda *into, at=note: pdfium_c.FPDFAnnot_GetStringValue(at, b"Contents", *into))
            place = pdfium_c.FS_RECTF()
            if text and pdfium_c.FPDFAnnot_GetRect(note, place):
                low, high = sorted((place.bottom, place.top))
                yield Field(min(place.left, place.right), low, max(place.left, place.right), high, text)
        finally:
            pdfium_c.FPDFPage_CloseAnnot(note)


def _value(form: Any, note: Any) -> str:
    import pypdfium2.raw as pdfium_c

    kind = pdfium_c.FPDFAnnot_GetFormFieldType(form, note)
    if kind in (pdfium_c.FPDF_FORMFIELD_CHECKBOX, pdfium_c.FPDF_FORMFIELD_RADIOBUTTON):
        return "☒" if pdfium_c.FPDFAnnot_IsChecked(form, note) else "☐"
    if kind in (pdfium_c.FPDF_FORMFIELD_TEXTFIELD, pdfium_c.FPDF_FORMFIELD_COMBOBOX, pdfium_c.FPDF_FORMFIELD_LISTBOX):
        return _words(lambda *into: pdfium_c.FPDFAnnot_GetFormFieldValue(form, note, *into))
    return ""


def _words(read: Callable[[Any, int], int]) -> str:
    """A string that PDFium gives as UTF-16 with a zero at its end, in one line."""
    length = read(None, 0)
    if length <= 2:
        return ""
    buffer = ctypes.create_string_buffer(length)
    read(ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ushort)), length)
    return " ".join(clean(buffer.raw[: length - 2].decode("utf-16-le", "replace")).split())
