"""What doors fetch: the roster of their site, or what has changed in it."""

from typing import Final

from litestar.types import HTTPScope

from cloud.asgi import Reply
from cloud.devices.guard import DeviceIdentity
from cloud.doors.service import site_of
from cloud.issuing.rest import answer, not_modified, number
from cloud.issuing.routes_device import DeviceRoute
from cloud.state import CloudState
from wire.messages import DEVICE_ROSTER


async def roster(cloud: CloudState, device: DeviceIdentity, scope: HTTPScope) -> Reply:
    """Give the roster of the door's site, or the delta from `since` when that is smaller."""
    since = number(scope, "since")
    site = await site_of(cloud.pool, device.tenant, device.door)
    known = not_modified(scope, await cloud.issuing.rosters.version(device.tenant, site))
    if known is not None:
        return known
    found = await cloud.issuing.rosters.document(device.tenant, site, since=since)
    return answer(scope, found.version, found.data, found.media_type)


ROUTES: Final[dict[str, DeviceRoute]] = {DEVICE_ROSTER: roster}
"""What is fetched by GET, by path."""
