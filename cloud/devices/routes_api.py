"""Routes for operators: claims and devices."""

from datetime import timedelta
from typing import Annotated

from litestar import Router, get, post
from litestar.params import JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK

from cloud.devices import service
from cloud.devices.claims import make_claim
from cloud.devices.models import Device, Devices, MadeClaim, NewClaim, Release
from cloud.devices.status import DeviceStatus
from cloud.doors.service import require_door
from cloud.models import PageLimit, PageNumber, PathName
from cloud.state import Cloud
from wire.names import DeviceId, Tenant


@post("/doors/{door:str}/claims")
async def claim_door(
    tenant: PathName, door: PathName, cloud: Cloud, data: JSONBody[NewClaim | None] = None
) -> MadeClaim:
    """Make a claim code with which one device may enrol for this door, once."""
    code, expires_at = await make_claim(
        cloud.pool,
        cloud.authority,
        tenant=Tenant(tenant),
        door=await require_door(cloud.pool, tenant, door),
        now=cloud.now(),
        lifetime=timedelta(seconds=(data or NewClaim()).lifetime_s),
    )
    return MadeClaim(claim_code=code, expires_at=expires_at)


@get("/devices")
async def list_devices(
    tenant: PathName,
    cloud: Cloud,
    status: Annotated[DeviceStatus | None, QueryParameter(description="Only those with this status")] = None,
    page: PageNumber = 1,
    limit: PageLimit = 20,
) -> Devices:
    """List an institution's devices by id."""
    word = None if status is None else status.value
    return await service.list_devices(cloud.pool, tenant, status=word, page=page, limit=limit, now=cloud.now())


@get("/devices/{device:str}")
async def show_device(tenant: PathName, device: PathName, cloud: Cloud) -> Device:
    """Show one device."""
    return await service.show_device(cloud.pool, tenant, device, now=cloud.now())


@post("/devices/{device:str}/revoke", status_code=HTTP_200_OK)
async def revoke_device(tenant: PathName, device: PathName, cloud: Cloud) -> Device:
    """Refuse a device from now on."""
    revoked = await service.revoke_device(cloud.pool, tenant, device, now=cloud.now())
    cloud.devices.forget(Tenant(tenant), DeviceId(device))
    return revoked


@post("/devices/{device:str}/quarantine/release", status_code=HTTP_200_OK)
async def release_device(tenant: PathName, device: PathName, cloud: Cloud, data: JSONBody[Release]) -> Device:
    """Let a device in quarantine send again: with its stored journal (null), or beginning exactly the one named."""
    epoch = None if data.accept_epoch is None else bytes.fromhex(data.accept_epoch)
    await cloud.quarantines.release(tenant, device, accept_epoch=epoch)
    return await service.show_device(cloud.pool, tenant, device, now=cloud.now())


router = Router(
    "/institutions/{tenant:str}",
    route_handlers=[claim_door, list_devices, show_device, revoke_device, release_device],
    tags=["devices"],
)
