"""The clock ladder: each rung, and that no step of the system's clock moves the door's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edge.clock import (
    NTP_ASKED_EVERY_MS,
    RTC_UNCERTAINTY_MS,
    LadderClock,
    RealSystem,
    SimulatedClock,
)
from edge.ntp import ntp_synchronised
from wire.names import ClockState

if TYPE_CHECKING:
    from pathlib import Path

START_MS = 1_800_000_000_000


@dataclass
class MachineClocks:
    """A machine whose clocks a test sets; it stands behind the port of the real one."""

    monotonic: int = 1_000
    wall: int = START_MS
    synchronised: bool = False

    def monotonic_ms(self) -> int:
        return self.monotonic

    def wall_ms(self) -> int:
        return self.wall

    def ntp_synchronised(self) -> bool:
        return self.synchronised

    def pass_time(self, ms: int) -> None:
        self.monotonic += ms
        self.wall += ms


def test_ntp_makes_the_clock_trusted():
    now = LadderClock(MachineClocks(synchronised=True), rtc=False, floor_ms=0).now()
    assert (now.clock, now.wall_ms, now.uncertainty_ms) == (ClockState.TRUSTED, START_MS, 0)


def test_without_ntp_rtc_or_issuer_the_clock_is_suspect():
    assert LadderClock(MachineClocks(), rtc=False, floor_ms=0).now().clock is ClockState.SUSPECT


def test_a_battery_clock_above_the_floor_is_holdover():
    now = LadderClock(MachineClocks(), rtc=True, floor_ms=START_MS).now()
    assert (now.clock, now.uncertainty_ms) == (ClockState.HOLDOVER, RTC_UNCERTAINTY_MS)


def test_a_battery_clock_below_the_floor_is_suspect_and_shows_the_floor():
    now = LadderClock(MachineClocks(), rtc=True, floor_ms=START_MS + 1).now()
    assert (now.clock, now.wall_ms) == (ClockState.SUSPECT, START_MS + 1)


def test_a_battery_clock_that_was_never_vouched_for_is_suspect():
    assert LadderClock(MachineClocks(), rtc=True, floor_ms=0).now().clock is ClockState.SUSPECT


def test_ntp_below_the_floor_is_not_believed():
    now = LadderClock(MachineClocks(synchronised=True), rtc=False, floor_ms=START_MS + 1).now()
    assert now.clock is ClockState.SUSPECT


def test_issuer_time_makes_the_clock_trusted_and_raises_the_floor():
    clock = LadderClock(MachineClocks(wall=5), rtc=False, floor_ms=0)
    clock.signed_time(issued_at_ms=START_MS, uncertainty_ms=40)
    now = clock.now()
    assert (now.clock, now.wall_ms, now.uncertainty_ms) == (ClockState.TRUSTED, START_MS + 20, 40)
    assert clock.floor_ms == START_MS


def test_a_worse_issuer_time_does_not_replace_a_better_one():
    clock = LadderClock(MachineClocks(wall=5), rtc=False, floor_ms=0)
    clock.signed_time(issued_at_ms=START_MS, uncertainty_ms=40)
    clock.signed_time(issued_at_ms=START_MS - 500, uncertainty_ms=1_000)
    assert clock.now().uncertainty_ms == 40


def test_issuer_time_does_not_replace_ntp():
    clock = LadderClock(MachineClocks(synchronised=True), rtc=False, floor_ms=0)
    clock.signed_time(issued_at_ms=START_MS - 2_000, uncertainty_ms=1)
    assert clock.now().wall_ms == START_MS


def test_trust_decays_to_holdover_as_drift_adds_up():
    system = MachineClocks(synchronised=True)
    clock = LadderClock(system, rtc=False, floor_ms=0)
    clock.now()
    system.synchronised = False
    system.pass_time(20_000_000)
    assert (clock.now().clock, clock.now().uncertainty_ms) == (ClockState.TRUSTED, 1_000)
    system.pass_time(20_000)
    assert (clock.now().clock, clock.now().uncertainty_ms) == (ClockState.HOLDOVER, 1_001)


def test_ntp_is_asked_again_only_after_a_while():
    system = MachineClocks()
    clock = LadderClock(system, rtc=False, floor_ms=0)
    clock.now()
    system.synchronised = True
    system.pass_time(NTP_ASKED_EVERY_MS - 1)
    assert clock.now().clock is ClockState.SUSPECT
    system.pass_time(1)
    assert clock.now().clock is ClockState.TRUSTED


@given(st.lists(st.tuples(st.integers(0, 86_400_000), st.integers(-(10**12), 10**12)), max_size=20))
def test_setting_the_system_clock_never_moves_a_clock_that_was_known(steps: list[tuple[int, int]]):
    system = MachineClocks()
    clock = LadderClock(system, rtc=True, floor_ms=0)
    clock.signed_time(issued_at_ms=START_MS, uncertainty_ms=0)
    passed = 0
    for elapsed, jump in steps:
        system.pass_time(elapsed)
        system.wall += jump
        passed += elapsed
        now = clock.now()
        assert now.wall_ms == START_MS + passed
        assert now.wall_ms >= clock.floor_ms


def test_this_machine_answers():
    system = RealSystem()
    assert system.ntp_synchronised() is ntp_synchronised()
    assert system.monotonic_ms() <= system.monotonic_ms()
    assert system.wall_ms() > START_MS - 10 * 365 * 86_400_000


def test_a_simulated_clock_is_moved_by_its_file(tmp_path: Path):
    clock = SimulatedClock(tmp_path / "offset")
    before = clock.now()
    (tmp_path / "offset").write_text("60000\n")
    moved = clock.now().wall_ms - before.wall_ms
    assert 60_000 <= moved < 61_000
    (tmp_path / "offset").write_text("soon")
    assert clock.now().wall_ms - before.wall_ms < 1_000
    clock.signed_time(issued_at_ms=5, uncertainty_ms=0)
    assert clock.floor_ms == 0
