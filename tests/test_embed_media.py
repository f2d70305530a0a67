"""ImageEmbedder and AudioEmbedder: transformers' own vectors, whatever the batch; honest ones without weights."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes_media import drawn, encoded, hummed, recorded, retyped, tiny_clip, tiny_resnet, tiny_vit, tiny_wav2vec2
from PIL import Image, ImageEnhance, ImageOps

from rag.config import Audio, Images
from rag.embed import AudioEmbedder, ImageEmbedder
from rag.errors import ConfigError, DocumentError, EmptyError, ModelError, ModelMismatch, ModelNotFound, QueryError

PICTURES = [drawn(seed) for seed in range(7)]
THREAD = Image.new("RGB", (4000, 1), "red")  # its processor would make 890,000 x 224 pixels of it


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def clip(models: Path) -> Path:
    return tiny_clip(models / "clip")


@pytest.fixture(scope="module")
def wav2vec2(models: Path) -> Path:
    return tiny_wav2vec2(models / "wav2vec2")


# ---- the same as transformers ----------------------------------------------------------------------------------------


def test_clip_vectors_are_transformers_own(clip: Path) -> None:
    import torch
    from transformers import CLIPModel, CLIPProcessor

    words = ["a red ball", "box", "photo of a box"]
    theirs = CLIPModel.from_pretrained(clip).eval()
    processor = CLIPProcessor.from_pretrained(clip)
    with torch.inference_mode():
        told = theirs(**processor(text=words, images=PICTURES, return_tensors="pt", padding=True))
    order = [4, 0, 6, 2, 1, 5, 3]
    for batch in (1, 3, 16):
        ours = ImageEmbedder(Images(kind="clip", model=str(clip), batch=batch))
        assert np.abs(ours.vectors(PICTURES) - told.image_embeds.numpy()).max() < 1e-6
        assert np.abs(ours.vectors([PICTURES[i] for i in order]) - told.image_embeds.numpy()[order]).max() < 1e-6
        assert np.abs(ours.text_vectors(words) - told.text_embeds.numpy()).max() < 1e-6
        assert np.abs(ours.text_vectors(words[:1]) - told.text_embeds.numpy()[:1]).max() < 1e-6
    assert ours.dimension == 12


@pytest.mark.parametrize("make", [tiny_vit, tiny_resnet])
def test_vision_vectors_are_transformers_own(models: Path, make: object) -> None:
    import torch
    from transformers import AutoImageProcessor, AutoModel

    folder = make(models / make.__name__)  # type: ignore[operator, attr-defined]
    theirs, processor = AutoModel.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    rows = []
    with torch.inference_mode():
        for picture in PICTURES:
            told = theirs(**processor(images=picture, return_tensors="pt"))
            # a ViT's class token; a ResNet's own pooling
            rows.append(told.last_hidden_state[0, 0] if make is tiny_vit else told.pooler_output.flatten())
    for batch in (1, 4):
        ours = ImageEmbedder(Images(kind="vision", model=str(folder), batch=batch))
        assert np.abs(ours.vectors(PICTURES) - torch.stack(rows).numpy()).max() < 1e-6
        assert ours.dimension == len(rows[0])


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_wav2vec2_vectors_are_transformers_own(models: Path, norm: str) -> None:
    import torch
    from transformers import AutoFeatureExtractor, Wav2Vec2Model

    folder = tiny_wav2vec2(models / f"wav2vec2-{norm}", norm)
    theirs, extractor = Wav2Vec2Model.from_pretrained(folder).eval(), AutoFeatureExtractor.from_pretrained(folder)
    sounds = [hummed(s, 16_000, seed) for seed, s in enumerate((0.3, 1.0, 0.7))]
    rows = []
    with torch.inference_mode():
        for sound in sounds:
            told = theirs(**extractor(sound, sampling_rate=16_000, return_tensors="pt"))
            rows.append(told.last_hidden_state[0].mean(dim=0).numpy())
    for batch in (1, 4):
        ours = AudioEmbedder(Audio(kind="wav2vec2", model=str(folder), batch=batch))
        assert np.abs(ours.vectors(sounds) - rows).max() < 1e-6
        assert np.abs(ours.vectors(sounds[::-1]) - rows[::-1]).max() < 1e-6
    assert (ours.dimension, ours.rate) == (16, 16_000)


def test_a_long_recording_is_heard_in_windows(wav2vec2: Path) -> None:
    tune = hummed(5.0, 16_000)
    config = Audio(kind="wav2vec2", model=str(wav2vec2), window_s=2, overlap_s=0.5, batch=2)
    embedder = AudioEmbedder(config)
    places, vectors = embedder.windows(tune)
    assert [(w.start, w.end) for w in places] == [(0, 2), (1.5, 3.5), (3, 5)]
    alone = AudioEmbedder(config.model_copy(update={"batch": 1}))
    for place, vector in zip(places, vectors, strict=True):
        part = tune[round(place.start * 16_000) : round(place.end * 16_000)]
        assert np.abs(alone.vectors([part])[0] - vector).max() < 1e-6
    assert np.abs(embedder.vectors([tune])[0] - vectors.mean(axis=0)).max() < 1e-6
    assert embedder.windows(np.zeros(3, np.float32))[1].shape == (1, 16)  # shorter than one frame


def test_text_and_pictures_meet_in_one_space(models: Path) -> None:
    """Two towers of a tiny CLIP, fitted for some steps to three pairs: each caption then finds its picture first."""
    import torch
    from transformers import CLIPModel, CLIPProcessor

    folder = tiny_clip(models / "fitted", seed=5)
    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder)
    pairs = {"a red ball": "red", "a blue box": "blue", "a green ball": "lime"}
    pictures = [Image.new("RGB", (40, 40), colour) for colour in pairs.values()]
    inputs = processor(text=list(pairs), images=pictures, return_tensors="pt", padding=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        model(**inputs, return_loss=True).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    embedder = ImageEmbedder(Images(kind="clip", model=str(folder)))
    seen = embedder.vectors([encoded(p, "JPEG") for p in pictures])
    assert (embedder.text_vectors(list(pairs)) @ seen.T).argmax(axis=1).tolist() == [0, 1, 2]
    assert (seen @ embedder.vectors(pictures).T).argmax(axis=1).tolist() == [0, 1, 2]


# ---- the same sound -------------------------------------------------------------------------------------------------


def versions(seconds: float = 2.0) -> Iterator[tuple[str, bytes]]:
    for rate in (8000, 16_000, 44_100, 48_000):
        tune = hummed(seconds, rate)
        yield f"{rate} Hz wav", recorded(tune, rate)
        yield f"{rate} Hz stereo flac", recorded(np.stack([tune, tune], axis=1), rate, "FLAC")
    yield "mp3", recorded(hummed(seconds, 44_100), 44_100, "MP3")
    yield "ogg", recorded(hummed(seconds, 44_100), 44_100, "OGG")


@pytest.mark.parametrize("kind", ["descriptor", "wav2vec2"])
def test_a_sound_keeps_its_vector_in_every_version(kind: str, wav2vec2: Path) -> None:
    embedder = AudioEmbedder(Audio(kind=kind, model=str(wav2vec2)))  # type: ignore[arg-type]
    names, data = zip(*versions(), strict=True)
    vectors = embedder.vectors(data)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = dict(zip(names, unit @ unit[2], strict=True))
    assert {name: c for name, c in cosines.items() if c < (0.95 if name in ("mp3", "ogg") else 0.99)} == {}
    others = embedder.vectors([hummed(2.0, 16_000, seed) for seed in (1, 2)])
    assert max(others @ unit[2] / np.linalg.norm(others, axis=1)) < min(cosines.values())


# ---- the descriptor --------------------------------------------------------------------------------------------------


def alike(image: Image.Image, draw: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    scale = float(draw.choice([0.3, 0.5, 2.0]))
    yield "scaled", encoded(image.resize((int(image.width * scale), int(image.height * scale))))
    share = draw.uniform(0.8, 0.9)
    width, height = int(image.width * share), int(image.height * share)
    left, top = int(draw.integers(image.width - width)), int(draw.integers(image.height - height))
    yield "cropped", encoded(image.crop((left, top, left + width, top + height)))
    yield "re-encoded", encoded(image, "JPEG", quality=25)
    match int(draw.integers(3)):
        case 0:
            yield "recoloured", encoded(ImageOps.grayscale(image))
        case 1:
            hue, *rest = image.convert("HSV").split()
            turned = Image.fromarray((np.asarray(hue) + np.uint8(draw.integers(40, 216))).astype(np.uint8))
            yield "recoloured", encoded(Image.merge("HSV", (turned, *rest)).convert("RGB"))
        case _:
            yield "recoloured", encoded(ImageEnhance.Brightness(image).enhance(float(draw.choice([0.6, 1.4]))))


def test_the_descriptor_finds_the_original_of_a_look_alike() -> None:
    """Seeds that the weights weren't chosen on; benchmarks/descriptors.py has other drawings."""
    originals = [drawn(seed) for seed in range(5000, 5060)]
    embedder, draw = ImageEmbedder(), np.random.default_rng(9)
    made = [(row, how, data) for row, image in enumerate(originals) for how, data in alike(image, draw)]
    found = (embedder.vectors([d for *_, d in made]) @ embedder.vectors(originals).T).argmax(axis=1)
    lost = [(row, how) for (row, how, _), best in zip(made, found, strict=True) if best != row]
    assert len(lost) <= 0.05 * len(made), lost


def test_the_descriptor_tells_spoken_digits_apart(shared: Path) -> None:
    """Speakers that it wasn't chosen on: a digit's nearest other recording by the same speaker is the same digit."""
    files = [f for f in sorted((shared / "data/spoken-digits").glob("*.wav")) if f.stem.split("_")[1] == "theo"]
    if not files:
        pytest.skip("no spoken digits")
    vectors = AudioEmbedder().vectors(files)
    likeness = vectors @ vectors.T
    np.fill_diagonal(likeness, -1)
    right = [files[a].name[0] == files[b].name[0] for a, b in enumerate(likeness.argmax(axis=1))]
    assert np.mean(right) >= 0.8


def test_descriptors_are_unit_vectors_that_need_no_weights() -> None:
    import sys

    before = set(sys.modules)
    pictures, sounds = ImageEmbedder(), AudioEmbedder()
    seen, heard = pictures.vectors([*PICTURES, THREAD, Image.new("RGB", (1, 1))]), sounds.vectors([hummed(0.01)])
    assert np.allclose(np.linalg.norm(seen, axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(heard, axis=1), 1, atol=1e-5)
    assert (seen.shape[1], heard.shape[1]) == (pictures.dimension, sounds.dimension)
    assert pictures.name == "descriptor (colours and edges)"
    assert {pictures.fingerprint["kind"], sounds.fingerprint["kind"]} == {"descriptor"}
    assert not {"torch", "transformers"} & (set(sys.modules) - before)


def test_loudness_and_silence_around_it_change_little() -> None:
    tune = hummed(1.5, 8000)
    quiet = np.concatenate([np.zeros(4000, np.float32), tune / 10, np.zeros(2000, np.float32)])
    one, other = AudioEmbedder().vectors([tune, quiet])
    assert one @ other > 0.97


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_words_need_clip(clip: Path) -> None:
    with pytest.raises(QueryError, match=r"images.kind is descriptor") as told:
        ImageEmbedder().text_vectors(["a red bicycle"])
    assert "openai/clip-vit-base-patch32" in told.value.hint
    with pytest.raises(QueryError, match="more than clip reads \\(16\\)"):
        ImageEmbedder(Images(kind="clip", model=str(clip))).text_vectors(["red " * 20])


def test_a_model_of_another_kind_is_refused(models: Path, clip: Path, wav2vec2: Path) -> None:
    for build, told in (
        (lambda: ImageEmbedder(Images(kind="clip", model=str(wav2vec2))).fingerprint, "type 'wav2vec2'.*a CLIP model"),
        (lambda: AudioEmbedder(Audio(kind="wav2vec2", model=str(clip))).fingerprint, "type 'clip'.*a Wav2Vec2 model"),
        (lambda: ImageEmbedder(Images(kind="vision", model=str(wav2vec2))).vectors(PICTURES), "not pictures"),
    ):
        with pytest.raises((ModelMismatch, ConfigError), match=told):
            build()
    vit = retyped(tiny_vit(models / "no-clip"), "clip")  # says so, but its weights are another model's
    with pytest.raises(ModelMismatch, match=r"can't be loaded as a CLIP model"):
        ImageEmbedder(Images(kind="clip", model=str(vit))).vectors(PICTURES)


def test_a_model_that_is_nowhere_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelNotFound, match=r"a CLIP model 'no/such'.*hub") as told:
        ImageEmbedder(Images(kind="clip", model="no/such")).vectors(PICTURES)
    assert "images.model" in told.value.hint
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFound, match=r"no config\.json"):
        AudioEmbedder(Audio(kind="wav2vec2", model=str(tmp_path / "empty"))).vectors([hummed()])


def test_weights_of_nan_are_noticed(models: Path) -> None:
    import torch
    from transformers import CLIPModel

    folder = tiny_clip(models / "broken")
    model = CLIPModel.from_pretrained(folder)
    with torch.no_grad():
        model.visual_projection.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    with pytest.raises(ModelError, match="no numbers"):
        ImageEmbedder(Images(kind="clip", model=str(folder))).vectors(PICTURES)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    text = tmp_path / "words.png"
    text.write_text("only words")
    with pytest.raises(DocumentError, match=r"words\.png: is no picture"):
        ImageEmbedder().vectors([text])
    with pytest.raises(DocumentError, match=r"gone\.wav: can't be read"):
        AudioEmbedder().vectors([tmp_path / "gone.wav"])
    silent = tmp_path / "silent.wav"
    silent.write_bytes(recorded(np.zeros(8000, np.float32), 8000))
    with pytest.raises(EmptyError, match=r"silent\.wav: .*silence"):
        AudioEmbedder().vectors([silent])
    with pytest.raises(ConfigError, match=r"images\.kind is none"):
        ImageEmbedder(Images(kind="none"))


def test_a_thread_of_pixels_costs_no_gigabytes(clip: Path) -> None:
    import resource

    embedder = ImageEmbedder(Images(kind="clip", model=str(clip)))
    embedder.vectors(PICTURES)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    out = io.BytesIO()
    Image.new("RGB", (60_000, 1)).save(out, "PNG")
    assert embedder.vectors([THREAD, out.getvalue()]).shape == (2, 12)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


class _Many(Sequence[Any]):
    """Pictures drawn when they are looked at."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [self[i] for i in range(*at.indices(self._count))]
        pixels = np.random.default_rng(at).integers(0, 256, (480, 640, 3), np.uint8)
        return Image.fromarray(pixels)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_ten_thousand_pictures_need_the_memory_of_one_batch() -> None:
    """Decoded they are 9.2 GB."""
    import resource

    embedder, seen = ImageEmbedder(Images()), []
    embedder.vectors(_Many(64))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    vectors = embedder.vectors(_Many(10_000), seen.append)
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert vectors.shape == (10_000, embedder.dimension)
    assert sum(seen) == 10_000
    assert grown_mb < 64, grown_mb  # the vectors themselves are 12 MB
