"""Run the cloud: database, two listeners, background tasks; from the first check to the clean stop.

Invariant: whatever was started is stopped, in the opposite order, also after a fault half way.
Must not: outlive its stop signal by more than the deadlines of its parts.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import structlog
import uvloop

from cloud import app
from cloud.broker.link import BrokerLink
from cloud.cluster import ClusterOptions, PrivateCluster
from cloud.database import Pool, alone, close_pool, migrate, open_pool
from cloud.devices.listener import ListenerCertificate
from cloud.files import PUBLIC_FILE, make_folder, write_file
from cloud.issuing.herald import Herald
from cloud.listeners import QuietServer, bind, bound_address, make_server
from cloud.notify import notify
from cloud.settings import CloudSettings
from cloud.signals import stopped_by_signals
from cloud.state import CloudState

_POOL_CLOSE_S: Final = 5.0
_STARTED_POLL_S: Final = 0.02
_STATE_FOLDER: Final = 0o711
"""Others may pass through, since PostgreSQL may run as another user; every secret inside has its own permissions."""
_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the cloud listens."""

    api_url: str
    device_url: str


Ready = Callable[[Addresses], None]
Progress = Callable[[str], None]


def run(settings: CloudSettings, *, ready: Ready, progress: Progress) -> None:
    """Serve on uvloop until SIGTERM or SIGINT.

    Raises:
        CloudError: why it cannot start.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(settings, ready=ready, progress=progress))


async def serve(
    settings: CloudSettings, *, ready: Ready, progress: Progress, stop: asyncio.Event | None = None
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`.

    Args:
        settings: what the operator chose.
        ready: is called once both listeners answer.
        progress: is told, in sentences, what takes long.
        stop: ends the service when set; in the main thread, signals set it.

    Raises:
        CloudError: why it cannot start.
    """
    stopping = stop or asyncio.Event()
    with stopped_by_signals(stopping):
        async with AsyncExitStack() as stack:
            started = await _unless(stopping, _start(stack, settings, progress, stopping))
            if started is not None:
                await _serve_until(stopping, started, settings, ready, progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    """Everything that runs once the listeners are open."""

    cloud: CloudState
    herald: Herald
    link: BrokerLink | None
    cluster: PrivateCluster | None
    certificate: ListenerCertificate
    servers: tuple[tuple[QuietServer, socket.socket], ...]
    addresses: Addresses


async def _start(
    stack: AsyncExitStack, settings: CloudSettings, progress: Progress, stopping: asyncio.Event
) -> _Started:
    make_folder(settings.state, mode=_STATE_FOLDER)
    api = stack.enter_context(bind(settings.api, setting="--api"))
    devices = stack.enter_context(bind(settings.devices, setting="--devices"))
    cluster, url = None, settings.database_url
    if url is None:
        cluster = PrivateCluster(
            settings.state,
            ClusterOptions(start_s=settings.database_start_s, min_free_bytes=settings.min_free_bytes),
        )
        stack.push_async_callback(cluster.stop)
        url = await cluster.start(progress)
    pool = await stack.enter_async_context(_pool(url, settings))
    await migrate(pool)
    async with alone(pool):
        cloud = await app.open_state(settings, pool, stopping=stopping)
        certificate = ListenerCertificate(settings.state / "ca" / "listener.pem", cloud.authority, _names(settings))
        certificate.renew_if_due(now=cloud.now())
    stack.push_async_callback(cloud.last_seen.flush)
    stack.push_async_callback(cloud.health.flush)
    return _Started(
        cloud=cloud,
        herald=Herald(url, cloud.issuing.changes),
        link=app.make_link(settings, cloud, database=url),
        cluster=cluster,
        certificate=certificate,
        servers=(
            (make_server(app.make_api(cloud), settings), api),
            (make_server(app.make_device_app(cloud), settings, context=certificate.context), devices),
        ),
        addresses=Addresses(bound_address(api).url("http"), bound_address(devices).url("https")),
    )


async def _serve_until(
    stopping: asyncio.Event, started: _Started, settings: CloudSettings, ready: Ready, progress: Progress
) -> None:
    """Run the servers and the background tasks until asked to stop."""
    async with asyncio.TaskGroup() as group:
        background = [group.create_task(task) for task in _background(started, progress)]
        serving = [group.create_task(server.serve([listener])) for server, listener in started.servers]
        while not all(server.started for server, _ in started.servers):  # noqa: ASYNC110 - uvicorn offers a flag only
            await asyncio.sleep(_STARTED_POLL_S)
        with _announced(settings, started.addresses):
            ready(started.addresses)
            await stopping.wait()
            notify("STOPPING=1", address=os.environ.get("NOTIFY_SOCKET"))
            for server, _ in started.servers:
                server.should_exit = True
            await asyncio.wait(serving)
        for task in background:
            task.cancel()


def _background(started: _Started, progress: Progress) -> Iterator[Coroutine[Any, Any, None]]:
    """Give the tasks that run beside the servers until the stop."""
    yield started.cloud.last_seen.run()
    yield started.cloud.health.run()
    yield started.cloud.ingest.run()
    yield started.cloud.upkeep.run()
    yield started.cloud.quarantines.run()
    yield started.herald.run()
    if started.link is not None:
        yield started.link.run()
    yield started.certificate.run(now=started.cloud.now)
    if started.cluster is not None:
        yield started.cluster.supervise(progress)


@contextmanager
def _announced(settings: CloudSettings, addresses: Addresses) -> Iterator[None]:
    """Tell programs (STATE/cloud.json) and systemd that we serve; take the file back afterwards if it is still ours."""
    path = settings.state / "cloud.json"
    content = msgspec.json.encode(
        {"api_url": addresses.api_url, "device_url": addresses.device_url, "pid": os.getpid()}
    )
    write_file(path, content, mode=PUBLIC_FILE)
    notify("READY=1", address=os.environ.get("NOTIFY_SOCKET"))
    _LOG.info("cloud_ready", api_url=addresses.api_url, device_url=addresses.device_url)
    try:
        yield
    finally:
        if path.exists() and path.read_bytes() == content:
            path.unlink(missing_ok=True)


@asynccontextmanager
async def _pool(url: str, settings: CloudSettings) -> AsyncIterator[Pool]:
    pool = await open_pool(url, size=settings.pool_size)
    try:
        yield pool
    finally:
        await close_pool(pool, deadline_s=_POOL_CLOSE_S)


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, _Started]) -> _Started | None:
    """Do some work unless the stop comes first; None then."""
    worker, stopper = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((worker, stopper), return_when=asyncio.FIRST_COMPLETED)
        if worker.done():
            return worker.result()
        return None
    finally:
        worker.cancel()
        stopper.cancel()
        await asyncio.gather(worker, stopper, return_exceptions=True)


def _names(settings: CloudSettings) -> list[str]:
    """Give the names for the listener's certificate."""
    return [*settings.devices.names(), *settings.names]
