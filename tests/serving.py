"""A server on a real socket of this machine, in a thread; and one in its own process, as `rag serve` starts it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from shell import Shell

from rag.build import Rag
from rag.serve.desk import Desk
from rag.serve.run import prepare


@dataclass
class Served:
    address: str
    app: Any
    client: httpx.Client

    @property
    def desk(self) -> Desk:
        desk: Desk = self.app.state.desk
        return desk

    def events(self, path: str, body: Any = None, **more: Any) -> list[tuple[str, Any]]:
        """Every event of a stream: (name, data)."""
        method = "GET" if body is None else "POST"
        with self.client.stream(method, path, json=body, **more) as response:
            assert response.status_code == 200, response.read()
            assert response.headers["content-type"].startswith("text/event-stream")
            return list(parsed(response.iter_lines()))


@asynccontextmanager
async def mcp_client(address: str, key: str | None = None) -> AsyncIterator[Any]:
    """The official client at a server's /mcp."""
    import httpx2
    from mcp.client import Client
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as transport,
        Client(streamable_http_client(f"{address}/mcp", http_client=transport)) as client,
    ):
        yield client


def parsed(lines: Iterator[str]) -> Iterator[tuple[str, Any]]:
    name = ""
    for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


@contextmanager
def served(rag: Rag, key: str | None = None, sync_first: bool = False, **settings: Any) -> Iterator[Served]:
    """`settings` are those of section `serve`."""
    chosen = rag.config.serve.model_copy(update={"port": 0, "drain_s": 5, **settings})
    server, listener, address = prepare(rag, chosen, key, sync_first)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    address = address.replace("0.0.0.0", "127.0.0.1")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with httpx.Client(base_url=address, headers=headers, timeout=30, trust_env=False) as client:
            yield Served(address, server.config.app, client)
    finally:
        server.should_exit = True
        thread.join(timeout=20)
        assert not thread.is_alive()


@contextmanager
def command(shell: Shell, *args: object) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`rag serve --port 0 ARGS`: its address and its process, which is ended at the end."""
    process = shell.start("serve", "--port", "0", *args)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if match := re.search(r"at (http://\S+)", line):
                yield match[1], process
                return
        raise AssertionError(f"it ended with {process.wait()}")
    finally:
        process.kill()
        process.communicate()
