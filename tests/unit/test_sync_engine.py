"""Both directions side by side, and what is told about them."""

from __future__ import annotations

import asyncio

import pytest

from sync.ports import Reason, UplinkError
from sync.surroundings import SystemSurroundings
from tests.support.memory_uplink import Fault
from tests.support.sync_bench import Bench
from tests.support.waiting import until


async def test_a_door_without_trust_fetches_it_and_then_believes_acknowledgements():
    bench = Bench()
    bench.journal.write(5)
    running = asyncio.create_task(bench.engine.run())
    try:
        await until(lambda: bench.journal.durable == 5)
    finally:
        running.cancel()
    assert bench.materials.versions().policy == 1


async def test_documents_come_although_no_event_gets_through():
    bench = Bench()
    bench.journal.write(1)
    bench.uplink.faults = [Fault.GARBAGE] * 1_000
    running = asyncio.create_task(bench.engine.run())
    try:
        await until(lambda: bench.materials.versions().policy == 1)
        assert (await bench.engine.status()).push.failures > 0
    finally:
        running.cancel()


async def test_events_arrive_although_no_document_comes():
    bench = await Bench().trusting()

    class Deaf(type(bench.uplink)):  # type: ignore[misc]
        async def changes(self, *_: object, **__: object) -> None:
            raise UplinkError(Reason.UNREADABLE, what="nonsense", remedy="wait")

    bench.uplink = Deaf(bench.cloud)
    bench.restarted()
    bench.journal.write(5)
    running = asyncio.create_task(bench.engine.run())
    try:
        await until(lambda: len(bench.stored) == 5)
        assert (await bench.engine.status()).pull.failures > 0
    finally:
        running.cancel()


async def test_status_before_the_first_exchange_claims_nothing():
    status = await Bench().engine.status()
    assert not status.connected
    assert status.push.last_success_wall_ms is None
    assert status.pull.last_error is None


async def test_status_says_since_when_and_until_when():
    bench = await Bench().trusting()
    bench.journal.write(3)
    await bench.engine.push.step()
    good_ms = bench.surroundings.monotonic_ms()
    bench.surroundings.pass_s(60)
    bench.journal.write(2)
    bench.uplink.down = True
    await bench.engine.push.step()
    status = await bench.engine.status()
    assert not status.connected
    assert status.push.last_success_monotonic_ms == good_ms
    assert status.push.retry_at_monotonic_ms == bench.surroundings.monotonic_ms() + 500
    assert status.push.last_error == "no route; plug the cable in"
    assert status.pending == 2


async def test_a_cloud_that_refuses_is_connected_all_the_same():
    bench = await Bench().trusting()
    bench.journal.write(1)
    bench.uplink.faults = [Fault.BUSY]
    await bench.engine.push.step()
    status = await bench.engine.status()
    assert status.connected
    assert status.push.failures == 1


async def test_a_fault_of_the_disk_says_nothing_about_the_connection():
    bench = await Bench().trusting()
    bench.journal.write(1)
    await bench.engine.push.step()
    bench.journal.out_of_order = True
    await bench.engine.push.step()
    status = await bench.engine.status()
    assert status.connected
    assert status.push.last_error_reason is Reason.JOURNAL_UNAVAILABLE


async def test_the_younger_exchange_tells_whether_the_door_is_connected():
    bench = await Bench().trusting()
    bench.uplink.down = True
    await bench.engine.pull.step()
    bench.surroundings.pass_s(1)
    bench.uplink.down = False
    bench.journal.write(1)
    await bench.engine.push.step()
    assert (await bench.engine.status()).connected


async def test_the_systems_own_wait_ends_early_when_the_event_is_set():
    event = asyncio.Event()
    event.set()
    assert await SystemSurroundings().wait_for(event, 30.0)


async def test_the_systems_own_wait_ends_in_time_when_it_is_not():
    assert not await SystemSurroundings().wait_for(asyncio.Event(), 0.001)


async def test_the_systems_own_clocks_and_dice():
    system = SystemSurroundings()
    before = system.monotonic_ms()
    await system.sleep(0.002)
    assert system.monotonic_ms() > before
    assert 0 <= system.fraction() < 1
    assert system.wall_ms() > 1_700_000_000_000


def test_an_error_keeps_its_parts():
    error = UplinkError(Reason.BUSY, what="the cloud is busy", remedy="wait", retry_after_s=3.0)
    assert (str(error), error.what, error.remedy) == ("the cloud is busy; wait", "the cloud is busy", "wait")
    with pytest.raises(UplinkError):
        raise error
