"""Routes of an institution's doors."""

from litestar import Router, get, post
from litestar.params import JSONBody

from cloud.doors import service
from cloud.doors.models import Door, Doors, NewDoor
from cloud.models import PageLimit, PageNumber, PathName
from cloud.state import Cloud


@post("/")
async def make_door(tenant: PathName, data: JSONBody[NewDoor], cloud: Cloud) -> Door:
    """Make a door."""
    return await service.make_door(cloud.pool, tenant, data, now=cloud.now())


@get("/")
async def list_doors(tenant: PathName, cloud: Cloud, page: PageNumber = 1, limit: PageLimit = 20) -> Doors:
    """List an institution's doors by id."""
    return await service.list_doors(cloud.pool, tenant, page=page, limit=limit)


router = Router("/institutions/{tenant:str}/doors", route_handlers=[make_door, list_doors], tags=["doors"])
