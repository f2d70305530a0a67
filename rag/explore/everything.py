"""One search over texts, pictures and recordings: each query in the spaces where it means something.

    words      texts; pictures too where the model is a CLIP
    a picture  pictures
    a clip     recordings

What each space finds is put together by rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from rag.config import Config
from rag.errors import QueryError
from rag.load.media import Pictures, Sounds, Wanted, media_kind_of
from rag.load.worker import load_one
from rag.retrieve import Filter, fuse_spaces, nearest_media, parse_filter
from rag.types import Passage, Space, Within

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from rag.embed import AudioEmbedder, ImageEmbedder
    from rag.store import IndexReader

    Floats = NDArray[np.float32]

WITHIN: tuple[Within, ...] = get_args(Within)
MOST_WINDOWS = 16  # of a clip that is searched by, evenly drawn: an hour's recording needn't be asked 180 times


class Everything:
    """Parts are asked for when a search needs them."""

    def __init__(
        self,
        config: Config,
        reader: Callable[[], IndexReader],
        texts: Callable[[str, int, Any], Sequence[Passage]],
        images: Callable[[], ImageEmbedder],
        audio: Callable[[], AudioEmbedder],
    ) -> None:
        self._config, self._reader = config, reader
        self._texts, self._images, self._audio = texts, images, audio

    def search(
        self,
        question: str | None,
        image: Path | str | None,
        audio: Path | str | None,
        within: Sequence[str] | None,
        k: int,
        filter: str | Mapping[str, Any] | Filter | None,
    ) -> list[Passage]:
        """Raises QueryError: nothing to search by, or a query that means nothing `within` the spaces; DocumentError for
        a file that is no picture or recording."""
        if k < 1:
            raise QueryError(f"k is {k}", "ask for 1 or more passages")
        wanted = filter if isinstance(filter, Filter) else parse_filter(filter)
        spaces = self.spaces(question, image, audio, within)
        rankings: list[Sequence[Passage]] = []
        if question is not None and "text" in spaces:
            rankings.append(self._texts(question, k, wanted))
        if question is not None and "images" in spaces and (image is None or self._images().reads_words):
            vectors = self._images().text_vectors([question])
            rankings.append(self._near_enough("images", vectors, self._images().fingerprint, k, wanted))
        if image is not None:
            rankings.append(self._near_enough("images", self._seen(Path(image)), self._images().fingerprint, k, wanted))
        if audio is not None:
            rankings.append(self._near_enough("audio", self._heard(Path(audio)), self._audio().fingerprint, k, wanted))
        return fuse_spaces(rankings, k, self._config.retrieve.rrf_k)

    def spaces(
        self,
        question: str | None,
        image: Path | str | None,
        audio: Path | str | None,
        within: Sequence[str] | None,
    ) -> set[str]:
        """The spaces that are searched. `within` None: those that the queries are of."""
        queries = {"words": question, "a picture": image, "a recording": audio}
        if all(query is None for query in queries.values()):
            raise QueryError("there is nothing to search by", "give words, a picture or a recording")
        if isinstance(within, str):
            within = [within]
        if within is None:
            own = {"text": question, "images": image, "audio": audio}
            return {space for space, query in own.items() if query is not None}
        if unknown := [space for space in within if space not in WITHIN]:
            raise QueryError(f"there is no space {unknown[0]!r} to search in", f"choices: {', '.join(WITHIN)}")
        spaces = set(within)
        if question is not None and spaces == {"audio"}:
            raise QueryError(
                "recordings can't be found by words",
                "give a recording to search by; subtitles beside a recording are found by their words",
            )
        if question is None and "text" in spaces and len(spaces) == 1:
            raise QueryError("texts are found by words only", "give some")
        for query, space in ((image, "images"), (audio, "audio")):
            if query is not None and space not in spaces:
                raise QueryError(f"{query} can't be searched by in {', '.join(within)}", f"its space is {space}")
        return spaces

    def nearest_to(self, file: Path, k: int) -> list[Passage]:
        """The pictures or recordings most like a file, itself left out where it is in the index."""
        if media_kind_of(file) == "image":
            return self._near("images", self._seen(file), self._images().fingerprint, k, None)
        return self._near("audio", self._heard(file), self._audio().fingerprint, k, None)

    def _near_enough(self, space: Space, vectors: Floats, made: dict[str, Any], k: int, wanted: Any) -> list[Passage]:
        least = self._config.retrieve.min_score
        found = self._near(space, vectors, made, k, wanted)
        return found if least is None else [p for p in found if p.score >= least]

    def _near(self, space: Space, vectors: Floats, made: dict[str, Any], k: int, wanted: Any) -> list[Passage]:
        return nearest_media(self._reader(), space, vectors, made, k, wanted)

    def _seen(self, file: Path) -> Floats:
        from PIL import Image

        embedder, images = self._images(), self._config.images
        wanted = Wanted(pictures=Pictures(images.max_megapixels, embedder.at_least, 0))
        return embedder.vectors([Image.fromarray(self._decoded(file, "image", wanted))])

    def _heard(self, file: Path) -> Floats:
        embedder = self._audio()
        wanted = Wanted(sounds=Sounds(embedder.rate, self._config.audio.max_minutes))
        _, vectors = embedder.windows(self._decoded(file, "audio", wanted))
        drawn = np.linspace(0, len(vectors) - 1, min(len(vectors), MOST_WINDOWS)).round().astype(int)
        return np.asarray(vectors[drawn])

    def _decoded(self, file: Path, kind: str, wanted: Wanted) -> Any:
        """Pixels or samples, decoded as a sync does: by a worker with limits."""
        file = file.expanduser()
        if media_kind_of(file) != kind:
            what = "a picture" if kind == "image" else "a recording"
            raise QueryError(f"{file} is not {what} by its name", "give it its right suffix")
        return load_one(file, self._config.load, wanted).media[0].data
