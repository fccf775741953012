"""The daily look at the keys."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from cloud.issuing.keyring import LIFETIME, OVERLAP, RENEW_BEFORE
from cloud.issuing.keys import ONLINE_ROLES
from cloud.issuing.policy_models import PolicyDocument
from cloud.issuing.upkeep import Upkeep
from tests.support.cloud_parts import DOOR, Parts, cloud_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from cloud.database import Pool


@pytest.fixture(name="parts")
async def _parts(empty_database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(empty_database_url, tmp_path, migrated=False) as parts:
        yield parts


async def version(parts: Parts, tenant: str) -> int:
    found = await parts.pool.fetchval("SELECT max(version) FROM trust_bundles WHERE tenant_id = $1", tenant)
    return int(found)


async def test_young_keys_are_left_alone(parts: Parts):
    tenant = await parts.make_tenant()
    await Upkeep(parts.pool, parts.issuing).look()
    assert await version(parts, tenant) == 1


async def test_keys_are_replaced_in_time_once_and_policies_follow_when_the_new_key_signs(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.issuing.put_policy(tenant, DOOR, PolicyDocument(lock_out=True))
    upkeep = Upkeep(parts.pool, parts.issuing)
    parts.clock.advance(LIFETIME - RENEW_BEFORE + timedelta(seconds=1))
    await upkeep.look()
    await upkeep.look()
    assert await version(parts, tenant) == 2
    assert await parts.issuing.trust.roles_due(tenant) == []
    assert (await parts.issuing.policies.current(tenant, DOOR)).version == 1
    parts.clock.advance(OVERLAP)
    await upkeep.look()
    assert (await parts.issuing.policies.current(tenant, DOOR)).version == 2
    assert (await upkeep.check()).value == 0


async def test_an_institution_whose_root_is_offline_is_reported_and_the_others_are_served(parts: Parts):
    offline, online = await parts.make_tenant(), await parts.make_tenant()
    (root,) = (parts.keys / offline).glob("root-*.pem")
    root.unlink()
    upkeep = Upkeep(parts.pool, parts.issuing)
    parts.clock.advance(LIFETIME - RENEW_BEFORE + timedelta(seconds=1))
    await upkeep.look()
    assert await parts.issuing.trust.roles_due(offline) == list(ONLINE_ROLES)
    assert await parts.issuing.trust.roles_due(online) == []
    found = await upkeep.check()
    assert (found.ok, found.value) == (True, 1)
    assert "root key" in str(found.detail)


async def test_a_database_that_is_away_is_looked_at_another_time(parts: Parts):
    await parts.pool.close()
    await Upkeep(parts.pool, parts.issuing).look()


async def test_a_database_that_refuses_is_looked_at_another_time(parts: Parts):
    tenant = await parts.make_tenant()
    parts.clock.advance(LIFETIME - RENEW_BEFORE + timedelta(seconds=1))
    upkeep = Upkeep(parts.pool, parts.issuing)
    await only_read(parts.pool, "on")
    with capture_logs() as log:
        await upkeep.look()
    assert [(entry["event"], entry["tenant"]) for entry in log] == [("keys_not_looked_at", tenant)]
    await only_read(parts.pool, "off")
    await upkeep.look()
    assert await version(parts, tenant) == 2


async def only_read(pool: Pool, state: str) -> None:
    """Have the database refuse writing, as a standby does, or no more."""
    name = await pool.fetchval("SELECT current_database()")
    async with pool.acquire() as connection:
        await connection.execute("SET default_transaction_read_only = off")
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {state}")
    await pool.expire_connections()


async def test_a_fault_with_one_institution_keeps_no_other_waiting(parts: Parts):
    damaged, sound = await parts.make_tenant(), await parts.make_tenant()
    await parts.pool.execute("UPDATE signing_keys SET public_key = '\\x00' WHERE tenant_id = $1", damaged)
    parts.clock.advance(LIFETIME - RENEW_BEFORE + timedelta(seconds=1))
    with capture_logs() as log:
        await Upkeep(parts.pool, parts.issuing).look()
    found = [(entry["event"], entry["tenant"]) for entry in log]
    assert found == [("keys_look_failed", damaged), ("keys_rotated", sound)]
    assert await parts.issuing.trust.roles_due(sound) == []


async def test_while_another_process_looks_nothing_is_rotated_twice(parts: Parts):
    tenant = await parts.make_tenant()
    before = await parts.issuing.keyring.registered(parts.pool, tenant)
    parts.clock.advance(LIFETIME - RENEW_BEFORE + timedelta(days=1))
    upkeep = Upkeep(parts.pool, parts.issuing)
    await asyncio.gather(upkeep.look(), Upkeep(parts.pool, parts.issuing).look())
    after = await parts.issuing.keyring.registered(parts.pool, tenant)
    assert len(after) - len(before) == len(ONLINE_ROLES)
