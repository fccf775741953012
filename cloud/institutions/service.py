"""Make and list institutions.

Invariant: an institution that exists has all its keys.
Must not: make keys for an institution twice.
"""

from datetime import datetime
from functools import cache
from zoneinfo import available_timezones

import asyncpg

from cloud.database import ACQUIRE_S, Pool, Source
from cloud.errors import CloudError, Reason
from cloud.institutions.models import Institution, Institutions, NewInstitution
from cloud.issuing.service import Issuing
from cloud.models import Pagination
from wire.names import Tenant


async def make_institution(pool: Pool, issuing: Issuing, new: NewInstitution, *, now: datetime) -> Institution:
    """Make an institution with its keys, trust bundle and status list; all or nothing.

    Raises:
        CloudError: INSTITUTION_EXISTS or TIME_ZONE_UNKNOWN.
    """
    if new.timezone not in _time_zones():
        detail = f"{new.timezone!r} is no IANA time zone; use a name such as Europe/Vienna."
        raise CloudError(Reason.TIME_ZONE_UNKNOWN, detail)
    try:
        async with pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO institutions (id, name, timezone, created_at) VALUES ($1, $2, $3, $4)",
                new.id,
                new.name,
                new.timezone,
                now,
            )
            await issuing.found(connection, Tenant(new.id))
    except asyncpg.UniqueViolationError as error:
        raise CloudError(Reason.INSTITUTION_EXISTS, f"There is already an institution {new.id}.") from error
    return Institution(id=new.id, name=new.name, timezone=new.timezone, created_at=now)


async def list_institutions(pool: Pool, *, page: int, limit: int) -> Institutions:
    """Give one page."""
    total = await pool.fetchval("SELECT count(*) FROM institutions")
    pagination = Pagination(page=page, limit=limit, total=total)
    rows = await pool.fetch(
        "SELECT id, name, timezone, created_at FROM institutions ORDER BY id LIMIT $1 OFFSET $2",
        limit,
        pagination.offset,
    )
    return Institutions(data=[Institution(**dict(row)) for row in rows], pagination=pagination)


async def require_institution(source: Source, tenant: str) -> Tenant:
    """Give the tenant's name back when there is such an institution.

    Raises:
        CloudError: INSTITUTION_UNKNOWN.
    """
    known = await source.fetchval("SELECT id FROM institutions WHERE id = $1", tenant)
    if known is None:
        raise CloudError(Reason.INSTITUTION_UNKNOWN, f"There is no institution {tenant!r}; make it first.")
    return Tenant(known)


@cache
def _time_zones() -> frozenset[str]:
    """Read the names once: it walks a folder of some hundred files."""
    return frozenset(available_timezones())
