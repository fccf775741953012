"""Make, list and find doors.

Invariant: a door belongs to one institution and one site for ever; passes are addressed to the site.
Must not: look across institutions.
"""

from datetime import datetime

import asyncpg

from cloud.database import Pool, Source
from cloud.doors.models import Door, Doors, NewDoor
from cloud.errors import CloudError, Reason
from cloud.institutions.service import require_institution
from cloud.models import Pagination
from wire.names import DoorId, Tenant


async def make_door(pool: Pool, tenant: str, new: NewDoor, *, now: datetime) -> Door:
    """Make a door.

    Raises:
        CloudError: INSTITUTION_UNKNOWN or DOOR_EXISTS.
    """
    owner = await require_institution(pool, tenant)
    door = Door(id=new.id, site=new.site, name=new.name or new.id, access_point=new.access_point, created_at=now)
    try:
        await pool.execute(
            "INSERT INTO doors (tenant_id, id, site, name, access_point, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
            owner,
            door.id,
            door.site,
            door.name,
            door.access_point,
            now,
        )
    except asyncpg.UniqueViolationError as error:
        raise CloudError(Reason.DOOR_EXISTS, f"Institution {tenant} already has a door {new.id}.") from error
    return door


async def list_doors(pool: Pool, tenant: str, *, page: int, limit: int) -> Doors:
    """Give one page.

    Raises:
        CloudError: INSTITUTION_UNKNOWN.
    """
    owner = await require_institution(pool, tenant)
    total = await pool.fetchval("SELECT count(*) FROM doors WHERE tenant_id = $1", owner)
    pagination = Pagination(page=page, limit=limit, total=total)
    rows = await pool.fetch(
        "SELECT id, site, name, access_point, created_at FROM doors WHERE tenant_id = $1"
        " ORDER BY id LIMIT $2 OFFSET $3",
        owner,
        limit,
        pagination.offset,
    )
    return Doors(data=[Door(**dict(row)) for row in rows], pagination=pagination)


async def require_door(source: Source, tenant: str, door: str) -> DoorId:
    """Give the door's name back when the institution has such a door.

    Raises:
        CloudError: INSTITUTION_UNKNOWN or DOOR_UNKNOWN.
    """
    owner = await require_institution(source, tenant)
    known = await source.fetchval("SELECT id FROM doors WHERE tenant_id = $1 AND id = $2", owner, door)
    if known is None:
        raise CloudError(Reason.DOOR_UNKNOWN, f"Institution {tenant} has no door {door!r}; make it first.")
    return DoorId(known)


async def require_site(source: Source, tenant: str, site: str) -> Tenant:
    """Give the tenant's name back when the institution has a door at this site.

    Raises:
        CloudError: INSTITUTION_UNKNOWN or SITE_UNKNOWN.
    """
    owner = await require_institution(source, tenant)
    if await source.fetchval("SELECT 1 FROM doors WHERE tenant_id = $1 AND site = $2 LIMIT 1", owner, site) is None:
        detail = f"Institution {tenant} has no door at a site {site!r}; make the door first."
        raise CloudError(Reason.SITE_UNKNOWN, detail)
    return owner


async def doors_at(source: Source, tenant: str, site: str) -> list[DoorId]:
    """Give the doors of a site.

    Raises:
        CloudError: INSTITUTION_UNKNOWN or SITE_UNKNOWN.
    """
    owner = await require_site(source, tenant, site)
    rows = await source.fetch("SELECT id FROM doors WHERE tenant_id = $1 AND site = $2 ORDER BY id", owner, site)
    return [DoorId(row["id"]) for row in rows]


async def site_of(source: Source, tenant: Tenant, door: DoorId) -> str:
    """Give the site of a door that exists."""
    return str(await source.fetchval("SELECT site FROM doors WHERE tenant_id = $1 AND id = $2", tenant, door))
