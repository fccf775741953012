"""Doors at a real broker are told at once what is new for them, and no more than that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from cloud.issuing.command_models import CommandAction, NewCommand
from cloud.issuing.policy_models import PolicyDocument
from cloud.passes.models import NewPass
from tests.support.cloud_parts import DOOR, Parts, cloud_parts
from tests.support.linked import Linked, door_at, make_link, running
from tests.support.mosquitto import running_mosquitto
from tests.support.waiting import until
from wire.names import DoorId
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.mosquitto import Mosquitto
    from wire.names import Tenant

SIDE = DoorId("side-door")


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


@pytest.fixture(name="broker")
async def _broker() -> AsyncIterator[Mosquitto]:
    async with running_mosquitto() as made:
        yield made


@pytest.fixture(name="linked")
async def _linked(parts: Parts, broker: Mosquitto, database_url: str, tmp_path: Path) -> AsyncIterator[Linked]:
    async with running(make_link(parts, broker, database_url, tmp_path)) as linked:
        yield linked


def announced(linked: Linked) -> float:
    return linked.registry.get_sample_value("doorward_broker_announcements_total") or 0


async def counted(linked: Linked, count: int) -> None:
    """Wait until so many are counted, which may be after a door has heard the last, and see that there are no more."""
    await until(lambda: announced(linked) >= count)
    assert announced(linked) == count


async def revoke(parts: Parts, tenant: Tenant) -> None:
    """Revoke a pass on a list that somebody has already."""
    await parts.issuing.status.sequences(tenant)
    issued = await parts.passes.issue(tenant, NewPass(kind="visitor"))
    await parts.passes.revoke(tenant, issued.pass_id)


@pytest.mark.usefixtures("linked")
async def test_a_door_hears_of_a_revocation_a_policy_and_a_command(parts: Parts, broker: Mosquitto):
    twin = await parts.make_twin()
    tenant = twin.identity.tenant
    async with door_at(broker, tenant, twin.identity.device) as door:
        await revoke(parts, tenant)
        assert await door.versions() == Versions(1, 0, {0: 2})
        await parts.issuing.put_policy(tenant, DOOR, PolicyDocument(lock_out=True))
        assert await door.versions() == Versions(1, 1, {0: 2})
        await parts.issuing.give_command(tenant, DOOR, NewCommand(action=CommandAction.UNLOCK), key=None)
        told = await door.versions()
        assert (told.policy, told.commands > 0) == (1, True)


async def test_only_doors_for_which_something_is_new_are_told(parts: Parts, broker: Mosquitto, linked: Linked):
    twin = await parts.make_twin()
    tenant = twin.identity.tenant
    side = await parts.make_device(tenant)
    revoked = await parts.make_device(tenant)
    await parts.pool.execute(
        "INSERT INTO doors SELECT tenant_id, $2, site, name, access_point, created_at FROM doors WHERE tenant_id = $1",
        tenant,
        SIDE,
    )
    await parts.pool.execute("UPDATE devices SET door_id = $1 WHERE id = $2", SIDE, side.identity.device)
    await parts.pool.execute("UPDATE devices SET status = 'revoked' WHERE id = $1", revoked.identity.device)
    async with (
        door_at(broker, tenant, twin.identity.device) as door,
        door_at(broker, tenant, side.identity.device) as other,
    ):
        await revoke(parts, tenant)
        assert await door.versions() == await other.versions() == Versions(1, 0, {0: 2})
        await parts.issuing.put_policy(tenant, DOOR, PolicyDocument(lock_out=True))
        assert await door.versions() == Versions(1, 1, {0: 2})
        await parts.issuing.put_policy(tenant, SIDE, PolicyDocument(lock_out=True))
        assert await other.versions() == Versions(1, 1, {0: 2})
    await counted(linked, 4)


async def test_a_command_that_has_expired_is_no_news(parts: Parts, broker: Mosquitto, linked: Linked):
    twin = await parts.make_twin()
    tenant = twin.identity.tenant
    async with door_at(broker, tenant, twin.identity.device) as door:
        await parts.issuing.give_command(tenant, DOOR, NewCommand(action=CommandAction.UNLOCK), key=None)
        counter = (await door.versions()).commands
        await parts.pool.execute("DELETE FROM commands WHERE tenant_id = $1", tenant)
        parts.issuing.changes.publish(tenant)
        await revoke(parts, tenant)
        assert (await door.versions()).commands == counter
    await counted(linked, 2)


async def test_many_changes_at_once_are_few_announcements(parts: Parts, broker: Mosquitto, linked: Linked):
    twin = await parts.make_twin()
    tenant = twin.identity.tenant
    issued = [await parts.passes.issue(tenant, NewPass(kind="visitor")) for _ in range(40)]
    loop = asyncio.get_running_loop()
    async with door_at(broker, tenant, twin.identity.device) as door:
        began_s = loop.time()
        for each in issued:
            await parts.passes.revoke(tenant, each.pass_id)
        newest = (await parts.issuing.status.sequences(tenant))[0]
        while (await door.versions()).status[0] < newest:
            pass
        took_s = loop.time() - began_s
    # Twenty a second at most: a disk that is busy may let the changes come as slowly as that.
    assert announced(linked) <= 2 + 20 * took_s


async def test_what_changed_while_the_broker_was_away_is_announced_when_it_is_back(
    parts: Parts, broker: Mosquitto, linked: Linked
):
    """And what was announced shortly before, since it may have been lost with the connection."""
    before, meanwhile, never = [(await parts.make_twin()).identity.tenant for _ in range(3)]
    del never
    await revoke(parts, before)
    await until(lambda: announced(linked) == 1)
    await broker.kill()
    await until(lambda: not linked.link.following.is_set())
    await revoke(parts, meanwhile)
    await broker.start()
    await until(lambda: announced(linked) == 3)


async def test_an_institution_whose_keys_are_gone_does_not_keep_the_others_from_being_told(
    parts: Parts, broker: Mosquitto, linked: Linked
):
    broken, twin = await parts.make_twin(), await parts.make_twin()
    await parts.pool.execute("UPDATE status_lists SET token = NULL WHERE tenant_id = $1", broken.identity.tenant)
    await parts.pool.execute("DELETE FROM signing_keys WHERE tenant_id = $1", broken.identity.tenant)
    async with door_at(broker, twin.identity.tenant, twin.identity.device) as door:
        parts.issuing.changes.publish(broken.identity.tenant)
        await revoke(parts, twin.identity.tenant)
        assert (await door.versions()).status == {0: 2}
    await counted(linked, 1)


async def test_a_database_that_is_away_delays_the_announcement(parts: Parts, broker: Mosquitto, linked: Linked):
    twin = await parts.make_twin()
    async with door_at(broker, twin.identity.tenant, twin.identity.device) as door:
        with capture_logs() as logs:
            await parts.pool.execute("ALTER TABLE devices RENAME COLUMN door_id TO hidden")
            parts.issuing.changes.publish(twin.identity.tenant)
            await until(lambda: any(each["event"] == "announcement_late" for each in logs))
        await parts.pool.execute("ALTER TABLE devices RENAME COLUMN hidden TO door_id")
        assert (await door.versions()).status == {0: 1}
    assert linked.link.following.is_set()
