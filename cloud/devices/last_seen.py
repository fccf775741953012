"""When each device was last heard, written in batches.

Invariant: a request costs one dictionary entry; the database learns of it within a few seconds. Device rows are locked
in the order of `cloud/events/store.py`.
Must not: decide anything; losing the last batch in a crash is harmless.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg
import structlog

from cloud.database import AWAY, Pool
from wire.names import DeviceId, Tenant

FLUSH_S: Final = 5.0
_MAX_WAITING: Final = 200_000
_WRITE: Final = """
    WITH heard AS (
        SELECT devices.tenant_id, devices.id, told.at
        FROM devices JOIN unnest($1::text[], $2::text[], $3::timestamptz[]) AS told (tenant_id, id, at)
            USING (tenant_id, id)
        ORDER BY devices.tenant_id, devices.id FOR NO KEY UPDATE OF devices)
    UPDATE devices SET last_seen = heard.at FROM heard
    WHERE devices.tenant_id = heard.tenant_id AND devices.id = heard.id"""
"""Only rows that `heard` has locked are updated, whatever the plan; a bare UPDATE locks in the plan's own order, and
deadlocks with the ingest."""
_LOG: Final = structlog.get_logger(__name__)


class LastSeen:
    """Collects and writes.

    Args:
        pool: the database.
        now: the wall clock.
    """

    def __init__(self, pool: Pool, *, now: Callable[[], datetime]) -> None:
        self._pool = pool
        self._now = now
        self._waiting: dict[tuple[Tenant, DeviceId], datetime] = {}

    def touch(self, tenant: Tenant, device: DeviceId) -> None:
        """Note that a device was heard now; dropped when the database has been away for very long."""
        if len(self._waiting) < _MAX_WAITING or (tenant, device) in self._waiting:
            self._waiting[tenant, device] = self._now()

    async def flush(self) -> None:
        """Write what has been noted; keep it when the database is away."""
        if not self._waiting:
            return
        batch, self._waiting = self._waiting, {}
        try:
            await self._pool.execute(
                _WRITE,
                [tenant for tenant, _ in batch],
                [device for _, device in batch],
                list(batch.values()),
            )
        except (*AWAY, asyncpg.PostgresError) as error:
            self._waiting = batch | self._waiting
            _LOG.warning("last_seen_not_written", error=str(error), devices=len(batch))

    async def run(self) -> None:
        """Write every few seconds; runs until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self.flush()
