"""What doors fetch: trust, policy, status lists, commands, and the long poll that says when to.

They are plain routes, because a publication sends every door of an institution here at the same moment.

Invariant: what a door already has is answered with 304.
Must not: serve one tenant's or door's documents to another; both come from the certificate.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

import msgspec
from litestar.types import HTTPScope, Receive

from cloud.asgi import PlainRoute, Reply
from cloud.devices.guard import DeviceIdentity
from cloud.errors import CloudError, Reason
from cloud.issuing.changes import digits, read_known
from cloud.issuing.rest import answer, number
from cloud.state import CloudState
from wire.messages import (
    DEVICE_CHANGES,
    DEVICE_COMMANDS,
    DEVICE_POLICY,
    DEVICE_STATUS,
    DEVICE_TRUST,
    MEDIA_COMMANDS,
    MEDIA_COSE,
)
from wire.status_list import MAX_LIST_ID

DeviceRoute: TypeAlias = Callable[[CloudState, DeviceIdentity, HTTPScope], Awaitable[Reply]]
"""Answers a device that has shown who it is."""


def for_device(cloud: CloudState, route: DeviceRoute) -> PlainRoute:
    """Make a plain route of one that needs a device's certificate."""

    async def identified(scope: HTTPScope, receive: Receive) -> Reply:
        del receive
        return await route(cloud, await cloud.devices.identify(scope), scope)

    return identified


async def trust(cloud: CloudState, device: DeviceIdentity, scope: HTTPScope) -> Reply:
    """Give the tenant's newest trust bundle."""
    found = await cloud.issuing.trust.current(cloud.pool, device.tenant)
    return answer(scope, found.version, found.data, MEDIA_COSE)


async def policy(cloud: CloudState, device: DeviceIdentity, scope: HTTPScope) -> Reply:
    """Give the door's newest policy."""
    found = await cloud.issuing.policies.current(device.tenant, device.door)
    return answer(scope, found.version, found.data, MEDIA_COSE)


async def status(cloud: CloudState, device: DeviceIdentity, scope: HTTPScope) -> Reply:
    """Give a status list, or the delta from `since` when that is smaller."""
    list_id = _list_id(scope["path"].rpartition("/")[2])
    token = await cloud.issuing.tokens.token(device.tenant, list_id, since=number(scope, "since"))
    return answer(scope, token.sequence, token.data, token.media_type)


async def commands(cloud: CloudState, device: DeviceIdentity, scope: HTTPScope) -> Reply:
    """Give the commands that still hold and come after a counter."""
    data = await cloud.issuing.commands.document(device.tenant, device.door, after=number(scope, "after") or 0)
    return Reply(data, MEDIA_COMMANDS)


async def changes(cloud: CloudState, device: DeviceIdentity, scope: HTTPScope) -> Reply:
    """Answer as soon as something is newer than what the door says it has."""
    known, wait_s = read_known(dict(parse_qsl(scope["query_string"].decode("latin-1"))))
    found = await cloud.issuing.changes.wait(device.tenant, device.door, known, wait_s=wait_s)
    return Reply(msgspec.json.encode(found), "application/json")


def _list_id(text: str) -> int:
    with suppress(ValueError):
        if (found := digits(text)) <= MAX_LIST_ID:
            return found
    raise CloudError(Reason.STATUS_LIST_UNKNOWN, f"Status lists have numbers from 0 to {MAX_LIST_ID}.")


ROUTES: Final[dict[str, DeviceRoute]] = {
    DEVICE_TRUST: trust,
    DEVICE_POLICY: policy,
    f"{DEVICE_STATUS}/": status,
    DEVICE_COMMANDS: commands,
    DEVICE_CHANGES: changes,
}
"""What is fetched by GET, by path."""
