"""Devices in quarantine: how many there are, and an operator's decision about one.

Invariant: only an operator ends a quarantine or lets a device begin a further journal, and the log says so.
Must not: put a device into quarantine; the ingest does, with what it stores.
"""

import asyncio
from typing import Final

import asyncpg
import structlog
from prometheus_client import CollectorRegistry, Gauge

from cloud.database import ACQUIRE_S, AWAY, Connection, Pool
from cloud.errors import CloudError, Reason
from cloud.institutions.service import require_institution

COUNT_S: Final = 15.0
"""How old the gauge may be; one small query by a partial index."""
_ROW: Final = """
    SELECT epoch, quarantined_at, quarantine_reason, quarantine_epoch, accepted_epoch FROM devices
    WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE"""
_RELEASE: Final = """
    UPDATE devices SET quarantined_at = NULL, quarantine_reason = NULL, quarantine_epoch = NULL, accepted_epoch = $3
    WHERE tenant_id = $1 AND id = $2"""
_LOG: Final = structlog.get_logger(__name__)


class Quarantines:
    """Counts them for Prometheus and ends them.

    Args:
        pool: the database.
        registry: where the gauge is shown; every process shows the same number, that of the database.
    """

    def __init__(self, pool: Pool, registry: CollectorRegistry) -> None:
        self._pool = pool
        self._gauge = Gauge(
            "doorward_devices_quarantined", "Devices whose events wait for an operator's decision.", registry=registry
        )

    async def run(self) -> None:
        """Count every few seconds; runs until cancelled."""
        while True:
            try:
                await self.count()
            except (*AWAY, asyncpg.PostgresError) as error:
                _LOG.warning("quarantines_not_counted", error=str(error))
            await asyncio.sleep(COUNT_S)

    async def count(self) -> int:
        """Count them now, for the gauge as well; a device that was revoked waits for nobody."""
        found: int = await self._pool.fetchval(
            "SELECT count(*) FROM devices WHERE quarantined_at IS NOT NULL AND status = 'active'"
        )
        self._gauge.set(found)
        return found

    async def release(self, tenant: str, device: str, *, accept_epoch: bytes | None) -> None:
        """Let a device send again.

        Args:
            tenant: its institution.
            device: whose quarantine ends.
            accept_epoch: the journal that may begin anew, once, and then closes the stored one; it may be named before
                anything of it has arrived. None to go on with the stored journal, and with no other.

        Raises:
            CloudError: INSTITUTION_UNKNOWN, DEVICE_UNKNOWN, DEVICE_NOT_QUARANTINED when there is nothing to end,
                EPOCH_STORED or EPOCH_CLOSED when that journal cannot begin.
        """
        owner = await require_institution(self._pool, tenant)
        async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            row = await connection.fetchrow(_ROW, owner, device)
            if row is None:
                raise CloudError(Reason.DEVICE_UNKNOWN, f"Institution {tenant} has no device {device!r}.")
            if accept_epoch is not None:
                await _check_new(connection, (owner, device), row["epoch"], accept_epoch)
            elif row["quarantined_at"] is None and row["accepted_epoch"] is None:
                detail = f"Device {device} is not in quarantine; there is nothing to release."
                raise CloudError(Reason.DEVICE_NOT_QUARANTINED, detail)
            await connection.execute(_RELEASE, owner, device, accept_epoch)
        _LOG.info(
            "quarantine_released",
            tenant=owner,
            device=device,
            reason=row["quarantine_reason"],
            since=None if row["quarantined_at"] is None else row["quarantined_at"].isoformat(),
            epoch=_hex(row["quarantine_epoch"]),
            stored_epoch=_hex(row["epoch"]),
            accepted_epoch=_hex(accept_epoch),
        )
        await self.count()


async def _check_new(connection: Connection, key: tuple[str, str], stored: bytes | None, asked: bytes) -> None:
    if asked == stored:
        detail = "This is the stored journal itself; to go on with it, release the device without an epoch."
        raise CloudError(Reason.EPOCH_STORED, detail)
    closed = await connection.fetchval(
        "SELECT true FROM closed_epochs WHERE tenant_id = $1 AND device_id = $2 AND epoch = $3", *key, asked
    )
    if closed:
        detail = (
            "This journal was closed and does not open again; start a new one at the door (doorward edge new-journal),"
            " or enrol the door anew."
        )
        raise CloudError(Reason.EPOCH_CLOSED, detail)


def _hex(epoch: bytes | None) -> str | None:
    return None if epoch is None else epoch.hex()
