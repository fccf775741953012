"""A door tells how it is: every minute, soon after a change, and never at the cost of anything else."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from edge.attend import Attended, AttendedInputs, DeviceState
from edge.clock import SimulatedClock
from edge.core.tap import Noted, PolicyReplaced
from edge.machine import measure
from edge.ports import InputLine, InputsError, ReaderError, Reason
from edge.telemetry import Observed, Pace, Telemetry, Times
from tests.support.rig import READER, SETTINGS, Rig, running_rig
from tests.support.waiting import DEADLINE_S, until
from wire import health
from wire.health import DeviceHealth, DeviceKind, Health, Way, parse_health
from wire.names import ClockState, DoorMode, EventKind
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

HELD = Versions(3, 2, {0: 7}, 1, 4)
QUICK = Times(every_s=600.0, look_s=0.01, least_s=0.05, restless_s=1.0)


class Cloud:
    """Takes reports, or says why not."""

    def __init__(self) -> None:
        self.reports: list[Health] = []
        self.fault: str | None = None

    async def take(self, data: bytes) -> str | None:
        self.reports.append(parse_health(data))
        return self.fault


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as made:
        yield made


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


def observed(rig: Rig, versions: Callable[[], Versions] | None = None) -> Observed:
    board = AttendedInputs("board-1", "test:board-1", frozenset(InputLine), lambda: None)  # type: ignore[arg-type,return-value]
    return Observed(
        SimulatedClock(rig.folder / "offset"),
        rig.store,
        rig.controller,
        {READER: Attended(rig.reader)},
        [board],
        {},
        versions or (lambda: HELD),
        partial(measure, rig.folder),
    )


def telemetry(rig: Rig, cloud: Cloud, seen: Observed | None = None, times: Times = QUICK) -> Telemetry:
    return Telemetry(seen or observed(rig), lambda: Way.MQTT, cloud.take, lambda: 0.5, times)


@asynccontextmanager
async def reporting(made: Telemetry) -> AsyncIterator[None]:
    running = asyncio.create_task(made.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait((running,))


# --- what is told --------------------------------------------------------------------------------------------


async def test_a_report_tells_how_the_door_is(rig: Rig, cloud: Cloud):
    seen = observed(rig)
    seen.readers[READER].state = DeviceState.OPEN
    rig.controller.feed(Noted(EventKind.STARTED))
    started = await rig.next_event(EventKind.STARTED)
    async with reporting(telemetry(rig, cloud, seen)):
        await until(lambda: bool(cloud.reports))
    told = cloud.reports[0]
    assert (told.last, told.durable, told.backed_up, told.epoch) == (started.seq, 0, 0, rig.store.epoch)
    assert (told.clock, told.mode, told.way, told.versions) == (ClockState.TRUSTED, DoorMode.LOCKED, Way.MQTT, HELD)
    assert told.devices == (
        DeviceHealth("lock", DeviceKind.LOCK, health.DeviceState.WORKING),
        DeviceHealth(READER, DeviceKind.READER, health.DeviceState.WORKING),
        DeviceHealth("board-1", DeviceKind.INPUTS, health.DeviceState.LOST),
    )
    assert told.alarms == ()
    assert {"rss_mb", "disk_free_mb", "load_percent"} <= told.metrics.keys()
    assert told.metrics["rss_mb"] > 10
    assert told.software


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (Reason.LOST, health.DeviceState.LOST),
        (Reason.DEADLINE, health.DeviceState.LOST),
        (Reason.PERMISSION, health.DeviceState.FAULT),
        (Reason.FAULT, health.DeviceState.FAULT),
    ],
)
async def test_a_device_that_is_away_is_told_from_one_that_is_of_no_use(
    rig: Rig, cloud: Cloud, reason: Reason, state: health.DeviceState
):
    seen = observed(rig)
    reader, board = seen.readers[READER], seen.inputs[0]
    reader.state, reader.error = DeviceState.LOST, ReaderError(reason, what="it", remedy="do")
    board.state, board.error = DeviceState.LOST, InputsError(reason, what="it", remedy="do")
    told = await telemetry(rig, cloud, seen).gather()
    assert [each.state for each in told.devices[1:]] == [state, state]


async def test_a_disk_that_does_not_answer_is_an_alarm_and_the_marks_read_last_stand(rig: Rig, cloud: Cloud):
    made = telemetry(rig, cloud)
    rig.controller.feed(Noted(EventKind.STARTED))
    before = (await rig.next_event(EventKind.STARTED)).seq
    assert (await made.gather()).last == before
    await rig.store.aclose()
    told = await made.gather()
    assert (told.alarms, told.last) == ((EventKind.STORAGE_FAULT,), before)


async def test_a_disk_that_takes_no_event_is_an_alarm_until_it_takes_one(rig: Rig, cloud: Cloud):
    made = telemetry(rig, cloud)
    connection = rig.store._database._connection
    connection.execute("PRAGMA query_only = 1")
    rig.controller.feed(Noted(EventKind.STARTED))
    await until(lambda: rig.controller.storage_failed)
    assert (await made.gather()).alarms == (EventKind.STORAGE_FAULT,)
    connection.execute("PRAGMA query_only = 0")
    rig.controller.feed(Noted(EventKind.STARTED))
    await rig.next_event(EventKind.STORAGE_RESTORED)
    assert (await made.gather()).alarms == ()


async def test_a_door_in_maintenance_says_so_until_it_ends(rig: Rig, cloud: Cloud):
    made = telemetry(rig, cloud)
    for maintenance, told in ((True, (EventKind.MAINTENANCE_STARTED,)), (False, ())):
        settings = replace(SETTINGS, maintenance=maintenance)
        rig.controller.feed(PolicyReplaced(rig.keys.policy_state(UTC, settings=settings), None))
        await rig.next_event(EventKind.MAINTENANCE_STARTED if maintenance else EventKind.MAINTENANCE_ENDED)
        assert (await made.gather()).alarms == told


def test_what_a_machine_does_not_tell_is_left_out(tmp_path: Path):
    assert "disk_free_mb" in measure(tmp_path)
    assert "disk_free_mb" not in measure(tmp_path / "nothing")


# --- when ----------------------------------------------------------------------------------------------------

TIMES = Times()


def test_the_first_report_waits_until_devices_had_time_to_open():
    pace = Pace(5.0)
    assert [pace.look(at, ("opening",)) for at in (2.0, 4.0, 6.0)] == [False, False, True]


def test_a_quiet_door_reports_every_minute_give_or_take_a_tenth():
    pace = Pace(0.0)
    for fraction, due_s in ((0.0, 54.0), (0.5, 60.0), (1.0, 66.0)):
        pace.told(0.0, ("well",), fraction)
        assert (pace.look(due_s - 0.1, ("well",)), pace.look(due_s, ("well",))) == (False, True)


def told(at_s: float = 0.0) -> Pace:
    pace = Pace(0.0)
    pace.told(at_s, ("well",), 0.5)
    pace.look(at_s, ("well",))
    return pace


def test_a_change_is_told_when_it_still_stands_at_the_next_look():
    pace = told()
    assert [pace.look(at, ("lost",)) for at in (20.0, 22.0)] == [False, True]


def test_a_change_that_is_over_at_the_next_look_is_not_told():
    pace = told()
    looks = [pace.look(at, what) for at, what in ((20.0, ("lost",)), (22.0, ("well",)), (24.0, ("well",)))]
    assert looks == [False, False, False]


def test_what_does_not_come_to_rest_is_told_after_some_seconds_all_the_same():
    pace = told()
    assert [pace.look(20.0 + each, (each,)) for each in (0, 2, 4, 6, 8, 10)] == [False] * 5 + [True]


def test_changes_after_a_report_wait_until_five_seconds_have_passed():
    pace = told(20.0)
    assert [pace.look(at, ("lost",)) for at in (22.0, 24.0, 25.0)] == [False, False, True]


async def test_a_change_is_told_soon_and_nothing_is_told_twice(rig: Rig, cloud: Cloud):
    looks = 0

    def look() -> Versions:
        nonlocal looks
        looks += 1
        return HELD

    seen = observed(rig, look)
    async with reporting(telemetry(rig, cloud, seen)):
        await until(lambda: len(cloud.reports) == 1)
        seen.readers[READER].state = DeviceState.OPEN
        await until(lambda: len(cloud.reports) == 2)
        rig.controller.feed(Noted(EventKind.STARTED))  # nothing that people are told soon
        await rig.next_event(EventKind.STARTED)
        at = looks
        await until(lambda: looks >= at + 10)
    assert len(cloud.reports) == 2
    assert cloud.reports[1].devices[1].state is health.DeviceState.WORKING


# --- at no cost ----------------------------------------------------------------------------------------------


async def test_a_report_that_cannot_be_sent_is_logged_once_and_told_to_who_asks(rig: Rig, cloud: Cloud):
    cloud.fault = "the cloud cannot be reached; check the cable"
    made = telemetry(rig, cloud, times=Times(every_s=0.02, look_s=0.01, least_s=0.0, restless_s=0.1))
    with capture_logs() as logs:
        async with reporting(made):
            await until(lambda: len(cloud.reports) >= 3)
            assert made.plain() == {"last_reported": None, "error": cloud.fault}
            cloud.fault = None
            await until(lambda: made.plain()["error"] is None)
            assert made.plain()["last_reported"] is not None
    assert [each["event"] for each in logs].count("health_not_reported") == 1


async def test_a_disk_that_hangs_costs_a_report_its_metrics_and_no_second_thread(rig: Rig, cloud: Cloud):
    hanging, begun = threading.Event(), []

    def hang() -> dict[str, int]:
        begun.append(1)
        hanging.wait(DEADLINE_S)
        return {}

    hasty = Times(every_s=0.02, look_s=0.01, least_s=0.0, restless_s=0.1, measure_s=0.01)
    made = telemetry(rig, cloud, replace(observed(rig), measure=hang), hasty)
    try:
        async with reporting(made):
            await until(lambda: bool(begun) and len(cloud.reports) >= 3)
    finally:
        hanging.set()
    assert (cloud.reports[2].metrics, begun) == ({}, [1])
