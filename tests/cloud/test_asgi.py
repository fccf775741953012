"""Plain routes behind a real listener: bounds on bodies, and what faults look like from outside."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg
import httpx
import pytest
from litestar import Litestar

from cloud.asgi import Entry, Reply, read_body
from cloud.errors import CloudError, Reason
from cloud.listeners import bind, bound_address, make_server
from cloud.metrics import Metrics
from cloud.settings import CloudSettings
from tests.support.clouds import LOOPBACK
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from litestar.types import HTTPScope, Receive

    from cloud.asgi import PlainRoute

_MAX_BYTES = 1000


async def _echo(scope: HTTPScope, receive: Receive) -> Reply:
    body = await read_body(scope, receive, max_bytes=_MAX_BYTES, deadline_s=0.2)
    return Reply(body, "text/plain", headers={"x-length": str(len(body))})


def _raises(error: Exception) -> PlainRoute:
    async def route(_scope: HTTPScope, _receive: Receive) -> Reply:
        raise error

    return route


@asynccontextmanager
async def _listening(route: PlainRoute) -> AsyncIterator[tuple[httpx.AsyncClient, Metrics]]:
    """Serve one plain route at POST /plain."""
    metrics = Metrics()
    app = Litestar([], openapi_config=None, logging_config=None)
    entry = Entry(app=app, listener="test", metrics=metrics, tls=False, plain={("POST", "/plain"): route})
    settings = CloudSettings(state=Path("/nonexistent"), api=LOOPBACK, devices=LOOPBACK, shutdown_s=1)
    with bind(LOOPBACK, setting="--api") as listener:
        server = make_server(entry, settings)
        serving = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started)
        url = bound_address(listener).url("http")
        async with httpx.AsyncClient(base_url=url, timeout=DEADLINE_S) as client:
            yield client, metrics
        server.should_exit = True
        await serving


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
    async with _listening(_echo) as (client, _):
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
