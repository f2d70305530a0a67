"""Make the pictures and the recording of the sample folder, and altered copies to search them by.

    python data/make_media.py        # data/documents/images/*.png, data/documents/audio/*.ogg, data/lookalikes/

Pictures are drawn by Pillow, four times as large and then reduced. The recording is spoken by espeak-ng
(apt-get install espeak-ng), whose sound may differ between versions; it is made only where that program is.
"""

from __future__ import annotations

import io
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import soundfile
import soxr
from PIL import Image, ImageDraw, ImageEnhance

HERE = Path(__file__).resolve().parent
DOCUMENTS, LOOKALIKES = HERE / "documents", HERE / "lookalikes"
SCALE = 4  # drawn so many times larger
SIZE = (640, 420)
RATE = 16_000  # Hz, of the recording

WORDS = (
    "This is the morning report of the archive. The index called Heron was rebuilt last night. "
    "Nineteen hours after it began, every picture and every recording was searchable again. "
    "The workstation named Curlew is free from noon. The next rebuild is planned for the first of March."
)
CLIP = (5.0, 9.0)  # seconds of it


class Pen:
    """Draws in pixels of the finished picture."""

    def __init__(self, ground: str) -> None:
        self.image = Image.new("RGB", (SIZE[0] * SCALE, SIZE[1] * SCALE), ground)
        self._draw = ImageDraw.Draw(self.image)

    def line(self, *points: tuple[float, float], colour: str, width: float) -> None:
        scaled = [(x * SCALE, y * SCALE) for x, y in points]
        self._draw.line(scaled, fill=colour, width=round(width * SCALE), joint="curve")
        for x, y in points:
            self.disc(x, y, width / 2, colour)

    def disc(self, x: float, y: float, radius: float, colour: str) -> None:
        box = [(v) * SCALE for v in (x - radius, y - radius, x + radius, y + radius)]
        self._draw.ellipse(box, fill=colour)

    def ring(self, x: float, y: float, radius: float, colour: str, width: float) -> None:
        box = [(v) * SCALE for v in (x - radius, y - radius, x + radius, y + radius)]
        self._draw.ellipse(box, outline=colour, width=round(width * SCALE))

    def area(self, *points: tuple[float, float], colour: str) -> None:
        self._draw.polygon([(x * SCALE, y * SCALE) for x, y in points], fill=colour)

    def done(self) -> Image.Image:
        return self.image.resize(SIZE, Image.Resampling.LANCZOS)


def bicycle() -> Image.Image:
    pen = Pen("#dfeaf2")
    pen.area((0, 330), (640, 310), (640, 420), (0, 420), colour="#9db88a")
    back, front, crank, seat, head = (190, 280), (450, 280), (300, 285), (265, 165), (410, 160)
    for wheel in (back, front):
        for spoke in range(12):
            angle = spoke * math.pi / 6
            end = (wheel[0] + 72 * math.cos(angle), wheel[1] + 72 * math.sin(angle))
            pen.line(wheel, end, colour="#8c8c8c", width=1.5)
        pen.ring(*wheel, 76, "#222222", 8)
    for a, b in ((back, crank), (back, seat), (crank, seat), (crank, head), (seat, head), (head, front)):
        pen.line(a, b, colour="#c8202c", width=9)
    pen.line(seat, (258, 140), colour="#444444", width=7)
    pen.line((235, 138), (290, 142), colour="#222222", width=11)
    pen.line(head, (400, 120), (440, 112), colour="#444444", width=7)
    pen.ring(*crank, 20, "#444444", 6)
    pen.line(crank, (322, 315), (340, 315), colour="#444444", width=6)
    return pen.done()


def heron() -> Image.Image:
    pen = Pen("#f3e3c3")
    pen.disc(510, 100, 52, "#e8963c")
    pen.area((0, 300), (640, 300), (640, 420), (0, 420), colour="#5d8aa3")
    for y in range(315, 420, 22):
        pen.line(*[(x, y + 4 * math.sin(x / 23 + y)) for x in range(0, 641, 16)], colour="#7fa9bf", width=2.5)
    for x in (60, 85, 115, 560, 590):
        pen.line((x, 330), (x + 12, 205), colour="#5b7434", width=5)
        pen.line((x + 8, 245), (x + 12, 205), colour="#6b4a2b", width=11)
    pen.line((288, 260), (280, 350), colour="#4a4034", width=5)
    pen.line((318, 262), (326, 350), colour="#4a4034", width=5)
    pen.area((215, 235), (260, 190), (350, 200), (372, 235), (330, 270), (262, 272), colour="#6f7f8f")
    pen.area((215, 235), (160, 272), (262, 262), colour="#52606d")
    pen.line((352, 212), (372, 165), (352, 125), (366, 92), colour="#c9d2d9", width=17)
    pen.disc(374, 88, 16, "#c9d2d9")
    pen.area((384, 80), (455, 92), (384, 98), colour="#d9a13a")
    pen.line((362, 80), (325, 66), colour="#26303a", width=4)
    pen.disc(380, 84, 3, "#111111")
    return pen.done()


def angle() -> Image.Image:
    """Two vectors and the angle between them."""
    pen = Pen("#ffffff")
    for step in range(0, 640, 40):
        pen.line((step, 0), (step, 420), colour="#eeeeee", width=1)
        pen.line((0, step), (640, step), colour="#eeeeee", width=1)
    origin = (120, 340)
    pen.line((120, 40), origin, (600, 340), colour="#555555", width=3)
    for length, turn, colour in ((430, 0.28, "#1f6fb2"), (330, 0.95, "#d1495b")):
        tip = (origin[0] + length * math.cos(turn), origin[1] - length * math.sin(turn))
        pen.line(origin, tip, colour=colour, width=6)
        wings = [(tip[0] - 26 * math.cos(turn + w), tip[1] + 26 * math.sin(turn + w)) for w in (0.4, -0.4)]
        pen.area(tip, *wings, colour=colour)
    arc = [(120 + 110 * math.cos(t / 50), 340 - 110 * math.sin(t / 50)) for t in range(14, 48)]
    pen.line(*arc, colour="#777777", width=3)
    return pen.done()


def spoken(words: str) -> np.ndarray:
    """(samples,) float32 at RATE."""
    told = subprocess.run(
        ["espeak-ng", "-v", "en-gb", "-s", "150", "--stdout", words], check=True, capture_output=True
    ).stdout
    samples, rate = soundfile.read(io.BytesIO(told), dtype="float32")
    return np.asarray(soxr.resample(samples, rate, RATE), np.float32)


def chime() -> np.ndarray:
    """Two strokes of a bell, 3 s."""
    time = np.arange(3 * RATE) / RATE
    sound = np.zeros_like(time)
    for at, pitch in ((0.0, 659.3), (0.7, 523.3)):
        ringing = np.where(time >= at, np.exp(-2.2 * np.maximum(time - at, 0)), 0)
        for partial, loud in ((1, 1.0), (2.76, 0.4), (5.4, 0.15)):
            sound += loud * ringing * np.sin(2 * np.pi * pitch * partial * (time - at))
    return np.asarray(0.4 * sound / np.abs(sound).max(), np.float32)


def main() -> None:
    LOOKALIKES.mkdir(exist_ok=True)
    pictures = {"red-bicycle": bicycle(), "heron": heron(), "angle": angle()}
    for name, picture in pictures.items():
        picture.quantize(96, Image.Quantize.MEDIANCUT).save(DOCUMENTS / "images" / f"{name}.png", optimize=True)
    smaller = pictures["red-bicycle"].crop((40, 30, 620, 410)).resize((435, 285))
    ImageEnhance.Color(smaller).enhance(0.4).save(LOOKALIKES / "faded-bicycle.jpg", quality=70)
    soundfile.write(DOCUMENTS / "audio" / "chime.flac", chime(), RATE, subtype="PCM_16")
    if shutil.which("espeak-ng") is None:
        print("no espeak-ng: the recording is left as it is")
        return
    report = spoken(WORDS)
    soundfile.write(DOCUMENTS / "audio" / "morning-report.ogg", report, RATE, format="OGG", subtype="VORBIS")
    clip = 0.4 * report[round(CLIP[0] * RATE) : round(CLIP[1] * RATE)]
    soundfile.write(LOOKALIKES / "clip.wav", soxr.resample(clip, RATE, 8000), 8000, subtype="PCM_16")


if __name__ == "__main__":
    main()
