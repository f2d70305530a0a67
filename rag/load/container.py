"""Zip containers (Office, OpenDocument, EPUB) and the XML in them, opened with caps.

What an archive says that it unpacks to is known before anything is unpacked, and zipfile gives no member more than
that. A member's name is only ever looked up among the archive's names: it is never a path on this machine.
"""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError, brief
from rag.load import needs_password
from rag.load.decode import clean

if TYPE_CHECKING:
    from rag.config import Load

MEMBERS = 10_000
ALWAYS_FINE = 64 << 20  # bytes: below it no ratio is suspicious
RATIO = 200  # real documents unpack to 2-60 times their size, bombs to 1,000 and more

_MAIN = {  # what the archive holds -> what it is
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a PowerPoint presentation",
    "xl/workbook.xml": "an Excel workbook",
    "xl/workbook.bin": "a binary Excel workbook (.xlsb)",
}
_MIMETYPES = {
    "application/epub+zip": "an EPUB book",
    "application/vnd.oasis.opendocument.text": "an OpenDocument text",
    "application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument spreadsheet",
    "application/vnd.oasis.opendocument.presentation": "an OpenDocument presentation",
}

_STRICT = b"http://purl.oclc.org/ooxml/officeDocument/relationships/officeDocument"  # ISO/IEC 29500; hardly written


def open_container(data: bytes, wanted: str, config: Load) -> zipfile.ZipFile:
    """The archive, if it is `wanted` ("a Word document") or can't be told. Raises DocumentError."""
    try:
        archive = zipfile.ZipFile(BytesIO(data))
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        hint = "the file may be damaged: open it and save it anew"
        raise DocumentError(f"can't be read as {wanted}: {brief(error)}", hint) from None
    if len(members) > MEMBERS:
        raise DocumentError(f"holds {len(members)} files, at most {MEMBERS} are taken", "the file may be hostile")
    total = sum(member.file_size for member in members)
    most = config.memory_mb * (1 << 20) // 2
    if total > most or (total > ALWAYS_FINE and total > RATIO * len(data)):
        raise DocumentError(
            f"unpacks from {len(data):,} bytes to {total:,}, more than is safe",
            "the file may be hostile; a large honest one needs a larger load.memory_mb",
        )
    if any(member.flag_bits & 1 for member in members):
        raise needs_password()
    found = _what(archive)
    if found not in (None, wanted):
        raise DocumentError(f"is {found}, not {wanted}", "give the file its right suffix")
    if _STRICT in (member(archive, "_rels/.rels") or b""):
        raise DocumentError(f"is {wanted} in the strict form of Open XML", "save it in the ordinary one, not as Strict")
    return archive


def _what(archive: zipfile.ZipFile) -> str | None:
    names = set(archive.namelist())
    if found := next((what for main, what in _MAIN.items() if main in names), None):
        return found
    if "mimetype" in names:
        try:
            with archive.open("mimetype") as stream:
                return _MIMETYPES.get(stream.read(100).decode("ascii", "replace").strip())
        except (zipfile.BadZipFile, NotImplementedError, OSError):
            return None
    known = {"[Content_Types].xml", "META-INF/container.xml", "content.xml"} & names
    return None if known else "a plain zip archive"


def member(archive: zipfile.ZipFile, name: str) -> bytes | None:
    """The bytes of a member; None: there is none of that name, or it is damaged."""
    try:
        return archive.read(name)
    except (KeyError, zipfile.BadZipFile, NotImplementedError, EOFError, OSError, zlib.error):
        return None


def parse_xml(data: bytes) -> Any:
    """The root element. No entity is resolved, no DTD read, nothing fetched; libxml2's limits on depth and size of
    text hold. Raises lxml.etree.XMLSyntaxError."""
    from lxml import etree

    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    return etree.fromstring(data, parser)


def words(element: Any) -> str:
    """All text within an element, in one line."""
    return " ".join(clean("".join(element.itertext())).split())
