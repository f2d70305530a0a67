"""What lies in the folder: every regular file that the patterns let through, as (path, size, time)."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.config import Documents
from rag.errors import FolderError


@dataclass(frozen=True, slots=True)
class Entry:
    path: str  # POSIX style, relative to the folder
    full: Path
    size: int  # bytes
    mtime_ns: int
    ctime_ns: int = 0  # the inode's own time: moves with every write, and can't be set back
    problem: str | None = None  # why it can't even be looked at
    is_folder: bool = False  # one that can't be read: what lies in it is unknown, not gone


class Taken:
    """Which paths the patterns of section `documents` let through."""

    def __init__(self, documents: Documents) -> None:
        from pathspec import PathSpec

        def compiled(lines: tuple[str, ...]) -> Any:
            return PathSpec.from_lines("gitwildmatch", lines)

        self._include = compiled(documents.include) if documents.include else None
        self._exclude = compiled(documents.exclude)

    def folder(self, path: str) -> bool:
        return not self.excluded(path + "/")

    def file(self, path: str) -> bool:
        return not self.excluded(path) and (self._include is None or self._include.match_file(path))

    def excluded(self, path: str) -> bool:
        """A pattern that takes out a folder takes out all that lies in it."""
        return bool(self._exclude.match_file(path))


def scan(documents: Documents, index: Path | None = None) -> list[Entry]:
    """Sorted by path. Raises FolderError, as `check_folder` does.

    Links to folders aren't followed; links to files are, when what they point to lies inside the folder. Pipes,
    devices, sockets and the `index` folder are passed over. A sub-folder that can't be read is one entry with its
    problem.
    """
    root = check_folder(documents)
    real_root = root.resolve()
    return sorted(_walk(root, real_root, "", Taken(documents), below(index, real_root)), key=lambda e: e.path)


def check_folder(documents: Documents) -> Path:
    """Where the documents lie. Raises FolderError when that is missing, no folder, or can't be read."""
    root = documents.path.expanduser()
    if not root.exists():
        raise FolderError(f"there is no folder {root}", "name another: --docs FOLDER, or documents.path in config.yaml")
    if not root.is_dir():
        raise FolderError(f"{root} is a file, not a folder", f"name its folder: --docs {root.parent}")
    if not os.access(root, os.R_OK | os.X_OK):
        raise FolderError(f"{root} can't be read (no permission)", "give yourself read permission, or name another")
    return root


def below(path: Path | None, real_root: Path) -> str | None:
    """`path` relative to the folder, POSIX style; None when it isn't inside."""
    real = path.expanduser().resolve() if path else None
    return real.relative_to(real_root).as_posix() if real and real.is_relative_to(real_root) else None


def _walk(root: Path, real_root: Path, below: str, taken: Taken, index: str | None) -> Iterator[Entry]:
    try:
        found = sorted(os.scandir(root / below), key=lambda e: e.name)
    except OSError as error:
        yield Entry(below, root / below, 0, 0, 0, f"the folder can't be read: {error.strerror}", is_folder=True)
        return
    for item in found:
        path = f"{below}/{item.name}" if below else item.name
        name = os.fsencode(path).decode("utf-8", "backslashreplace")  # what the catalog can hold
        try:
            if item.is_dir(follow_symlinks=False):
                if taken.folder(name) and path != index:
                    yield from _walk(root, real_root, path, taken, index)
                continue
            if not taken.file(name):
                continue
            status = item.stat()
            if item.is_symlink() and not Path(item.path).resolve().is_relative_to(real_root):
                continue
            if not stat.S_ISREG(status.st_mode):
                continue
            problem = None if name == path else "its name is not valid UTF-8"
            yield Entry(name, Path(item.path), status.st_size, status.st_mtime_ns, status.st_ctime_ns, problem)
        except OSError as error:
            yield Entry(name, Path(item.path), 0, 0, 0, f"can't be read: {error.strerror}")
