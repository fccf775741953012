"""Tells the doors at the broker what is new for them, as soon as it is published here.

Invariant: what was published while a round ran or the broker was away is announced by one more round; a door is told
only what differs from what it was told last.
Must not: be relied on: doors ask over HTTPS after each connection and from time to time (docs/spec/mqtt.md).
"""

import asyncio
from collections.abc import Callable
from typing import Final

import aiomqtt
import asyncpg
import structlog

from cloud.broker.metrics import BrokerMetrics
from cloud.database import AWAY, Pool
from cloud.errors import CloudError
from cloud.issuing.changes import Changes, Snapshot
from wire.errors import WireError
from wire.mqtt import DOWN_VERSIONS, topic
from wire.names import DeviceId, DoorId, Tenant
from wire.versions import Versions, encode_versions

RECENT_S: Final = 120.0
"""What was announced this long before the connection broke may have gone down with it, and is announced again."""
_LEAST_PAUSE_S: Final = 0.05
_AGAIN_S: Final = 2.0
_PIECE: Final = 50
"""Doors that are told in one turn of the event loop, so that requests in between wait for milliseconds."""
_MAX_TOLD: Final = 100_000
"""Doors of which we know what they were told; beyond, all are forgotten, which costs each of them one message."""
_LOG: Final = structlog.get_logger(__name__)


class Announcer:
    """Announces what `Changes` publishes.

    Args:
        pool: the database.
        changes: what is published here.
        metrics: counts.
        monotonic_s: a clock that never goes back.
    """

    def __init__(
        self, pool: Pool, changes: Changes, metrics: BrokerMetrics, *, monotonic_s: Callable[[], float]
    ) -> None:
        self._pool = pool
        self._changes = changes
        self._metrics = metrics
        self._monotonic_s = monotonic_s
        self._told: dict[tuple[Tenant, DeviceId], Versions] = {}
        self._announced_s: dict[Tenant, float] = {}

    async def run(self, client: aiomqtt.Client) -> None:
        """Announce over a connection until it breaks.

        Raises:
            MqttError: it is broken.
        """
        since_s = self._monotonic_s() - RECENT_S
        self._told.clear()
        self._changes.for_broker.add(*(tenant for tenant, at_s in self._announced_s.items() if at_s >= since_s))
        self._announced_s.clear()
        while True:
            tenants = await self._changes.for_broker.take()
            began_s = self._monotonic_s()
            await self._announce(client, tenants)
            # A pause as long as the round: however much is published, half of the time is for other work.
            await asyncio.sleep(max(_LEAST_PAUSE_S, self._monotonic_s() - began_s))

    async def _announce(self, client: aiomqtt.Client, tenants: frozenset[Tenant]) -> None:
        left = set(tenants)
        try:
            for tenant in tenants:
                try:
                    await self._round(client, tenant)
                except (CloudError, WireError) as error:  # the others are told all the same
                    _LOG.warning("not_announced", tenant=tenant, error=str(error))
                left.discard(tenant)
        except (*AWAY, asyncpg.PostgresError) as error:
            _LOG.warning("announcement_late", error=str(error), tenants=len(left))
            await asyncio.sleep(_AGAIN_S)
        finally:
            self._changes.for_broker.add(*left)

    async def _round(self, client: aiomqtt.Client, tenant: Tenant) -> None:
        newest = await self._changes.newest(tenant)
        rows = await self._pool.fetch(
            "SELECT id, door_id FROM devices WHERE tenant_id = $1 AND status = 'active' ORDER BY id", tenant
        )
        if len(self._told) + len(rows) > _MAX_TOLD:
            self._told.clear()
        self._announced_s[tenant] = self._monotonic_s()
        written = _Written(newest)
        sent = 0
        for row in rows:
            if await self._tell(client, tenant, DeviceId(row["id"]), written, DoorId(row["door_id"])):
                sent += 1
                if not sent % _PIECE:
                    await asyncio.sleep(0)
        self._metrics.announcements.inc(sent)

    async def _tell(
        self, client: aiomqtt.Client, tenant: Tenant, device: DeviceId, written: "_Written", door: DoorId
    ) -> bool:
        """Tell one door unless it knows; a command that has expired is no news."""
        told = self._told.get((tenant, device))
        versions, payload = written.of(door, commands=told.commands if told is not None else 0)
        if versions == told:
            return False
        # Quality of service 0: a lost one costs what a lost connection costs, a question over HTTPS.
        await client.publish(topic(tenant, device, DOWN_VERSIONS), payload, qos=0)
        self._told[tenant, device] = versions
        return True


class _Written:
    """A snapshot's announcements: most doors of a tenant share one."""

    def __init__(self, newest: Snapshot) -> None:
        self._newest = newest
        self._status = {int(list_id): sequence for list_id, sequence in newest.status.items()}
        self._known: dict[tuple[int, int, int], tuple[Versions, bytes]] = {}

    def of(self, door: DoorId, *, commands: int) -> tuple[Versions, bytes]:
        """Give what a door is told, as it is and as it is sent."""
        found = self._newest.versions(door, commands=commands)
        key = (found.policy, found.roster, found.commands)
        if key not in self._known:
            versions = Versions(found.trust, found.policy, self._status, found.roster, found.commands)
            self._known[key] = versions, encode_versions(versions)
        return self._known[key]
