"""A picture's bytes -> upright RGB pixels.

Orientation from EXIF is applied; transparency lies on mid grey, so that black and white drawings both stay visible;
16-bit and floating-point pictures are scaled to 8 bits; of an animation or a multi-page TIFF the first picture counts.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.errors import DocumentError, brief

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP")  # no other decoder of Pillow's is ever started
GROUND = (128, 128, 128)
AT_LEAST = 896  # pixels of the shorter side that are kept: twice what most models read, four times CLIP's 224


def read_picture(data: bytes, max_megapixels: float = 100, at_least: int = AT_LEAST) -> Image:
    """RGB, upright. Larger ones are reduced by a whole factor, whose mean is exact, to a shorter side of at least
    `at_least` pixels: no model reads more.

    Raises DocumentError: no picture, damaged, or its header claims more than `max_megapixels` (checked before a pixel
    is decoded).
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own warning of large pictures: we refuse or take them
            image: Image.Image = Image.open(BytesIO(data), formats=FORMATS)
            width, height = image.size
            if width * height > max_megapixels * 1e6:
                raise _too_large(f"{width} x {height} pixels, {width * height / 1e6:.0f} megapixels", max_megapixels)
            factor = max(1, min(width, height) // at_least)
            if factor > 1:
                image.draft("RGB", (width // factor, height // factor))  # JPEG: decodes at 1/2, 1/4 or 1/8
            image.load()
    except DocumentError:
        raise
    except UnidentifiedImageError:
        raise DocumentError(
            "is no picture that can be read", f"formats: {', '.join(f.lower() for f in FORMATS)}"
        ) from None
    except Image.DecompressionBombError as error:
        raise _too_large(str(error).partition(" pixels")[0].rpartition("(")[2] + " pixels", max_megapixels) from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise whatever a damaged file makes them stumble over
        raise DocumentError(f"the picture is damaged: {brief(error) or type(error).__name__}", "save it anew") from None
    return reduced(_upright(image), at_least)


def reduced(image: Image, at_least: int = AT_LEAST) -> Image:
    """RGB, with a shorter side of at least `at_least` pixels and less than twice as many, unless it had less."""
    image = _rgb(image)
    factor = max(1, min(image.size) // at_least)
    return image.reduce(factor) if factor > 1 else image


def describe(data: bytes) -> dict[str, Any]:
    """Format, width and height in pixels, as the header says; no pixel is decoded."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = Image.open(BytesIO(data), formats=FORMATS)
    return {"format": str(image.format).lower(), "width": image.width, "height": image.height}


def _too_large(what: str, max_megapixels: float) -> DocumentError:
    return DocumentError(
        f"its header claims {what}, more than images.max_megapixels ({max_megapixels:g})", "make it smaller"
    )


def _upright(image: Image) -> Image:
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF costs the orientation, not the picture
        return image


def _rgb(image: Image) -> Image:
    from PIL import Image as Pillow

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return Pillow.fromarray(_eight_bits(image)).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        ground = Pillow.new("RGBA", image.size, (*GROUND, 255))
        ground.alpha_composite(image.convert("RGBA"))
        return ground.convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image) -> NDArray[np.uint8]:
    """(height, width) uint8 of a picture with one channel of 16 or 32 bits or of floats.

    16 bits keep their scale; beyond, the picture's own range is spread, for it has no agreed white.
    """
    pixels = np.asarray(image).astype(np.float64)
    pixels = np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(pixels.min()), float(pixels.max())
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0 if high > 255 else 255.0
    return np.asarray((pixels - low) * (255 / max(high - low, 1e-12)), np.uint8)
