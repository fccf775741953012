"""The outermost layer of both listeners: security headers, metrics, and plain routes for hot paths.

Invariant: every answer carries the security headers, whichever layer made it; none is handed on faster than it is read.
Must not: know any feature; hot routes are handed in by `cloud/app.py`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send

from cloud.errors import CloudError, Reason
from cloud.metrics import Metrics
from cloud.problems import MEDIA_TYPE, describe, encode

BODY_S: Final = 30.0
"""How long a request's body may take to arrive."""
PIECE_BYTES: Final = 64 * 1024
"""A larger body is handed on in pieces of this size, as the peer takes them: a roster has up to 28 MB, and what is
handed on at once lies in memory twice until the peer has read it (TLS)."""
UNMATCHED: Final = "unmatched"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
_TLS_HEADERS: Final = (*_HEADERS, (b"strict-transport-security", b"max-age=31536000; includeSubDomains"))


@dataclass(frozen=True, slots=True)
class Reply:
    """What a plain route answers; without a media type there is no body (RFC 9110 §15.4.5)."""

    body: bytes
    media_type: str | None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


PlainRoute = Callable[[HTTPScope, Receive], Awaitable[Reply]]
"""A route without a framework: it may raise anything that `cloud.problems.describe` knows."""


def refuse(error: Exception) -> Reply:
    """Give the problem document of any exception as an answer."""
    problem, headers = describe(error)
    return Reply(encode(problem), MEDIA_TYPE, problem.status, headers)


@dataclass(frozen=True, slots=True)
class Entry:
    """The ASGI application that a listener runs.

    Args:
        app: the framework's application, for everything that is not a plain route.
        listener: its name in the metrics.
        metrics: counts the answers.
        tls: whether to promise TLS to browsers.
        plain: hot routes by (method, path); a path that ends with "/" stands for all with one more segment.
    """

    app: ASGIApp
    listener: str
    metrics: Metrics
    tls: bool
    plain: Mapping[tuple[str, str], PlainRoute]

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Answer one request; the listeners pass on HTTP only."""
        start_s = time.perf_counter()
        answer = _Answer(send, _TLS_HEADERS if self.tls else _HEADERS)
        route, plain = self._plain(scope["method"], scope["path"])
        if plain is None:
            await self.app(scope, receive, answer.send)
            route = str(scope.get("path_template") or UNMATCHED)
        else:
            await _run_plain(plain, scope, receive, answer.send)
        self.metrics.answered(
            self.listener,
            method=scope["method"] if scope["method"] in _METHODS else UNMATCHED,
            route=route,
            status=answer.status,
            elapsed_s=time.perf_counter() - start_s,
        )

    def _plain(self, method: str, path: str) -> tuple[str, PlainRoute | None]:
        """Give the hot route of a path and how it is called in the metrics."""
        found = self.plain.get((method, path))
        if found is not None:
            return path, found
        folder = path[: path.rfind("/") + 1]
        return folder, self.plain.get((method, folder))


class _Answer:
    """Adds headers to an answer on its way out, cuts its body into pieces and remembers its status."""

    __slots__ = ("_headers", "_send", "status")

    def __init__(self, send: Send, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._send = send
        self._headers = headers
        self.status = 0

    async def send(self, message: Message) -> None:
        """Pass a message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name.lower() for name, _ in message["headers"]}
            added = [header for header in self._headers if header[0] not in present]
            message["headers"] = [*message["headers"], *added]
        elif message["type"] == "http.response.body" and len(message.get("body", b"")) > PIECE_BYTES:
            await self._send_pieces(message["body"], more_body=message.get("more_body", False))
            return
        await self._send(message)

    async def _send_pieces(self, body: bytes, *, more_body: bool) -> None:
        for start in range(0, len(body), PIECE_BYTES):
            end = start + PIECE_BYTES
            more = more_body or end < len(body)
            await self._send({"type": "http.response.body", "body": body[start:end], "more_body": more})


def header(scope: HTTPScope, name: bytes) -> str:
    """Give a header of a request, "" without it; `name` in lower case."""
    return next((value.decode("latin-1") for each, value in scope["headers"] if each == name), "")


async def read_body(scope: HTTPScope, receive: Receive, *, max_bytes: int, deadline_s: float = BODY_S) -> bytes:
    """Read a whole request body, bounded in size and time.

    Raises:
        CloudError: BODY_TOO_LARGE, BODY_TOO_SLOW, or BODY_UNREADABLE when the peer left.
    """
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if int(declared) > max_bytes:
        raise _too_large(max_bytes)
    try:
        async with asyncio.timeout(deadline_s):
            return await _collect(receive, max_bytes)
    except TimeoutError as error:
        raise CloudError(Reason.BODY_TOO_SLOW, f"The body did not arrive within {deadline_s:g} s.") from error


async def _collect(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise CloudError(Reason.BODY_UNREADABLE, "The peer left before the body was complete.")
        parts.append(message["body"])
        size += len(message["body"])
        if size > max_bytes:
            raise _too_large(max_bytes)
        if not message["more_body"]:
            return parts[0] if len(parts) == 1 else b"".join(parts)


async def _run_plain(route: PlainRoute, scope: HTTPScope, receive: Receive, send: Send) -> None:
    try:
        reply = await route(scope, receive)
    except Exception as error:  # noqa: BLE001 - the supervisor of plain routes: every fault becomes a problem document
        reply = refuse(error)
    headers_sent = [
        *_describe(reply),
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()),
    ]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers_sent})
    await send({"type": "http.response.body", "body": reply.body, "more_body": False})


def _describe(reply: Reply) -> list[tuple[bytes, bytes]]:
    if reply.media_type is None:
        return []
    length = str(len(reply.body)).encode("ascii")
    return [(b"content-type", reply.media_type.encode("latin-1")), (b"content-length", length)]


def _too_large(max_bytes: int) -> CloudError:
    return CloudError(Reason.BODY_TOO_LARGE, f"The body may have at most {max_bytes} bytes.")
