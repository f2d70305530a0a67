"""Uploads and deletions: names are confined to the document folder, and what can't be read is refused at the door."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from rag.build import Rag
from rag.load import KINDS, kind_of
from rag.load.media import MediaKind, media_kind_of
from rag.serve.problems import Problem
from rag.sync.scan import Taken, check_folder

LONGEST = 200  # bytes of a name: file systems take 255, and ours gets a few more while it is written
_TURNS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # the reading direction


def checked_name(rag: Rag, name: str) -> str:
    """The name as it may be written. Raises Problem 422, or 415 for a format that no loader reads.

    Nothing is repaired: a file that is stored under another name than it was sent with is one that nobody finds.
    """
    shown = repr(name[:80])
    name = unicodedata.normalize("NFC", name)
    if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
        raise Problem(422, "BadName", f"{shown} is no plain file name", "send the file without its folders")
    if any(unicodedata.category(c) in ("Cc", "Cs") or c in _TURNS for c in name):
        raise Problem(422, "BadName", f"{shown} holds control characters", "rename the file")
    if len(name.encode()) > LONGEST or name != name.strip() or name.endswith("."):
        raise Problem(422, "BadName", f"{shown} is too long, or begins or ends with a space or dot", "rename the file")
    if not Taken(rag.config.documents).file(name):
        raise Problem(422, "BadName", f"{shown} is left out by documents.include or exclude", "rename the file")
    kind = media_kind_of(Path(name))
    if kind_of(Path(name)) is None and kind not in _media(rag):
        suffixes = ", ".join(sorted({s for s, kind in KINDS.items() if s.startswith(".") and kind != "code"}))
        beside = {"image": "pictures (images.kind)", "audio": "recordings (audio.kind)"}.get(kind or "")
        why = f"{beside} aren't read here" if beside else f"choices: {suffixes} and source code"
        raise Problem(415, "Unsupported", f"no loader for {shown}", why)
    return name


def _media(rag: Rag) -> set[MediaKind]:
    """What is read beside texts."""
    images, audio = rag.config.images, rag.config.audio
    kinds: set[MediaKind] = {"image"} if images.kind != "none" else set()
    return kinds | {"audio"} if audio.kind != "none" or audio.transcribe else kinds


def store(rag: Rag, files: Sequence[tuple[str, IO[bytes]]], replace: bool) -> list[dict[str, str | int]]:
    """Write them all, or, when a name is refused or taken or one can't be written, none of them: all are on the disk
    before the first is shown. Each appears whole. What `replace` has replaced by then stays replaced."""
    root = check_folder(rag.config.documents)
    names = [checked_name(rag, name) for name, _ in files]
    if len(set(names)) < len(names):
        raise Problem(422, "BadName", "two files have the same name", "send one of them")
    there = [name for name in names if os.path.lexists(root / name)]
    if replace:  # only files are
        there = [name for name in there if not (root / name).is_file() or (root / name).is_symlink()]
    if there:  # all of them: whoever says "replace" then knows what
        told = f"{', '.join(map(repr, there))} {'is' if len(there) == 1 else 'are'} there already"
        raise Problem(409, "Exists", told, "replace=true replaces a file, or rename yours")
    with contextlib.ExitStack() as hidden, contextlib.ExitStack() as shown:
        written = [(name, *_write(root, name, stream, hidden)) for name, (_, stream) in zip(names, files, strict=True)]
        for name, file, _ in written:
            with _told(name):
                if replace:
                    file.replace(root / name)
                else:
                    os.link(file, root / name)  # unlike rename it fails when another has just taken the name
                    shown.callback(_unlink, root / name)
        shown.pop_all()  # all are there: they stay
    return [{"path": name, "bytes": size} for name, _, size in written]


def _write(root: Path, name: str, stream: IO[bytes], hidden: contextlib.ExitStack) -> tuple[Path, int]:
    """Beside where it will stand, under a name that no sync takes; it goes with `hidden`."""
    file = root / f".rag-upload-{secrets.token_hex(8)}"
    hidden.callback(_unlink, file)
    with _told(name), file.open("xb") as out:
        shutil.copyfileobj(stream, out)
        out.flush()
        os.fsync(out.fileno())
        return file, out.tell()


@contextlib.contextmanager
def _told(name: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise Problem(409, "Exists", f"{name!r} is there already", "replace=true replaces a file") from None
    except OSError as error:
        raise Problem(
            507, "NotStored", f"{name!r} can't be written: {error.strerror}", "make room, or see its rights"
        ) from None


def _unlink(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def delete(rag: Rag, path: str) -> None:
    """Raises Problem 404 for what the index doesn't list or the folder doesn't hold."""
    root = check_folder(rag.config.documents)
    full = root / path
    if path not in {f.path for f in rag.files()} or not full.parent.resolve().is_relative_to(root.resolve()):
        raise Problem(
            404, "NotFound", f"there is no file {path[:200]!r} in the index", "GET /documents lists the files"
        )
    try:
        full.unlink()
    except FileNotFoundError:
        raise Problem(404, "NotFound", f"{path[:200]!r} is gone already", "POST /sync") from None
    except OSError as error:
        raise Problem(
            409, "NotDeleted", f"{path[:200]!r} can't be deleted: {error.strerror}", "see its rights"
        ) from None
