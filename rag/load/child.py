"""The child's side of the guarded worker, and the messages between the two.

Messages are JSON with a length in front: a process that parses untrusted bytes must not hand its parent a
pickle, and what it sends is taken apart by type.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rag.errors import DocumentError, EmptyError, UnsupportedError
from rag.load import load_file
from rag.load.inside import with_pictures
from rag.load.media import Wanted, get_arrays, load_medium, media_kind_of, put_arrays
from rag.types import Cue, Heading, Source

if TYPE_CHECKING:
    from rag.config import Load

Reply = dict[str, Any]  # a job, too: what goes through the pipe
_TICKS = -8  # Linux's clock of what a process has run, as RLIMIT_CPU counts it: make_process_cpuclock(0, CPUCLOCK_PROF)
_ERRORS = {error.__name__: error for error in (DocumentError, EmptyError, UnsupportedError)}


def serve(load: Callable[[Path, str, Load], Source] = load_file) -> None:
    """The main of a child that loads files."""

    def do(job: Reply, config: Load) -> Reply:
        if "pdf" in job:  # another engine than the configured one
            config = config.model_copy(update={"pdf": job["pdf"]})
        path, wanted = Path(job["path"]), Wanted.of(job["media"])
        if media_kind_of(path):
            source = load_medium(path, job["relative"], config, wanted)
        else:
            source = with_pictures(load(path, job["relative"], config), path, config, wanted.pictures)
        media = put_arrays(source.media, Path(job["arrays"])) if source.media else []
        return {"source": asdict(replace(source, media=())), "media": media}

    work(do)


def work(do: Callable[[Reply, Load], Reply]) -> None:
    """The child's main: one job after the other until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)  # whatever a parser prints would garble the messages
    import logging
    import warnings

    from rag.config import Load

    logging.disable()
    warnings.simplefilter("ignore")
    config = Load.model_validate_json(json.dumps(receive(inbox)))
    _limit_memory(config.memory_mb)
    send(outbox, {"ready": True})
    while True:
        try:
            job = receive(inbox)
        except EOFError:
            return
        _limit_cpu(config.timeout_s)
        try:
            send(outbox, _reply(do, job, config))
        except MemoryError:  # the text itself fitted, its message not
            send(outbox, _memory_reply(config))


def _reply(do: Callable[[Reply, Load], Reply], job: Reply, config: Load) -> Reply:
    try:
        return do(job, config)
    except MemoryError:
        return _memory_reply(config)
    except DocumentError as error:
        # after a MemoryError the process is left full and torn: the parent starts another
        retire = isinstance(error.__context__, MemoryError)
        return {"error": [type(error).__name__, error.message, error.hint], "retire": retire}


def _memory_reply(config: Load) -> dict[str, Any]:
    return {
        "error": ["DocumentError", f"needs more than {config.memory_mb} MB", "raise load.memory_mb"],
        "retire": True,
    }


def failure(reply: Reply) -> DocumentError | None:
    """The error that a child's reply tells of."""
    if "error" not in reply:
        return None
    name, message, hint = map(str, reply["error"])
    return _ERRORS[name](message, hint)


def loaded(reply: dict[str, Any], relative: str, arrays: Path) -> Source | DocumentError:
    """What the child's reply says. `arrays`: the file that it was to put pixels and samples in."""
    if error := failure(reply):
        return error
    source = reply["source"]
    return Source(
        path=relative,
        text=str(source["text"]),
        kind=str(source["kind"]),
        title=None if source["title"] is None else str(source["title"]),
        pages=tuple(map(int, source["pages"])),
        headings=tuple(Heading(int(h["start"]), int(h["level"]), str(h["title"])) for h in source["headings"]),
        metadata=dict(source["metadata"]),
        warnings=tuple(map(str, source["warnings"])),
        times=tuple(Cue(int(c["start"]), float(c["seconds"])) for c in source["times"]),
        media=get_arrays(reply["media"], arrays),
    )


def send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    data = json.dumps(message).encode("ascii")
    pipe.write(len(data).to_bytes(8, "big") + data)
    pipe.flush()


def receive(pipe: IO[bytes], at_most: int = 1 << 24) -> dict[str, Any]:
    head = pipe.read(8)
    size = int.from_bytes(head, "big")
    if len(head) < 8:
        raise EOFError
    if size > at_most:
        raise ValueError(f"a message of {size} bytes")
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    message = json.loads(data)
    if not isinstance(message, dict):
        raise TypeError(type(message).__name__)
    return message


def _limit_memory(megabytes: int) -> None:
    """Address space: what the process has now plus `megabytes`. Linux only: others enforce none."""
    if not sys.platform.startswith("linux"):
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + megabytes * 1024 * 1024)
    # pixels and samples; beside them it writes nothing but a traceback to stderr
    _lower(resource.RLIMIT_FSIZE, megabytes * 1024 * 1024)


def _lower(which: int, limit: int) -> None:
    """To `limit`, unless what the process was started with (`ulimit`) is lower."""
    import resource

    hard = resource.getrlimit(which)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (limit, limit))


def _limit_cpu(seconds: float) -> None:
    """For the next file: the wall clock plus some. It ends a child whose parent was killed meanwhile."""
    if sys.platform == "win32":
        return
    import resource

    if sys.platform.startswith("linux"):
        # Not getrusage: the kernel counts ticks, here a tenth more. After six minutes of short files the limit would
        # lie in the past, and end a child over a file that has nothing to do with it.
        spent = time.clock_gettime(_TICKS)
    else:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        spent = usage.ru_utime + usage.ru_stime
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = math.ceil(spent + seconds) + 5
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


if __name__ == "__main__":
    serve()
