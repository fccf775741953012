"""Documents come down."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sync.pace import LONG_WAIT_S
from sync.ports import Reason, UplinkError, Versions
from tests.support.door_materials import MemoryMaterials
from tests.support.peer_cloud import signer, trusted
from tests.support.sync_bench import Bench
from wire.messages import DEVICE_ROSTER, DEVICE_TRUST
from wire.names import KeyPurpose


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_trust_comes_first_then_every_list_then_policy(bench: Bench):
    bench.cloud.add_list(3)
    await bench.engine.pull.step()
    assert bench.materials.accepted == ["trust 1", "status 0:1", "status 3:1", "policy 1"]


async def test_nothing_is_fetched_twice(bench: Bench):
    await bench.engine.pull.step()
    bench.materials.accepted.clear()
    await bench.engine.pull.step()
    assert bench.materials.accepted == []


async def test_a_revocation_comes_as_a_delta(bench: Bench):
    await bench.engine.pull.step()
    bench.cloud.revoke(0, 77)
    await bench.engine.pull.step()
    assert bench.materials.accepted[-1] == "delta 0:2"
    assert bench.materials.statuses[0].is_set(77)


async def test_a_delta_that_does_not_apply_is_replaced_by_the_whole_list(bench: Bench):
    await bench.engine.pull.step()
    status = bench.materials.statuses[0]
    bench.materials.statuses[0] = type(status)(
        tenant=status.tenant,
        list_id=0,
        sequence=status.sequence,
        issued_at_s=status.issued_at_s,
        expires_at_s=status.expires_at_s,
        ttl_s=status.ttl_s,
        bits=b"\xff" * len(status.bits),
    )
    bench.cloud.revoke(0, 5)
    await bench.engine.pull.step()
    assert bench.materials.refused == ["delta"]
    assert bench.materials.accepted[-1] == "status 0:2"
    assert (await bench.engine.status()).pull.failures == 0


async def test_a_door_that_missed_several_changes_gets_the_whole_list(bench: Bench):
    await bench.engine.pull.step()
    bench.cloud.revoke(0, 5)
    bench.cloud.revoke(0, 6)
    await bench.engine.pull.step()
    assert bench.materials.accepted[-1] == "status 0:3"


async def test_a_new_key_is_known_before_what_it_signed(bench: Bench):
    await bench.engine.pull.step()
    bench.cloud.status_key = signer(33)
    bench.cloud.publish_trust(trusted(bench.cloud.status_key, KeyPurpose.STATUS))
    bench.cloud.revoke(0, 5)
    await bench.engine.pull.step()
    assert bench.materials.accepted[-2:] == ["trust 2", "delta 0:2"]


async def test_a_refused_bundle_leaves_the_old_one_and_lets_the_others_come(bench: Bench):
    await bench.engine.pull.step()
    bench.cloud.root = signer(66)
    bench.cloud.publish_trust()
    bench.cloud.revoke(0, 5)
    bench.cloud.publish_policy()
    await bench.engine.pull.step()
    assert bench.materials.versions() == Versions(1, 2, {0: 2})
    status = await bench.engine.status()
    assert status.pull.last_error_reason is Reason.MATERIAL_REFUSED
    assert "trust bundle" in (status.pull.last_error or "")


async def test_a_refused_document_is_asked_for_ever_less_often(bench: Bench):
    await bench.engine.pull.step()
    bench.cloud.policy_key = signer(66)
    bench.cloud.publish_policy()
    assert [await bench.engine.pull.step() for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]


async def test_a_cloud_that_went_back_is_told_and_does_not_make_the_door_spin(bench: Bench):
    bench.cloud.publish_policy()
    await bench.engine.pull.step()
    bench.cloud.policy = Bench().cloud.policy
    assert [await bench.engine.pull.step() for _ in range(3)] == [0.5, 1.0, 2.0]
    assert (await bench.engine.status()).pull.last_error_reason is Reason.NO_PROGRESS
    assert bench.materials.versions().policy == 2


async def test_a_document_that_the_cloud_names_and_does_not_have_keeps_no_other_from_coming(bench: Bench):
    bench.cloud.statuses[9] = bench.cloud.statuses[0]
    offered = bench.cloud.versions()
    del bench.cloud.statuses[9]

    class Announcing(type(bench.uplink)):  # type: ignore[misc]
        async def changes(self, _versions: Versions, *, wait_s: int) -> Versions:
            assert wait_s >= 0
            return offered

    bench.uplink = Announcing(bench.cloud)
    bench.restarted()
    await bench.engine.pull.step()
    assert bench.materials.accepted == ["trust 1", "status 0:1", "policy 1"]
    assert (await bench.engine.status()).pull.last_error_reason is Reason.REFUSED


async def test_a_broken_line_is_not_asked_for_every_document(bench: Bench):
    bench.uplink.down = True
    await bench.engine.pull.step()
    status = await bench.engine.status()
    assert (status.pull.last_error_reason, status.connected) == (Reason.UNREACHABLE, False)
    assert bench.materials.accepted == []


async def test_a_change_is_learned_while_the_question_waits(bench: Bench):
    await bench.engine.pull.step()
    await bench.engine.pull.step()
    waiting = asyncio.create_task(bench.engine.pull.step())
    await asyncio.sleep(0)
    assert not waiting.done()
    bench.cloud.revoke(0, 9)
    async with asyncio.timeout(10):
        await waiting
    assert bench.materials.versions().status == {0: 2}


async def test_questions_wait_long_once_the_first_is_answered(bench: Bench):
    asked: list[int] = []

    class Asking(type(bench.uplink)):  # type: ignore[misc]
        async def changes(self, _versions: Versions, *, wait_s: int) -> Versions:
            asked.append(wait_s)
            return self.cloud.versions()  # type: ignore[no-any-return]

    bench.uplink = Asking(bench.cloud)
    bench.restarted()
    pauses = [await bench.engine.pull.step() for _ in range(3)]
    assert asked == [0, LONG_WAIT_S, LONG_WAIT_S]
    assert pauses == [0.0, LONG_WAIT_S, LONG_WAIT_S]


async def test_a_line_that_breaks_between_documents_is_left_at_once(bench: Bench):
    class Breaking(type(bench.uplink)):  # type: ignore[misc]
        async def fetch(self, path: str, **_: object) -> None:
            bench.materials.refused.append(path)
            raise UplinkError(Reason.UNREACHABLE, what="no route", remedy="plug the cable in")

    bench.uplink = Breaking(bench.cloud)
    bench.restarted()
    await bench.engine.pull.step()
    assert bench.materials.refused == [DEVICE_TRUST]


async def test_a_document_that_has_come_in_the_meantime_is_not_read_again(bench: Bench):
    await bench.engine.pull.step()
    held = bench.materials.versions()

    class Announcing(type(bench.uplink)):  # type: ignore[misc]
        async def changes(self, _versions: Versions, *, wait_s: int) -> Versions:
            assert wait_s >= 0
            return Versions(held.trust + 1, held.policy + 1, {0: 2})

    bench.uplink = Announcing(bench.cloud)
    bench.restarted()
    bench.materials.accepted.clear()
    await bench.engine.pull.step()
    assert (bench.materials.accepted, bench.materials.versions()) == ([], held)
    assert (await bench.engine.status()).pull.last_error_reason is Reason.NO_PROGRESS


async def test_a_roster_comes_last_then_its_changes_as_a_delta(bench: Bench):
    bench.cloud.enrol(1, 2)
    await bench.engine.pull.step()
    assert bench.materials.accepted == ["trust 1", "status 0:1", "policy 1", "roster 1"]
    bench.cloud.enrol(2, 3)
    await bench.engine.pull.step()
    assert bench.materials.accepted[-1] == "roster delta 2"
    assert bench.materials.roster == bench.cloud.roster
    bench.materials.accepted.clear()
    await bench.engine.pull.step()
    assert bench.materials.accepted == []


async def test_a_door_that_missed_several_changes_of_the_roster_gets_the_whole(bench: Bench):
    bench.cloud.enrol(1)
    await bench.engine.pull.step()
    bench.cloud.enrol(1, 2)
    bench.cloud.enrol(1, 2, 3)
    await bench.engine.pull.step()
    assert bench.materials.accepted[-1] == "roster 3"


async def test_a_roster_delta_that_does_not_apply_is_replaced_by_the_whole_roster(bench: Bench):
    bench.cloud.enrol(1)
    await bench.engine.pull.step()
    assert bench.materials.roster is not None
    bench.materials.roster = replace(bench.materials.roster, records=b"")
    bench.cloud.enrol(1, 2)
    await bench.engine.pull.step()
    assert bench.materials.refused == ["roster delta"]
    assert bench.materials.accepted[-1] == "roster 2"
    assert (await bench.engine.status()).pull.failures == 0


async def test_a_delta_is_asked_for_from_the_version_that_the_door_wants(bench: Bench):
    asked: list[dict[str, str]] = []

    class Asking(type(bench.uplink)):  # type: ignore[misc]
        async def fetch(self, path: str, *, query: dict[str, str], **rest: object) -> object:
            if path == DEVICE_ROSTER:
                asked.append(query)
            return await super().fetch(path, query=query, **rest)

    class Wanting(MemoryMaterials):
        wanted = 0

        def roster_base(self) -> int:
            return self.wanted

        def versions(self) -> Versions:
            return replace(super().versions(), roster=super().roster_base())

    bench.uplink = Asking(bench.cloud)
    bench.materials = materials = Wanting(bench.cloud.root.public_key)
    bench.restarted()
    for materials.wanted in (0, 1, 0):
        bench.cloud.enrol(*range(len(asked) + 1))
        await bench.engine.pull.step()
    assert asked == [{}, {"since": "1"}, {}]
    assert bench.materials.accepted[-3:] == ["roster 1", "roster delta 2", "roster 3"]


async def test_a_refused_roster_leaves_the_old_one_and_is_told(bench: Bench):
    bench.cloud.enrol(1)
    await bench.engine.pull.step()
    bench.cloud.policy_key = signer(66)
    bench.cloud.enrol(1, 2)
    await bench.engine.pull.step()
    assert bench.materials.refused == ["roster delta", "roster"]
    assert bench.materials.versions().roster == 1
    status = await bench.engine.status()
    assert status.pull.last_error_reason is Reason.MATERIAL_REFUSED
    assert "roster" in (status.pull.last_error or "")
