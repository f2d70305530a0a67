"""The writer's lock: one holder, named to whoever comes second. It ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path

from rag.errors import IndexLocked, StoreError
from rag.store.files import runs

LOCK, HOLDER = "writer.lock", "writer.json"
PATIENCE_S = 0.5  # a lock that is just being taken or given back has no holder's name, for milliseconds
LOOK_S = 0.01


class WriterLock:
    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        self._folder = folder
        self._lock = FileLock(folder / LOCK)

    def acquire(self) -> None:
        """Makes the folder if need be. Raises IndexLocked with the holder's process and since when it holds the lock,
        at once or within half a second; StoreError where nothing can be written."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in (LOCK, HOLDER):  # a folder in a file's place: nobody can hold that
                with contextlib.suppress(OSError):
                    (self._folder / name).rmdir()
            until = time.monotonic() + PATIENCE_S
            while not self._taken():
                holder = self._holder()
                if holder or time.monotonic() > until:
                    raise IndexLocked(
                        f"the index at {self._folder} is in use by {holder or 'another process'}",
                        "wait for it to finish, or stop it; searching works meanwhile",
                    )
                time.sleep(LOOK_S)
        except OSError as error:
            raise StoreError(
                f"{self._folder}: can't be written: {error}", "choose another folder with store.path"
            ) from None

    def release(self) -> None:
        with contextlib.suppress(OSError):
            (self._folder / HOLDER).unlink(missing_ok=True)
        self._lock.release()

    def _taken(self) -> bool:
        from filelock import Timeout

        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            return False
        try:
            holder = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            (self._folder / HOLDER).write_text(json.dumps(holder), encoding="utf-8")
        except BaseException:
            self._lock.release()
            raise
        return True

    def _holder(self) -> str:
        """Empty when nobody's name stands there, or that of one who ended without giving the lock back."""
        try:
            holder = json.loads((self._folder / HOLDER).read_text(encoding="utf-8"))
            return f"process {holder['pid']} since {holder['since']}" if runs(holder["pid"]) else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""
