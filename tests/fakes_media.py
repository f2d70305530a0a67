"""Pictures, sounds and tiny models made on the spot: nothing is fetched, and each can be read."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Floats = NDArray[np.float32]


def drawn(seed: int) -> Image.Image:
    """A picture of a few shapes on a gradient; each seed another one."""
    draw = np.random.default_rng(seed)
    width, height = int(draw.integers(200, 420)), int(draw.integers(160, 360))

    def colour() -> tuple[int, int, int]:
        red, green, blue = (int(v) for v in draw.integers(0, 256, 3))
        return red, green, blue

    slope = np.linspace(0, 1, width)[None, :, None]
    ground = np.array(colour()) * (1 - slope) + np.array(colour()) * slope
    image = Image.fromarray(np.repeat(ground, height, axis=0).astype("uint8"))
    pen = ImageDraw.Draw(image)
    for _ in range(int(draw.integers(3, 9))):
        x, y, size = int(draw.integers(width)), int(draw.integers(height)), int(draw.integers(15, 120))
        box = (x - size, y - size // 2, x + size, y + size // 2)
        match int(draw.integers(4)):
            case 0:
                pen.ellipse(box, fill=colour())
            case 1:
                pen.rectangle(box, fill=colour())
            case 2:
                pen.polygon([(x, y - size), (x + size, y + size), (x - size, y + size // 2)], fill=colour())
            case _:
                end = int(draw.integers(width)), int(draw.integers(height))
                pen.line((x, y, *end), fill=colour(), width=int(draw.integers(2, 14)))
    return image


def encoded(image: Image.Image, format: str = "PNG", **settings: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **settings)
    return out.getvalue()


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header says that it is so large."""

    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = part(b"IHDR", header) + part(b"IDAT", zlib.compress(b"\0" * 100)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def hummed(seconds: float = 2.0, rate: int = 48_000, seed: int = 0) -> Floats:
    """A tune of harmonic tones below 3.4 kHz, as a telephone passes them: what every sampling rate can hold."""
    draw = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    sound = np.zeros_like(time)
    notes = max(3, round(4 * seconds))
    for note in range(notes):
        pitch = float(draw.uniform(120, 500))
        within = slice(*np.searchsorted(time, (note * seconds / notes, (note + 1) * seconds / notes)))
        swell = np.clip(np.sin(np.pi * (time[within] * notes / seconds - note)), 0, 1)
        for harmonic in range(1, 1 + int(3400 // pitch)):
            tone = np.sin(2 * np.pi * pitch * harmonic * time[within])
            sound[within] += swell * tone * draw.uniform(0.2, 1) / harmonic
    return np.asarray(0.4 * sound / np.abs(sound).max(), np.float32)


def recorded(samples: Floats, rate: int, format: str = "WAV", **settings: Any) -> bytes:
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=format, **settings)
    return out.getvalue()


# ---- models ------------------------------------------------------------------------------------------------------

WORDS = ("a", "red", "blue", "green", "ball", "box", "photo", "of")


def tiny_clip(folder: Path, seed: int = 0, size: int = 32) -> Path:
    """A CLIP of two layers and twelve tokens that reads 16 of them."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    torch.manual_seed(seed)
    letters = sorted({c for word in WORDS for c in word})
    symbols = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {
        **shape, "vocab_size": len(vocabulary), "max_position_embeddings": 16,
        "bos_token_id": vocabulary["<|startoftext|>"], "eos_token_id": vocabulary["<|endoftext|>"],
        "pad_token_id": vocabulary["<|endoftext|>"],
    }  # fmt: skip
    vision = {**shape, "image_size": size, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).save_pretrained(folder)
    seen = CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size})
    CLIPProcessor(seen, CLIPTokenizer(vocab=vocabulary, merges=[])).save_pretrained(folder)
    return folder


def tiny_vit(folder: Path) -> Path:
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(1)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    ViTModel(ViTConfig(**shape, image_size=32, patch_size=8), add_pooling_layer=False).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def tiny_resnet(folder: Path) -> Path:
    import torch
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetModel

    torch.manual_seed(2)
    shape = {"embedding_size": 8, "hidden_sizes": [8, 12], "depths": [1, 1], "layer_type": "basic"}
    ResNetModel(ResNetConfig(**shape)).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 48}).save_pretrained(folder)
    return folder


def tiny_wav2vec2(folder: Path, norm: str = "group") -> Path:
    """`norm`: "group" as wav2vec2-base has it, "layer" as the larger ones do."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    torch.manual_seed(3)
    config = Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(16, 16),
        conv_stride=(5, 4), conv_kernel=(10, 8), num_feat_extract_layers=2, num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer",
    )  # fmt: skip
    Wav2Vec2Model(config).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=norm == "layer").save_pretrained(folder)
    return folder


def tiny_speech(folder: Path) -> Path:
    """A Wav2Vec2 that spells: eight letters, at random."""
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    signs = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ABCDEFGH"]
    (folder / "vocab.json").write_text(json.dumps({sign: number for number, sign in enumerate(signs)}))
    torch.manual_seed(4)
    config = Wav2Vec2Config(
        vocab_size=len(signs), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(16, 16), conv_stride=(40, 32), conv_kernel=(80, 64), num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2, num_feat_extract_layers=2, pad_token_id=0,
    )  # fmt: skip
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return folder


def retyped(folder: Path, model_type: str) -> Path:
    """The folder's config.json says that it is another kind of model."""
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": model_type}))
    return folder
