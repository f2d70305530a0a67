"""Classical features of pictures and sounds: what they look and sound like, without any trained model.

They find the same thing again (a picture scaled, cropped, re-encoded or recoloured; a word said twice by one voice).
They know nothing of meaning: a bicycle drawn differently is another picture to them. benchmarks/descriptors.py measures
them, on a voice and on pictures that their numbers weren't chosen on among others.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Floats = NDArray[np.float32]

VERSION = 1  # raise it when the features change: vectors are then made anew

# ---- pictures ------------------------------------------------------------------------------------------------------

PICTURE_SIDE = 128  # pixels that gradients and colours are taken from, whatever the picture's shape
LAYOUT_SIDE = 32
DIRECTIONS = 8  # of a gradient, over half a turn: light on dark counts like dark on light
CELLS = (1, 2, 4)  # per side, of the pyramid
COLOURS = (8, 3, 3)  # of hue, saturation and value
LAYOUT = 8  # cosines per side
PICTURE_WEIGHTS = (1.0, 0.3, 0.3)  # gradients, colours, layout
PICTURE_DIMENSION = DIRECTIONS * sum(c * c for c in CELLS) + COLOURS[0] * COLOURS[1] * COLOURS[2] + LAYOUT**2 - 1


def picture_descriptor(image: Image) -> Floats:
    """(PICTURE_DIMENSION,) unit vector of an RGB picture: where its edges run and which way (a pyramid of histograms of
    oriented gradients, Dalal & Triggs 2005, Bosch et al. 2007), which colours it has, and how light and dark lie."""
    parts = (_gradients(image), _colours(image), _layout(image))
    return _unit(np.concatenate([weight * part for weight, part in zip(PICTURE_WEIGHTS, parts, strict=True)]))


def _gradients(image: Image) -> NDArray[np.float64]:
    grey = _shrunk(image.convert("L"), PICTURE_SIDE)
    down, across = np.gradient(grey)
    size = np.hypot(across, down)
    turn = (np.arctan2(down, across) % np.pi) / np.pi * DIRECTIONS
    first, share = np.floor(turn).astype(int) % DIRECTIONS, turn - np.floor(turn)  # between two bins: to both
    levels = []
    for cells in CELLS:
        place = np.arange(PICTURE_SIDE) * cells // PICTURE_SIDE
        cell = (place[:, None] * cells + place) * DIRECTIONS
        bins = cells * cells * DIRECTIONS
        sums = np.bincount((cell + first).ravel(), (size * (1 - share)).ravel(), bins)
        sums += np.bincount((cell + (first + 1) % DIRECTIONS).ravel(), (size * share).ravel(), bins)
        levels.append(np.sqrt(sums / max(sums.sum(), 1e-9)))  # the root: Euclidean becomes Hellinger distance
    joined = np.concatenate(levels)
    return joined / max(float(np.linalg.norm(joined)), 1e-9)


def _colours(image: Image) -> NDArray[np.float64]:
    """A joint histogram; its root has length 1."""
    hsv = _shrunk(image, PICTURE_SIDE, "HSV") / 256
    hue, saturation, value = np.moveaxis((hsv * COLOURS).astype(int), -1, 0)
    bins = (hue * COLOURS[1] + saturation) * COLOURS[2] + value
    return np.asarray(np.sqrt(np.bincount(bins.ravel(), minlength=int(np.prod(COLOURS))) / bins.size))


def _layout(image: Image) -> NDArray[np.float64]:
    """The first cosines of the light, as a perceptual hash takes them, without their mean."""
    from scipy.fft import dctn

    cosines = dctn(_shrunk(image.convert("L"), LAYOUT_SIDE), norm="ortho")[:LAYOUT, :LAYOUT].ravel()[1:]
    rooted = np.sign(cosines) * np.sqrt(np.abs(cosines))
    return np.asarray(rooted / max(float(np.linalg.norm(rooted)), 1e-9))


def _shrunk(image: Image, side: int, mode: str | None = None) -> NDArray[np.float64]:
    from PIL.Image import Resampling

    smaller = min(image.size) < side  # enlarged, a box would draw the pixels' own edges
    small = image.resize((side, side), Resampling.BILINEAR if smaller else Resampling.BOX)
    return np.asarray(small.convert(mode) if mode else small, np.float64)


# ---- sounds --------------------------------------------------------------------------------------------------------

SOUND_RATE = 8000  # Hz: what every recording has, so that a copy at a lower rate sounds the same
FRAME, HOP, FFT = 200, 80, 256  # samples: 25 ms, 10 ms
MELS, LOW_HZ, HIGH_HZ = 26, 60.0, 3800.0
CEPSTRA = 13
LIFTER = 22  # evens out the cepstra's sizes, as speech recognisers do
LOUDNESS = 0.5  # of the first cepstrum, the loudness
RANGE_DB, SILENCE_DB = 60.0, 35.0  # below the loudest: not heard; quieter at both ends: cut off
SEGMENTS = 8
TIMBRE = 0.3  # weight of the spectrum as a whole beside how it goes on
SOUND_DIMENSION = SEGMENTS * CEPSTRA + 2 * CEPSTRA - 1
BLOCK = 6000  # frames transformed at a time: a minute


def sound_descriptor(samples: Floats) -> Floats | None:
    """(SOUND_DIMENSION,) unit vector of mono samples at SOUND_RATE, however loud: mel-frequency cepstra (Davis &
    Mermelstein 1980) averaged over SEGMENTS equal stretches of time, less their mean, then their mean and spread.
    None: silence."""
    cepstra = _cepstra(np.asarray(samples, np.float64))
    if cepstra is None:
        return None
    mean = cepstra.mean(axis=0)
    edges = np.linspace(0, len(cepstra), SEGMENTS + 1)
    course = np.concatenate(
        [cepstra[int(a) : max(int(np.ceil(b)), int(a) + 1)].mean(axis=0) - mean for a, b in pairwise(edges)]
    )
    timbre = np.concatenate([mean[1:], cepstra.std(axis=0)])
    return _unit(np.concatenate([_unit(course), TIMBRE * _unit(timbre)]))


def _cepstra(samples: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """(frames, CEPSTRA) from the first frame that is heard to the last; None: there is none."""
    from scipy.fft import dct

    samples = np.pad(samples, (0, max(0, FRAME - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    filters, window = _mel_filters(), np.hanning(FRAME)
    mels, energy = [], []
    for start in range(0, len(frames), BLOCK):
        power = np.abs(np.fft.rfft(frames[start : start + BLOCK] * window, FFT)) ** 2
        mels.append(power @ filters)
        energy.append(power.sum(axis=1))
    loud = np.concatenate(energy)
    if loud.max() < 1e-8:
        return None
    heard = np.flatnonzero(loud > loud.max() * 10 ** (-SILENCE_DB / 10))
    decibels = 10 * np.log10(np.maximum(np.concatenate(mels), 1e-12))
    decibels = (np.maximum(decibels, decibels.max() - RANGE_DB) - decibels.max())[heard[0] : heard[-1] + 1]
    lift = 1 + LIFTER / 2 * np.sin(np.pi * np.arange(CEPSTRA) / LIFTER)
    lift[0] = LOUDNESS * lift.mean()
    return np.asarray(dct(decibels, norm="ortho", axis=1)[:, :CEPSTRA] * lift)


def _mel_filters() -> NDArray[np.float64]:
    """(FFT / 2 + 1, MELS) triangles, evenly spaced in mel (2595 log10(1 + f / 700))."""
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (LOW_HZ, HIGH_HZ))
    edges = 700 * (10 ** (np.linspace(low, high, MELS + 2) / 2595) - 1)
    hertz = np.linspace(0, SOUND_RATE / 2, FFT // 2 + 1)[:, None]
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rising, falling))


def _unit(vector: NDArray[np.float64]) -> Floats:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-9), np.float32)
