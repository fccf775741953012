"""Routes of commands: operators give them, doors fetch them."""

from typing import Annotated, Final

from litestar import Response, Router, get, post
from litestar.params import HeaderParameter, JSONBody, QueryParameter

from cloud.doors.service import require_door
from cloud.issuing.command_models import Commands, IssuedCommand, NewCommand
from cloud.issuing.commands import MAX_KEY_CHARACTERS
from cloud.models import PageLimit, PathName
from cloud.state import Cloud, Device
from wire.codec import MAX_UINT
from wire.messages import DEVICE_COMMANDS, MEDIA_COMMANDS
from wire.names import DoorId, Tenant

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="idempotency-key",
        min_length=1,
        max_length=MAX_KEY_CHARACTERS,
        description="The same key gives the same command again, however often the request is sent",
    ),
]


@post("/doors/{door:str}/commands")
async def give_command(
    tenant: PathName, door: PathName, data: JSONBody[NewCommand], cloud: Cloud, key: IdempotencyKey = None
) -> IssuedCommand:
    """Order a door to do something now. The door does it at most once, and answers with an event of its journal."""
    return await cloud.issuing.give_command(Tenant(tenant), DoorId(door), data, key=key)


@get("/doors/{door:str}/commands")
async def list_commands(tenant: PathName, door: PathName, cloud: Cloud, limit: PageLimit = 20) -> Commands:
    """Show the newest commands to a door and what became of them, newest first."""
    known = await require_door(cloud.pool, tenant, door)
    return Commands(data=await cloud.issuing.commands.listed(Tenant(tenant), known, limit=limit))


@get(DEVICE_COMMANDS)
async def commands(
    cloud: Cloud, device: Device, after: Annotated[int, QueryParameter(ge=0, le=MAX_UINT)] = 0
) -> Response[bytes]:
    """Give the commands that still hold and come after a counter."""
    data = await cloud.issuing.commands.document(device.tenant, device.door, after=after)
    return Response(data, media_type=MEDIA_COMMANDS, headers={"cache-control": "no-store"})


api_router: Final = Router(
    "/institutions/{tenant:str}", route_handlers=[give_command, list_commands], tags=["commands"]
)
device_router: Final = Router("/", route_handlers=[commands])
