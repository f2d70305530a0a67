"""MCP over streamable HTTP, as an ASGI application to run alone or to put at a path of another one.

    mcp = McpApp(Library(rag))
    app = Starlette(routes=[Route("/mcp", endpoint=mcp)], lifespan=lambda app: mcp.running())

A `Route`, not a `Mount`: a mount answers /mcp with a redirect to /mcp/, which clients don't follow with a body.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecurityMiddleware, TransportSecuritySettings
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from rag.serve.mcp.server import make_server
from rag.serve.mcp.tools import Library

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
MOST_BYTES = 1 << 20  # of a request
MOST_SESSIONS = 1000  # clients of the protocol before 2026 hold one each
IDLE_S = 1800.0  # a session nobody used for so long is forgotten; its client starts another


class McpApp:
    """`running()` must be entered before the first request and left at the end, once; calls still at work are
    cancelled then."""

    def __init__(self, library: Library, hosts: Sequence[str] | None = LOOPBACK) -> None:
        """`hosts`: names that Host and Origin may have, with any port; None: whoever stands before this checks them."""
        security = TransportSecuritySettings(enable_dns_rebinding_protection=hosts is not None)
        for host in hosts or ():
            security.allowed_hosts += [host, f"{host}:*"]
            origins = [f"{scheme}://{host}" for scheme in ("http", "https")]
            security.allowed_origins += [*origins, *(f"{origin}:*" for origin in origins)]
        self._security = TransportSecurityMiddleware(security)
        self._manager = StreamableHTTPSessionManager(
            make_server(library),
            security_settings=security,
            max_request_body_size=MOST_BYTES,
            max_sessions=MOST_SESSIONS,
            session_idle_timeout=IDLE_S,
        )

    def running(self) -> AbstractAsyncContextManager[None]:
        return self._manager.run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "GET":
            await self._manager.handle_request(scope, receive, send)
            return
        # The older protocol lets a client hold a stream open for what a server says unasked. This one never does, and
        # such streams would keep a server that is told to stop from stopping.
        refused = await self._security.validate_request(Request(scope))
        answer = refused or Response("no stream here: POST", status_code=405, headers={"Allow": "POST, DELETE"})
        await answer(scope, receive, send)
