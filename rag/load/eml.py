"""Messages (eml): who wrote to whom, when and what; then what was attached, read by the loaders of its own kinds.

Python's `email` takes the message apart. Of a body in two forms the plain one is read, unless it is a stub ("Your
program shows no HTML"): shorter than what the other form shows, and without more than LACKS of it. Attachments are
never written to a disk: their names, and where those say nothing their types, only tell which loader reads them. How
deep, how many and how large is bounded, and what isn't read is named all the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from rag.errors import DocumentError
from rag.load.blocks import Blocks, unshown
from rag.load.decode import clean, decode, labelled
from rag.load.html import hidden, visible
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

DEEPEST = 3  # messages in messages
MOST_PARTS = 200
MOST_BYTES = 64 << 20  # of all attachments together
LACKS = 0.2  # of the characters in words; a plain form that a mail program made of the other lacks none
_HEADER = 4000  # characters
_SHOWN = ("From", "To", "Cc", "Date")
_MOST_PAGE = 8 << 20  # characters; a longer page isn't held against its plain form: that would take its time twice
_ENCODED = ("base64", "quoted-printable")
_DEEPEST_PAGE = 3  # a page in its pictures (related) in its files (mixed)
_URL = re.compile(r"https?://\S+")
_WORD = re.compile(r"[^\W_\u3040-\u9fff]+|[\u3040-\u9fff]")  # lines of Chinese break anywhere
_OFFICE = "application/vnd.openxmlformats-officedocument"
_SUFFIXES = {
    "text/plain": ".txt",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/csv": ".csv",
    "text/xml": ".xml",
    "text/rtf": ".rtf",
    "application/xml": ".xml",
    "application/json": ".json",
    "application/rtf": ".rtf",
    "application/pdf": ".pdf",
    "application/epub+zip": ".epub",
    "application/msword": ".doc",
    "application/vnd.ms-excel": ".xls",
    "application/vnd.ms-powerpoint": ".ppt",
    f"{_OFFICE}.wordprocessingml.document": ".docx",
    f"{_OFFICE}.presentationml.presentation": ".pptx",
    f"{_OFFICE}.spreadsheetml.sheet": ".xlsx",
    "application/vnd.oasis.opendocument.text": ".odt",
    "message/rfc822": ".eml",
}


def load(data: bytes, relative: str, config: Load, depth: int = 0) -> Source:
    from email import message_from_bytes, policy

    message = message_from_bytes(data, policy=policy.default.clone(message_factory=_Part))
    if not any(name.lower() in ("from", "to", "date", "subject", "received", "message-id") for name in message):
        raise DocumentError("is no message: it has none of From, To, Date, Subject", "give the file its right suffix")
    reader = _Reader(config, depth)
    reader.message(message)
    title = _header(message, "Subject") or None
    blocks = reader.blocks
    return Source(
        relative,
        blocks.text,
        "eml",
        title=title,
        headings=blocks.headings,
        metadata=unshown(reader.unseen),
        warnings=tuple(reader.warnings),
    )


class _Part(EmailMessage):
    """A message in base64, as some gateways attach one, is a file for the parser: it would read the letters of the
    encoding as a message."""

    def get_content_maintype(self) -> str:
        kind = super().get_content_maintype()
        encoded = kind == "message" and str(self["Content-Transfer-Encoding"]).strip().lower() in _ENCODED
        return "application" if encoded else kind


class _Reader:
    def __init__(self, config: Load, depth: int) -> None:
        self.blocks = Blocks()
        self.warnings: list[str] = []
        self.unseen = 0  # characters that the body or an attachment doesn't show
        self._config = config
        self._depth = depth
        self._room = MOST_BYTES >> (4 * depth)

    def message(self, message: EmailMessage) -> None:
        self.blocks.heading(1, _header(message, "Subject") or "(no subject)")
        lines = [f"{name}: {text}" for name in _SHOWN if (text := _header(message, name))]
        self.blocks.add("\n".join(lines))
        attached = list[EmailMessage]()
        for number, (part, is_body) in enumerate(_parts(message)):
            if number >= MOST_PARTS:
                self.warnings.append(f"parts after {MOST_PARTS} left out")
                break
            if is_body:
                self._body(part)
            else:
                attached.append(part)
        for part in attached:
            self._attachment(part)

    def _body(self, part: EmailMessage) -> None:
        text = _decoded(part)
        if not text.strip():
            return
        if part.get_content_type() == "text/html":
            body = visible(text)  # a message is all matter
            self.blocks.marked(body.text, body.headings, deeper=1)
            self.unseen += hidden(text, body.text)
        else:
            self.blocks.add(text.rstrip())

    def _attachment(self, part: EmailMessage) -> None:
        name, data = _name(part), _content(part)
        said = f"{name} ({part.get_content_type()}, {len(data):,} bytes)"
        source, why = self._read(name, part.get_content_type(), data)
        if source is None:
            self.blocks.add(f"Attachment, not read: {said}")
            if part.get_content_maintype() not in ("image", "audio", "video"):  # of those nobody expects words
                self.warnings.append(f"attachment {name}: {why}")
            return
        self.blocks.heading(2, f"Attachment: {name}")
        self._taken(source, deeper=2)
        self.warnings += [f"attachment {name}: {warning}" for warning in source.warnings]

    def _taken(self, source: Source, deeper: int) -> None:
        self.blocks.marked(source.text, source.headings, deeper)
        self.unseen += source.metadata.get("hidden", 0)

    def _read(self, name: str, declared: str, data: bytes) -> tuple[Source | None, str]:
        """What its loader makes of it, or why that is nothing."""
        from rag.load import kind_of, load_bytes, unsupported

        if kind_of(PurePosixPath(name)) is None:
            name += _SUFFIXES.get(declared, "")
        path = PurePosixPath(name)
        kind = kind_of(path)
        if kind is None:
            return None, unsupported(path)[0] if path.suffix else f"no loader for {declared}"
        if len(data) > self._room:
            return None, f"larger than the {self._room:,} bytes that are left for attachments"
        self._room -= len(data)
        if kind == "eml" and self._depth + 1 >= DEEPEST:
            return None, f"messages in messages are read {DEEPEST} deep"
        try:
            return load_bytes(data, kind, name, name, self._config, self._depth + 1), ""
        except DocumentError as error:
            if isinstance(error.__context__, MemoryError):
                raise
            return None, error.message


def _parts(message: EmailMessage) -> Iterator[tuple[EmailMessage, bool]]:
    """The leaves that are shown: (part, whether it is of the body). The parser bounds how deep they nest."""
    kind = message.get_content_type()
    if message.get_content_disposition() == "attachment" or kind == "message/rfc822":
        yield message, False
    elif message.is_multipart():
        inner = [part for part in message.iter_parts() if isinstance(part, EmailMessage)]
        forms = _preferred(inner) if kind == "multipart/alternative" else inner
        for part in inner:
            yield from _parts(part) if part in forms else _attached(part)
    else:
        yield message, kind in ("text/plain", "text/html") and not message.get_filename()


def _attached(form: EmailMessage) -> Iterator[tuple[EmailMessage, bool]]:
    """What hangs on a form of the body that isn't read, as Apple's Mail writes it; pictures that it shows stay out."""
    if form.is_multipart() and form.get_content_type() != "message/rfc822":
        for part in form.iter_parts():
            if isinstance(part, EmailMessage):
                yield from _attached(part)
    elif form.get_content_disposition() == "attachment" or (form.get_filename() and not form["Content-ID"]):
        yield form, False


def _preferred(forms: list[EmailMessage]) -> list[EmailMessage]:
    plain = next((form for form in forms if _is_text(form, "text/plain")), None)
    rich = next((form for form in forms if _is_text(_first(form), "text/html")), None)
    if plain and not (rich and _is_stub(plain, _first(rich))):
        return [plain]
    return [rich] if rich else forms[-1:]


def _first(form: EmailMessage) -> EmailMessage:
    """The page of a form that comes with its pictures or files; of any other the form itself."""
    for _ in range(_DEEPEST_PAGE):
        inner = next(form.iter_parts(), None) if form.get_content_maintype() == "multipart" else None
        if not isinstance(inner, EmailMessage):
            break
        form = inner
    return form


def _is_text(part: EmailMessage, kind: str) -> bool:
    return part.get_content_type() == kind and bool(_payload(part).strip())


def _is_stub(plain: EmailMessage, rich: EmailMessage) -> bool:
    try:
        page, text = _decoded(rich), _decoded(plain)
    except DocumentError:  # no text
        return False
    if len(page) > _MOST_PAGE:
        return False
    shown = visible(page).text
    told, in_page, unseen = _words(_URL.sub("", text)), _words(shown), hidden(page, shown)
    most = _length(in_page) - unseen
    return _length(told) < most and _length(in_page - told) - unseen > LACKS * most


def _words(text: str) -> Counter[str]:
    return Counter(_WORD.findall(text.casefold()))


def _length(words: Counter[str]) -> int:
    return sum(len(word) * count for word, count in words.items())


def _header(message: EmailMessage, name: str) -> str:
    """As people read it: encoded words decoded, dates as ISO 8601."""
    try:
        value = message[name]
        date = getattr(value, "datetime", None) if name == "Date" else None
        text = date.isoformat(" ", "minutes") if date else str(value or "")
    except (RecursionError, MemoryError):
        raise
    except Exception:  # the parser of headers stumbles over damaged ones
        text = next((str(value) for key, value in message.raw_items() if key.lower() == name.lower()), "")
    return " ".join(clean(text[:_HEADER]).split())


def _name(part: EmailMessage) -> str:
    try:
        name = part.get_filename() or ""
    except (RecursionError, MemoryError):
        raise
    except Exception:
        name = ""
    name = " ".join(clean(name).replace("\\", "/").rpartition("/")[2].split())[-200:]
    if not name and part.get_content_type() == "message/rfc822":
        return "message.eml"
    return name or f"unnamed{_SUFFIXES.get(part.get_content_type(), '')}"


def _payload(part: EmailMessage) -> bytes:
    try:
        data: Any = part.get_payload(decode=True)
    except (ValueError, AssertionError, LookupError):  # of a transfer encoding that isn't what it says
        return b""
    return data if isinstance(data, bytes) else b""


def _content(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822" and part.is_multipart():
        inner: Any = part.get_payload()
        return inner[0].as_bytes() if isinstance(inner, list) and inner else b""
    return _payload(part)


def _decoded(part: EmailMessage) -> str:
    data, charset = _payload(part), part.get_content_charset()
    if charset and charset.lower() not in ("us-ascii", "ascii") and (found := labelled(data, charset)):
        return found[0]
    return decode(data, charset)[0]
