"""The long poll: told at once what is newer, otherwise at the end of the wait."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.errors import CloudError, Reason
from cloud.issuing.changes import MAX_WAIT_S, RECHECK_S, Changes, Versions, read_known
from cloud.issuing.command_models import CommandAction, NewCommand
from cloud.issuing.herald import Herald
from cloud.issuing.keys import KeyRole
from cloud.issuing.policy_models import PolicyDocument
from cloud.issuing.rosters import REFRESH
from cloud.issuing.status import TTL_S
from cloud.passes.models import NewPass
from cloud.roster.models import NewCredential
from cloud.roster.service import Credentials
from tests.support.cloud_parts import DOOR, Parts, cloud_parts
from tests.support.waiting import DEADLINE_S, until
from wire.names import DoorId, Tenant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

_FIRST = Versions(trust=1, policy=0, status={"0": 1})


@pytest.fixture(name="parts")
async def _parts(database_url: str, tmp_path: Path) -> AsyncIterator[Parts]:
    async with cloud_parts(database_url, tmp_path) as parts:
        yield parts


async def waiting(parts: Parts, tenant: Tenant, known: Versions = _FIRST) -> asyncio.Task[Versions]:
    """Let a door wait, and give the task once it really waits."""
    changes = parts.issuing.changes
    task = asyncio.create_task(changes.wait(tenant, DOOR, known, wait_s=DEADLINE_S))
    await until(lambda: task.done() or ((board := changes._boards.get(tenant)) is not None and bool(board.snapshot)))
    done, _ = await asyncio.wait((task,), timeout=0.2)
    assert not done
    return task


async def test_a_door_that_has_nothing_is_told_at_once(parts: Parts):
    tenant = await parts.make_tenant()
    nothing = Versions(trust=0, policy=0, status={})
    assert await parts.issuing.changes.wait(tenant, DOOR, nothing, wait_s=DEADLINE_S) == _FIRST


async def test_a_door_that_has_everything_waits_its_time_out(parts: Parts):
    tenant = await parts.make_tenant()
    assert await parts.issuing.changes.wait(tenant, DOOR, _FIRST, wait_s=0) == _FIRST


async def test_a_revocation_wakes_the_doors(parts: Parts):
    tenant = await parts.make_tenant()
    issued = await parts.passes.issue(tenant, NewPass(kind="visitor"))
    tasks = [await waiting(parts, tenant) for _ in range(3)]
    await parts.passes.revoke(tenant, issued.pass_id)
    assert await asyncio.gather(*tasks) == [Versions(trust=1, policy=0, status={"0": 2})] * 3


async def test_a_policy_wakes_the_doors_and_only_its_own_has_a_new_version(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.pool.execute(
        "INSERT INTO doors SELECT tenant_id, 'side-door', site, name, access_point, created_at FROM doors"
        " WHERE tenant_id = $1",
        tenant,
    )
    task = await waiting(parts, tenant)
    await parts.issuing.put_policy(tenant, DoorId("side-door"), PolicyDocument(lock_out=True))
    await parts.issuing.put_policy(tenant, DOOR, PolicyDocument(lock_out=True))
    assert await task == Versions(trust=1, policy=1, status={"0": 1})


async def test_an_enrolled_credential_wakes_the_doors_of_its_site(parts: Parts):
    tenant = await parts.make_tenant()
    await parts.pool.execute(
        "INSERT INTO doors SELECT tenant_id, 'lab-door', 'lab', name, access_point, created_at FROM doors"
        " WHERE tenant_id = $1",
        tenant,
    )
    task = await waiting(parts, tenant)
    credentials = Credentials(parts.pool, parts.issuing, now=parts.clock.now)
    await credentials.put(tenant, "campus", [NewCredential(identifier="0100482117", form="barcode")])
    found = Versions(trust=1, policy=0, status={"0": 1}, roster=1)
    assert await task == found
    assert await parts.issuing.changes.wait(tenant, DoorId("lab-door"), found, wait_s=DEADLINE_S) == _FIRST


async def test_a_roster_that_grows_old_is_issued_again_for_who_waits(parts: Parts):
    tenant = await parts.make_tenant()
    credentials = Credentials(parts.pool, parts.issuing, now=parts.clock.now)
    await credentials.put(tenant, "campus", [NewCredential(identifier="0100482117", form="barcode")])
    task = await waiting(parts, tenant, Versions(trust=1, policy=0, status={"0": 1}, roster=1))
    parts.clock.wall += REFRESH + timedelta(seconds=1)
    parts.clock.monotonic += 3
    assert (await task).roster == 2


async def test_new_keys_wake_the_doors(parts: Parts):
    tenant = await parts.make_tenant()
    task = await waiting(parts, tenant)
    await parts.issuing.rotate(tenant, [KeyRole.PASS])
    assert (await task).trust == 2


async def test_another_institution_is_not_woken(parts: Parts):
    one, two = await parts.make_tenant(), await parts.make_tenant()
    task = await waiting(parts, one)
    await parts.issuing.put_policy(two, DOOR, PolicyDocument(lock_out=True))
    done, _ = await asyncio.wait((task,), timeout=0.2)
    assert not done
    task.cancel()


async def test_what_another_process_changes_is_noticed(parts: Parts):
    tenant = await parts.make_tenant()
    task = await waiting(parts, tenant)
    await parts.issuing.policies.put(tenant, DOOR, PolicyDocument(lock_out=True))
    parts.clock.advance(timedelta(seconds=3))
    assert (await task).policy == 1


async def test_what_one_door_finds_wakes_the_others(parts: Parts):
    tenant = await parts.make_tenant()
    task = await waiting(parts, tenant)
    await parts.issuing.policies.put(tenant, DOOR, PolicyDocument(lock_out=True))
    parts.clock.monotonic += 3
    assert (await parts.issuing.changes.wait(tenant, DoorId("side-door"), _FIRST, wait_s=0)).policy == 0
    # The clock stands: what was read now is as new as can be. Its own time is not up for much longer.
    done, _ = await asyncio.wait((task,), timeout=DEADLINE_S / 3)
    assert done
    assert task.result().policy == 1


async def test_a_look_that_fails_ends_no_wait_and_is_not_the_last(parts: Parts):
    tenant = await parts.make_tenant()
    task = await waiting(parts, tenant)
    await parts.pool.execute("ALTER TABLE policies RENAME TO policies_away")
    parts.clock.monotonic += 3
    done, _ = await asyncio.wait((task,), timeout=RECHECK_S + 0.5)
    assert not done
    await parts.pool.execute("ALTER TABLE policies_away RENAME TO policies")
    await parts.issuing.policies.put(tenant, DOOR, PolicyDocument(lock_out=True))
    parts.clock.monotonic += 3
    assert (await task).policy == 1


async def test_a_list_that_grows_old_is_signed_again_for_who_waits(parts: Parts):
    tenant = await parts.make_tenant()
    task = await waiting(parts, tenant)
    parts.clock.wall += timedelta(seconds=TTL_S)
    parts.clock.monotonic += 3
    assert (await task).status == {"0": 2}


async def test_a_stop_ends_every_wait(parts: Parts):
    tenant = await parts.make_tenant()
    stopping = asyncio.Event()
    issuing, monotonic_s = parts.issuing, parts.clock.monotonic_s
    changes = Changes(
        parts.pool, issuing.status, issuing.rosters, issuing.commands, stopping=stopping, monotonic_s=monotonic_s
    )
    await parts.issuing.status.sequences(tenant)
    task = asyncio.create_task(changes.wait(tenant, DOOR, _FIRST, wait_s=DEADLINE_S))
    stopping.set()
    assert await task == _FIRST


async def test_what_another_process_changes_wakes_the_doors_at_once(parts: Parts, database_url: str):
    tenant = await parts.make_tenant()
    issuing, monotonic_s = parts.issuing, parts.clock.monotonic_s  # a clock that stands: nobody looks again by himself
    other = Changes(
        parts.pool, issuing.status, issuing.rosters, issuing.commands, stopping=asyncio.Event(), monotonic_s=monotonic_s
    )
    heralds = [Herald(database_url, changes) for changes in (other, issuing.changes)]
    running = [asyncio.create_task(herald.run()) for herald in heralds]
    try:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.gather(*(herald.hears.wait() for herald in heralds))
            task = await waiting(parts, tenant)
            await issuing.policies.put(tenant, DOOR, PolicyDocument(lock_out=True))
            other.publish(tenant)
            assert (await task).policy == 1

            # The database ends the connections, as a restart would; the heralds come back and look at what they missed.
            task = await waiting(parts, tenant, Versions(trust=1, policy=1, status={"0": 1}))
            await issuing.commands.issue(tenant, DOOR, NewCommand(action=CommandAction.UNLOCK), key=None)
            await parts.pool.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
            )
            assert (await task).commands > 0
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def test_a_question_is_read():
    known, wait_s = read_known({"trust": "12", "policy": "17", "status": "0:881,1:4", "roster": "9", "wait_s": "25"})
    assert known == Versions(trust=12, policy=17, status={"0": 881, "1": 4}, roster=9)
    assert wait_s == 25


def test_an_empty_question_means_that_nothing_is_there():
    assert read_known({}) == (Versions(trust=0, policy=0, status={}), 0)


def test_a_wait_is_bounded():
    assert read_known({"wait_s": "100000"})[1] == MAX_WAIT_S


@pytest.mark.parametrize(
    "query",
    [
        {"trust": "x"},
        {"policy": "-1"},
        {"roster": "+1"},
        {"status": "0"},
        {"status": "0:x"},
        {"wait_s": "1.5"},
        {"trust": "9" * 20},
    ],
)
def test_a_question_that_cannot_be_read_is_refused(query: dict[str, str]):
    with pytest.raises(CloudError) as caught:
        read_known(query)
    assert caught.value.reason is Reason.QUERY_INVALID


@given(st.text(max_size=60))
def test_any_status_text_is_read_or_refused(status: str):
    with suppress(CloudError):
        known, _ = read_known({"status": status})
        assert all(number.isdigit() for number in known.status)
