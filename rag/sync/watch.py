"""`rag sync --watch`: when does the folder change?"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from rag.config import Documents
from rag.sync.scan import Taken, below

QUIET_MS = 200  # a burst of changes (a copy, a checkout) is one: it ends after so long without another,
BURST_MS = 3200  # or after so long in all
_READY_MS = 500


def changes(documents: Documents, index: Path | None = None, stop: threading.Event | None = None) -> Iterator[int]:
    """Blocks; yields 0 as soon as it watches, then the number of paths changed in each burst, until `stop` is set.

    The 0 is for what changed before it watched: sync then, too. What happens during a sync is yielded after it.
    Paths that a sync passes over (`documents.exclude`, the index's own folder) don't count, nor does what a sync
    does itself: it writes nothing else into the folder.
    """
    from watchfiles import watch

    root = documents.path.expanduser().resolve()
    taken, own = Taken(documents), below(index, root)

    def counts(_: object, path: str) -> bool:
        relative = Path(path).relative_to(root).as_posix()
        if own is not None and f"{relative}/".startswith(f"{own}/"):
            return False
        return not taken.excluded(relative)  # whatever `include` says: a folder that was moved away held some file

    watching = False
    for changed in watch(
        root,
        watch_filter=counts,
        step=QUIET_MS,
        debounce=BURST_MS,
        stop_event=stop,
        rust_timeout=_READY_MS,
        yield_on_timeout=True,
        raise_interrupt=True,
    ):
        if changed or not watching:
            watching = True
            yield len(changed)
