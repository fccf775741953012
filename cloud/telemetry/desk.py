"""Takes the doors' reports and writes the newest of each device, many at a time.

Invariant: a report costs one dictionary entry; the database learns of it within a few seconds.
Must not: decide about access, or keep a report that another has replaced.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from cloud.database import AWAY, Pool
from cloud.devices.last_seen import LastSeen
from cloud.devices.status import COUNT_BY_STATUS, DeviceStatus
from cloud.errors import CloudError, Reason
from cloud.telemetry.condition import Condition, condition_of
from wire.errors import WireError
from wire.health import parse_health
from wire.names import DeviceId, Tenant

FLUSH_S: Final = 5.0
COUNT_S: Final = 30.0
_MAX_WAITING: Final = 100_000
_WRITE: Final = """
    INSERT INTO device_health (tenant_id, device_id, received_at, condition, report)
    SELECT told.tenant_id, told.id, told.at, told.condition, told.report
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::smallint[], $5::bytea[])
        AS told (tenant_id, id, at, condition, report)
    JOIN devices USING (tenant_id, id)
    ORDER BY told.tenant_id, told.id
    ON CONFLICT (tenant_id, device_id) DO UPDATE
        SET received_at = excluded.received_at, condition = excluded.condition, report = excluded.report
        WHERE device_health.received_at <= excluded.received_at
            OR device_health.received_at > now() + interval '1 minute'"""
"""What was received in the future, by a clock that was ahead and has been set, is no newer report."""
_LOG: Final = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Told:
    at: datetime
    condition: Condition
    report: bytes


class HealthDesk:
    """Collects and writes reports, and counts the devices by status.

    Args:
        pool: the database.
        last_seen: is told of every report.
        registry: of the metrics.
        now: the wall clock.
    """

    def __init__(
        self, pool: Pool, last_seen: LastSeen, registry: CollectorRegistry, *, now: Callable[[], datetime]
    ) -> None:
        self._pool = pool
        self._last_seen = last_seen
        self._now = now
        self._waiting: dict[tuple[Tenant, DeviceId], _Told] = {}
        self._reports = Counter("doorward_health_reports", "Reports of health taken.", registry=registry)
        self._devices = Gauge("doorward_devices", "Devices by status, all tenants.", ("status",), registry=registry)

    def take(self, tenant: Tenant, device: DeviceId, report: bytes) -> None:
        """Take a device's report; it replaces the one before.

        Raises:
            CloudError: HEALTH_INVALID when it is none; SERVICE_BUSY when the database has been away for very long.
        """
        try:
            condition = condition_of(parse_health(report))
        except WireError as error:
            detail = f"The report of health does not read: {error}. Bring cloud and door to versions that fit."
            raise CloudError(Reason.HEALTH_INVALID, detail) from error
        if len(self._waiting) >= _MAX_WAITING and (tenant, device) not in self._waiting:
            raise CloudError(Reason.SERVICE_BUSY, "Too many reports wait for the database.", retry_after_s=60)
        self._waiting[tenant, device] = _Told(self._now(), condition, report)
        self._last_seen.touch(tenant, device)
        self._reports.inc()

    async def flush(self) -> None:
        """Write what has been taken; keep it when the database is away."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, {}
        try:
            await self._pool.execute(
                _WRITE,
                [tenant for tenant, _ in batch],
                [device for _, device in batch],
                [told.at for told in batch.values()],
                [int(told.condition) for told in batch.values()],
                [told.report for told in batch.values()],
            )
        except (*AWAY, asyncpg.PostgresError) as error:
            self._waiting = batch | self._waiting
            _LOG.warning("health_not_written", error=str(error), devices=len(batch))

    async def count(self) -> None:
        """Count the devices by status for the metrics; keep the last count when the database is away."""
        try:
            rows = await self._pool.fetch(COUNT_BY_STATUS, self._now())
        except (*AWAY, asyncpg.PostgresError) as error:
            _LOG.warning("devices_not_counted", error=str(error))
            return
        found = {row["status"]: row["count"] for row in rows}
        for status in DeviceStatus:
            self._devices.labels(status.value).set(found.get(status.value, 0))

    async def run(self) -> None:
        """Write every few seconds, count now and then; runs until cancelled."""
        loop = asyncio.get_running_loop()
        counted_s = -COUNT_S
        while True:
            if loop.time() - counted_s >= COUNT_S:
                counted_s = loop.time()
                await self.count()
            await asyncio.sleep(FLUSH_S)
            await self.flush()
