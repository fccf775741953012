"""Routes for operators: events, and the check of a device's journal."""

from datetime import datetime
from typing import Annotated, Final

from litestar import Router, get
from litestar.params import FromQuery, QueryParameter

from cloud.errors import CloudError, Reason
from cloud.events.chain import check_chain
from cloud.events.models import ChainReport, Events
from cloud.events.query import Filter, list_events
from cloud.institutions.service import require_institution
from cloud.models import PathName, QueryName
from cloud.state import Cloud
from wire.names import DeviceId, EventKind, Tenant

_MAX_PAGE: Final = 1_000
_KINDS: Final = {kind.name.lower(): kind for kind in EventKind}

Limit = Annotated[int, QueryParameter(ge=1, le=_MAX_PAGE, description="Events a page")]
Cursor = Annotated[str | None, QueryParameter(description="`next` of the page before")]
Instant = Annotated[datetime | None, QueryParameter(description="RFC 3339, with an offset")]


@get("/events")
async def events(
    tenant: PathName,
    cloud: Cloud,
    after: Cursor = None,
    limit: Limit = 100,
    door: QueryName = None,
    kind: FromQuery[str | None] = None,
    since: Instant = None,
    until: Instant = None,
) -> Events:
    """List events, oldest first: those of one door, one kind, from `since` until before `until`."""
    owner = await require_institution(cloud.pool, tenant)
    wanted = Filter(door=door, kind=_kind(kind), since=_aware("since", since), until=_aware("until", until))
    return await list_events(cloud.pool, owner, wanted, after=after, limit=limit)


@get("/devices/{device:str}/chain")
async def chain(tenant: PathName, device: PathName, cloud: Cloud) -> ChainReport:
    """Verify every stored event of a device: numbers without gap, each naming the hash of the one before."""
    return await check_chain(cloud.pool, Tenant(tenant), DeviceId(device))


def _kind(name: str | None) -> EventKind | None:
    if name is None:
        return None
    kind = _KINDS.get(name)
    if kind is None:
        raise CloudError(Reason.QUERY_INVALID, f"kind: expected one of {', '.join(_KINDS)}.")
    return kind


def _aware(name: str, instant: datetime | None) -> datetime | None:
    if instant is not None and instant.tzinfo is None:
        raise CloudError(Reason.QUERY_INVALID, f"{name}: expected an offset from UTC, such as 2026-03-01T08:00:00Z.")
    return instant


router: Final = Router("/institutions/{tenant:str}", route_handlers=[events, chain], tags=["events"])
