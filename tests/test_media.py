"""Pictures and recordings, whatever their format, become pixels and samples; bad ones one clear error each."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import numpy as np
import pytest
from fakes_media import claims, drawn, encoded, hummed, recorded
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rag.errors import DocumentError, EmptyError
from rag.media.picture import GROUND, read_picture
from rag.media.sound import read_sound, windows

# ---- pictures ------------------------------------------------------------------------------------------------------


def halves() -> Image.Image:
    """Blue left, red right."""
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (0, 0, 20, 20))
    return image


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_every_format_gives_the_same_pixels(format: str) -> None:
    read = read_picture(encoded(halves(), format))
    assert (read.mode, read.size) == ("RGB", (40, 20))
    away = np.abs(np.asarray(read).astype(int) - np.asarray(halves())).mean()
    assert away <= (8 if format in ("JPEG", "WEBP") else 0)  # these two blur the border between the colours


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_camera_held_upright_is_seen_upright(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to the right
    read = read_picture(encoded(halves(), format, exif=exif))
    assert read.size == (20, 40)
    red, _, blue = read.getpixel((10, 5))  # the left half is now above
    assert blue > 200 > 100 > red


@pytest.mark.parametrize(
    ("image", "format", "expected"),
    [
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "PNG", GROUND),
        (Image.new("LA", (8, 8), (255, 0)), "PNG", GROUND),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)), "WEBP", GROUND),
        (Image.new("RGBA", (8, 8), (255, 0, 0, 0)).quantize(), "PNG", GROUND),
        (Image.new("RGB", (8, 8), (255, 0, 0)).quantize(), "GIF", (255, 0, 0)),
        (Image.new("1", (8, 8), 1), "BMP", (255, 255, 255)),
        (Image.new("L", (8, 8), 77), "TIFF", (77, 77, 77)),
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF", (255, 0, 0)),
        (Image.fromarray(np.full((8, 8), 32768, np.uint16)), "PNG", (127, 127, 127)),
        (Image.fromarray(np.full((8, 8), 65535, np.uint16)), "TIFF", (255, 255, 255)),
        (Image.fromarray(np.eye(8, dtype=np.float32) * 3.5), "TIFF", (255, 255, 255)),  # pixel 0, 0
    ],
)
def test_every_kind_of_pixel_becomes_rgb(image: Image.Image, format: str, expected: tuple[int, int, int]) -> None:
    assert read_picture(encoded(image, format)).getpixel((0, 0)) == expected


def test_of_an_animation_the_first_picture_counts() -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("blue", "red", "lime")]
    for format in ("GIF", "WEBP", "TIFF"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
        red, _, blue = read_picture(data).getpixel((4, 4))
        assert blue > 200 > red


def test_a_large_picture_is_reduced_and_looks_the_same() -> None:
    large = drawn(3).resize((3000, 2000))
    for format in ("PNG", "JPEG"):
        read = read_picture(encoded(large, format), at_least=500)
        assert 500 <= min(read.size) < 1000
        ours, theirs = (np.asarray(i.resize((30, 20)), float) for i in (read, large))
        assert np.abs(ours - theirs).mean() < 3
    small = drawn(3)
    assert np.array_equal(read_picture(encoded(small), at_least=500), small)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (claims(30_000, 30_000), "900000000 pixels, more than images.max_megapixels"),
        (claims(11_000, 11_000), "11000 x 11000 pixels, 121 megapixels, more than images.max_megapixels"),
        (claims(10, 10), "damaged"),
        (b"", "no picture"),
        (b"only words", "no picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),  # Pillow would start Ghostscript
        (encoded(halves())[:60], "damaged"),
        (encoded(halves(), "JPEG")[:300], "damaged"),
    ],
)
def test_what_is_no_picture_says_so(data: bytes, told: str) -> None:
    with pytest.raises(DocumentError, match=told):
        read_picture(data)


@given(st.binary(max_size=200), st.integers(0, 400), st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"]))
def test_damage_gives_a_picture_or_one_error(noise: bytes, at: int, format: str) -> None:
    data = encoded(halves(), format)
    with suppress(DocumentError):
        assert read_picture(data[:at] + noise + data[at + len(noise) :], max_megapixels=1).mode == "RGB"


# ---- sounds --------------------------------------------------------------------------------------------------------


def test_channels_are_averaged_and_rates_made_equal() -> None:
    tune = hummed(1.0, 48_000)
    stereo = np.stack([tune * 1.5, tune * 0.5], axis=1)
    read = read_sound(recorded(stereo, 48_000), 16_000)
    assert len(read) == 16_000
    assert abs(np.corrcoef(read, hummed(1.0, 16_000))[0, 1]) > 0.999
    same = np.round(hummed(1.0, 16_000) * 32767).astype(np.int16)
    assert np.array_equal(read_sound(recorded(same, 16_000), 16_000), same / np.float32(32768))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no recording"),
        (b"only words, and enough of them", "no recording"),
        (recorded(hummed(0.1), 48_000)[:20], "recording"),
        (recorded(np.full(100, np.nan, np.float32), 16_000, subtype="FLOAT"), "no numbers"),
        (recorded(np.zeros(9, np.float32), 3, subtype="FLOAT"), "3 Hz"),
        (recorded(np.zeros(9, np.float32), 8000, format="AU"), "is a recording in AU"),
    ],
)
def test_what_is_no_recording_says_so(data: bytes, told: str) -> None:
    with pytest.raises(DocumentError, match=told):
        read_sound(data, 16_000)


def test_a_recording_without_a_sample_is_empty_and_a_long_one_refused() -> None:
    with pytest.raises(EmptyError, match="no sound"):
        read_sound(recorded(np.zeros(0, np.float32), 16_000), 16_000)
    with pytest.raises(DocumentError, match="max_minutes"):
        read_sound(recorded(np.zeros(8000 * 61, np.float32), 8000), 8000, max_minutes=1)


def test_a_rate_that_the_header_hides_is_refused() -> None:
    data = bytearray(recorded(hummed(0.1, 16_000), 16_000))
    for rate in (0, 2**31 - 1):
        data[24:28] = rate.to_bytes(4, "little")
        with pytest.raises(DocumentError, match=r"Hz|recording"):
            read_sound(bytes(data), 16_000)


@given(
    st.integers(1, 100_000), st.integers(1, 100), st.floats(1, 50), st.floats(0, 0.9)
)  # samples, rate, window_s, overlap as a share
def test_windows_cover_everything(samples: int, rate: int, window_s: float, share: float) -> None:
    places = windows(samples, rate, window_s, share * window_s)
    assert (places[0][0], places[-1][1]) == (0, samples)
    assert all(a < c <= b < d for (a, b), (c, d) in pairwise(places))
    assert len({b - a for a, b in places}) == 1  # all as long as each other
