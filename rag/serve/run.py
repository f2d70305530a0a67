"""The listening socket, uvicorn on it, and a calm end: on SIGTERM or Ctrl-C what is being answered gets its time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from math import ceil
from typing import Any

import uvicorn

from rag.build import Rag
from rag.config import Serve
from rag.errors import ConfigError
from rag.serve.app import build
from rag.serve.desk import Desk
from rag.serve.guard import is_loopback

KEY = "RAG_API_KEY"
SHORTEST = 16
GRACE_S = 3  # an answer that is given up needs a moment to say so; what is open then is cut off
SWITCH_S = 0.0005  # Python's own 5 ms would let each computing thread hold up the event loop for so long


def read_key(settings: Serve) -> str | None:
    """From the environment or the file that is named, never from a flag, which other users of the machine could see."""
    key, where = os.environ.get(KEY), f"environment variable {KEY}"
    if not key and settings.api_key_file is not None:
        where = str(settings.api_key_file)
        try:
            key = settings.api_key_file.expanduser().read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"serve.api_key_file: {where} can't be read: {error}", "name a file with the key"
            ) from None
    elif not key:
        return None
    if len(key) < SHORTEST or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(
            f"{where}: the key has {len(key)} characters; at least {SHORTEST} are needed, ASCII without spaces",
            "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'",
        )
    return key


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, desk: Desk) -> None:
        super().__init__(config)
        self._desk = desk
        self.interrupted = False  # by Ctrl-C

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.interrupted |= sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._desk.leave()
        late = asyncio.get_running_loop().call_later(self._desk.settings.drain_s, self._desk.give_up)
        await super().shutdown(sockets)
        late.cancel()


def serve(
    rag: Rag,
    *,
    sync_first: bool = False,
    host: str | None = None,
    port: int | None = None,
    started: Callable[[str], None] = lambda address: None,
) -> None:
    """Serve until SIGTERM (then the process exits with 0) or Ctrl-C (then KeyboardInterrupt is raised, when all is
    done). `started` gets the address once it is listened on. `host` and `port` instead of the config's. Raises
    ConfigError."""
    given = {"host": host, "port": port}
    settings = rag.config.serve.model_copy(update={k: v for k, v in given.items() if v is not None})
    key = read_key(settings)
    if key is None and not is_loopback(settings.host):
        raise ConfigError(
            f"serve.host is {settings.host!r}, which others can reach, and there is no key",
            f"set the environment variable {KEY} (or serve.api_key_file), or serve on 127.0.0.1",
        )
    server, listener, address = prepare(rag, settings, key, sync_first)
    started(address)
    if threading.current_thread() is threading.main_thread():
        sys.setswitchinterval(SWITCH_S)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # uvicorn raises the signal anew when all is done
    server.run(sockets=[listener])
    if server.interrupted:  # asyncio swallows the one that uvicorn raises anew
        raise KeyboardInterrupt


def prepare(rag: Rag, settings: Serve, key: str | None, sync_first: bool = False) -> tuple[_Server, socket.socket, str]:
    """A server that isn't running yet, the socket it listens on, and its address. Raises ConfigError."""
    app = build(rag, settings, key)
    app.state.sync_first = sync_first
    config: Any = uvicorn.Config(
        app,
        http="httptools",  # half the time of h11 for a request that is refused
        ws="none",
        loop="asyncio",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=ceil(settings.drain_s) + GRACE_S,
    )
    listener = _listen(settings)
    name = f"[{settings.host}]" if ":" in settings.host else settings.host
    return _Server(config, app.state.desk), listener, f"http://{name}:{listener.getsockname()[1]}"


def _listen(settings: Serve) -> socket.socket:
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise ConfigError(f"serve.host is {settings.host!r}: {error.strerror}", "an address of this machine") from None
    listener = socket.socket(family, kind, proto)
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"can't listen on {settings.host}:{settings.port}: {error.strerror}",
            "another program may have the port: --port 0 takes a free one, --port N another",
        ) from None
    return listener
