"""Routes of commands, for operators."""

from typing import Annotated, Final
from uuid import UUID

from litestar import Router, get, post, put
from litestar.params import FromPath, HeaderParameter, JSONBody

from cloud.doors.service import doors_at, require_door
from cloud.issuing.command_models import Commands, DoorLockdown, IssuedCommand, LockdownOrder, Lockdowns, NewCommand
from cloud.issuing.commands import MAX_KEY_CHARACTERS
from cloud.models import PageLimit, PathName
from cloud.state import Cloud, CloudState
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


@post("/sites/{site:str}/commands")
async def give_commands(
    tenant: PathName, site: PathName, data: JSONBody[NewCommand], cloud: Cloud, key: IdempotencyKey = None
) -> Commands:
    """Order every door of a site to do something now; each has a command, and gives an answer, of its own."""
    doors = await doors_at(cloud.pool, tenant, site)
    return Commands(data=await cloud.issuing.give_commands(Tenant(tenant), doors, data, key=key))


@get("/doors/{door:str}/commands")
async def list_commands(tenant: PathName, door: PathName, cloud: Cloud, limit: PageLimit = 20) -> Commands:
    """Show the newest commands to a door and what became of them, newest first."""
    known = await require_door(cloud.pool, tenant, door)
    return Commands(data=await cloud.issuing.commands.listed(Tenant(tenant), known, limit=limit))


@get("/doors/{door:str}/commands/{command:uuid}")
async def show_command(tenant: PathName, door: PathName, command: FromPath[UUID], cloud: Cloud) -> IssuedCommand:
    """Show one command to a door and what became of it."""
    known = await require_door(cloud.pool, tenant, door)
    return await cloud.issuing.commands.shown(Tenant(tenant), known, command.bytes)


@put("/doors/{door:str}/lockdown")
async def lock_door_down(tenant: PathName, door: PathName, data: JSONBody[LockdownOrder], cloud: Cloud) -> Lockdowns:
    """Lock a door down, or end that: a state in its signed policy, which also reaches a door that is offline now."""
    return await _lock_down(cloud, tenant, [await require_door(cloud.pool, tenant, door)], on=data.on)


@put("/sites/{site:str}/lockdown")
async def lock_site_down(tenant: PathName, site: PathName, data: JSONBody[LockdownOrder], cloud: Cloud) -> Lockdowns:
    """Lock all doors of a site down, or end that; see a door's lockdown."""
    return await _lock_down(cloud, tenant, await doors_at(cloud.pool, tenant, site), on=data.on)


async def _lock_down(cloud: CloudState, tenant: str, doors: list[DoorId], *, on: bool) -> Lockdowns:
    versions = await cloud.issuing.lock_down(Tenant(tenant), doors, on=on)
    return Lockdowns(data=[DoorLockdown(door=door, on=on, policy_version=versions[door]) for door in doors])


router: Final = Router(
    "/institutions/{tenant:str}",
    route_handlers=[give_command, give_commands, list_commands, show_command, lock_door_down, lock_site_down],
    tags=["commands"],
)
