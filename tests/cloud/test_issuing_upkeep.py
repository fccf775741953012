"""The daily look at the keys."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from cloud.issuing.keyring import LIFETIME, OVERLAP, RENEW_BEFORE
from cloud.issuing.keys import ONLINE_ROLES
from cloud.issuing.policy_models import PolicyDocument
from cloud.issuing.upkeep import Upkeep
from tests.support.cloud_parts import DOOR, Parts, cloud_parts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


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
