"""One tenant floods over real HTTP: the others are served in their turn, and a door obeys when it is sent away."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry

from cloud import app
from cloud.database import close_pool, open_pool
from cloud.devices.listener import ListenerCertificate
from cloud.events.ingest import GROUP_EVENTS, Ingest
from cloud.events.metrics import IngestMetrics
from cloud.listeners import bind, bound_address, make_server
from cloud.server import Addresses
from sync.engine import SyncEngine
from sync.https_uplink import HttpsUplink, open_https_uplink
from sync.ports import Reason
from sync.surroundings import SystemSurroundings
from sync.tasks import end
from tests.support.clouds import LOOPBACK, Device, RunningCloud, enrol
from tests.support.door_batches import Journal
from tests.support.door_journal import MemoryJournal
from tests.support.door_materials import MemoryMaterials
from tests.support.sync_bench import Listener
from tests.support.waiting import DEADLINE_S
from wire.batch import MAX_BATCH_EVENTS
from wire.keys import P256Signer
from wire.messages import DEVICE_EVENTS
from wire.names import DeviceId
from wire.trust import parse_pinned

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.settings import CloudSettings

_FLOODING_DOORS, _EACH = 12, 8
_CALM_BATCHES = 12
_GROUP_BATCHES = GROUP_EVENTS // MAX_BATCH_EVENTS


@asynccontextmanager
async def small_cloud(settings: CloudSettings, *, room_bytes: int) -> AsyncIterator[RunningCloud]:
    """Serve as `cloud.server` does, with less room for batches that wait."""
    async with AsyncExitStack() as stack:
        assert settings.database_url is not None
        pool = await open_pool(settings.database_url, size=8)
        stack.push_async_callback(close_pool, pool, deadline_s=DEADLINE_S)
        state = await app.open_state(settings, pool)
        signers = state.issuing.acknowledgement_signer
        metrics = IngestMetrics(CollectorRegistry())
        ingest = Ingest(pool, signers, metrics, now=state.now, max_waiting_bytes=room_bytes)
        cloud = replace(state, ingest=ingest)
        certificate = ListenerCertificate(settings.state / "ca" / "listener.pem", cloud.authority, ())
        certificate.renew_if_due(now=cloud.now())
        sockets = [stack.enter_context(bind(LOOPBACK, setting="a test's")) for _ in range(2)]
        servers = [
            make_server(app.make_api(cloud), settings),
            make_server(app.make_device_app(cloud), settings, context=certificate.context),
        ]
        tasks = [asyncio.create_task(ingest.run())]
        tasks += [
            asyncio.create_task(server.serve([listener])) for server, listener in zip(servers, sockets, strict=True)
        ]
        addresses = Addresses(bound_address(sockets[0]).url("http"), bound_address(sockets[1]).url("https"))
        token = (settings.state / "operator.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        api = httpx.AsyncClient(base_url=addresses.api_url, headers=headers, timeout=DEADLINE_S)
        try:
            async with api:
                yield RunningCloud(settings.state, addresses, token, api)
        finally:
            for server in servers:
                server.should_exit = True
            await asyncio.wait(tasks[1:], timeout=DEADLINE_S)
            tasks[0].cancel()
            await asyncio.wait(tasks, timeout=DEADLINE_S)


@dataclass(slots=True)
class Flood:
    """Doors that send the same full batches again and again, and obey nobody."""

    answers: Counter[int] = field(default_factory=Counter)
    retry_after: set[str | None] = field(default_factory=set)

    async def run(self, device: Device, body: bytes) -> None:
        """Send without a pause; runs until cancelled."""
        async with device.client() as client:
            while True:
                answer = await client.post(DEVICE_EVENTS, content=body)
                self.answers[answer.status_code] += 1
                if answer.status_code == 503:
                    self.retry_after.add(answer.headers.get("retry-after"))


def journal_of(device: Device, count: int) -> Journal:
    made = Journal(DeviceId(device.name), P256Signer(device.key))
    made.grow(count)
    return made


async def test_a_flood_of_one_tenant_sends_that_tenant_away_and_nobody_else(settings: CloudSettings):
    async with small_cloud(settings, room_bytes=10 * 1024 * 1024) as cloud:
        await cloud.make_door("flood")
        doors = [await enrolled(cloud, "flood") for _ in range(_FLOODING_DOORS)]
        calm = await cloud.enrolled("calm")
        journal = journal_of(calm, _CALM_BATCHES * 10)
        flood = Flood()
        async with asyncio.TaskGroup() as group, calm.client() as client:
            senders = []
            for door in doors:
                body = journal_of(door, MAX_BATCH_EVENTS).batch(1, MAX_BATCH_EVENTS)
                senders += [group.create_task(flood.run(door, body)) for _ in range(_EACH)]
            async with asyncio.timeout(DEADLINE_S):
                while flood.answers[503] < 20:  # noqa: ASYNC110 - the flood counts, and signals nothing
                    await asyncio.sleep(0.01)
            overtaken = []
            for first in range(1, len(journal.events), 10):
                before = flood.answers[200]
                answer = await client.post(DEVICE_EVENTS, content=journal.batch(first, first + 9))
                overtaken.append(flood.answers[200] - before)
                assert answer.status_code == 200, answer.text
            for sender in senders:
                sender.cancel()
        # Its turn at the reader comes after one batch of the flood, and at the database after the group under way and
        # with the next: about three groups are answered meanwhile. In one queue for all it would be more than eight.
        assert median(overtaken) <= 5 * _GROUP_BATCHES
        assert flood.answers.keys() == {200, 503}
        assert flood.retry_after == {"1"}
        seen = (await cloud.api.get("/api/v1/institutions/calm/events?limit=100")).json()
        assert len(seen["data"]) == 100


async def enrolled(cloud: RunningCloud, tenant: str) -> Device:
    """Enrol one more device at the tenant's door."""
    return await enrol(cloud.addresses.device_url, await cloud.claim(tenant))


def uplink_of(device: Device, folder: Path) -> HttpsUplink:
    """Open the uplink that a daemon uses."""
    key, certificate, ca = (folder / f"{name}.pem" for name in ("key", "certificate", "ca"))
    key.write_bytes(device.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate.write_bytes(device.certificate.public_bytes(Encoding.PEM))
    ca.write_bytes(device.ca.public_bytes(Encoding.PEM))
    return open_https_uplink(url=device.url, certificate=certificate, key=key, ca=ca)


async def test_a_door_that_is_sent_away_comes_back_no_sooner_than_it_was_asked(settings: CloudSettings, tmp_path: Path):
    async with small_cloud(settings, room_bytes=100) as cloud:  # no batch is as small
        device = await cloud.enrolled("pressed")
        root = parse_pinned((await cloud.api.get("/api/v1/institutions/pressed/trust")).content).root
        journal, listener = MemoryJournal(device=DeviceId(device.name)), Listener()
        journal.write(3)
        uplink = uplink_of(device, tmp_path)
        engine = SyncEngine(
            journal=journal,
            materials=MemoryMaterials(root),
            uplink=uplink,
            signer=P256Signer(device.key),
            signed_time=listener,
            surroundings=SystemSurroundings(),
            notices=listener,
        )
        began_ms = SystemSurroundings().monotonic_ms()
        running = asyncio.create_task(engine.run())
        async with asyncio.timeout(DEADLINE_S):
            while (status := (await engine.status()).push).failures < 3:  # noqa: ASYNC110 - the engine offers its status only
                await asyncio.sleep(0.02)
        await end((running,))
        await uplink.aclose()
    assert status.last_error_reason is Reason.BUSY
    assert status.as_of_monotonic_ms - began_ms >= 2_000  # three tries, a second of peace between them
    assert status.retry_at_monotonic_ms is not None
    assert status.retry_at_monotonic_ms - status.as_of_monotonic_ms >= 1_000
