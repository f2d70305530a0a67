"""A recording's bytes -> mono samples at the rate that is wanted, and the windows that a long one is cut into."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import DocumentError, EmptyError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("WAV", "WAVEX", "RF64", "W64", "FLAC", "MP3", "OGG", "AIFF")  # of libsndfile's
RATES = (1000, 768_000)  # Hz; outside, the header is wrong
BLOCK = 1 << 16  # frames decoded at a time, so that a header that claims more than there is costs nothing


def read_sound(data: bytes, rate: int, max_minutes: float = 180) -> NDArray[np.float32]:
    """(samples,) float32 at `rate` Hz: the mean of the channels, resampled by soxr in its high quality.

    Raises EmptyError (no sample) and DocumentError: no recording, damaged, longer than `max_minutes`, a sampling rate
    that can't be, samples that are no numbers.
    """
    import soundfile
    import soxr

    pieces: list[NDArray[np.float32]] = []
    try:
        with soundfile.SoundFile(BytesIO(data)) as file:
            _check(file)
            stream = soxr.ResampleStream(file.samplerate, rate, 1, dtype="float32", quality="HQ")
            most, frames = max_minutes * 60 * file.samplerate, 0
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                frames += len(block)
                if frames > most:
                    raise DocumentError(
                        f"lasts longer than audio.max_minutes ({max_minutes:g})", "raise it, or cut the recording"
                    )
                mono = block.mean(axis=1)
                if not np.isfinite(mono).all():
                    raise DocumentError("holds samples that are no numbers (NaN or infinite)", "export it anew")
                pieces.append(mono if file.samplerate == rate else stream.resample_chunk(mono))
            if file.samplerate != rate:
                pieces.append(stream.resample_chunk(np.empty(0, np.float32), last=True))
    except DocumentError:
        raise
    except soundfile.LibsndfileError as error:
        detail = str(error).rpartition(": ")[2].rstrip(".") or "unknown format"
        raise DocumentError(
            f"is no recording that can be read: {detail}", "formats: wav, flac, mp3, ogg, aiff"
        ) from None
    except (RuntimeError, ValueError, OSError) as error:
        raise DocumentError(f"the recording is damaged: {error}", "export it anew") from None
    samples = np.concatenate(pieces) if pieces else np.empty(0, np.float32)
    if not len(samples):
        raise EmptyError("the recording holds no sound")
    return samples


def _check(file: object) -> None:
    held, rate, channels = (getattr(file, name) for name in ("format", "samplerate", "channels"))
    if held not in FORMATS:
        raise DocumentError(f"is a recording in {held}", "formats: wav, flac, mp3, ogg, aiff")
    if not RATES[0] <= rate <= RATES[1]:
        raise DocumentError(f"its header claims {rate} Hz, between {RATES[0]} and {RATES[1]} can be", "export it anew")
    if channels < 1:
        raise DocumentError("its header claims no channel", "export it anew")


def windows(samples: int, rate: int, window_s: float, overlap_s: float) -> list[tuple[int, int]]:
    """[start, end) in samples of the windows that cover all of them, each but the last one `window_s` long.

    The last one reaches back so far that it is whole too: its vector rests on as much sound as the others'.

    >>> windows(10, 1, window_s=4, overlap_s=1), windows(3, 1, window_s=4, overlap_s=1)
    ([(0, 4), (3, 7), (6, 10)], [(0, 3)])
    """
    size, step = round(window_s * rate), max(1, round((window_s - overlap_s) * rate))
    if samples <= size:
        return [(0, samples)]
    starts = [*range(0, samples - size, step), samples - size]
    return [(start, start + size) for start in starts]
