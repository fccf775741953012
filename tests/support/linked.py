"""The cloud's own connection to a real broker, with its ingest on a real database, and doors that speak to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import aiomqtt
from prometheus_client import CollectorRegistry

from cloud.broker.announcer import Announcer
from cloud.broker.consumer import Consumer
from cloud.broker.desk import batch_desk, health_desk
from cloud.broker.link import BrokerLink, Place
from cloud.broker.metrics import BrokerMetrics
from cloud.devices.guard import DeviceGuard
from cloud.devices.last_seen import LastSeen
from cloud.settings import Address
from cloud.telemetry.desk import HealthDesk
from sync.tasks import end
from tests.support.mosquitto import HOST
from tests.support.waiting import DEADLINE_S, until
from wire.mqtt import DOWN_ANSWER, DOWN_VERSIONS, Reply, events_topic, parse_reply, topic
from wire.versions import Versions, parse_versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.events.ingest import Ingest
    from tests.support.cloud_parts import Parts
    from tests.support.mosquitto import Mosquitto
    from wire.names import DeviceId, Tenant


@dataclass(frozen=True, slots=True)
class Linked:
    """A connection that follows, what it counts, and what else learns of the doors."""

    link: BrokerLink
    registry: CollectorRegistry
    health: HealthDesk
    last_seen: LastSeen


def make_link(
    parts: Parts, broker: Mosquitto, database_url: str, folder: Path, *, ingest: Ingest | None = None
) -> Linked:
    """Put a connection together as `cloud.app` does."""
    loop = asyncio.get_running_loop()
    registry = CollectorRegistry()
    metrics = BrokerMetrics(registry)
    last_seen = LastSeen(parts.pool, now=parts.clock.now)
    guard = DeviceGuard(parts.pool, last_seen, monotonic_s=loop.time)
    health = HealthDesk(parts.pool, last_seen, registry, now=parts.clock.now)
    link = BrokerLink(
        Place(address=Address(HOST, broker.port), authority=broker.authority, folder=folder, database=database_url),
        Consumer(batch_desk(guard, ingest or parts.ingest, metrics), health_desk(guard, health.take)),
        Announcer(parts.pool, parts.issuing.changes, metrics, monotonic_s=loop.time),
        metrics,
        now=lambda: datetime.now(UTC),
        monotonic_s=parts.clock.monotonic_s,
    )
    return Linked(link, registry, health, last_seen)


@asynccontextmanager
async def running(linked: Linked, *, lanes: int = 17) -> AsyncIterator[Linked]:
    """Let a connection follow until the block ends; `lanes` is what it has to follow first."""
    work = asyncio.create_task(linked.link.run())
    try:
        await until(lambda: len(linked.link.lanes) == lanes)
        yield linked
    finally:
        await end((work,))


@dataclass(frozen=True, slots=True)
class Door:
    """A door's connection to the broker."""

    client: aiomqtt.Client
    tenant: Tenant
    device: DeviceId

    async def send(self, batch: bytes) -> None:
        """Send a batch."""
        await self.client.publish(events_topic(self.tenant, self.device), batch, qos=1)

    async def ask(self, batch: bytes) -> Reply:
        """Send a batch and give the answer."""
        await self.send(batch)
        return parse_reply(await self._hear(DOWN_ANSWER))

    async def versions(self) -> Versions:
        """Give the next announcement."""
        return parse_versions(await self._hear(DOWN_VERSIONS))

    async def _hear(self, leaf: str) -> bytes:
        async with asyncio.timeout(DEADLINE_S):
            async for message in self.client.messages:
                if str(message.topic) == topic(self.tenant, self.device, leaf):
                    return bytes(message.payload)
        raise AssertionError


@asynccontextmanager
async def door_at(broker: Mosquitto, tenant: Tenant, device: DeviceId) -> AsyncIterator[Door]:
    """Connect as a door that follows its topics."""
    async with aiomqtt.Client(
        HOST,
        broker.port,
        protocol=aiomqtt.ProtocolVersion.V311,
        tls_context=broker.door_files(tenant, device).context(),
        timeout=DEADLINE_S,
    ) as client:
        await client.subscribe(topic(tenant, device, "down/#"), qos=1)
        yield Door(client, tenant, device)
