"""Documents come down."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from sync.loop import LoopHealth
from sync.pace import LONG_WAIT_S, POLL_S, PullPace
from sync.ports import Direction, Reason, UplinkError
from sync.pull import PullLoop
from tests.support.door_materials import MemoryMaterials
from tests.support.peer_cloud import signer, trusted
from tests.support.sync_bench import Bench
from tests.support.virtual_time import StandingSurroundings
from tests.support.waiting import until
from wire.command_list import MAX_COMMANDS
from wire.messages import DEVICE_COMMANDS, DEVICE_ROSTER, DEVICE_TRUST
from wire.names import KeyPurpose
from wire.versions import Versions


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


@pytest.mark.parametrize(("news", "crowds"), [("revocation", 1), ("command", 0)])
async def test_what_ends_a_long_question_may_be_new_to_a_crowd_but_for_a_command(bench: Bench, news: str, crowds: int):
    told: list[bool] = []
    pull = PullLoop(
        bench.materials,
        bench.uplink,
        bench.surroundings,
        LoopHealth(Direction.PULL, bench.surroundings, bench.listener),
        lambda: told.append(True),
    )
    await pull.step()
    assert bench.materials.versions().status == {0: 1}
    assert told == []
    if news == "revocation":
        bench.cloud.revoke(0, 9)
    else:
        bench.cloud.order(7)
    before = bench.materials.versions()
    await pull.step()
    assert bench.materials.versions() != before
    assert len(told) == crowds


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


# --- commands --------------------------------------------------------------------------------------------------


async def test_commands_come_after_trust_and_before_what_nobody_waits_for(bench: Bench):
    bench.cloud.order(7, 9)
    await bench.engine.pull.step()
    assert bench.materials.accepted == ["trust 1", "commands 9", "status 0:1", "policy 1"]
    assert bench.materials.commands == [b"command 7", b"command 9"]


async def test_a_command_is_fetched_once_and_what_follows_it_by_its_counter(bench: Bench):
    bench.cloud.order(7)
    await bench.engine.pull.step()
    await bench.engine.pull.step()
    bench.cloud.order(8)
    await bench.engine.pull.step()
    assert bench.materials.commands == [b"command 7", b"command 8"]
    assert [held.commands for held, _ in bench.cloud.asked] == [0, 7, 7]


async def test_more_commands_than_a_list_holds_come_in_the_next_round(bench: Bench):
    bench.cloud.order(*range(1, MAX_COMMANDS + 3))
    assert await bench.engine.pull.step() == 0
    assert len(bench.materials.commands) == MAX_COMMANDS
    await bench.engine.pull.step()
    assert bench.materials.commands == [b"command %d" % counter for counter in range(1, MAX_COMMANDS + 3)]


async def test_commands_that_hold_no_more_are_no_fault_and_make_the_door_ask_for_nothing(bench: Bench):
    bench.cloud.order(7)
    await bench.engine.pull.step()
    bench.cloud.commands.clear()
    bench.materials.accepted.clear()
    await bench.engine.pull.step()
    assert (bench.materials.accepted, bench.materials.versions().commands) == ([], 7)
    assert (await bench.engine.status()).pull.failures == 0


async def test_a_command_is_learned_while_the_question_waits(bench: Bench):
    await bench.engine.pull.step()
    await bench.engine.pull.step()
    waiting = asyncio.create_task(bench.engine.pull.step())
    await asyncio.sleep(0)
    bench.cloud.order(7)
    async with asyncio.timeout(10):
        await waiting
    assert bench.materials.commands == [b"command 7"]


async def test_what_is_no_list_of_commands_is_told_and_lets_the_others_come(bench: Bench):
    class Lying(type(bench.uplink)):  # type: ignore[misc]
        async def fetch(self, path: str, **rest: object) -> object:
            found = await super().fetch(path, **rest)
            return replace(found, data=b"no list") if path == DEVICE_COMMANDS else found

    bench.uplink = Lying(bench.cloud)
    bench.restarted()
    bench.cloud.order(7)
    await bench.engine.pull.step()
    assert bench.materials.accepted == ["trust 1", "status 0:1", "policy 1"]
    assert bench.materials.commands == []
    status = await bench.engine.status()
    assert status.pull.last_error_reason is Reason.MATERIAL_REFUSED
    assert "list of commands" in (status.pull.last_error or "")


# --- asking at once --------------------------------------------------------------------------------------------


@pytest.fixture
def standing() -> Bench:
    """A door and its cloud for whom no time passes: what waits goes on only when it is told to."""
    made = Bench()
    made.surroundings = made.cloud._surroundings = StandingSurroundings()
    made.restarted()
    return made


async def asked(bench: Bench, times: int) -> list[float]:
    """Wait until the cloud was asked so often; gives how long each question would wait."""
    await until(lambda: len(bench.cloud.asked) >= times)
    return [wait_s for _, wait_s in bench.cloud.asked]


async def test_a_long_question_is_given_up_for_a_quick_one(standing: Bench):
    pulling = asyncio.create_task(standing.engine.pull.run())
    assert await asked(standing, 2) == [0, LONG_WAIT_S]
    standing.engine.refresh()
    assert await asked(standing, 4) == [0, LONG_WAIT_S, 0, LONG_WAIT_S]
    assert (await standing.engine.status()).pull.failures == 0
    pulling.cancel()


async def test_a_door_that_waits_after_a_fault_asks_at_once(standing: Bench):
    standing.uplink.down = True
    pulling = asyncio.create_task(standing.engine.pull.run())
    surroundings = standing.surroundings
    assert isinstance(surroundings, StandingSurroundings)
    await until(lambda: len(surroundings.waits_s) == 1)
    standing.uplink.down = False
    standing.engine.refresh()
    assert (await asked(standing, 2))[0] == 0
    assert standing.materials.versions().policy == 1
    pulling.cancel()


async def test_a_door_that_polls_asks_at_once_and_polls_on(standing: Bench):
    await standing.engine.pull.step()
    standing.engine.pull._pace = PullPace(quick_left=5, cut=2)
    surroundings = standing.surroundings
    assert isinstance(surroundings, StandingSurroundings)
    pulling = asyncio.create_task(standing.engine.pull.run())
    await until(lambda: surroundings.waits_s == [POLL_S])
    standing.cloud.publish_policy()
    standing.engine.refresh()
    await until(lambda: surroundings.waits_s == [POLL_S, POLL_S])
    assert standing.materials.versions().policy == 2
    pulling.cancel()


async def test_an_order_to_ask_that_comes_with_an_answer_is_followed_after_it(bench: Bench):
    """As a command does it: it is fetched in a round, and orders the next one."""

    class Ordering(MemoryMaterials):
        async def accept_commands(self, data: bytes) -> None:
            await super().accept_commands(data)
            bench.engine.refresh()

    bench.materials = Ordering(bench.cloud.root.public_key)
    bench.restarted()
    await bench.engine.pull.step()
    bench.cloud.order(7)
    await bench.engine.pull.step()
    await bench.engine.pull.step()
    assert [wait_s for _, wait_s in bench.cloud.asked] == [0, LONG_WAIT_S, 0]


async def test_a_loop_that_is_ended_ends_its_question(standing: Bench):
    pulling = asyncio.create_task(standing.engine.pull.run())
    await asked(standing, 2)
    pulling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pulling
    assert len(asyncio.all_tasks()) == 1
