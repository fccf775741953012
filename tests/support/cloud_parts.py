"""The cloud's services on a real database, without its listeners, and a clock that a test moves."""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from cloud.database import Pool, close_pool, migrate, open_pool
from cloud.devices.authority import open_authority
from cloud.devices.guard import DeviceIdentity
from cloud.events.ingest import Ingest
from cloud.events.metrics import IngestMetrics
from cloud.issuing.keys import KeyRole
from cloud.issuing.service import Issuing, open_issuing
from cloud.passes.service import Passes
from tests.support.door_batches import EPOCH, NOW_MS, Journal
from tests.support.waiting import DEADLINE_S
from wire.keys import P256Signer, PublicKey
from wire.names import DeviceId, DoorId, KeyPurpose, Tenant
from wire.trust import TrustBundle, TrustedKey

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

DOOR = DoorId("main-entrance")
_numbers = count(1)
"""Written in six digits: names then sort in the order in which they were made, whichever tests ran before."""


@dataclass(slots=True)
class Clock:
    """A wall clock and a monotonic one that stand still until they are moved."""

    wall: datetime = field(default_factory=lambda: datetime.fromtimestamp(NOW_MS / 1000, UTC) + timedelta(hours=1))
    monotonic: float = 1_000.0

    def now(self) -> datetime:
        """Read the wall clock."""
        return self.wall

    def monotonic_s(self) -> float:
        """Read the monotonic clock."""
        return self.monotonic

    def advance(self, by: timedelta) -> None:
        """Let time pass."""
        self.wall += by
        self.monotonic += by.total_seconds()


@dataclass(frozen=True, slots=True)
class Twin:
    """A device that the database knows."""

    identity: DeviceIdentity
    signer: P256Signer

    def journal(self, *, epoch: bytes = EPOCH, start_ms: int = NOW_MS) -> Journal:
        """Start a journal."""
        return Journal(self.identity.device, self.signer, epoch=epoch, start_ms=start_ms)


@dataclass(frozen=True, slots=True)
class Parts:
    """The services."""

    pool: Pool
    clock: Clock
    issuing: Issuing
    passes: Passes
    ingest: Ingest
    registry: CollectorRegistry
    keys: Path

    async def until_waiting(self, sessions: int = 1) -> list[int]:
        """Wait until so many sessions of this database wait for a lock; give their process ids."""
        waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(DEADLINE_S):
            while len(rows := await self.pool.fetch(waits)) < sessions:  # noqa: ASYNC110 - asked of the database
                await asyncio.sleep(0.01)
        return [row["pid"] for row in rows]

    async def make_tenant(self) -> Tenant:
        """Make an institution with one door."""
        tenant = Tenant(f"tenant-{next(_numbers):06}")
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO institutions (id, name, timezone, created_at) VALUES ($1, $1, 'UTC', $2)",
                tenant,
                self.clock.now(),
            )
            await connection.execute(
                "INSERT INTO doors (tenant_id, id, site, name, access_point, created_at)"
                " VALUES ($1, $2, 'campus', 'Main entrance', 'entry', $3)",
                tenant,
                DOOR,
                self.clock.now(),
            )
            await self.issuing.found(connection, tenant)
        return tenant

    async def make_device(self, tenant: Tenant) -> Twin:
        """Make a device row, as enrolment does."""
        signer = P256Signer(ec.generate_private_key(ec.SECP256R1()))
        device = DeviceId(f"device-{next(_numbers):06}")
        fingerprint = hashlib.sha256(device.encode()).digest()
        await self.pool.execute(
            "INSERT INTO devices (tenant_id, id, door_id, certificate_fingerprint, certificate_serial,"
            " certificate_not_after, public_key, enrolled_at) VALUES ($1, $2, $3, $4, '1', $5, $6, $5)",
            tenant,
            device,
            DOOR,
            fingerprint,
            self.clock.now(),
            signer.public_key.point,
        )
        return Twin(DeviceIdentity(tenant, DOOR, device, signer.public_key, fingerprint), signer)

    async def make_twin(self) -> Twin:
        """Make an institution and a device at its door."""
        return await self.make_device(await self.make_tenant())

    async def acknowledger(self, twin: Twin) -> PublicKey:
        """Give the key that checks acknowledgements."""
        return (await self.issuing.keyring.signer(twin.identity.tenant, KeyRole.ACKNOWLEDGEMENT)).public_key

    async def stored(self, twin: Twin) -> list[bytes]:
        """Give the device's stored events of all epochs, in the order of their numbers."""
        rows = await self.pool.fetch(
            "SELECT raw FROM events WHERE tenant_id = $1 AND device_id = $2 ORDER BY epoch, seq",
            twin.identity.tenant,
            twin.identity.device,
        )
        return [row["raw"] for row in rows]

    def counted(self, name: str, **labels: str) -> float:
        """Read a metric; 0 when it has not been counted yet."""
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def cloud_parts(database_url: str, state: Path, *, migrated: bool = True) -> AsyncIterator[Parts]:
    """Put the services together and run the ingest until the block ends."""
    clock, registry = Clock(), CollectorRegistry()
    pool = await open_pool(database_url, size=8)
    if not migrated:
        await migrate(pool)
    issuing = open_issuing(
        pool,
        keys=state / "keys",
        authority=open_authority(state / "ca", now=clock.now()).certificate,
        now=clock.now,
        monotonic_s=clock.monotonic_s,
        stopping=asyncio.Event(),
    )
    ingest = Ingest(pool, issuing.acknowledgement_signer, IngestMetrics(registry), now=clock.now)
    worker = asyncio.create_task(ingest.run())
    try:
        yield Parts(pool, clock, issuing, Passes(pool, issuing, now=clock.now), ingest, registry, state / "keys")
    finally:
        worker.cancel()
        await asyncio.wait((worker,), timeout=DEADLINE_S)
        await close_pool(pool, deadline_s=DEADLINE_S)


def keys_of(bundle: TrustBundle, purpose: KeyPurpose) -> list[TrustedKey]:
    """Give the keys that a bundle lists for a purpose."""
    return [key for key in bundle.keys if key.purpose is purpose]
