"""List and revoke devices, and tell one about itself.

Invariant: a status is never a guess: it comes with the instant that it is based on.
Must not: change a device's journal marks; the ingest of events does.
"""

from datetime import datetime, timedelta
from typing import Final

import asyncpg

from cloud.database import Pool
from cloud.devices.guard import DeviceIdentity
from cloud.devices.models import Bootstrap, Device, DeviceCertificate, Devices
from cloud.errors import CloudError, Reason
from cloud.institutions.service import require_institution
from cloud.issuing.keyring import Keyring
from cloud.models import Pagination
from wire.codec import encode

ONLINE_S: Final = 90.0
"""Three long polls of 25 s and the delay of `last_seen`: a device that is silent longer is offline."""
_COLUMNS: Final = (
    "id, door_id, status, last_seen, enrolled_at, certificate_serial, certificate_fingerprint,"
    " certificate_not_after, epoch, mark, backed_up"
)


async def list_devices(pool: Pool, tenant: str, *, page: int, limit: int, now: datetime) -> Devices:
    """Give one page.

    Raises:
        CloudError: INSTITUTION_UNKNOWN.
    """
    owner = await require_institution(pool, tenant)
    total = await pool.fetchval("SELECT count(*) FROM devices WHERE tenant_id = $1", owner)
    pagination = Pagination(page=page, limit=limit, total=total)
    rows = await pool.fetch(
        f"SELECT {_COLUMNS} FROM devices WHERE tenant_id = $1 ORDER BY id LIMIT $2 OFFSET $3",  # noqa: S608 - a constant
        owner,
        limit,
        pagination.offset,
    )
    return Devices(data=[_device(row, now) for row in rows], pagination=pagination, as_of=now)


async def revoke_device(pool: Pool, tenant: str, device: str, *, now: datetime) -> Device:
    """Refuse a device from now on; doing so again changes nothing.

    Raises:
        CloudError: INSTITUTION_UNKNOWN or DEVICE_UNKNOWN.
    """
    owner = await require_institution(pool, tenant)
    row = await pool.fetchrow(
        f"UPDATE devices SET status = 'revoked' WHERE tenant_id = $1 AND id = $2 RETURNING {_COLUMNS}",  # noqa: S608 - a constant
        owner,
        device,
    )
    if row is None:
        raise CloudError(Reason.DEVICE_UNKNOWN, f"Institution {tenant} has no device {device!r}.")
    return _device(row, now)


async def bootstrap(pool: Pool, keyring: Keyring, identity: DeviceIdentity) -> Bootstrap:
    """Tell a device where it stands and which root key to pin."""
    row = await pool.fetchrow(
        "SELECT doors.site, doors.access_point, institutions.timezone"
        " FROM doors JOIN institutions ON institutions.id = doors.tenant_id"
        " WHERE doors.tenant_id = $1 AND doors.id = $2",
        identity.tenant,
        identity.door,
    )
    assert row is not None  # noqa: S101 - a foreign key of the device's row, and doors are never deleted
    root = await keyring.root_key(identity.tenant)
    return Bootstrap(
        tenant=identity.tenant,
        site=row["site"],
        door=identity.door,
        access_point=row["access_point"],
        device=identity.device,
        timezone=row["timezone"],
        root_key=encode(root.to_cose()).hex(),
    )


def _device(row: asyncpg.Record, now: datetime) -> Device:
    certificate = DeviceCertificate(
        serial=row["certificate_serial"],
        fingerprint=row["certificate_fingerprint"].hex(),
        not_after=row["certificate_not_after"],
    )
    return Device(
        id=row["id"],
        door=row["door_id"],
        status=_status(row, now),
        last_seen=row["last_seen"],
        enrolled_at=row["enrolled_at"],
        certificate=certificate,
        epoch=row["epoch"].hex() if row["epoch"] is not None else None,
        mark=row["mark"],
        backed_up=row["backed_up"],
    )


def _status(row: asyncpg.Record, now: datetime) -> str:
    if row["status"] == "revoked":
        return "revoked"
    heard = row["last_seen"]
    return "online" if heard is not None and now - heard <= timedelta(seconds=ONLINE_S) else "offline"
