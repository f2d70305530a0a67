"""Sections that can be asked for by their document's title and their heading."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rag.evaluate.questions.corpus import Folder, plain
from rag.evaluate.questions.verbs import finite
from rag.types import Source, Span

SHORTEST = 80  # characters below a heading: less says too little to be asked for
# They name a place in a document, not what is said there.
_GENERIC = frozenset(
    """introduction overview summary conclusion conclusions abstract background contents references bibliography
    appendix example examples notes note details usage general other miscellaneous discussion results methods see also
    further everything else small quick answers questions things a an and the of to more reading external links faq
    index preface acknowledgements acknowledgments glossary history changelog license
    einleitung zusammenfassung fazit literatur inhalt anhang beispiel beispiele résumé sommaire exemples références
    introducción resumen conclusión ejemplos referencias 简介 概述 总结 参考文献 目录 附录""".split()  # noqa: SIM905
)
_POINTING = frozenset(["it", "they", "them", "its", "their", "this", "these", "those"])  # at the text above
_ASKED = {
    "en": "What does “{title}” say about {heading}?",
    "de": "Was steht in „{title}“ über {heading}?",
    "fr": "Que dit « {title} » sur {heading} ?",
    "es": "¿Qué dice «{title}» sobre {heading}?",
    "zh": "《{title}》关于“{heading}”说了什么？",
}


@dataclass(frozen=True)
class Section:
    source: Source
    title: str  # of the document
    heading: str
    span: Span  # the text below the heading, up to the next one


def title_of(source: Source) -> str | None:
    """The document's own; else its only outermost heading, where that comes first."""
    if source.title:
        return plain(source.title)
    outermost = [h for h in source.headings if h.level == 1]
    first = len(outermost) == 1 and source.headings[0] is outermost[0]
    return plain(outermost[0].title) if first else None


def sections(folder: Folder) -> Iterator[Section]:
    """Those whose title and heading name one place in the folder, in the order of the files."""
    found = [section for source in folder.sources for section in _sections(source)]
    named = Counter((s.title.casefold(), s.heading.casefold()) for s in found)
    return (s for s in found if named[s.title.casefold(), s.heading.casefold()] == 1)


def _sections(source: Source) -> Iterator[Section]:
    title = title_of(source)
    if title is None or not source.headings:
        return
    ends = [*(h.start for h in source.headings), len(source.text)][1:]
    for heading, end in zip(source.headings, ends, strict=True):
        name = re.sub(r"^(?:\d+[.)]?)+\s+", "", plain(heading.title)).strip(" .:")
        start = source.text.find("\n", heading.start)
        text = source.text[start:end] if 0 <= start < end else ""
        span = Span(start + len(text) - len(text.lstrip()), start + len(text.rstrip())) if text.strip() else None
        if span is not None and len(span) >= SHORTEST and _says_what(name, title):
            yield Section(source, title, name, span)


def _says_what(heading: str, title: str) -> bool:
    words = re.findall(r"[^\W\d_]+", heading.casefold())
    if (
        _POINTING & {*words}
        or not words
        or all(w in _GENERIC for w in words)
        or heading.casefold() == title.casefold().strip(" .:")
    ):
        return False
    return 3 <= len(heading) <= 80 or (len(heading) >= 2 and not heading.isascii())


def about(folder: Folder, source: Source, title: str, heading: str) -> str:
    """The question. A heading that is one already is quoted."""
    language = folder.tools.language(source.text)
    form = _ASKED.get(language, "{title}: {heading}?")
    if language == "en":
        first, *rest = heading.split(" ")
        if heading.endswith("?") or any(map(finite, heading.split()[1:])):
            heading = f"“{heading}”"
        elif folder.is_common(first) and first.istitle() and not any(w[:1].isupper() for w in rest):
            heading = heading[0].lower() + heading[1:]
    return form.format(title=title, heading=heading)
