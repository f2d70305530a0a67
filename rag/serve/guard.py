"""What stands before every route, known or not, mounted or not: Host, Origin, key, size, headers of the answer.

It wraps the whole application, so a new route is closed until its path is named in OPEN.

- Host: a page of another site can make a browser ask this machine under that site's own name (DNS rebinding), but not
  under an address or a name of ours.
- Origin and Sec-Fetch-Site: what a browser sends along when another site's page asks. Programs send neither.
- The size of a body is counted as it arrives; what Content-Length promises only refuses sooner.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from rag.config import Serve
from rag.serve.problems import Problem, as_problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Seen = Callable[[str, str, int, float], None]  # method, route, status, seconds

OPEN = frozenset({"/", "/health", "/ready"})  # need no key: the page must load to ask for it; neither shows a document
OPEN_BELOW = "/page/"
ASKING = frozenset({"/ask", "/v1/chat/completions"})
UPLOAD = ("POST", "/documents")
AT_A_TIME = 2  # questions looked at in one turn of the event loop

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?")


class TooLarge(Exception):
    """More bytes came than are taken."""


def is_loopback(host: str) -> bool:
    """
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def address(scope: Scope) -> str:
    """Who asks, as far as can be told: all have one key, and what a proxy writes into a header anybody can write."""
    client = scope.get("client")
    return str(client[0]) if client else ""


@dataclass
class Guard:
    """ASGI middleware. `key` None: no key is asked for."""

    app: App
    settings: Serve
    key: str | None
    seen: Seen
    check_room: Callable[[str], None] = lambda client: None  # raises Problem when no question can be taken

    def __post_init__(self) -> None:
        self._digest = _digest(self.key.encode()) if self.key else None
        self._names = {h.lower().rstrip(".") for h in (*self.settings.allowed_hosts, "localhost", self.settings.host)}
        self._local = is_loopback(self.settings.host)
        self._few = asyncio.Semaphore(AT_A_TIME)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route speaks anything else
            await send({"type": "websocket.close", "code": 1008})
            return
        began = time.perf_counter()
        method, answer = scope["method"], _Answer(send, scope)
        if method == "HEAD":  # what GET would say, without its body
            scope = {**scope, "method": "GET"}
        try:
            self._check(scope)
            if scope["path"] in ASKING:
                async with self._few:  # of many that come at once: others get their answers in between
                    await asyncio.sleep(0)
                self.check_room(address(scope))  # here refusing costs a tenth of what it does once it was read
            await self.app(scope, self._counted(scope, receive, answer), answer.send)
        except Problem as problem:
            await answer.refuse(problem)
        except TooLarge:
            await answer.refuse(self._too_large(scope))
        except Exception as error:
            await answer.refuse(as_problem(error))
        finally:
            route = scope.get("route")
            self.seen(method, getattr(route, "path", "none"), answer.status, time.perf_counter() - began)

    # ---- who asks -----------------------------------------------------------------------------------------

    def _check(self, scope: Scope) -> None:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        host = self._check_host(headers.get(b"host", []))
        self._check_origin(scope, headers, host)
        path = scope["path"]
        if self._digest and path not in OPEN and not path.startswith(OPEN_BELOW):
            self._check_key(headers.get(b"authorization", []))

    def _check_host(self, given: list[bytes]) -> str:
        """The Host as it was sent, if it is one of ours."""
        text = given[0].decode("latin-1") if len(given) == 1 else ""
        match = _HOST.fullmatch(text)
        name = match[1].lower().rstrip(".") if match else ""
        if name in self._names or (name and self._is_ours(name.strip("[]"))):
            return text.lower()
        raise Problem(
            421,
            "WrongHost",
            f"this server isn't called {text[:100]!r}" if text else "the request names no host, or several",
            "use its address or localhost, or name it in serve.allowed_hosts",
        )

    def _is_ours(self, name: str) -> bool:
        """An address can't belong to a name that an attacker holds; of a loopback server only loopback ones are."""
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self._local

    def _check_origin(self, scope: Scope, headers: dict[bytes, list[bytes]], host: str) -> None:
        origins = headers.get(b"origin", [])
        same = {f"http://{host}", f"https://{host}"}
        if any(o.decode("latin-1").lower() not in same for o in origins):
            raise Problem(403, "WrongOrigin", "pages of other sites may not use this server", "use its own page")
        site = b"".join(headers.get(b"sec-fetch-site", [b"none"]))
        if not origins and site not in (b"same-origin", b"none"):
            mode, target = b"".join(headers.get(b"sec-fetch-mode", [])), b"".join(headers.get(b"sec-fetch-dest", []))
            followed = (
                scope["method"] == "GET" and scope["path"] == "/" and (mode, target) == (b"navigate", b"document")
            )
            if not followed:  # a link to the page may be anywhere
                raise Problem(403, "WrongOrigin", "pages of other sites may not use this server", "use its own page")

    def _check_key(self, given: list[bytes]) -> None:
        scheme, _, key = (given[0] if len(given) == 1 else b"").partition(b" ")
        assert self._digest is not None
        right = hmac.compare_digest(_digest(key.strip()), self._digest)
        if scheme.lower() != b"bearer" or not right:
            raise Problem(
                401,
                "WrongKey",
                "this needs the server's key" if not given else "the key is wrong",
                "send it as Authorization: Bearer KEY",
                {"WWW-Authenticate": "Bearer"},
            )

    # ---- how much comes -----------------------------------------------------------------------------------

    def _most(self, scope: Scope) -> int:
        if (scope["method"], scope["path"]) == UPLOAD:
            return int(self.settings.max_upload_mb * 2**20)
        return self.settings.max_body_kb * 2**10

    def _counted(self, scope: Scope, receive: Receive, answer: _Answer) -> Receive:
        most, received = self._most(scope), 0
        promised = next((v for n, v in scope["headers"] if n.lower() == b"content-length"), b"0")
        if promised.isdigit() and int(promised) > most:
            raise TooLarge

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                answer.instead = self._too_large(scope)  # whatever the application makes of the exception
                raise TooLarge
            return message

        return counted

    def _too_large(self, scope: Scope) -> Problem:
        most = self._most(scope)
        name = "serve.max_upload_mb" if (scope["method"], scope["path"]) == UPLOAD else "serve.max_body_kb"
        shown = f"{most / 2**20:g} MB" if most >= 2**20 else f"{most // 2**10} KB"
        return Problem(
            413, "TooLarge", f"the request is larger than {shown}", f"{name} sets it", {"Connection": "close"}
        )


class _Answer:
    """The sending side: adds the headers, remembers the status, and can put a refusal in the answer's place. A HEAD
    request gets no body."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send, self._bare = send, scope["method"] == "HEAD"
        self.status = 0  # 0: nothing was sent, the client had left
        self.instead: Problem | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if self.instead is not None:
                await self.refuse(self.instead)
                return
            self.status = message["status"]
            headers = [(n, v) for n, v in message.get("headers", []) if n.lower() != b"server"]
            names = {n.lower() for n, _ in headers}
            headers += [(n, v) for n, v in HEADERS if n not in names]
            if b"cache-control" not in names:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        elif self.instead is not None and self.status == self.instead.status:
            return  # the refusal was all
        elif self._bare:
            message = {**message, "body": b""}
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        if self.status:  # the answer had begun: uvicorn closes its connection when it finds it unfinished
            return
        self.instead = None
        response = problem.response()
        await self.send(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        self.instead = problem
        body = b"" if self._bare else response.body
        await self._send({"type": "http.response.body", "body": body})


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()  # of one length, so comparing them tells nothing of the key's
