"""Files that are there whole or not at all, and on the disk when they are said to be."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def to_disk(path: Path) -> None:
    """A file, or a folder's list of names (elsewhere than on POSIX folders can't be opened: nothing is done)."""
    if os.name == "posix" or path.is_file():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def can_change(folder: Path) -> bool:
    """Whether this process may write a folder and all that lies in it."""
    return all(os.access(path, os.W_OK) for path in (folder, *folder.rglob("*")))


def copy_to_change(source: Path, target: Path) -> None:
    """A folder's copy that this process may write, whatever the modes of `source`."""
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for folder in (target, *(path for path in target.rglob("*") if path.is_dir())):
        folder.chmod(0o700)


@contextmanager
def appearing(target: Path) -> Iterator[BinaryIO]:
    """A file beside `target`, for its owner only, that takes its name when the block ends well. One that a killed
    process left is removed."""
    for left in target.parent.glob(f".{_literal(target.name)}.*.part"):
        made_by = re.fullmatch(r".*\.(\d+)-[0-9a-f]{8}\.part", left.name, re.DOTALL)
        if made_by and not runs(int(made_by[1])):
            left.unlink(missing_ok=True)
    part = target.parent / f".{target.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.part"
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    to_disk(target.parent)


def _literal(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)


def runs(pid: int) -> bool:
    """Whether there is such a process on this machine."""
    if os.name != "posix":
        return True  # there, asking would end it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True
