"""Orders to a site: every door its own, and no door waits for the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cloud.database import Connection
from cloud.errors import CloudError, Reason
from cloud.issuing.changes import Versions
from cloud.issuing.command_models import CommandAction, NewCommand
from cloud.issuing.commands import KEPT
from cloud.issuing.policy_models import PolicyDocument
from cloud.issuing.upkeep import Upkeep
from tests.support.cloud_parts import DOOR, Parts, cloud_parts
from tests.support.waiting import DEADLINE_S
from wire.names import DoorId, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LAST = DoorId("z-last")
DOORS = [DOOR, LAST]
UNLOCK = NewCommand(action=CommandAction.UNLOCK)


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


async def make_site(parts: Parts) -> Tenant:
    """Make an institution with two doors, each of which has a policy."""
    tenant = await parts.make_tenant()
    await parts.pool.execute(
        "INSERT INTO doors (tenant_id, id, site, name, access_point, created_at)"
        " SELECT tenant_id, $2, site, name, access_point, created_at FROM doors WHERE tenant_id = $1",
        tenant,
        LAST,
    )
    for door in DOORS:
        await parts.issuing.put_policy(tenant, door, PolicyDocument(lock_out=True))
    return tenant


async def wait(parts: Parts, tenant: Tenant, door: DoorId) -> asyncio.Task[Versions]:
    """Let a door wait for news, and give the task once it really waits."""
    known = Versions(trust=1, policy=1, status={"0": 1})
    task = asyncio.create_task(parts.issuing.changes.wait(tenant, door, known, wait_s=DEADLINE_S))
    done, _ = await asyncio.wait((task,), timeout=0.2)
    assert not done
    return task


async def hold_up(connection: Connection, tenant: Tenant) -> None:
    """Keep the last door's next policy from being written, until this transaction ends."""
    await connection.execute(
        "INSERT INTO policies (tenant_id, door_id, version, document, key_id, bundle, created_at, locked_down)"
        " SELECT tenant_id, door_id, version + 1, document, key_id, bundle, created_at, locked_down FROM policies"
        " WHERE tenant_id = $1 AND door_id = $2",
        tenant,
        LAST,
    )


async def test_the_first_door_is_locked_down_while_the_last_waits_for_its_signature(parts: Parts):
    tenant = await make_site(parts)
    first = await wait(parts, tenant, DOOR)
    async with parts.pool.acquire() as connection:
        slow = connection.transaction()
        await slow.start()
        await hold_up(connection, tenant)
        ordering = asyncio.create_task(parts.issuing.lock_down(tenant, DOORS, on=True))
        async with asyncio.timeout(DEADLINE_S):
            assert (await first).policy == 2
        last = await wait(parts, tenant, LAST)
        assert not ordering.done()
        await slow.rollback()
    async with asyncio.timeout(DEADLINE_S):
        assert await ordering == dict.fromkeys(DOORS, 2)
        assert (await last).policy == 2


async def test_what_was_signed_before_a_fault_is_told_all_the_same(parts: Parts):
    tenant = await make_site(parts)
    first = await wait(parts, tenant, DOOR)
    with pytest.raises(CloudError) as refused:
        await parts.issuing.give_commands(tenant, [DOOR, DoorId("nowhere")], UNLOCK, key=None)
    assert refused.value.reason is Reason.DOOR_UNKNOWN
    async with asyncio.timeout(DEADLINE_S):
        assert (await first).commands > 0


async def test_each_door_of_a_site_has_a_command_of_its_own(parts: Parts):
    tenant = await make_site(parts)
    given = await parts.issuing.give_commands(tenant, DOORS, UNLOCK, key="press-1")
    assert [each.door for each in given] == DOORS
    assert len({each.id for each in given}) == 2
    again = await parts.issuing.give_commands(tenant, DOORS, UNLOCK, key="press-1")
    assert [each.id for each in again] == [each.id for each in given]


async def test_commands_are_forgotten_five_weeks_after_their_end_and_none_before(parts: Parts):
    tenant, other = await make_site(parts), await make_site(parts)
    upkeep = Upkeep(parts.pool, parts.issuing)
    old = await parts.issuing.give_command(tenant, DOOR, UNLOCK, key=None)
    elsewhere = await parts.issuing.give_command(other, DOOR, UNLOCK, key=None)
    parts.clock.advance(KEPT + timedelta(seconds=30))
    young = await parts.issuing.give_command(tenant, DOOR, UNLOCK, key=None)
    await upkeep.look()
    assert [each.id for each in await parts.issuing.commands.listed(tenant, DOOR, limit=10)] == [young.id, old.id]
    parts.clock.advance(timedelta(milliseconds=1))
    await upkeep.look()
    assert [each.id for each in await parts.issuing.commands.listed(tenant, DOOR, limit=10)] == [young.id]
    assert await parts.issuing.commands.listed(other, DOOR, limit=10) == []
    assert elsewhere.counter < young.counter


async def test_counters_rise_on_after_every_command_was_forgotten(parts: Parts):
    tenant = await make_site(parts)
    first = await parts.issuing.give_command(tenant, DOOR, UNLOCK, key=None)
    parts.clock.advance(KEPT + timedelta(days=1))
    assert await parts.issuing.commands.forget_old(tenant) == 1
    assert await parts.issuing.commands.forget_old(tenant) == 0
    later = await parts.issuing.give_command(tenant, DOOR, UNLOCK, key=None)
    assert later.counter > first.counter
