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

RECENT_S = 60.0  # who asked, or was sent away, within this time is somebody to leave room for
CLIENTS = 1000  # so many are remembered
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
    """Lets in so many that each will be served in bounded time; the next is refused with the time to come back.

    A client that holds its share of the places gets no more of them as long as others ask, too. One that is alone may
    have them all: what reaches us through one proxy counts as one client.
    """

    def __init__(self, name: str, slots: int, waiting: int, share: float = 1.0) -> None:
        self.name, self.slots, self.most = name, slots, slots + waiting
        self._most_each = max(1, math.floor(share * self.most))
        self._holds: dict[str, int] = {}
        self._asked: dict[str, float] = {}  # when each client last did
        self._lock = threading.Lock()
        self._inside = 0
        self._seconds = 1.0  # what one takes, lately

    @property
    def inside(self) -> int:
        return self._inside

    def check(self, client: str | None = None) -> None:
        """Raises Problem 503 with Retry-After when it is full, 429 when `client` has its share and others ask."""
        seconds = math.ceil(self._seconds * self._inside / self.slots)
        headers = {"Retry-After": str(min(max(seconds, 1), 120))}
        if client is not None:
            others = self._others_ask(client)
            holds = self._holds.get(client, 0)
            if others and holds >= self._most_each:
                told = f"{holds} of your {self.name} are being worked on or wait, and others ask, too"
                raise Problem(429, "TooMany", told, f"come back in {headers['Retry-After']} s", headers)
        if self._inside >= self.most:
            told = f"{self._inside} {self.name} are being worked on or wait, no more are taken"
            raise Problem(503, "Busy", told, f"come back in {headers['Retry-After']} s", headers)

    def _others_ask(self, client: str) -> bool:
        """And it is noted that this one does."""
        now = time.monotonic()
        self._asked[client] = now
        if len(self._asked) > CLIENTS:
            self._asked = {c: t for c, t in list(self._asked.items())[-CLIENTS // 2 :] if now - t < RECENT_S}
        return any(now - t < RECENT_S for c, t in list(self._asked.items()) if c != client)

    def enter(self, client: str | None = None) -> float:
        """Returns when it began, for `leave`. Raises as `check` does."""
        with self._lock:
            self.check(client)
            self._inside += 1
            if client is not None:
                self._holds[client] = self._holds.get(client, 0) + 1
        return time.monotonic()

    def leave(self, began: float, client: str | None = None) -> None:
        with self._lock:
            if client is not None:
                self._holds[client] -= 1
                if not self._holds[client]:
                    del self._holds[client]
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
