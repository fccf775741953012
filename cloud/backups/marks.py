"""The two phases of a backup: note how far every journal has come, later tell the doors that this much is safe.

Invariant: `devices.backed_up` covers only events that were committed before the backup began, of the same epoch, and
never passes the device's mark.
Must not: make a backup; whoever does calls `begin` before it and `complete` once it is known to be good.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

import asyncpg
import structlog

from cloud.backups.models import Backup
from cloud.database import ACQUIRE_S, Pool
from cloud.errors import CloudError, Reason

REMEMBERED: Final = timedelta(days=90)
"""How long a backup that was begun may be completed, and one that was completed is listed."""
_ID_BYTES: Final = 8
_NOTE: Final = """
    INSERT INTO backup_marks (backup_id, tenant_id, device_id, epoch, mark)
    SELECT $1, tenant_id, id, epoch, mark FROM devices WHERE epoch IS NOT NULL AND mark > 0"""
_LOCK: Final = """
    SELECT FROM devices JOIN backup_marks ON backup_marks.tenant_id = devices.tenant_id AND device_id = devices.id
    WHERE backup_id = $1 ORDER BY devices.tenant_id, devices.id FOR NO KEY UPDATE OF devices"""
_ADVANCE: Final = """
    UPDATE devices SET backed_up = least(noted.mark, devices.mark)
    FROM backup_marks AS noted
    WHERE noted.backup_id = $1 AND noted.tenant_id = devices.tenant_id AND noted.device_id = devices.id
        AND noted.epoch = devices.epoch AND least(noted.mark, devices.mark) > devices.backed_up"""
LOST_VERSIONS: Final = 1_000_000
"""More than can have been signed since the newest backup: a list once a second for eleven days."""
_RAISE_FLOOR: Final = """
    UPDATE institutions SET version_floor = $1 + greatest(
        version_floor,
        (SELECT max(version) FROM trust_bundles WHERE tenant_id = institutions.id),
        (SELECT max(version) FROM policies WHERE tenant_id = institutions.id))"""
_LOG: Final = structlog.get_logger(__name__)


async def begin(pool: Pool, *, now: datetime) -> Backup:
    """Note how far every device's journal has come.

    A copy of the database whose snapshot is taken after this returns holds all of that.
    """
    name = secrets.token_hex(_ID_BYTES)
    async with pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
        await connection.execute("DELETE FROM backups WHERE begun_at < $1", now - REMEMBERED)
        await connection.execute("INSERT INTO backups (id, begun_at) VALUES ($1, $2)", name, now)
        done = await connection.execute(_NOTE, name)
        devices = _count(done)
        await connection.execute("UPDATE backups SET devices = $2 WHERE id = $1", name, devices)
    _LOG.info("backup_begun", backup=name, devices=devices)
    return Backup(id=name, begun_at=now, completed_at=None, devices=devices)


async def complete(pool: Pool, backup: str, *, now: datetime) -> Backup:
    """Let devices forget what was noted when the backup began; doing so again changes nothing.

    Raises:
        CloudError: BACKUP_UNKNOWN.
    """
    async with pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
        row = await connection.fetchrow("SELECT * FROM backups WHERE id = $1 FOR UPDATE", backup)
        if row is None:
            days = REMEMBERED // timedelta(days=1)
            detail = f"No backup {backup!r} was begun in the last {days} days; begin one, and complete that."
            raise CloudError(Reason.BACKUP_UNKNOWN, detail)
        if row["completed_at"] is not None:
            return _backup(row)
        await connection.execute(_LOCK, backup)
        devices = _count(await connection.execute(_ADVANCE, backup))
        await connection.execute("DELETE FROM backup_marks WHERE backup_id = $1", backup)
        row = await connection.fetchrow(
            "UPDATE backups SET completed_at = $2, devices = $3 WHERE id = $1 RETURNING *", backup, now, devices
        )
        assert row is not None  # noqa: S101 - it is locked
    _LOG.info("backup_completed", backup=backup, devices=devices)
    return _backup(row)


async def pass_lost_versions(pool: Pool) -> None:
    """Let whatever is signed from now on be newer than what was signed after the backup, in a restored database.

    Doors take nothing older than what they have, and how far the lost cloud had come nobody knows.
    """
    async with pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
        await connection.execute(_RAISE_FLOOR, LOST_VERSIONS)
        await connection.execute("UPDATE status_lists SET sequence = sequence + $1, token = NULL", LOST_VERSIONS)
        await connection.execute("UPDATE rosters SET version = version + $1, changed = true", LOST_VERSIONS)


def _backup(row: asyncpg.Record) -> Backup:
    return Backup(id=row["id"], begun_at=row["begun_at"], completed_at=row["completed_at"], devices=row["devices"])


def _count(status: str) -> int:
    """Read the number of rows from a command's status, such as "UPDATE 3"."""
    return int(status.rpartition(" ")[2])
