"""Events go up."""

from __future__ import annotations

import asyncio

import pytest

from sync.ports import Direction, Reason
from sync.push import CROWD_FIRST_S, CROWD_LAST_S, PROBE_S, UNHEARD_S
from tests.support.memory_uplink import Fault, MemoryUplink
from tests.support.sync_bench import Bench
from tests.support.virtual_time import StandingSurroundings
from tests.support.waiting import until


@pytest.fixture
async def bench() -> Bench:
    return await Bench().trusting()


async def test_what_is_journaled_arrives(bench: Bench):
    bench.journal.write(3)
    await bench.engine.push.step()
    assert bench.stored == bench.journal.history
    assert (await bench.journal.marks()).durable == 3


async def test_a_backlog_goes_in_growing_runs(bench: Bench):
    bench.journal.write(1_000)
    await bench.push_until_quiet(steps=10)
    assert bench.cloud.requests == [(1, 100), (101, 300), (301, 700), (701, 1_000)]


async def test_a_backlog_goes_in_runs_that_the_way_bears(bench: Bench):
    bench.journal.write(700)
    bench.uplink.bearable_events = 100
    await bench.engine.push.step()
    await bench.engine.push.step()
    bench.uplink.bearable_events = 500
    await bench.push_until_quiet(steps=10)
    assert bench.cloud.requests == [(1, 100), (101, 200), (201, 600), (601, 700)]


async def test_a_quiet_door_waits_to_be_woken(bench: Bench):
    pause = await bench.engine.push.step()
    assert (pause.seconds, pause.wakeable) == (PROBE_S, True)
    assert bench.cloud.requests == []


async def test_a_lost_answer_is_asked_for_again_and_nothing_is_stored_twice(bench: Bench):
    bench.journal.write(5)
    bench.uplink.faults = [Fault.ANSWER_LOST]
    assert (await bench.journal.marks()).durable == 0
    await bench.push_until_quiet(steps=3)
    assert bench.cloud.requests == [(1, 5), (1, 5)]
    assert bench.stored == bench.journal.history


async def test_each_failure_waits_longer_and_success_resets(bench: Bench):
    bench.journal.write()
    bench.uplink.faults = [Fault.BATCH_LOST] * 3
    pauses = [(await bench.engine.push.step()).seconds for _ in range(4)]
    assert pauses == [0.5, 1.0, 2.0, 0.0]
    bench.journal.write()
    bench.uplink.faults = [Fault.BATCH_LOST]
    assert (await bench.engine.push.step()).seconds == 0.5


async def test_waking_does_not_shorten_the_wait_after_a_failure(bench: Bench):
    bench.journal.write()
    bench.uplink.faults = [Fault.BATCH_LOST]
    bench.engine.wake()
    assert not (await bench.engine.push.step()).wakeable


async def test_a_busy_cloud_is_left_alone_for_as_long_as_it_asks(bench: Bench):
    bench.journal.write()
    bench.uplink.faults = [Fault.BUSY]
    assert (await bench.engine.push.step()).seconds == 5.5


@pytest.mark.parametrize(
    ("fault", "doubted"),
    [(Fault.NONE, 0), (Fault.BUSY, 1), (Fault.FALSE_GAP, 1), (Fault.GARBAGE, 1), (Fault.FORGED_KEY, 1)],
)
@pytest.mark.parametrize("direct", [False, True])
async def test_what_a_broker_refuses_or_forges_is_doubted(bench: Bench, fault: Fault, doubted: int, direct: bool):  # noqa: FBT001
    bench.journal.write(3)
    await bench.engine.push.step()
    bench.uplink.doubted, bench.uplink.direct = 0, direct
    bench.journal.write(3)
    bench.uplink.faults = [fault]
    await bench.engine.push.step()
    assert bench.uplink.doubted == (0 if direct else doubted)


class ByBroker(MemoryUplink):
    """A way on which the cloud itself answers only what follows a doubt."""

    async def send_batch(self, data: bytes) -> bytes:
        self.direct, self.doubted = self.doubted > 0, 0
        return await super().send_batch(data)


async def test_the_cloud_itself_is_heard_first_and_every_quarter_of_an_hour(bench: Bench):
    """However busy the door is: behind a broker nobody else tells the time, or that the cloud was restored."""
    uplink = ByBroker(bench.cloud)
    push, direct = bench.restarted(uplink).push, []
    for _ in range(32):
        bench.journal.write(1)
        await push.step()
        direct.append(uplink.direct)
        bench.surroundings.pass_s(60.0)
    assert direct == [True, *[False] * 14, True, *[False] * 14, True, False]
    assert len(bench.listener.times) == 3


async def test_a_cloud_that_is_not_reached_itself_keeps_no_broker_from_taking_events(bench: Bench):
    bench.journal.write(1)
    bench.uplink.faults = [Fault.BATCH_LOST]
    await bench.engine.push.step()
    assert bench.uplink.doubted == 1
    bench.uplink.direct = False
    await bench.engine.push.step()
    assert (bench.uplink.doubted, bench.journal.durable, bench.listener.times) == (1, 1, [])
    bench.surroundings.pass_s(UNHEARD_S)
    bench.journal.write(1)
    await bench.engine.push.step()
    assert bench.uplink.doubted == 2


async def test_a_cloud_that_was_restored_gets_everything_again(bench: Bench):
    bench.journal.write(10)
    await bench.engine.push.step()
    bench.cloud.back_up()
    bench.journal.write(10)
    await bench.engine.push.step()
    bench.cloud.restore()
    bench.journal.write(1)
    await bench.push_until_quiet(steps=4)
    assert bench.stored == bench.journal.history


async def test_a_restored_cloud_that_is_asked_by_a_quiet_door_gets_everything_again(bench: Bench):
    bench.journal.write(10)
    await bench.engine.push.step()
    bench.cloud.restore()
    bench.engine.push.probe()
    await bench.push_until_quiet(steps=4)
    assert bench.stored == bench.journal.history


async def test_what_the_cloud_says_unsigned_deletes_nothing(bench: Bench):
    bench.journal.write(10)
    bench.uplink.faults, bench.uplink.claimed = [Fault.FALSE_GAP], 10
    await bench.engine.push.step()
    assert bench.journal.deleted == 0
    assert (await bench.journal.marks()).durable == 0


@pytest.mark.parametrize(
    "fault",
    [Fault.FORGED_KEY, Fault.WRONG_PURPOSE, Fault.AHEAD, Fault.OTHER_DEVICE, Fault.OTHER_EPOCH, Fault.GARBAGE],
)
async def test_an_acknowledgement_that_lies_changes_nothing(bench: Bench, fault: Fault):
    bench.journal.write(10)
    bench.uplink.faults = [fault]
    await bench.engine.push.step()
    assert (await bench.journal.marks()).durable == 0
    assert bench.journal.deleted == 0
    assert (await bench.engine.status()).push.last_error_reason is Reason.ACKNOWLEDGEMENT_REFUSED


async def test_an_acknowledgement_of_other_events_is_told_as_a_copied_card(bench: Bench):
    bench.journal.write(10)
    bench.uplink.faults = [Fault.WRONG_HEAD]
    await bench.engine.push.step()
    status = await bench.engine.status()
    assert status.push.last_error_reason is Reason.JOURNAL_MISMATCH
    assert "copied memory card" in (status.push.last_error or "")
    assert bench.listener.times == []


async def test_events_are_kept_until_they_are_backed_up(bench: Bench):
    bench.journal.write(10)
    await bench.engine.push.step()
    assert bench.journal.deleted == 0
    bench.cloud.back_up()
    bench.engine.push.probe()
    await bench.engine.push.step()
    assert bench.journal.deleted == 10


async def test_a_quiet_door_whose_events_are_all_gone_has_nothing_to_ask_with(bench: Bench):
    bench.journal.write(1)
    await bench.engine.push.step()
    bench.journal.forget_up_to(1)
    bench.engine.push.probe()
    assert (await bench.engine.push.step()).wakeable
    assert bench.cloud.requests == [(1, 1)]


async def test_a_cloud_that_asks_for_deleted_events_is_told_what_to_do(bench: Bench):
    bench.journal.write(10)
    await bench.engine.push.step()
    bench.journal.forget_up_to(10)
    bench.journal.write(1)
    bench.uplink.faults, bench.uplink.claimed = [Fault.FALSE_GAP], 4
    await bench.engine.push.step()
    await bench.engine.push.step()
    status = await bench.engine.status()
    assert status.push.last_error_reason is Reason.JOURNAL_GAP
    assert "from number 5 on" in (status.push.last_error or "")


async def test_a_false_claim_about_deleted_events_is_forgotten(bench: Bench):
    bench.journal.write(10)
    await bench.engine.push.step()
    bench.journal.forget_up_to(10)
    bench.journal.write(1)
    bench.uplink.faults, bench.uplink.claimed = [Fault.FALSE_GAP], 4
    await bench.push_until_quiet(steps=4)
    assert bench.stored == bench.journal.history


async def test_a_journal_with_a_hole_is_not_sent(bench: Bench):
    bench.journal.write(10)
    bench.journal.forget_up_to(3)
    await bench.engine.push.step()
    assert bench.cloud.requests == []
    assert (await bench.engine.status()).push.last_error_reason is Reason.JOURNAL_GAP


async def test_a_damaged_event_is_not_sent(bench: Bench):
    bench.journal.history.append(b"")
    await bench.engine.push.step()
    assert (await bench.engine.status()).push.last_error_reason is Reason.JOURNAL_DAMAGED


async def test_a_store_that_does_not_answer_is_tried_again(bench: Bench):
    bench.journal.write(2)
    bench.journal.out_of_order = True
    assert (await bench.engine.push.step()).seconds == 0.5
    assert (await bench.engine.status()).pending is None
    bench.journal.out_of_order = False
    await bench.engine.push.step()
    assert (await bench.engine.status()).pending == 0


async def test_an_acknowledgement_brings_the_time_with_the_round_trip_as_uncertainty(bench: Bench):
    bench.journal.write(1)
    await bench.engine.push.step()
    assert bench.listener.times == [(bench.surroundings.wall_ms(), 0)]


async def test_what_a_broker_brings_tells_no_time(bench: Bench):
    """It could repeat an acknowledgement that the cloud signed long ago, and set a door's clock back so."""
    bench.journal.write(1)
    bench.uplink.direct = False
    await bench.engine.push.step()
    assert (bench.journal.durable, bench.listener.times) == (1, [])


async def test_an_old_acknowledgement_brings_no_time(bench: Bench):
    bench.journal.write(1)
    await bench.engine.push.step()
    bench.journal.write(1)
    bench.uplink.faults = [Fault.OLD_ANSWER]
    await bench.engine.push.step()
    assert len(bench.listener.times) == 1
    assert (await bench.engine.status()).push.last_error_reason is Reason.NO_PROGRESS


async def test_a_loop_that_runs_sends_when_woken_and_asks_when_it_was_quiet_for_long(bench: Bench):
    running = asyncio.create_task(bench.engine.push.run())
    try:
        bench.journal.write(1)
        bench.engine.wake()
        await until(lambda: len(bench.cloud.requests) >= 3)
    finally:
        running.cancel()
    assert bench.cloud.requests[:3] == [(1, 1)] * 3
    assert PROBE_S in bench.surroundings.slept_s


async def test_in_a_crowd_the_next_batch_waits_and_those_after_it_do_not():
    bench = Bench()
    bench.surroundings = surroundings = StandingSurroundings()  # but for whoever sleeps
    await bench.trusting()
    push = bench.restarted().push
    running = asyncio.create_task(push.run())
    try:
        await until(lambda: surroundings.waits_s == [PROBE_S])
        push.crowd()
        bench.journal.write(1)
        bench.engine.wake()
        await until(lambda: bench.cloud.requests == [(1, 1)])
        bench.journal.write(1)
        bench.engine.wake()
        await until(lambda: bench.cloud.requests == [(1, 1), (2, 2)])
    finally:
        running.cancel()
    (held_back_s,) = [slept_s for slept_s in surroundings.slept_s if slept_s]
    assert CROWD_FIRST_S <= held_back_s <= CROWD_LAST_S


async def test_a_fault_and_its_end_are_noted_once(bench: Bench):
    bench.journal.write(1)
    bench.uplink.faults = [Fault.BATCH_LOST, Fault.BATCH_LOST, Fault.BUSY]
    await bench.push_until_quiet(steps=5)
    noted = [(notice.direction, notice.reason) for notice in bench.listener.notices]
    assert noted == [(Direction.PUSH, Reason.DEADLINE), (Direction.PUSH, Reason.BUSY), (Direction.PUSH, None)]
