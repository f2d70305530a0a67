"""ImageEmbedder: pictures -> vectors, and words -> vectors in the same space where the model is a CLIP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, assert_never

import numpy as np

from rag.config import Images
from rag.embed import pretrained
from rag.embed.resolve import ResolvedModel
from rag.errors import ConfigError, DocumentError, QueryError
from rag.media import DECODER_VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.Image import Image

    Floats = NDArray[np.float32]

DEFAULT_CLIP = "openai/clip-vit-base-patch32"
WORDS_NEED_CLIP = (
    f"set images.kind: clip and run `rag sync --reindex`; its weights come from the hub ({DEFAULT_CLIP}) or from "
    "a folder that images.model names"
)
SLIMMEST = 8  # the longer side is at most so many times the shorter one when a model sees it: what is cut off at both
# ends is outside the square that its processor keeps, which would first enlarge a thread of pixels to gigabytes
T = TypeVar("T")


class ImageEmbedder:
    """A model that sees, or the descriptor. Nothing is loaded until it is used. Safe to share between threads."""

    def __init__(self, config: Images | None = None) -> None:
        self.config = config or Images()
        if self.config.kind == "none":
            raise ConfigError("images.kind is none: pictures have no vectors", "choices: descriptor, clip, vision")
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """As it is shown to people: the model's, or what the descriptor is."""
        return "descriptor (colours and edges)" if self.config.kind == "descriptor" else self.model.name

    @cached_property
    def model(self) -> ResolvedModel:
        """Raises ModelNotFound and ModelMismatch."""
        named = self.config.model
        if self.config.kind == "clip":
            return pretrained.find("images.model", named or DEFAULT_CLIP, "a CLIP model", ("clip",))
        return pretrained.find("images.model", named or "", "a vision model")

    @cached_property
    def dimension(self) -> int:
        match self.config.kind:
            case "descriptor" | "none":
                from rag.embed.descriptors import PICTURE_DIMENSION

                return PICTURE_DIMENSION
            case "clip":
                return int(self._tower.config.projection_dim)
            case "vision":
                from PIL import Image

                return int(self._seen([Image.new("RGB", (64, 64))]).shape[1])
            case _:
                assert_never(self.config.kind)

    @cached_property
    def fingerprint(self) -> dict[str, Any]:
        """Every setting that changes what a vector means."""
        made = {"kind": self.config.kind, "dimension": self.dimension, "decoder": DECODER_VERSION}
        if self.config.kind != "descriptor":
            return {**made, **pretrained.fingerprint(self.model)}
        from rag.embed.descriptors import VERSION

        return {**made, "version": VERSION}

    @property
    def at_least(self) -> int:
        """Pixels of a picture's shorter side that are looked at; larger ones may be reduced to it."""
        from rag.media.picture import AT_LEAST

        return 256 if self.config.kind == "descriptor" else AT_LEAST

    @property
    def reads_words(self) -> bool:
        return self.config.kind == "clip"

    def vectors(
        self, items: Sequence[Path | bytes | Image], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """(len(items), dimension) float32, in the order given, whatever the batching. Paths and bytes are decoded here;
        hand decoded pictures in where they aren't trusted. A CLIP's are unit vectors, a vision model's as it gives
        them.

        `progress` is called with the number of pictures just embedded. Raises DocumentError, which names the path.
        """
        out = np.empty((len(items), self.dimension), np.float32)
        for start, part in batches(items, self.config.batch):
            pictures = [self._decoded(item) for item in part]
            out[start : start + len(part)] = pretrained.checked(self._seen(pictures), self.name)
            if progress:
                progress(len(part))
        return out

    def text_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), dimension) float32 unit vectors in the space of the pictures.

        Raises QueryError where the model isn't a CLIP, and for more tokens than it reads (77): nothing is cut off.
        """
        if not self.reads_words:
            raise QueryError(
                f"pictures can't be found by words: images.kind is {self.config.kind}, which compares how they look",
                WORDS_NEED_CLIP,
            )
        out = np.empty((len(texts), self.dimension), np.float32)
        for start, part in batches(texts, self.config.batch):
            out[start : start + len(part)] = pretrained.checked(self._read(part), self.name)
        return out

    def close(self) -> None:
        """Give back the model."""
        for name in ("_tower", "_processor"):
            self.__dict__.pop(name, None)

    # ---- how ----------------------------------------------------------------------------------------------

    def _decoded(self, item: Path | bytes | Image) -> Image:
        from rag.media.picture import read_picture

        if not isinstance(item, Path | bytes):
            return item
        return decoded(item, lambda data: read_picture(data, self.config.max_megapixels, self.at_least))

    def _seen(self, pictures: Sequence[Image]) -> Floats:
        match self.config.kind:
            case "descriptor" | "none":
                from rag.embed.descriptors import picture_descriptor

                return np.stack([picture_descriptor(p) for p in pictures])
            case "clip":
                return self._run(pictures, lambda seen: _unit(_pooled(self._tower.get_image_features(**seen))))
            case "vision":
                return self._run(pictures, lambda seen: self._summed_up(self._tower(**seen)))
            case _:
                assert_never(self.config.kind)

    def _run(self, pictures: Sequence[Image], infer: Callable[[Any], Any]) -> Floats:
        import torch

        _ = self._tower  # says first when it doesn't see at all
        with self._lock, torch.inference_mode():
            prepare = getattr(self._processor, "image_processor", self._processor)
            seen = prepare(images=[_slimmed(p) for p in pictures], return_tensors="pt").to(self.config.device)
            return np.asarray(infer(seen).float().cpu().numpy(), np.float32)

    def _read(self, texts: Sequence[str]) -> Floats:
        import torch

        limit = int(self._tower.config.text_config.max_position_embeddings)
        with self._lock, torch.inference_mode():
            tokens = self._processor.tokenizer(list(texts), padding=True, return_tensors="pt")
            lengths = tokens["attention_mask"].sum(dim=1)
            if int(lengths.max()) > limit:
                raise QueryError(
                    f"{int(lengths.max())} tokens are more than {self.name} reads ({limit})", "ask in fewer words"
                )
            found = _pooled(self._tower.get_text_features(**tokens.to(self.config.device)))
            return np.asarray(_unit(found).float().cpu().numpy(), np.float32)

    def _summed_up(self, told: Any) -> Any:
        """(n, dimension): the class token where the model has one, else the mean over the places. Not the pooler of a
        transformer, whose weights most checkpoints lack."""
        hidden = told.last_hidden_state
        if hidden.ndim == 4:  # (n, channels, height, width), of a convolutional network
            return hidden.flatten(2).mean(dim=2)
        has_class = getattr(getattr(self._tower, "embeddings", None), "cls_token", None) is not None
        return hidden[:, 0] if has_class else hidden.mean(dim=1)

    @cached_property
    def _tower(self) -> Any:
        from transformers import AutoModel, CLIPModel

        if self.config.kind == "clip":
            made = pretrained.load(CLIPModel, self.model, "a CLIP model", may_miss=("position_ids",))
        else:
            made = pretrained.load(AutoModel, self.model, "a vision model", may_miss=("pooler", "position_ids"))
            if getattr(made, "main_input_name", "") != "pixel_values":
                raise ConfigError(
                    f"{self.model.folder} holds a model that takes {made.main_input_name}, not pictures",
                    "images.model must name a vision model such as a ResNet or a ViT",
                )
        return made.to(self.config.device)

    @cached_property
    def _processor(self) -> Any:
        from transformers import AutoImageProcessor, CLIPProcessor

        if self.config.kind == "clip":
            return pretrained.processor(CLIPProcessor, self.model, "a CLIP model")
        return pretrained.processor(AutoImageProcessor, self.model, "a vision model")


def batches(items: Sequence[T], size: int) -> Iterator[tuple[int, Sequence[T]]]:
    """(place of the first, at most `size` items), in order."""
    for start in range(0, len(items), size):
        yield start, items[start : start + size]


def decoded(item: Path | bytes, read: Callable[[bytes], T]) -> T:
    """`read` of the bytes; a DocumentError of a file names it."""
    if isinstance(item, bytes):
        return read(item)
    try:
        return read(item.read_bytes())
    except OSError as error:
        raise DocumentError(f"{item}: can't be read: {error.strerror}", "check the path") from None
    except DocumentError as error:
        raise type(error)(f"{item}: {error.message}", error.hint) from None


def _slimmed(picture: Image) -> Image:
    width, height = picture.size
    longest = SLIMMEST * min(width, height)
    if max(width, height) <= longest:
        return picture
    left, top = max(0, width - longest) // 2, max(0, height - longest) // 2
    return picture.crop((left, top, width - left, height - top))


def _pooled(told: Any) -> Any:
    """transformers from 5 on hands out the whole output, before that the vectors."""
    return getattr(told, "pooler_output", told)


def _unit(vectors: Any) -> Any:
    return vectors / vectors.norm(p=2, dim=-1, keepdim=True)
