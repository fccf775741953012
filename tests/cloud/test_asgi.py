"""Plain routes behind a real listener: bounds on bodies, and what faults look like from outside."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import asyncpg
import httpx
import pytest
from litestar import Litestar, post

from cloud.asgi import PIECE_BYTES, Entry, Reply, read_body
from cloud.errors import CloudError, Reason
from cloud.listeners import UNREAD_S, PeerCertificateProtocol, QuietServer, bind, bound_address, make_server
from cloud.metrics import Metrics
from cloud.settings import CloudSettings
from tests.support.clouds import LOOPBACK
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from litestar.types import HTTPDisconnectEvent, HTTPScope, Message, Receive

    from cloud.asgi import PlainRoute

_MAX_BYTES = 1000
_LARGE = bytes(range(256)) * 64 * 1024
"""More than the buffers of two ends take (tcp_wmem, tcp_rmem)."""


async def _echo(scope: HTTPScope, receive: Receive) -> Reply:
    body = await read_body(scope, receive, max_bytes=_MAX_BYTES, deadline_s=DEADLINE_S)
    return Reply(body, "text/plain", headers={"x-length": str(len(body))})


async def _hasty(scope: HTTPScope, receive: Receive) -> Reply:
    return Reply(await read_body(scope, receive, max_bytes=_MAX_BYTES, deadline_s=0.2), "text/plain")


def _raises(error: Exception) -> PlainRoute:
    async def route(_scope: HTTPScope, _receive: Receive) -> Reply:
        raise error

    return route


def _entry(route: PlainRoute, metrics: Metrics) -> Entry:
    app = Litestar([_framed], openapi_config=None, logging_config=None)
    plain: dict[tuple[str, str], PlainRoute] = {("POST", "/plain"): route, ("POST", "/small"): _echo}
    return Entry(app=app, listener="test", metrics=metrics, tls=False, plain=plain)


@post("/framed", media_type="application/octet-stream")
async def _framed() -> bytes:
    return _LARGE


@asynccontextmanager
async def _serving(entry: Entry, *, unread_s: float = UNREAD_S) -> AsyncIterator[tuple[QuietServer, str]]:
    """Serve until the block ends; gives the address as well."""
    settings = CloudSettings(state=Path("/nonexistent"), api=LOOPBACK, devices=LOOPBACK, shutdown_s=1)
    with bind(LOOPBACK, setting="--api", unread_s=unread_s) as listener:
        server = make_server(entry, settings)
        serving = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        yield server, bound_address(listener).url("http")
        server.should_exit = True
        await serving


@asynccontextmanager
async def _listening(route: PlainRoute) -> AsyncIterator[tuple[httpx.AsyncClient, Metrics]]:
    """Serve one plain route at POST /plain."""
    metrics = Metrics()
    async with (
        _serving(_entry(route, metrics)) as (_, url),
        httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client,
    ):
        yield client, metrics


async def test_a_plain_route_answers_with_body_type_status_and_headers():
    async with _listening(_echo) as (client, metrics):
        answer = await client.post("/plain", content=b"hello")
    assert (answer.status_code, answer.content) == (200, b"hello")
    assert answer.headers["content-type"] == "text/plain"
    assert answer.headers["x-length"] == "5"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert b'{listener="test",method="POST",route="/plain",status="200"} 1.0' in metrics.exposition()


async def test_other_methods_and_paths_go_to_the_framework():
    async with _listening(_echo) as (client, metrics):
        assert (await client.get("/plain")).status_code == 404
        assert (await client.request("BREW", "/coffee")).status_code in {400, 404}
    assert b'method="GET",route="unmatched",status="404"' in metrics.exposition()


@pytest.mark.parametrize(("size", "status"), [(_MAX_BYTES, 200), (_MAX_BYTES + 1, 413)])
@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_body_is_bounded_whether_its_size_is_declared_or_not(size: int, status: int, *, declared: bool):
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(size // 100):
            yield bytes(100)
        yield bytes(size % 100)

    async with _listening(_echo) as (client, _):
        answer = await client.post("/plain", content=bytes(size) if declared else pieces())
    assert answer.status_code == status
    assert status == 200 or answer.json()["reason"] == "BODY_TOO_LARGE"


async def test_a_body_that_does_not_come_is_given_up():
    async with _listening(_hasty) as (client, _):
        reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        async with asyncio.timeout(DEADLINE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readuntil(b"}")
        writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert b'"reason":"BODY_TOO_SLOW"' in body


async def test_a_peer_that_leaves_half_way_ends_the_request():
    ended = asyncio.Event()

    async def route(scope: HTTPScope, receive: Receive) -> Reply:
        with pytest.raises(CloudError) as caught:
            await read_body(scope, receive, max_bytes=_MAX_BYTES, deadline_s=DEADLINE_S)
        assert caught.value.reason is Reason.BODY_UNREADABLE
        ended.set()
        return Reply(b"", "text/plain")

    async with _listening(route) as (client, _):
        _, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
        writer.write(b"POST /plain HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        async with asyncio.timeout(DEADLINE_S):
            await ended.wait()


@pytest.mark.parametrize(
    ("make", "status", "reason"),
    [
        (lambda: CloudError(Reason.DEVICE_REVOKED, "Enrol again."), 403, "DEVICE_REVOKED"),
        (lambda: RuntimeError("a secret of the inside"), 500, "INTERNAL"),
        (lambda: ConnectionRefusedError("10.0.0.7 refused"), 503, "DATABASE_UNAVAILABLE"),
        (lambda: asyncpg.AdminShutdownError("terminating"), 503, "DATABASE_UNAVAILABLE"),
        (lambda: asyncpg.UndefinedTableError("no such table"), 500, "INTERNAL"),
    ],
    ids=["known", "unexpected", "refused", "shutdown", "bug"],
)
async def test_every_fault_is_a_problem_document_that_tells_nothing_of_the_inside(
    make: Callable[[], Exception], status: int, reason: str
):
    error = make()
    async with _listening(_raises(error)) as (client, _):
        answer = await client.post("/plain")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == reason
    assert isinstance(error, CloudError) or str(error) not in answer.text


async def _large(_scope: HTTPScope, _receive: Receive) -> Reply:
    return Reply(_LARGE, "text/plain")


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3 * PIECE_BYTES + 5])
async def test_a_body_is_handed_on_in_pieces_and_a_small_one_whole(size: int):
    body = (_LARGE + _LARGE[:size])[-size:] if size else b""
    handed: list[tuple[bytes, bool]] = []

    async def route(_scope: HTTPScope, _receive: Receive) -> Reply:
        return Reply(body, "text/plain")

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            handed.append((message["body"], message["more_body"]))

    async def receive() -> HTTPDisconnectEvent:
        return {"type": "http.disconnect"}

    await _entry(route, Metrics())(cast("HTTPScope", {"method": "POST", "path": "/plain"}), receive, send)
    assert b"".join(piece for piece, _ in handed) == body
    assert [more for _, more in handed] == [True] * (max(size - 1, 0) // PIECE_BYTES) + [False]
    assert max(len(piece) for piece, _ in handed) <= PIECE_BYTES


@pytest.mark.parametrize("path", ["/plain", "/framed"])
async def test_a_large_answer_arrives_whole(path: str):
    async with _listening(_large) as (client, _):
        answer = await client.post(path)
        assert (answer.status_code, answer.content) == (200 if path == "/plain" else 201, _LARGE)
        assert (await client.post(path)).content == _LARGE


@asynccontextmanager
async def _not_reading(url: str, path: str) -> AsyncIterator[None]:
    """Ask, and leave the answer on the line."""
    address = httpx.URL(url)
    with socket.create_connection((address.host, address.port)) as peer:
        peer.settimeout(0)
        await asyncio.get_running_loop().sock_sendall(peer, f"POST {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        yield


def _connections(server: QuietServer) -> list[PeerCertificateProtocol]:
    return [found for found in server.server_state.connections if isinstance(found, PeerCertificateProtocol)]


@pytest.mark.parametrize("path", ["/plain", "/framed"])
async def test_what_a_peer_does_not_read_is_not_kept_for_it(path: str):
    async with _serving(_entry(_large, Metrics())) as (server, url), _not_reading(url, path):
        await until(lambda: any(connection.flow.write_paused for connection in _connections(server)))
        (connection,) = _connections(server)
        assert connection.transport.get_write_buffer_size() <= 2 * PIECE_BYTES


async def test_a_peer_that_does_not_read_is_sent_away_and_another_is_answered():
    """The other's answer is small: the kernel takes that for a process that pauses longer than it may leave unread."""
    entry = _entry(_large, Metrics())
    async with _serving(entry, unread_s=0.5) as (server, url), _not_reading(url, "/plain"):
        async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client:
            assert (await client.post("/small", content=b"hello")).content == b"hello"
        await until(lambda: not server.server_state.connections)
