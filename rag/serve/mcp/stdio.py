"""MCP over stdin and stdout, which then carry the protocol and nothing else."""

from __future__ import annotations

import io
from typing import BinaryIO

import anyio
from mcp.server.stdio import stdio_server

from rag.serve.mcp.server import make_server
from rag.serve.mcp.tools import Library


def serve_stdio(library: Library, wire: BinaryIO) -> None:
    """Until the client closes stdin. Calls still at work are cancelled then."""
    anyio.run(_serve, library, wire)


async def _serve(library: Library, wire: BinaryIO) -> None:
    server = make_server(library)
    # No text layer with an encoding of its own choice: the protocol is UTF-8, with \n on every system.
    stdout = anyio.wrap_file(io.TextIOWrapper(wire, encoding="utf-8", newline="\n", write_through=False))
    async with stdio_server(stdout=stdout) as (read, write):
        await server.run(read, write, server.create_initialization_options())
