"""Who may work now, who waits, and who is sent away: answers are slow, and a server must say no before it drowns."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rag.errors import Cancelled
from rag.serve.problems import Problem

POLL_S = 0.05  # how often a waiting thread looks whether its client has left


class Turns:
    """At most `slots` threads work at once; the others wait in the order they came."""

    def __init__(self, slots: int) -> None:
        self._lock = threading.Lock()
        self._free = slots
        self._line: deque[threading.Event] = deque()

    @property
    def waiting(self) -> int:
        return len(self._line)

    def take(self, cancel: threading.Event, wait: Callable[[int], None] = lambda ahead: None) -> None:
        """Blocks until it is this thread's turn. `wait` hears how many are ahead, if any. Raises Cancelled."""
        with self._lock:
            if self._free and not self._line:
                self._free -= 1
                return
            mine = threading.Event()
            self._line.append(mine)
            ahead = len(self._line)
        wait(ahead)
        while not mine.wait(POLL_S):
            if cancel.is_set():
                with self._lock:
                    if mine in self._line:
                        self._line.remove(mine)
                        raise Cancelled("the client left while it waited")
                break  # the turn came in the same moment
        if cancel.is_set():
            self.give()
            raise Cancelled("the client left while it waited")

    def give(self) -> None:
        with self._lock:
            if self._line:
                self._line.popleft().set()
            else:
                self._free += 1


class Door:
    """Lets in so many that each will be served in bounded time; the next is refused with the time to come back."""

    def __init__(self, name: str, slots: int, waiting: int) -> None:
        self.name, self.slots, self.most = name, slots, slots + waiting
        self._lock = threading.Lock()
        self._inside = 0
        self._seconds = 1.0  # what one takes, lately

    @property
    def inside(self) -> int:
        return self._inside

    def check(self) -> None:
        """Raises Problem 503 with Retry-After when it is full."""
        if self._inside >= self.most:
            seconds = math.ceil(self._seconds * self._inside / self.slots)
            headers = {"Retry-After": str(min(max(seconds, 1), 120))}
            told = f"{self._inside} {self.name} are being worked on or wait, no more are taken"
            raise Problem(503, "Busy", told, f"come back in {headers['Retry-After']} s", headers)

    def enter(self) -> float:
        """Returns when it began, for `leave`. Raises as `check` does."""
        with self._lock:
            self.check()
            self._inside += 1
        return time.monotonic()

    def leave(self, began: float) -> None:
        with self._lock:
            share = self.slots / max(self._inside, 1)  # of its time here it waited for the others
            self._seconds = 0.8 * self._seconds + 0.2 * (time.monotonic() - began) * min(share, 1)
            self._inside -= 1

    @contextmanager
    def through(self) -> Iterator[None]:
        began = self.enter()
        try:
            yield
        finally:
            self.leave(began)
