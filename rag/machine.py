"""What this machine has for us. Standard library only: the parsing workers import it."""

from __future__ import annotations

import os


def cores() -> int:
    """Those that this process may use, which a container or taskset can make fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
