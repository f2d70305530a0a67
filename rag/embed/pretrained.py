"""What the picture and sound models share: found, told apart from another kind of model, loaded whole, in float32."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rag.embed.resolve import ResolvedModel, resolve_model
from rag.errors import ModelError, ModelMismatch, brief
from rag.hush import quiet

if TYPE_CHECKING:
    from numpy.typing import NDArray


def find(setting: str, name: str, what: str, types: Sequence[str] = ()) -> ResolvedModel:
    """The folder of `name`, as the setting (`images.model`) has it. Raises ModelNotFound, or ModelMismatch where its
    config.json names none of `types` (none given: any)."""
    hint = f"set {setting} to a folder that has it, or connect once so that the hub's copy is kept"
    model = resolve_model(name, ("path", "hub"), what, hint)
    held = model_type(model, hint)
    if types and held not in types:
        raise ModelMismatch(
            f"{model.folder} holds a model of type {held!r}, {setting} wants {what}",
            f"its config.json must say model_type: {' or '.join(types)}",
        )
    return model


def model_type(model: ResolvedModel, hint: str = "save the model anew") -> str | None:
    """As its config.json has it. Raises ModelMismatch where that can't be read."""
    file = model.folder / "config.json"
    try:
        held: str | None = json.loads(file.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelMismatch(f"{file} can't be read: {error}", hint) from None
    return held


def load(made_by: Any, model: ResolvedModel, what: str, may_miss: Sequence[str] = ()) -> Any:
    """`made_by.from_pretrained`, ready to infer. A model whose weights aren't all there would answer at random, so
    that is refused; but for those whose name has one of `may_miss` in it, which aren't used."""
    try:
        with quiet():
            loaded, told = made_by.from_pretrained(
                str(model.folder), local_files_only=True, output_loading_info=True, dtype="float32"
            )
    except Exception as error:  # transformers raises whatever a foreign folder makes it stumble over
        raise _mismatch(model, what, brief(error)) from error
    missing = sorted(key for key in told["missing_keys"] if not any(part in key for part in may_miss))
    if missing or told["mismatched_keys"]:
        lacks = f"{len(missing)} of its weights are missing, such as {missing[0]}" if missing else "shapes differ"
        raise _mismatch(model, what, lacks)
    return loaded.eval()


def processor(made_by: Any, model: ResolvedModel, what: str, **settings: Any) -> Any:
    try:
        with quiet():
            return made_by.from_pretrained(str(model.folder), local_files_only=True, **settings)
    except Exception as error:
        raise _mismatch(model, what, brief(error)) from error


def _mismatch(model: ResolvedModel, what: str, why: str) -> ModelMismatch:
    return ModelMismatch(f"{model.folder} can't be loaded as {what}: {why}", "name another folder, or save it anew")


def fingerprint(model: ResolvedModel) -> dict[str, Any]:
    """Its name, its weights, and how its processor prepares what it is shown."""
    digest = hashlib.sha256()
    for file in sorted(model.folder.glob("*processor_config.json")):
        digest.update(file.read_bytes())
    return {
        "model": model.name,
        "weights_sha256": model.weights_sha256,
        "processor_sha256": digest.hexdigest(),
    }


def checked(vectors: NDArray[np.float32], what: str) -> NDArray[np.float32]:
    """Raises ModelError when one isn't finite: no distance to it would mean anything."""
    if not np.isfinite(vectors).all():
        raise ModelError(
            f"{what} gave vectors that are no numbers (NaN or infinite)", "its weights may be damaged: get them anew"
        )
    return vectors
