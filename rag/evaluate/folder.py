"""The documents that a public set brings, as a folder that can be indexed; and the hash of a corpus."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rag.errors import FolderError
from rag.evaluate.judgements import Dataset


def corpus_hash(texts: Iterable[tuple[str, str]]) -> str:
    """SHA-256 of (path, text) pairs, in the order given."""
    digest = hashlib.sha256()
    for path, text in texts:
        for part in (path, text):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


def data_folder() -> Path:
    """Beside the indexes, in the user's data directory."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "rag" / "evaluate"


def written(dataset: Dataset, below: Path | None = None) -> Path:
    """The folder with the set's documents, one file each; written the first time. Its index belongs beside it.

    Named by the set and its texts: another version of a set gets another folder. It appears whole or not at all.
    """
    documents = sorted((dataset.documents or {}).items())
    name = re.sub(r"[^\w.-]+", "-", dataset.name).strip(".-")[:60] or "set"
    home = (below or data_folder()) / f"{name}-{corpus_hash(documents)[:12]}"
    folder = home / "documents"
    if folder.is_dir():
        return folder
    try:
        home.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="documents-", dir=home))
        for file, text in documents:
            (fresh / file).write_text(text, encoding="utf-8", newline="\n")
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
            shutil.rmtree(fresh)  # another process was faster, with the same texts
    except OSError as error:
        raise FolderError(
            f"{home}: the documents of {dataset.name} can't be written: {error.strerror or error}",
            "check the disk's free space and permissions; XDG_DATA_HOME names another place",
        ) from None
    return folder
