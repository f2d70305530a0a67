"""Recordings -> their words with times, by a speech model of transformers: CTC (Wav2Vec2 and its like) or Whisper.

Only when `audio.transcribe` names a model. What it writes is a text like any other from then on: split, embedded,
searched, and cited with its time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rag.config import Audio
from rag.embed import pretrained
from rag.embed.resolve import ResolvedModel
from rag.errors import ConfigError
from rag.types import Cue

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHISPER = ("whisper",)
CTC = (
    *("wav2vec2", "wav2vec2-bert", "wav2vec2-conformer", "hubert", "wavlm"),
    *("unispeech", "unispeech-sat", "sew", "sew-d", "data2vec-audio"),
)
WINDOW_S, OVERLAP_S = 20.0, 2.0  # of CTC: a long recording is read in parts whose edges overlap
LINE_WORDS, PAUSE_S = 12, 0.8  # a line of the text ends after so many words, or at a pause

Words = tuple[float, str]  # seconds from the start, and what was said


class Transcriber:
    """Nothing is loaded until it is used. Safe to share between threads."""

    def __init__(self, config: Audio) -> None:
        if config.transcribe is None:
            raise ConfigError("audio.transcribe is not set", "name a speech model: a folder or a hub name")
        self.config = config
        self._lock = threading.Lock()

    @cached_property
    def model(self) -> ResolvedModel:
        """Raises ModelNotFound and ModelMismatch."""
        return pretrained.find("audio.transcribe", str(self.config.transcribe), "a speech model", (*CTC, *WHISPER))

    @property
    def rate(self) -> int:
        """Samples a second: what every model of these kinds hears."""
        return 16_000

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Every setting that changes what is written."""
        return {**pretrained.fingerprint(self.model), "window_s": WINDOW_S, "line_words": LINE_WORDS}

    def transcribe(self, samples: NDArray[np.float32]) -> tuple[str, tuple[Cue, ...]]:
        """The text of mono samples at `rate`, a line every few words, and when each line was said; "" where nothing was
        understood."""
        lines = list(_lines(self._words(samples)))
        cues, text = [], ""
        for seconds, line in lines:
            text += "\n" if text else ""
            cues.append(Cue(len(text), seconds))
            text += line
        return text, tuple(cues)

    def close(self) -> None:
        """Give back the model."""
        self.__dict__.pop("_pipeline", None)

    def _words(self, samples: NDArray[np.float32]) -> list[Words]:
        heard: dict[str, Any] = {"raw": samples, "sampling_rate": self.rate}
        with self._lock:
            if self._is_whisper:
                told = self._pipeline(heard, return_timestamps=True)
            else:
                told = self._pipeline(
                    heard, return_timestamps="word", chunk_length_s=WINDOW_S, stride_length_s=OVERLAP_S
                )
        return [(float(part["timestamp"][0] or 0), str(part["text"])) for part in told["chunks"]]

    @cached_property
    def _is_whisper(self) -> bool:
        return pretrained.model_type(self.model) in WHISPER

    @cached_property
    def _pipeline(self) -> Any:
        from transformers import AutoModelForCTC, AutoModelForSpeechSeq2Seq, AutoProcessor, pipeline

        from rag.hush import quiet

        made_by = AutoModelForSpeechSeq2Seq if self._is_whisper else AutoModelForCTC
        model = pretrained.load(made_by, self.model, "a speech model", may_miss=("masked_spec_embed",))
        processor = pretrained.processor(AutoProcessor, self.model, "a speech model")
        with quiet():
            return pipeline(
                "automatic-speech-recognition",
                model=model,
                tokenizer=processor.tokenizer,
                feature_extractor=processor.feature_extractor,
                device=self.config.device,
            )


def _lines(words: Sequence[Words]) -> Iterable[Words]:
    """Words, or Whisper's phrases, as lines.

    >>> list(_lines([(0.0, "one"), (0.4, "two"), (3.0, "three")]))
    [(0.0, 'one two'), (3.0, 'three')]
    """
    held: list[str] = []
    began = last = 0.0
    for seconds, word in words:
        word = " ".join(word.split())
        if not word:
            continue
        if held and (sum(len(h.split()) for h in held) >= LINE_WORDS or seconds - last > PAUSE_S + 0.1 * len(held[-1])):
            yield began, " ".join(held)
            held = []
        if not held:
            began = max(seconds, began)
        held.append(word)
        last = seconds
    if held:
        yield began, " ".join(held)
