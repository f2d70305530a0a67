"""AudioEmbedder: recordings -> vectors, one for each window of a long one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

import numpy as np

from rag.config import Audio
from rag.embed import pretrained
from rag.embed.image import batches, decoded
from rag.embed.resolve import ResolvedModel
from rag.errors import ConfigError, EmptyError
from rag.media import DECODER_VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

DEFAULT_WAV2VEC2 = "facebook/wav2vec2-base-960h"


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording, in seconds from its start."""

    start: float
    end: float


class AudioEmbedder:
    """A model that hears, or the descriptor. Nothing is loaded until it is used. Safe to share between threads."""

    def __init__(self, config: Audio | None = None) -> None:
        self.config = config or Audio()
        if self.config.kind == "none":
            raise ConfigError("audio.kind is none: recordings have no vectors", "choices: descriptor, wav2vec2")
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """As it is shown to people: the model's, or what the descriptor is."""
        return "descriptor (mel cepstra)" if self.config.kind == "descriptor" else self.model.name

    @cached_property
    def model(self) -> ResolvedModel:
        """Raises ModelNotFound and ModelMismatch."""
        named = self.config.model or DEFAULT_WAV2VEC2
        return pretrained.find("audio.model", named, "a Wav2Vec2 model", ("wav2vec2",))

    @cached_property
    def rate(self) -> int:
        """Samples a second that it hears; others are resampled to it."""
        if self.config.kind == "descriptor":
            from rag.embed.descriptors import SOUND_RATE

            return SOUND_RATE
        return int(self._extractor.sampling_rate)

    @cached_property
    def dimension(self) -> int:
        if self.config.kind == "descriptor":
            from rag.embed.descriptors import SOUND_DIMENSION

            return SOUND_DIMENSION
        return int(self._encoder.config.hidden_size)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Every setting that changes what a vector means."""
        windows = {"window_s": self.config.window_s, "overlap_s": self.config.overlap_s}
        made = {"kind": self.config.kind, "dimension": self.dimension, "decoder": DECODER_VERSION, **windows}
        if self.config.kind != "descriptor":
            return {**made, "rate": self.rate, **pretrained.fingerprint(self.model)}
        from rag.embed.descriptors import VERSION

        return {**made, "version": VERSION}

    def vectors(
        self, items: Sequence[Path | bytes | Floats], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """(len(items), dimension) float32, in the order given, whatever the batching. Of a recording longer than a
        window: the mean of its windows, each weighted by its length.

        Items are files, their bytes, or mono samples at `rate`. `progress` is called with the number of recordings just
        embedded. Raises EmptyError (silence, no sample) and DocumentError, which name the path.
        """
        out = np.empty((len(items), self.dimension), np.float32)
        for row, item in enumerate(items):
            try:
                windows, vectors = self.windows(item)
            except EmptyError as error:
                where = f"{item}: " if isinstance(item, Path) and not error.message.startswith(str(item)) else ""
                raise EmptyError(f"{where}{error.message}", error.hint) from None
            out[row] = np.average(vectors, axis=0, weights=[w.end - w.start for w in windows])
            if progress:
                progress(1)
        return out

    def windows(self, item: Path | bytes | Floats) -> tuple[list[Window], NDArray[np.float32]]:
        """The stretches that one recording is heard in, and their vectors, (windows, dimension). The descriptor passes
        over silent ones; raises EmptyError when all are."""
        from rag.media.sound import windows

        samples = self._decoded(item)
        if not len(samples):
            raise EmptyError("the recording holds no sound")
        places = windows(len(samples), self.rate, self.config.window_s, self.config.overlap_s)
        vectors: list[Floats | None] = []
        for _, part in batches(places, self.config.batch):
            vectors += self._heard([samples[start:end] for start, end in part])
        kept = [(Window(a / self.rate, b / self.rate), v) for (a, b), v in zip(places, vectors, strict=True)
                if v is not None]  # fmt: skip
        if not kept:
            raise EmptyError("the recording holds nothing but silence")
        return [window for window, _ in kept], pretrained.checked(np.stack([v for _, v in kept]), self.name)

    def close(self) -> None:
        """Give back the model."""
        for name in ("_encoder", "_extractor"):
            self.__dict__.pop(name, None)

    # ---- how ----------------------------------------------------------------------------------------------

    def _decoded(self, item: Path | bytes | Floats) -> Floats:
        from rag.media.sound import read_sound

        if isinstance(item, np.ndarray):
            return item
        return decoded(item, lambda data: read_sound(data, self.rate, self.config.max_minutes))

    def _heard(self, parts: Sequence[Floats]) -> list[Floats | None]:
        """Parts of one length (the windows of one recording) go through the model together, so that nothing is padded
        and a vector doesn't depend on its batch: the attention mask would be all ones."""
        match self.config.kind:
            case "descriptor" | "none":
                from rag.embed.descriptors import sound_descriptor

                return [sound_descriptor(part) for part in parts]
            case "wav2vec2":
                return list(self._encoded(parts))
            case _:
                assert_never(self.config.kind)

    def _encoded(self, parts: Sequence[Floats]) -> Floats:
        """(len(parts), dimension): the mean over time of the last layer."""
        import torch

        with self._lock, torch.inference_mode():
            parts = [np.pad(part, (0, max(0, self._shortest - len(part)))) for part in parts]
            heard = self._extractor(parts, sampling_rate=self.rate, return_tensors="pt").to(self.config.device)
            hidden = self._encoder(heard["input_values"]).last_hidden_state  # (parts, frames, dimension)
            return np.asarray(hidden.mean(dim=1).float().cpu().numpy(), np.float32)

    @cached_property
    def _shortest(self) -> int:
        """Samples that make one frame: less would leave its convolutions nothing to work on."""
        config, samples = self._encoder.config, 1
        for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
            samples = (samples - 1) * stride + kernel
        return int(samples)

    @cached_property
    def _encoder(self) -> Any:
        from transformers import Wav2Vec2Model

        unused = ("masked_spec_embed",)  # of training
        return pretrained.load(Wav2Vec2Model, self.model, "a Wav2Vec2 model", unused).to(self.config.device)

    @cached_property
    def _extractor(self) -> Any:
        """The part of the processor that hears; the other one spells words."""
        from transformers import AutoFeatureExtractor

        return pretrained.processor(AutoFeatureExtractor, self.model, "a Wav2Vec2 model")
