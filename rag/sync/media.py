"""Pictures and recordings in a sync: what they are embedded with, and the vectors that are missing.

Each space (images, audio) has its own embedder and fingerprint. A picture is known by its pixels, a window of a
recording by its samples: what was embedded once, in whichever file, isn't embedded again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rag.config import Config
from rag.errors import EmptyError
from rag.load import kind_of
from rag.load.media import Pictures, Sounds, Wanted, media_kind_of
from rag.store import Catalog, MediaRow
from rag.store.keys import array_key, canonical, media_key
from rag.types import Cue, Location, Medium, Source, Space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

HELD_BYTES = 256 << 20  # of decoded pictures and recordings that are embedded together
BATCH = 64  # pictures whose vectors are committed together

Step = Callable[[], None]  # called before and after each piece of work; may raise Cancelled


class SeesPictures(Protocol):
    @property
    def at_least(self) -> int: ...
    @property
    def fingerprint(self) -> dict[str, Any]: ...
    def vectors(self, items: Sequence[Any]) -> Floats: ...


class HearsSounds(Protocol):
    @property
    def rate(self) -> int: ...
    @property
    def fingerprint(self) -> dict[str, Any]: ...
    def windows(self, item: Any) -> tuple[list[Any], Floats]: ...


class Writes(Protocol):
    @property
    def rate(self) -> int: ...
    @property
    def fingerprint(self) -> dict[str, Any]: ...
    def transcribe(self, samples: Any) -> tuple[str, tuple[Cue, ...]]: ...


@dataclass(frozen=True)
class MediaParts:
    """What makes vectors of pictures and recordings, and text of recordings; made when there is something to do."""

    images: Callable[[], SeesPictures]
    audio: Callable[[], HearsSounds]
    transcriber: Callable[[], Writes]


class MediaSync:
    """The media of one run."""

    def __init__(
        self,
        config: Config,
        catalog: Catalog,
        parts: MediaParts,
    ) -> None:
        self._config, self._catalog, self._parts = config, catalog, parts
        self._writer: Writes | None = None
        self._images: SeesPictures | None = None
        self._audio: HearsSounds | None = None
        self._made: dict[Space, str] = {}  # fingerprints, canonical
        self._written = ""  # the transcriber's fingerprint, canonical
        self.embedded = self.reused = 0
        self._began: float | None = None  # the first was taken

    def look(self, paths: Iterable[Path]) -> dict[Space, dict[str, Any] | None]:
        """The fingerprints of the spaces that these files need; None: switched off. Raises ModelNotFound and
        ModelMismatch when a model that is needed isn't there."""
        images, audio = self._config.images, self._config.audio
        kinds = {media_kind_of(path) or kind_of(path) for path in paths}
        found: dict[Space, dict[str, Any] | None] = {}
        if images.kind == "none":
            found["images"] = None
        elif "image" in kinds or (images.inside and kinds & {"pdf", "docx"}):
            self._images = self._parts.images()
            found["images"] = self._images.fingerprint
        if audio.kind == "none":
            found["audio"] = None
        elif "audio" in kinds:
            self._audio = self._parts.audio()
            found["audio"] = self._audio.fingerprint
        if audio.transcribe and "audio" in kinds:
            self._writer = self._parts.transcriber()
            self._written = canonical(self._writer.fingerprint)
        self._made = {space: canonical(made) for space, made in found.items() if made}
        return found

    @property
    def per_s(self) -> float:
        """Pictures and windows embedded a second, so far."""
        if self._began is None or not self.embedded:
            return 0
        return round(self.embedded / (time.perf_counter() - self._began), 1)

    @property
    def writes(self) -> bool:
        """Whether recordings have text."""
        return self._writer is not None

    @property
    def wanted(self) -> Wanted:
        """What the loaders take."""
        images, audio = self._config.images, self._config.audio
        hears = self._writer or self._audio  # what is written down needs the higher rate; the rest is resampled here
        return Wanted(
            Pictures(images.max_megapixels, self._images.at_least, images.inside) if self._images else None,
            Sounds(hears.rate, audio.max_minutes) if hears else None,
        )

    def written(self, source: Source) -> Source:
        """A recording with its words as text, where `audio.transcribe` names a model; any other source as it is. Raises
        EmptyError: no word, and nothing else is wanted of it."""
        if source.kind != "audio" or self._writer is None:
            return source
        [medium] = source.media
        text, times = self._writer.transcribe(medium.data)
        if self._audio is None:  # its words alone
            if not text:
                raise EmptyError("no word was understood")
            return replace(source, text=text, times=times, media=())
        import soxr

        samples = soxr.resample(medium.data, self._writer.rate, self._audio.rate, "HQ")
        return replace(source, text=text, times=times, media=(replace(medium, data=samples),))

    def settings(self, kind: str) -> str:
        """What the media of a file of this kind depend on; empty: it has none."""
        if kind == "image":
            return self._made.get("images", "")
        if kind == "audio":
            return self._made.get("audio", "") + (f" {self._written}" if self._writer else "")
        if kind in ("pdf", "docx") and self._images and self._config.images.inside:
            return f"{self._made['images']} {self._config.images.inside}"
        return ""

    def store(self, contents: Mapping[str, Sequence[Medium]], step: Step) -> dict[str, list[MediaRow] | EmptyError]:
        """Make the vectors that are missing and store them; the rows of each content, by its key."""
        if contents and self._began is None:
            self._began = time.perf_counter()
        rows: dict[str, list[MediaRow] | EmptyError] = {}
        pictures: dict[bytes, Any] = {}
        for content, media in contents.items():
            try:
                rows[content] = self._rows(content, media, pictures, step)
            except EmptyError as error:
                rows[content] = error
        missing = self._catalog.missing_vectors(list(pictures))
        self.reused += len(pictures) - len(missing)
        todo = [key for key in pictures if key in missing]
        for start in range(0, len(todo), BATCH):
            part = todo[start : start + BATCH]
            step()
            self._catalog.put_vectors(part, self._seen([pictures[key] for key in part]))
            self.embedded += len(part)
            step()
        return rows

    def _rows(self, content: str, media: Sequence[Medium], pictures: dict[bytes, Any], step: Step) -> list[MediaRow]:
        rows: list[MediaRow] = []
        for medium in media:
            if medium.space == "audio":
                rows += self._windows(content, medium, step)
                continue
            place = "x".join(map(str, medium.data.shape))
            key = array_key(self._made["images"], memoryview(medium.data).cast("B"), place)
            pictures[key] = medium.data
            rows.append(MediaRow(media_key(content, "images", len(rows)), "images", medium.start, medium.location, key))
        return rows

    def _windows(self, content: str, medium: Medium, step: Step) -> list[MediaRow]:
        assert self._audio is not None
        step()
        windows, vectors = self._audio.windows(medium.data)
        rows = []
        for number, window in enumerate(windows):
            place = Location(None, 0, (), window.start)
            samples = medium.data[round(window.start * self._audio.rate) : round(window.end * self._audio.rate)]
            key = array_key(self._made["audio"], memoryview(samples).cast("B"), str(len(samples)))
            rows.append(MediaRow(media_key(content, "audio", number), "audio", 0, place, key))
        missing = self._catalog.missing_vectors([row.vector_key for row in rows])
        self._catalog.put_vectors([row.vector_key for row in rows], vectors)
        self.embedded += len(missing)
        self.reused += len(rows) - len(missing)
        step()
        return rows

    def _seen(self, arrays: Sequence[Any]) -> Floats:
        from PIL import Image

        assert self._images is not None
        return self._images.vectors([Image.fromarray(array) for array in arrays])
