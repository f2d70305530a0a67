"""Bytes -> text that obeys the rules of `Source.text`, and what a file's first bytes say that it is."""

from __future__ import annotations

import codecs
import contextlib
import re

from rag.errors import DocumentError

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"  # Microsoft's compound file
_STREAMS = (  # the names of what lies in one say what it is
    ("EncryptedPackage", "an encrypted Office document"),
    ("WordDocument", "an old Word document (.doc)"),
    ("PowerPoint Document", "an old PowerPoint presentation (.ppt)"),
    ("Workbook", "an old Excel workbook (.xls)"),
)

_MAGIC = (
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a zip archive"),
    (b"PK\x05\x06", "a zip archive"),
    (b"\x89PNG\r\n", "a PNG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x7fELF", "a program"),
    (b"{\\rtf", "an RTF document"),
    (_OLE, "an old or encrypted Office document"),
    (b"SQLite format 3\x00", "an SQLite database"),
)


def sniff(data: bytes) -> str | None:
    """What the first bytes say, in words; None: nothing known, as for any plain text.

    >>> sniff(b"%PDF-1.7 ..."), sniff(b"  <!DOCTYPE html><p>x"), sniff(b"GIF89a is a file format")
    ('a PDF', 'an HTML page', None)
    """
    head = data[:1024]
    for magic, name in _MAGIC:
        if head.startswith(magic):
            if magic == _OLE:
                return _office(data)
            if name == "a GIF image" and b"\0" not in head[:32]:  # its magic is also a word
                return None
            return name
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:15].lower()
    return "an HTML page" if start.startswith((b"<!doctype html", b"<html")) else None


def _office(data: bytes) -> str:
    names = ((name.encode("utf-16-le"), what) for name, what in _STREAMS)
    return next((what for name, what in names if name in data), "an old or encrypted Office document")


_CONTROLS = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
_ESCAPES = re.compile(r"\x1b\[[0-?]{0,40}[ -/]{0,4}[@-~]")  # ECMA-48: colours, moves of the cursor
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    r"""No BOM, no colours of a terminal; `\r\n`, `\r` and form feed -> `\n`; other control characters -> space; no lone
    surrogate.

    Surrogate pairs (CESU-8, Java's "UTF-8") become their character, lone ones U+FFFD. Cleaning twice changes
    nothing.

    >>> clean("\ufeffa\r\nb\rc\x00d\ud800"), clean("\x1b[1;32mok\x1b[0m")
    ('a\nb\nc d\ufffd', 'ok')
    """
    if _SURROGATES.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = text.replace("\ufeff", "").replace("\r\n", "\n").replace("\r", "\n").replace("\x0c", "\n")
    return _CONTROLS.sub(" ", _ESCAPES.sub("", text))


def decode(data: bytes, declared: str | None = None) -> tuple[str, str, tuple[str, ...]]:
    """The clean text, the encoding's name and warnings.

    In this order: a BOM; UTF-16 by the place of its NULs; UTF-8; `declared` (an HTML page's own word); UTF-8
    with a few broken bytes; Western European (cp1252, else ISO 8859-15) where every character fits; with a warning
    what charset-normalizer guesses, else cp1252. Raises DocumentError where the bytes are no text.
    """
    for bom, name in _BOMS:
        if data.startswith(bom):
            return _lenient(data[len(bom) :], name)
    if unmarked := _utf16_by_nuls(data):
        return _lenient(data, unmarked)
    try:
        text = data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        pass
    else:
        _refuse_binary(data, 0.3)
        return clean(text), "utf-8", ()
    _refuse_binary(data, 0.05)
    if declared and (found := labelled(data, declared)):
        return *found, ()
    text = data.decode("utf-8", "replace")
    broken = text.count("\ufffd")
    if sum(c > "\x7f" for c in text) - broken >= 4 * broken:
        return _lenient(data, "utf-8")
    for encoding in ("cp1252", "iso8859-15"):
        if (western := _western(data, encoding)) is not None:
            return clean(western), encoding, ()
    return _guess(data)


_MEANT = {  # Python's names, and what pages and messages with such a label are written in (WHATWG Encoding)
    "ascii": "cp1252", "iso8859-1": "cp1252", "iso8859-9": "cp1254", "iso8859-11": "cp874", "tis-620": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949",
}  # fmt: skip


def labelled(data: bytes, label: str) -> tuple[str, str] | None:
    r"""The clean text, as browsers read bytes with that label, and the encoding; None where it isn't that.

    >>> labelled(b"5 \x80", "ISO-8859-1"), labelled(b"\xff", "utf-8")
    (('5 €', 'cp1252'), None)
    """
    with contextlib.suppress(LookupError, ValueError):  # ValueError: of a name with a zero in it
        own = codecs.lookup(label).name
        for name in (_MEANT.get(own, own), own):
            with contextlib.suppress(UnicodeError):
                return clean(data.decode(name)), name
    return None


_BOMS = (  # UTF-32 first: its little-endian mark begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def _lenient(data: bytes, encoding: str) -> tuple[str, str, tuple[str, ...]]:
    """Decode with U+FFFD for what doesn't fit, and say how often."""
    try:
        return clean(data.decode(encoding, "surrogatepass")), encoding, ()
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
        _refuse_binary(data if encoding == "utf-8" else text.encode("utf-8", "replace"), 0.3)
        return (
            clean(text),
            encoding,
            (f"{text.count(chr(0xFFFD))} characters are not valid {encoding}: read as U+FFFD",),
        )


def _utf16_by_nuls(data: bytes) -> str | None:
    """Text of mostly Latin letters in UTF-16 has a NUL in every other byte, always on the same side."""
    sample = data[:4096]
    if len(data) % 2 or len(sample) < 4:
        return None
    half = len(sample) // 2
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    for ours, others, name in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if ours > 0.4 * half and others <= 0.02 * half:
            text = sample.decode(name, "replace")
            return name if sum(c.isprintable() or c.isspace() for c in text) > 0.9 * len(text) else None
    return None


_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\r\x0c\x1b"))


def _refuse_binary(data: bytes, share: float) -> None:
    sample = data[:65536]
    controls = len(sample) - len(sample.translate(None, _CONTROL_BYTES))
    if controls > max(4, share * len(sample)):
        raise DocumentError(
            f"binary content: {controls} of its first {len(sample)} bytes are control characters, not text",
            "give the file its right suffix, or exclude it",
        )


# charset-normalizer takes French for Baltic and German for Polish: all three fit the bytes. So Western
# European is tried first, and only where nothing speaks against it: no letter outside these, no sign in the
# middle of a word (Polish "Zażółć" would read "Za¿ó³æ"), and plain ASCII for most letters (Cyrillic and Greek
# have nearly none).
_WESTERN = re.compile(
    "[\x00-\x7fÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØŒÙÚÛÜŸßàáâãäåæçèéêëìíîïñòóôõöøœùúûüÿ\xa0¡¢£¥§©ª«®°±²³´µ¶·º»¼½¾¿×€‚„…‘’“”•–—™‹›]*"
)
_SIGN_IN_WORD = re.compile("[A-Za-zÀ-ÿ][¡¢£¥§©ª«®°±²³´µ¶º»¼½¾¿×€‚„…“”•™‹›][A-Za-zÀ-ÿ]")

# ISO 8859-15 differs from cp1252 in eight characters, and in that 0x80 to 0x9f are none: the euro of an amount, and
# letters that "½ l", "It´s" and "1¼" don't become. "¼uvre" tells of it as "c½ur" does.
_OEUVRE = re.compile("[¼½](?:uvr|ufs?\\b|il|d[eèi]|sop|cum|nol|str)")
_CONTROL_IN_15 = re.compile("[\x80-\x9f]")
_OF_15 = re.compile("[€ŠšŽžŒœŸ]")
_FIT_15 = re.compile(
    r"(?<![^\s\x00-~])€(?![^\s\x00-@\[-`{-~])|(?<![\da-zß-ÿ])Œ(?=[A-Za-z])|(?<![\dA-Z])œ(?=[a-z])|(?<=[A-Z])Ÿ"
    r"|(?<![A-Za-zÀ-ÿ])[ŠŽ](?=[a-zà-ÿ])|(?<=[A-Za-zÀ-ÿ])[šž]|[šž](?=[a-zà-ÿ])"
)


def _western(data: bytes, encoding: str) -> str | None:
    """The text, where nothing speaks against its being Western European in that encoding."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    letters = text
    if encoding == "iso8859-15":
        if _CONTROL_IN_15.search(text) or len(_OF_15.findall(text)) != len(_FIT_15.findall(text)):
            return None
        letters = re.sub("[ŠšŽž]", "", text)
    accented = sum(c > "\x7f" and c.isalpha() for c in text)
    plain = sum(c.isascii() and c.isalpha() for c in text)
    odd = _SIGN_IN_WORD.search(text) or _OEUVRE.search(text)
    return text if accented * 3 <= plain and _WESTERN.fullmatch(letters) and not odd else None


def _guess(data: bytes) -> tuple[str, str, tuple[str, ...]]:
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is not None:
        try:  # decoded here: str(best) drops what the detector takes for a mark
            return clean(data.decode(best.encoding)), best.encoding, (f"read as {best.encoding}, which is a guess",)
        except (LookupError, UnicodeError):
            pass
    warning = "encoding not recognised: read as cp1252"
    try:
        return clean(data.decode("cp1252")), "cp1252", (warning,)
    except UnicodeDecodeError:
        return clean(data.decode("latin-1")), "latin-1", ("encoding not recognised: read as latin-1",)
