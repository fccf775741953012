"""The route by which a door reports its health where there is no broker."""

from typing import Any, Final

from litestar import Request, Router, post
from litestar.status_codes import HTTP_204_NO_CONTENT

from cloud.state import Cloud, Device
from wire.health import MAX_HEALTH_BYTES
from wire.messages import DEVICE_HEALTH


@post(DEVICE_HEALTH, status_code=HTTP_204_NO_CONTENT, request_max_body_size=MAX_HEALTH_BYTES)
async def report_health(request: Request[Any, Any, Any], cloud: Cloud, device: Device) -> None:
    """Take a device's report of its health."""
    cloud.health.take(device.tenant, device.device, await request.body())


router: Final = Router("/", route_handlers=[report_health])
