"""The file: a tar of plain members in one zstd frame, and behind it a frame that every zstd reader passes over.

    zstd( header, data, header, data, … , two empty blocks )  skippable( MARK, bytes inside, SHA-256 of all before )

The last frame is looked at first: it finds a file that was cut short or altered anywhere, itself included, and says how
many bytes come out, so that inflating stops there. Then each member's size is checked before it is read and its SHA-256
when the last one, END, lists them. Names are compared, never used as paths. The reader is our own and not `tarfile`'s
because that one follows headers of any length and kind; any tar with zstd can still list the file.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from rag.errors import ArchiveError

BLOCK = 512  # of tar
END = "end.json"
MARK = b"RAGINDEX"
MAX_MEMBER = 512 * 2**20  # bytes; a part is a few MB, or one long document
_SKIPPABLE = struct.pack("<II", 0x184D2A50, len(MARK) + 8 + 32)
_TRAILER = len(_SKIPPABLE) + len(MARK) + 8 + 32
_PIECE = 2**20
_LEVEL = 6
_WINDOW = 2**23  # bytes that zstd may look back: bounds the memory that a file can ask for


class ArchiveWriter:
    """Members in the order they are put. `close` writes what proves them; without it the file is refused."""

    def __init__(self, stream: BinaryIO) -> None:
        import zstandard

        self._stream, self._whole, self._inside = stream, hashlib.sha256(), 0
        self._members: list[tuple[str, int, str]] = []
        parameters = zstandard.ZstdCompressionParameters.from_level(
            _LEVEL, window_log=22, write_checksum=True, write_content_size=False, threads=0
        )
        self._zstd = zstandard.ZstdCompressor(compression_params=parameters).compressobj()

    def put(self, name: str, data: bytes) -> None:
        """Raises ArchiveError when it is more than a reader takes."""
        if len(data) > MAX_MEMBER:
            raise ArchiveError(
                f"{name} would hold {len(data) >> 20} MB, more than the {MAX_MEMBER >> 20} MB that a reader takes",
                "one document is that long: lower load.max_chars and sync",
            )
        self._members.append((name, len(data), hashlib.sha256(data).hexdigest()))
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(data), 0o600
        self._add(header.tobuf(tarfile.USTAR_FORMAT))
        self._add(data)
        self._add(bytes(-len(data) % BLOCK))

    def close(self, **more: Any) -> int:
        """`more` goes into END. Returns the file's size."""
        self.put(END, json.dumps({"members": self._members, **more}).encode())
        self._add(bytes(2 * BLOCK))
        self._write(self._zstd.flush())
        self._write(_SKIPPABLE + MARK + struct.pack("<Q", self._inside))
        self._stream.write(self._whole.digest())
        return self._stream.tell()

    def _add(self, data: bytes) -> None:
        self._inside += len(data)
        self._write(self._zstd.compress(data))

    def _write(self, data: bytes) -> None:
        self._whole.update(data)
        self._stream.write(data)


class ArchiveReader:
    """The members of an open file. Nothing is believed before `members` has ended without an ArchiveError."""

    def __init__(self, stream: BinaryIO, name: Path) -> None:
        """Reads the whole file once. Raises ArchiveError when it isn't an archive, or not the one that was written."""
        self._stream, self.name = stream, name
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _TRAILER))
        trailer = stream.read(_TRAILER)
        head = _SKIPPABLE + MARK
        if not trailer.startswith(head) or len(trailer) != _TRAILER:
            raise ArchiveError(
                f"{name}: isn't an index archive, or was cut short ({size:,} bytes)",
                "copy it again, or make it anew with `rag export`",
            )
        self.inside = int(struct.unpack("<Q", trailer[len(head) : len(head) + 8])[0])
        self._packed = size - _TRAILER
        stream.seek(0)
        whole, left = hashlib.sha256(), size - 32
        while left and (piece := stream.read(min(_PIECE, left))):
            whole.update(piece)
            left -= len(piece)
        if whole.digest() != trailer[-32:]:
            raise self.altered("its SHA-256 isn't the one it ends with")
        self.end: dict[str, Any] = {}

    def altered(self, what: str) -> ArchiveError:
        return ArchiveError(
            f"{self.name}: was altered or damaged: {what}", "copy it again, or make it anew with `rag export`"
        )

    def members(self) -> Iterator[tuple[str, bytes]]:
        """(name, data) in order, END aside: that goes to `end` when all it lists has been held against it."""
        import zstandard

        self._stream.seek(0)
        packed = cast(BinaryIO, _Bounded(self._stream, self._packed))
        zstd = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
        with zstd.stream_reader(packed, read_size=_PIECE, closefd=False) as inflated:
            try:
                yield from self._members(inflated)
            except zstandard.ZstdError as error:
                raise self.altered(str(error)) from None

    def _members(self, inflated: Any) -> Iterator[tuple[str, bytes]]:
        seen: list[list[Any]] = []
        left = self.inside
        while True:
            name, size = self._header(self._read(inflated, BLOCK, left))
            left -= BLOCK
            padded = size + -size % BLOCK
            if size > MAX_MEMBER or padded > left:
                raise self.altered(f"{name} claims {size:,} bytes")
            data = self._read(inflated, size, left)
            if self._read(inflated, padded - size, left - size).strip(b"\0"):
                raise self.altered(f"there is something behind {name}")
            left -= padded
            if name == END:
                break
            seen.append([name, size, hashlib.sha256(data).hexdigest()])
            yield name, data
        if left != 2 * BLOCK or self._read(inflated, left, left).strip(b"\0") or inflated.read(1):
            raise self.altered("there is something behind its end")
        try:
            end = json.loads(data)
            listed = end.pop("members")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self.altered(f"{END} can't be read") from None
        if listed != seen:
            raise self.altered(f"its members aren't those that {END} lists")
        self.end = end

    def _header(self, block: bytes) -> tuple[str, int]:
        try:
            header = tarfile.TarInfo.frombuf(block, "ascii", "strict")
        except (tarfile.HeaderError, ValueError):
            raise self.altered("it has no header where one must be") from None
        if header.type != tarfile.REGTYPE or header.size < 0 or header.linkname:
            raise self.altered(f"{header.name!r} isn't a plain member")
        return header.name, header.size

    def _read(self, inflated: Any, size: int, left: int) -> bytes:
        """Exactly `size` bytes, of which `left` remain."""
        pieces, missing = [], size
        while missing and size <= left and (piece := inflated.read(min(missing, _PIECE))):
            pieces.append(piece)
            missing -= len(piece)
        if missing:
            raise self.altered("it ends too early")
        return b"".join(pieces)


class _Bounded:
    """The first `size` bytes of a stream."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self._left = stream, size

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data
