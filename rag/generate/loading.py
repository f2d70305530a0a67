"""Loads a language model and its tokenizer, and refuses what isn't one. Code that comes with a model is never run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rag.config import Generate
from rag.errors import ConfigError, ModelError, ModelMismatch, RagError
from rag.generate.weights import locate, not_on_hub
from rag.hush import quiet

UNKNOWN_WINDOW = 512  # where neither config.json nor the tokenizer says: T5's, the usual case
_UNSET_LENGTH = 1_000_000  # tokenizers without a limit say 1e30
_WINDOW_KEYS = ("max_position_embeddings", "n_positions", "seq_length", "max_sequence_length")
# What of a model's generation_config.json decides which tokens are legal, rather than taste.
_KEPT = (
    "bos_token_id",
    "pad_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "suppress_tokens",
    "begin_suppress_tokens",
)


@dataclass(frozen=True, slots=True)
class Parts:
    """A model without its weights."""

    name: str  # as in the config
    place: str  # folder or hub name
    settings: Any  # config.json
    tokenizer: Any
    kind: Literal["causal", "seq2seq"]

    @property
    def window(self) -> int:
        """Tokens the model was made for."""
        text = self.settings.get_text_config()
        for key in _WINDOW_KEYS:
            value = getattr(text, key, None) or getattr(self.settings, key, None)
            if isinstance(value, int) and value > 0:
                return value
        limit = self.tokenizer.model_max_length
        return int(limit) if limit < _UNSET_LENGTH else UNKNOWN_WINDOW


def describe(name: str) -> Parts:
    """Config and tokenizer of `generate.model`: enough to count tokens. Raises ModelNotFound, ModelMismatch."""
    from transformers import AutoConfig, AutoTokenizer

    place = locate(name)
    with quiet(), _load_errors(name, place):
        settings = AutoConfig.from_pretrained(place, trust_remote_code=False)
        kind = _kind(settings, name)
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    return Parts(name, place, settings, tokenizer, kind)


def load_model(parts: Parts, config: Generate) -> Any:
    """The weights, on `generate.device` in `generate.dtype`, with generation settings of ours."""
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind, name, place = parts.kind, parts.name, parts.place
    if kind == "seq2seq" and config.prompt_lookup_tokens:
        raise ConfigError(
            f"generate.prompt_lookup_tokens is {config.prompt_lookup_tokens}, but {name} is a seq2seq model",
            "prompt lookup is for causal models: set it to 0",
        )
    auto: Any = AutoModelForCausalLM if kind == "causal" else AutoModelForSeq2SeqLM
    dtype = pick_dtype(config.dtype, config.device)
    with quiet(), _load_errors(name, place):
        model, report = auto.from_pretrained(place, dtype=dtype, trust_remote_code=False, output_loading_info=True)
    if report["missing_keys"]:
        raise ModelMismatch(
            f"{name}: {len(report['missing_keys'])} weights of a {kind} language model are not in its files "
            f"({sorted(report['missing_keys'])[0]}, …)",
            "generate.model needs a model made to write text",
        )
    try:
        model = model.to(config.device).eval()
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"generate.device is {config.device!r}: {str(error).splitlines()[0]}", "choices: cpu, cuda, cuda:1, mps …"
        ) from None
    model.generation_config = _generation_settings(model, parts.tokenizer, config.temperature)
    return model


def _kind(settings: Any, name: str) -> Literal["causal", "seq2seq"]:
    """What sort of writer config.json describes. transformers would load a BERT as one, with random weights."""
    from transformers.models.auto import modeling_auto

    kind: Literal["causal", "seq2seq"] = "seq2seq" if settings.is_encoder_decoder else "causal"
    table: dict[str, Any] = (
        modeling_auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES
        if settings.is_encoder_decoder
        else modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    )
    known = {cls for entry in table.values() for cls in ([entry] if isinstance(entry, str) else entry)}
    made_as = settings.architectures or []
    if settings.model_type not in table or (made_as and not known & set(made_as)):
        raise ModelMismatch(
            f"generate.model: {name} is a {' / '.join(made_as) or settings.model_type}, which doesn't write text",
            "choices: a causal (…ForCausalLM) or seq2seq (…ForConditionalGeneration) model",
        )
    return kind


def _generation_settings(model: Any, tokenizer: Any, temperature: float) -> Any:
    from transformers import GenerationConfig

    theirs = model.generation_config
    kept = {key: getattr(theirs, key, None) or getattr(model.config, key, None) for key in _KEPT}
    ends: list[int] = []
    for value in (theirs.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        ends += [i for i in (value if isinstance(value, list) else [value]) if i is not None and i not in ends]
    if kept["pad_token_id"] is None and ends:
        kept["pad_token_id"] = ends[0]
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {}
    return GenerationConfig(
        **{"do_sample": False, "num_beams": 1, **sampling},
        eos_token_id=ends or None,
        **{key: value for key, value in kept.items() if value is not None},
    )


def pick_dtype(wanted: str, device: str) -> Any:
    """auto: bfloat16 where the processor multiplies it (2x there, 0.01x elsewhere), else float32."""
    import torch

    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    if device.startswith("cuda"):
        fast = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    elif device == "cpu":
        fast = torch.cpu._is_avx512_bf16_supported() or getattr(torch.cpu, "_is_amx_tile_supported", bool)()
    else:
        fast = False
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def _load_errors(name: str, place: str) -> Iterator[None]:
    """transformers' errors as ours. A hub name that can't be had says where to put the model."""
    try:
        yield
    except RagError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and not Path(place).is_dir():
            raise not_on_hub(name, error) from None
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{name}: can't be loaded from {place}: {first}", "the files are damaged or not a model"
        ) from None
