"""List and revoke devices, and tell one about itself.

Invariant: a status is never a guess: it comes with the instant that it is based on.
Must not: change a device's journal marks; the ingest of events does.
"""

from datetime import datetime
from typing import Final

import asyncpg

from cloud.database import Pool
from cloud.devices.guard import DeviceIdentity
from cloud.devices.models import Bootstrap, Device, DeviceCertificate, Devices, Firmware, Quarantine
from cloud.devices.status import STATUS, WITH_HEALTH
from cloud.errors import CloudError, Reason
from cloud.institutions.service import require_institution
from cloud.issuing.keyring import Keyring
from cloud.models import Pagination
from cloud.telemetry.shown import read_report, shown_report
from wire.codec import encode

_SHOWN: Final = f"""
    SELECT devices.id, devices.door_id, {STATUS} AS shown_status, devices.last_seen, devices.enrolled_at,
        devices.certificate_serial, devices.certificate_fingerprint, devices.certificate_not_after, devices.epoch,
        devices.mark, devices.backed_up, devices.quarantined_at, devices.quarantine_reason,
        devices.quarantine_epoch, devices.accepted_epoch, device_health.received_at, device_health.report
    FROM {WITH_HEALTH} WHERE devices.tenant_id = $2"""  # noqa: S608 - constants


async def list_devices(pool: Pool, tenant: str, *, status: str | None, page: int, limit: int, now: datetime) -> Devices:
    """Give one page, of the devices with a status if one is given.

    Raises:
        CloudError: INSTITUTION_UNKNOWN.
    """
    owner = await require_institution(pool, tenant)
    total = await pool.fetchval(
        f"SELECT count(*) FROM {WITH_HEALTH} WHERE devices.tenant_id = $2"  # noqa: S608 - constants
        f" AND ($3::text IS NULL OR {STATUS} = $3)",
        now,
        owner,
        status,
    )
    pagination = Pagination(page=page, limit=limit, total=total)
    rows = await pool.fetch(
        f"{_SHOWN} AND ($3::text IS NULL OR {STATUS} = $3) ORDER BY devices.id LIMIT $4 OFFSET $5",
        now,
        owner,
        status,
        limit,
        pagination.offset,
    )
    return Devices(data=[_device(row) for row in rows], pagination=pagination, as_of=now)


async def show_device(pool: Pool, tenant: str, device: str, *, now: datetime) -> Device:
    """Give one device.

    Raises:
        CloudError: INSTITUTION_UNKNOWN or DEVICE_UNKNOWN.
    """
    owner = await require_institution(pool, tenant)
    row = await pool.fetchrow(f"{_SHOWN} AND devices.id = $3", now, owner, device)
    if row is None:
        raise CloudError(Reason.DEVICE_UNKNOWN, f"Institution {tenant} has no device {device!r}.")
    return _device(row)


async def revoke_device(pool: Pool, tenant: str, device: str, *, now: datetime) -> Device:
    """Refuse a device from now on; doing so again changes nothing.

    Raises:
        CloudError: INSTITUTION_UNKNOWN or DEVICE_UNKNOWN.
    """
    owner = await require_institution(pool, tenant)
    await pool.execute("UPDATE devices SET status = 'revoked' WHERE tenant_id = $1 AND id = $2", owner, device)
    return await show_device(pool, tenant, device, now=now)


async def bootstrap(pool: Pool, keyring: Keyring, identity: DeviceIdentity, *, broker: str | None) -> Bootstrap:
    """Tell a device where it stands, which root key to pin, and at which broker it is heard."""
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
        broker=broker,
    )


def _device(row: asyncpg.Record) -> Device:
    certificate = DeviceCertificate(
        serial=row["certificate_serial"],
        fingerprint=row["certificate_fingerprint"].hex(),
        not_after=row["certificate_not_after"],
    )
    health = read_report(row["report"])
    return Device(
        id=row["id"],
        door=row["door_id"],
        status=row["shown_status"],
        last_seen=row["last_seen"],
        enrolled_at=row["enrolled_at"],
        certificate=certificate,
        epoch=row["epoch"].hex() if row["epoch"] is not None else None,
        mark=row["mark"],
        backed_up=row["backed_up"],
        quarantine=_quarantine(row),
        accepted_epoch=row["accepted_epoch"].hex() if row["accepted_epoch"] is not None else None,
        firmware=None if health is None else Firmware(version=health.software),
        capabilities=[] if health is None else sorted({part.kind.name.lower() for part in health.devices}),
        metrics={} if health is None else dict(health.metrics),
        report=None if health is None else shown_report(health, row["received_at"]),
    )


def _quarantine(row: asyncpg.Record) -> Quarantine | None:
    since = row["quarantined_at"]
    if since is None:
        return None
    return Quarantine(since=since, reason=row["quarantine_reason"], epoch=row["quarantine_epoch"].hex())
