"""The way to the client over stdout. Imports nothing, so that it is kept clear before anything else is loaded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


@contextmanager
def own_stdout() -> Iterator[BinaryIO]:
    """Meanwhile, and until the process ends, whatever else is written to stdout goes to stderr: prints of Python, of
    libraries in C, and of child processes. It isn't given back: a print at exit would reach a client that still reads.
    """
    sys.stdout.flush()
    wire = os.dup(1)  # not inherited by children
    os.dup2(2, 1)
    with open(wire, "wb") as stream:
        yield stream
