"""Pictures and recordings of the folder, decoded in the guarded worker, and how they come from there to the caller.

Sizes and formats of untrusted files are as dangerous as their text, so a worker decodes them. Pixels and samples are
too many for its messages: they go through a file that the caller names, and only their shapes are told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never, get_args

from rag.errors import EmptyError, UnsupportedError
from rag.load import guarded, read_regular
from rag.media import PICTURES, SOUNDS
from rag.types import Location, Medium, Source, Space

if TYPE_CHECKING:
    from rag.config import Load

MediaKind = Literal["image", "audio"]

ALIGNED = 64  # bytes: where an array begins in the file
_DTYPES: dict[Space, str] = {"images": "u1", "audio": "<f4"}


@dataclass(frozen=True, slots=True)
class Pictures:
    max_megapixels: float
    at_least: int  # pixels of the shorter side that are kept
    inside: int  # so many pictures of one document are taken; 0: none


@dataclass(frozen=True, slots=True)
class Sounds:
    rate: int  # samples a second
    max_minutes: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is taken of pictures and recordings; None: nothing."""

    pictures: Pictures | None = None
    sounds: Sounds | None = None

    @classmethod
    def of(cls, told: dict[str, Any]) -> Wanted:
        """From its form as JSON."""
        pictures, sounds = told["pictures"], told["sounds"]
        return cls(pictures and Pictures(**pictures), sounds and Sounds(**sounds))


def media_kind_of(path: Path) -> MediaKind | None:
    """By the name alone.

    >>> media_kind_of(Path("a/Photo.JPG")), media_kind_of(Path("talk.mp3")), media_kind_of(Path("notes.md"))
    ('image', 'audio', None)
    """
    suffix = path.suffix.lower()
    return "image" if suffix in PICTURES else "audio" if suffix in SOUNDS else None


def load_medium(path: Path, relative: str, config: Load, wanted: Wanted) -> Source:
    """A source without text whose `media` is the picture or the recording. Raises EmptyError, UnsupportedError or
    DocumentError, whatever the bytes are."""
    kind = media_kind_of(path)
    if kind is None:
        raise UnsupportedError(f"no loader for {path.suffix}", "it is neither a picture nor a recording")
    with guarded(kind, config):
        data = read_regular(path)
        if not data:
            raise EmptyError("the file is empty")
        match kind:
            case "image":
                import numpy as np

                from rag.media.picture import describe, read_picture

                if wanted.pictures is None:
                    raise UnsupportedError("images.kind is none: pictures are passed over", "set images.kind")
                picture = read_picture(data, wanted.pictures.max_megapixels, wanted.pictures.at_least)
                medium = Medium("images", np.asarray(picture), Location(None, 0))
                return Source(relative, "", "image", metadata=describe(data), media=(medium,))
            case "audio":
                from rag.media.sound import read_sound

                if wanted.sounds is None:
                    raise UnsupportedError(
                        "audio.kind is none: recordings are passed over", "set audio.kind or audio.transcribe"
                    )
                samples = read_sound(data, wanted.sounds.rate, wanted.sounds.max_minutes)
                medium = Medium("audio", samples, Location(None, 0))
                seconds = round(len(samples) / wanted.sounds.rate, 2)
                return Source(relative, "", "audio", metadata={"seconds": seconds}, media=(medium,))
            case _:
                assert_never(kind)


# ---- from the worker to its caller -----------------------------------------------------------------------------------


def put_arrays(media: Iterable[Medium], file: Path) -> list[dict[str, Any]]:
    """Write the arrays one after the other, and say where each lies."""
    import numpy as np

    rows = []
    with file.open("wb") as out:
        for medium in media:
            out.write(b"\0" * (-out.tell() % ALIGNED))
            array = np.ascontiguousarray(medium.data, _DTYPES[medium.space])
            where = medium.location
            rows.append({
                "space": medium.space, "shape": array.shape, "at": out.tell(), "start": medium.start,
                "page": where.page, "line": where.line, "headings": where.headings,
            })  # fmt: skip
            out.write(array.data.cast("B") if array.size else b"")
    return rows


def get_arrays(rows: Sequence[dict[str, Any]], file: Path) -> tuple[Medium, ...]:
    """What `put_arrays` wrote, mapped into memory and read from the disk as it is used. Nothing of the rows is
    believed: raises ValueError, TypeError or KeyError where they don't fit the file."""
    if not rows:
        return ()
    import numpy as np

    size, media = file.stat().st_size, []
    for row in rows:
        space: Space = row["space"]
        if space not in get_args(Space):
            raise ValueError(f"space {space!r}")
        shape, at, dtype = tuple(map(int, row["shape"])), int(row["at"]), np.dtype(_DTYPES[space])
        fits = len(shape) == 1 if space == "audio" else len(shape) == 3 and shape[2] == 3
        if not fits or min(shape) < 1 or at < 0:
            raise ValueError(f"shape {shape} at {at}")
        if at + dtype.itemsize * math.prod(shape) > size:
            raise ValueError(f"shape {shape} at {at} in a file of {size} bytes")
        page = None if row["page"] is None else int(row["page"])
        location = Location(page, int(row["line"]), tuple(map(str, row["headings"])))
        data = np.memmap(file, dtype, "r", at, shape)
        media.append(Medium(space, data, location, int(row["start"])))
    return tuple(media)
