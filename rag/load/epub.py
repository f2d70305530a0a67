"""Books (EPUB 2 and 3): the documents of the spine in the order of reading, each as the page of HTML that it is.

A path in the book is looked up among the archive's names, never opened. Chapters under DRM are left out and named.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rag.errors import DocumentError, brief
from rag.load.blocks import Blocks, unshown
from rag.load.container import member, open_container, parse_xml, words
from rag.load.decode import decode
from rag.load.html import hidden, visible
from rag.types import Source

if TYPE_CHECKING:
    from zipfile import ZipFile

    from rag.config import Load

_PAGES = ("application/xhtml+xml", "text/html", "application/x-dtbook+xml")


def load(data: bytes, relative: str, config: Load) -> Source:
    archive = open_container(data, "an EPUB book", config)
    package, base = _package(archive)
    blocks, warnings, locked, unseen = Blocks(), list[str](), _locked(archive), 0
    spine = _spine(package, base)
    if len(spine) > config.max_pages:
        warnings.append(f"{spine[config.max_pages]} and what follows left out: load.max_pages is {config.max_pages}")
    for name in spine[: config.max_pages]:
        if len(blocks) > config.max_chars:
            warnings.append(f"{name} and what follows left out: the text is longer than load.max_chars")
            break
        if name in locked:
            warnings.append(f"{name} is protected: left out")
            continue
        if (page := member(archive, name)) is None:
            warnings.append(f"{name} is missing or damaged: left out")
            continue
        text, _, found = decode(page)
        chapter = visible(text)
        blocks.marked(chapter.text, chapter.headings)
        unseen += hidden(text, chapter.text)
        warnings += [f"{name}: {warning}" for warning in found]
    if not len(blocks) and locked:
        raise DocumentError("its text is protected (DRM)", "only the program that it was bought for can open it")
    title = next((words(e) for e in package.iter("{*}title") if words(e)), None)
    return Source(
        relative,
        blocks.text,
        "epub",
        title=title,
        headings=blocks.headings,
        metadata=unshown(unseen),
        warnings=tuple(warnings),
    )


def _package(archive: ZipFile) -> tuple[Any, str]:
    """The package document and the folder that its paths begin in."""
    from lxml import etree

    try:
        container = parse_xml(member(archive, "META-INF/container.xml") or b"")
        names = [e.get("full-path") or "" for e in container.iter("{*}rootfile")]
        name = next((n for n in names if n in archive.namelist()), "")
        return parse_xml(member(archive, name) or b""), posixpath.dirname(name)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise DocumentError(f"is no readable book: {brief(error)}", "open it in a reader and save it anew") from None


def _spine(package: Any, base: str) -> list[str]:
    items = {e.get("id"): e for e in package.iter("{*}item")}
    found = []
    for reference in package.iter("{*}itemref"):
        item = items.get(reference.get("idref"))
        if (
            item is not None
            and item.get("media-type") in _PAGES
            and "nav" not in (item.get("properties") or "").split()
        ):
            href = unquote(item.get("href") or "").partition("#")[0]
            found.append(posixpath.normpath(posixpath.join(base, href)))
    return list(dict.fromkeys(found))


def _locked(archive: ZipFile) -> set[str]:
    from lxml import etree

    try:
        encryption = parse_xml(member(archive, "META-INF/encryption.xml") or b"<none/>")
    except (etree.XMLSyntaxError, ValueError):
        return set()
    return {unquote(e.get("URI") or "") for e in encryption.iter("{*}CipherReference")}
