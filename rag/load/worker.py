"""The guarded workers: files are parsed in processes with limits; a bad file never stops the run.

    LoaderPool, in the caller                      child.serve, in a process
      thread ── {"path", "relative"} ──stdin──>      load_file under RLIMIT_AS and RLIMIT_CPU
             <─stdout── {"source"} | {"error"} ──

The children are started as programs, not by multiprocessing: its spawn imports the caller's `__main__` again,
which breaks scripts without a guard, and its fork hangs under torch's and Chroma's threads.

Lazy throughout: no process before the first job that needs one, no job pulled before there is room for it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from queue import LifoQueue
from typing import IO, TYPE_CHECKING, Any, Self, TypeVar

from rag.errors import DocumentError, LoaderError, UnsupportedError
from rag.load import kind_of, unsupported
from rag.load.child import loaded, receive, send
from rag.load.media import Wanted, media_kind_of
from rag.load.pdf import OTHER
from rag.machine import cores
from rag.types import Source

if TYPE_CHECKING:
    from rag.config import Load

T = TypeVar("T")
COMMAND = (sys.executable, "-P", "-m", "rag.load.child")
NO_MEDIA = Wanted()
_START_S = 60.0  # for a child to say that it is ready, on a busy machine


class Crashed(DocumentError):
    """The parser took its process with it."""


class LoaderPool:
    """Loads many files, in order, several at a time.

        with LoaderPool(config.load) as pool:
            for relative, loaded in pool.load_many(jobs): ...

    `command` starts a worker process; another one than the default is for tests of bad workers.
    """

    def __init__(self, config: Load, command: Sequence[str] = COMMAND, media: Wanted = NO_MEDIA) -> None:
        self._config, self._media = config, media
        self._size = config.workers or cores()
        self._closed = threading.Event()
        self._workers = [Worker(config, command, self._closed) for _ in range(self._size)]
        self._idle: LifoQueue[Worker] = LifoQueue()  # the last one used is taken first: no more start than needed
        for worker in self._workers:
            self._idle.put(worker)
        self._threads: ThreadPoolExecutor | None = None
        self._arrays: tempfile.TemporaryDirectory[str] | None = None
        self._numbers = itertools.count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def load_many(self, jobs: Iterable[tuple[Path, str]]) -> Iterator[tuple[str, Source | DocumentError]]:
        """`(path, relative)` in, `(relative, Source or why not)` out, in the order of the jobs.

        At most twice as many jobs as workers are ahead of what was taken.
        """
        ahead: deque[tuple[str, Future[Source | DocumentError]]] = deque()
        try:
            for path, relative in jobs:
                ahead.append((relative, self._submit(path, relative)))
                if len(ahead) >= 2 * self._size:
                    yield _taken(*ahead.popleft())
            while ahead:
                yield _taken(*ahead.popleft())
        finally:
            for _, future in ahead:
                future.cancel()

    def close(self) -> None:
        """Ends the worker processes, busy ones too. The pool can't be used afterwards."""
        self._closed.set()
        for worker in self._workers:
            worker.kill()
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._workers:
            worker.stop()
        if self._arrays is not None:
            self._arrays.cleanup()

    def _submit(self, path: Path, relative: str) -> Future[Source | DocumentError]:
        if kind_of(path) is None and media_kind_of(path) is None:  # no process is started for these
            refused: Future[Source | DocumentError] = Future()
            refused.set_result(UnsupportedError(*unsupported(path)))
            return refused
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._size, thread_name_prefix="rag-load")
            self._arrays = tempfile.TemporaryDirectory(prefix="rag-load-")
        return self._threads.submit(self._isolated, path, relative)

    def _isolated(self, path: Path, relative: str) -> Source | DocumentError:
        worker = self._idle.get()
        assert self._arrays is not None
        arrays = Path(self._arrays.name) / str(next(self._numbers))
        try:
            return worker.load(path, relative, self._media, arrays)
        finally:
            self._idle.put(worker)
            with contextlib.suppress(OSError):  # a system that keeps mapped files: they go with the folder
                arrays.unlink(missing_ok=True)


def _taken(relative: str, future: Future[Source | DocumentError]) -> tuple[str, Source | DocumentError]:
    return relative, future.result()


def load_one(path: Path, config: Load, media: Wanted = NO_MEDIA) -> Source:
    """A single file, guarded as any document. Raises DocumentError that names the path."""
    with LoaderPool(config.model_copy(update={"workers": 1}), media=media) as pool:
        ((_, source),) = pool.load_many([(path, path.name)])
    return source_or_error(path, source)


def source_or_error(path: Path, source: Source | DocumentError) -> Source:
    if isinstance(source, DocumentError):
        raise type(source)(f"{path}: {source.message}", source.hint)
    return source


class Worker:
    """The parent's side of one child process, started on first use and again after each death. For one thread at a
    time. rag/serve/pages.py has PDF pages drawn by one, with a `command` of its own."""

    def __init__(self, config: Load, command: Sequence[str], closed: threading.Event) -> None:
        self._config = config
        self._command = tuple(command)
        self._closed = closed
        self._starting = threading.Lock()  # between `kill` of a closing pool and a thread that starts a child
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._late = False

    def load(self, path: Path, relative: str, media: Wanted, arrays: Path) -> Source | DocumentError:
        """A PDF whose engine crashes is tried once more with the other one, in what time is left. `arrays`: a file that
        the child may write."""
        job = {"path": os.fspath(path.absolute()), "relative": relative, "media": asdict(media), "arrays": str(arrays)}
        start = time.monotonic()

        def read(reply: dict[str, Any]) -> Source | DocumentError:
            return loaded(reply, relative, arrays)

        result = self.run(job, read)
        left = self._config.timeout_s - (time.monotonic() - start)
        if not isinstance(result, Crashed) or kind_of(path) != "pdf" or self._closed.is_set() or left <= 0:
            return result
        other = OTHER[self._config.pdf]
        again = self.run({**job, "pdf": other}, read, left)
        if isinstance(again, DocumentError):
            return DocumentError(f"{again.message} (read by {other}; {self._config.pdf}: {result.message})", again.hint)
        return replace(again, warnings=(f"read by {other}, {self._config.pdf} crashed", *again.warnings))

    def run(
        self, job: dict[str, Any], read: Callable[[dict[str, Any]], T], seconds: float | None = None
    ) -> T | DocumentError:
        """What `read` makes of the child's reply to `job`; or why there is none."""
        reply = None
        try:
            if self._process is None or self._process.poll() is not None:  # also dead while it was idle
                self.stop()
                try:
                    self._start()
                except (EOFError, OSError) as error:
                    return self._why_not_started(error)
            reply = self._ask(job, seconds or self._config.timeout_s)
            return read(reply)
        except (EOFError, OSError):
            return self._why_dead()
        except (ValueError, TypeError, KeyError, RecursionError) as error:  # what only a captured child sends
            self.stop()
            return DocumentError(f"the loader process sent nonsense: {type(error).__name__}", "the file may be hostile")
        finally:
            if self._late or (reply is not None and reply.get("retire")):
                self.stop()

    def kill(self) -> None:
        with self._starting:
            process = self._process
        if process is not None:
            process.kill()

    def stop(self) -> int:
        """Kills the child, if there is one, and returns its status; nothing of it is left."""
        process, self._process, self._late = self._process, None, False
        if process is None:
            return 0
        process.kill()
        for pipe in (process.stdin, process.stdout, self._stderr):
            with contextlib.suppress(OSError):  # unsent bytes for a dead reader
                if pipe is not None:
                    pipe.close()
        return process.wait()

    def _start(self) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        # the child finds what its parent finds; -P keeps it from looking into the working directory first
        paths = [os.path.abspath(p) for p in sys.path]
        with self._starting:
            if self._closed.is_set():
                raise EOFError
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        self._ask(self._config.model_dump(mode="json"), _START_S)

    def _ask(self, message: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Sends, and waits for the answer; a child that takes longer is killed: EOFError."""
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None

        def expire() -> None:
            self._late = True
            process.kill()

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        timer.start()
        try:
            send(process.stdin, message)
            return receive(process.stdout, 16 * self._config.max_chars + (1 << 24))
        finally:
            timer.cancel()

    def _ended(self) -> tuple[bool, str, int]:
        """Whether it was too slow, its last words, its status."""
        if self._process is not None and not self._late:
            with contextlib.suppress(subprocess.TimeoutExpired):  # its pipe closes before its status is there
                self._process.wait(timeout=2)
        return self._late, self._last_words(), self.stop()

    def _why_not_started(self, error: EOFError | OSError) -> LoaderError:
        began = self._process is not None
        late, last_words, status = self._ended()
        if self._closed.is_set():
            return LoaderError("interrupted", "run it again")
        why = f"it ended with status {status}{last_words}"
        if late:
            why = f"it wasn't ready after {_START_S:g} s"
        elif not began:
            why = error.strerror or str(error) if isinstance(error, OSError) else "it can't be written to"
        return LoaderError(f"the loader process can't be started: {why}", "see what the machine lacks, then sync again")

    def _why_dead(self) -> DocumentError:
        late, last_words, status = self._ended()
        if self._closed.is_set():
            return LoaderError("interrupted", "run it again")
        if late:
            return DocumentError(
                f"took longer than {self._config.timeout_s:g} s", "raise load.timeout_s, or exclude it"
            )
        if status == -getattr(signal, "SIGXCPU", 0):
            return DocumentError(f"took longer than {self._config.timeout_s:g} s of CPU", "raise load.timeout_s")
        if status < 0:
            name = signal.Signals(-status).name
            if name == "SIGKILL":  # not by its limits: those end it otherwise
                killed = f"the loader process was killed by {name}, the machine may be out of memory"
                return LoaderError(killed, "the next sync reads it again; load.workers: 1 takes least memory")
            return Crashed(f"the loader process was killed by {name}", "the file may be damaged: exclude it")
        return DocumentError(f"the loader process ended with status {status}{last_words}", "exclude the file")

    def _last_words(self) -> str:
        if self._stderr is None or self._stderr.closed:
            return ""
        self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, self._stderr.tell() - 2000))
        lines = self._stderr.read().decode("utf-8", "replace").split("\n")
        return next((f": {line.strip()[:200]}" for line in reversed(lines) if line.strip()), "")
