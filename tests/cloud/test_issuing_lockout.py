"""The guard of policies: nothing that locks everybody out is put in force without an order."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from cloud.errors import CloudError, Reason
from cloud.issuing.keyring import OVERLAP
from cloud.issuing.keys import KeyRole
from cloud.issuing.policy_models import (
    DayWindowDocument,
    ExceptionDocument,
    LevelDocument,
    PolicyDocument,
    ScheduleDocument,
    SettingsDocument,
)
from tests.support.cloud_parts import DOOR, Clock, Parts, cloud_parts
from wire.policy import PolicyBundle, open_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from wire.names import Tenant

_NOBODY = PolicyDocument(lock_out=True)


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


def admitting(*levels: int, schedule: int = 0) -> PolicyDocument:
    """A policy with some access levels; schedule 1 has one day, when the clock of the tests starts."""
    day = ExceptionDocument(date=Clock().now().date(), windows=[DayWindowDocument(start="00:00", end="24:00")])
    return PolicyDocument(
        access_levels=[LevelDocument(id=level, schedules=[schedule]) for level in levels],
        schedules=[ScheduleDocument(id=1, windows=[], exceptions=[day])],
    )


async def in_force(parts: Parts, tenant: Tenant) -> PolicyBundle:
    """Read the policy as a door does."""
    key = (await parts.issuing.keyring.signer(tenant, KeyRole.POLICY)).public_key
    return open_policy((await parts.issuing.policies.current(tenant, DOOR)).data, key)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (None, PolicyDocument()),
        (None, replace(admitting(1), settings=SettingsDocument(mode="blocked"))),
        (None, replace(admitting(1), settings=SettingsDocument(mode="locked_down"))),
        (admitting(1, 2), PolicyDocument()),
        (admitting(1, 2), admitting(3)),
        (_NOBODY, PolicyDocument(settings=SettingsDocument(escorts=2))),
    ],
)
async def test_a_policy_that_locks_everybody_out_is_put_in_force_only_by_order(
    parts: Parts, first: PolicyDocument | None, then: PolicyDocument
):
    tenant = await parts.make_tenant()
    if first is not None:
        await parts.issuing.put_policy(tenant, DOOR, first)
    with pytest.raises(CloudError, match=r'settings\.mode, accessLevels .* "lockOut": true') as caught:
        await parts.issuing.put_policy(tenant, DOOR, then)
    assert (caught.value.reason, caught.value.reason.status) == (Reason.POLICY_LOCKS_OUT, 409)
    version = 1 if first is None else 2
    assert await parts.issuing.put_policy(tenant, DOOR, replace(then, lock_out=True)) == version
    assert ((await in_force(parts, tenant)).version, (await in_force(parts, tenant)).locks_out) == (version, True)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (None, admitting(1)),
        (None, admitting(1, schedule=1)),
        (None, PolicyDocument(settings=SettingsDocument(mode="unlocked"))),
        (admitting(1, 2), admitting(2, 3)),
        (admitting(1), replace(admitting(3), settings=SettingsDocument(mode="unlocked"))),
        (_NOBODY, admitting(3)),
    ],
)
async def test_a_policy_that_admits_somebody_of_before_needs_no_order(
    parts: Parts, first: PolicyDocument | None, then: PolicyDocument
):
    tenant = await parts.make_tenant()
    if first is not None:
        await parts.issuing.put_policy(tenant, DOOR, first)
    await parts.issuing.put_policy(tenant, DOOR, then)
    assert not (await in_force(parts, tenant)).locks_out


async def test_an_order_that_was_not_needed_guards_the_next_change_as_before(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.issuing.put_policy(tenant, DOOR, replace(admitting(1), lock_out=True))
    assert not (await in_force(parts, tenant)).locks_out
    assert (await parts.issuing.policies.show(tenant, DOOR)).policy == admitting(1)


async def test_an_order_is_not_kept_for_the_next_change(parts: Parts):
    tenant = await parts.make_tenant()
    blocked = replace(admitting(1), settings=SettingsDocument(mode="blocked"))
    await parts.issuing.put_policy(tenant, DOOR, replace(blocked, lock_out=True))
    shown = (await parts.issuing.policies.show(tenant, DOOR)).policy
    assert shown == blocked
    assert await parts.issuing.put_policy(tenant, DOOR, shown) == 1
    with pytest.raises(CloudError, match="lockOut"):
        await parts.issuing.put_policy(tenant, DOOR, replace(shown, access_levels=[]))


async def test_a_policy_whose_days_are_over_is_signed_again_as_ordered(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.issuing.put_policy(tenant, DOOR, admitting(1, schedule=1))
    await parts.issuing.rotate(tenant, [KeyRole.POLICY])
    parts.clock.advance(OVERLAP + timedelta(days=2))
    assert await parts.issuing.policies.sign_again(tenant) == 1
    assert ((await in_force(parts, tenant)).version, (await in_force(parts, tenant)).locks_out) == (2, True)
    assert (await parts.issuing.policies.show(tenant, DOOR)).policy == admitting(1, schedule=1)
