"""What doors fetch: the roster of their site, or what has changed in it."""

from typing import Annotated, Any, Final

from litestar import Request, Response, Router, get
from litestar.params import QueryParameter

from cloud.doors.service import site_of
from cloud.issuing.routes_device import answer, not_modified
from cloud.state import Cloud, Device
from wire.messages import DEVICE_ROSTER


@get(DEVICE_ROSTER)
async def roster(
    request: Request[Any, Any, Any],
    cloud: Cloud,
    device: Device,
    since: Annotated[int | None, QueryParameter(ge=0)] = None,
) -> Response[bytes]:
    """Give the roster of the door's site, or the delta from `since` when that is smaller."""
    site = await site_of(cloud.pool, device.tenant, device.door)
    known = not_modified(request, await cloud.issuing.rosters.version(device.tenant, site))
    if known is not None:
        return known
    found = await cloud.issuing.rosters.document(device.tenant, site, since=since)
    return answer(request, found.version, found.data, found.media_type)


router: Final = Router("/", route_handlers=[roster])
