"""The clock ladder: each rung, and that no step of the system's clock moves the door's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from edge.clock import (
    NTP_ASKED_EVERY_MS,
    RTC_UNCERTAINTY_MS,
    TRUSTED_WITHIN_MS,
    Known,
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


DAY_MS = 86_400_000
DAYS_DRIFT_MS = 4_320


def after_a_restart(
    known: Known | None, *, wall: int = START_MS, rtc: bool = True, floor_ms: int = 0
) -> tuple[ClockState, int, int]:
    now = LadderClock(MachineClocks(wall=wall), rtc=rtc, floor_ms=floor_ms, known=known).now()
    return now.clock, now.wall_ms, now.uncertainty_ms


def test_a_battery_clock_is_holdover_from_what_was_known_before_the_restart():
    known = Known(START_MS - DAY_MS, 300)
    expected = 300 + DAYS_DRIFT_MS + RTC_UNCERTAINTY_MS
    assert after_a_restart(known) == (ClockState.HOLDOVER, START_MS, expected)


def test_a_battery_clock_is_never_trusted_however_well_the_time_was_known():
    assert after_a_restart(Known(START_MS, 0)) == (ClockState.HOLDOVER, START_MS, RTC_UNCERTAINTY_MS)
    assert RTC_UNCERTAINTY_MS > TRUSTED_WITHIN_MS


def test_what_was_known_is_worth_nothing_without_a_battery_clock():
    assert after_a_restart(Known(START_MS, 0), rtc=False)[0] is ClockState.SUSPECT


def test_a_battery_clock_that_was_never_compared_is_suspect():
    assert after_a_restart(None, floor_ms=START_MS)[0] is ClockState.SUSPECT


def test_a_battery_clock_that_went_back_behind_what_was_known_is_suspect():
    assert after_a_restart(Known(START_MS + 1, 0))[0] is ClockState.SUSPECT


def test_a_battery_clock_below_the_floor_is_suspect_and_shows_the_floor():
    known = Known(START_MS - DAY_MS, 0)
    assert after_a_restart(known, floor_ms=START_MS + 1)[:2] == (ClockState.SUSPECT, START_MS + 1)
    assert after_a_restart(known, floor_ms=START_MS)[0] is ClockState.HOLDOVER


def test_a_battery_clock_counts_on_by_the_monotonic_clock():
    system = MachineClocks()
    clock = LadderClock(system, rtc=True, floor_ms=0, known=Known(START_MS, 0))
    clock.now()
    system.pass_time(DAY_MS)
    system.wall += 50_000
    now = clock.now()
    assert (now.clock, now.wall_ms) == (ClockState.HOLDOVER, START_MS + DAY_MS)
    assert now.uncertainty_ms == RTC_UNCERTAINTY_MS + DAYS_DRIFT_MS


def test_issuer_time_replaces_a_battery_clock_even_when_it_claims_less():
    clock = LadderClock(MachineClocks(), rtc=True, floor_ms=0, known=Known(START_MS, 0))
    clock.now()
    clock.signed_time(issued_at_ms=START_MS - 60_000, uncertainty_ms=RTC_UNCERTAINTY_MS + 1)
    assert clock.now().wall_ms < START_MS - 50_000


def test_a_moment_that_was_known_is_remembered_with_its_uncertainty():
    system = MachineClocks(synchronised=True)
    clock = LadderClock(system, rtc=True, floor_ms=0)
    clock.now()
    system.synchronised = False
    system.pass_time(DAY_MS)
    assert clock.known() == Known(START_MS + DAY_MS, DAYS_DRIFT_MS)


def test_by_how_much_the_machines_own_clock_is_off_counts_as_uncertainty():
    clock = LadderClock(MachineClocks(wall=START_MS - 40_000), rtc=True, floor_ms=0)
    clock.signed_time(issued_at_ms=START_MS, uncertainty_ms=20)
    assert clock.known() == Known(START_MS + 10, 20 + 40_010)


def test_nothing_is_remembered_of_a_time_that_nobody_vouched_for():
    assert LadderClock(MachineClocks(), rtc=True, floor_ms=0).known() is None
    by_battery = LadderClock(MachineClocks(), rtc=True, floor_ms=0, known=Known(START_MS, 0))
    assert by_battery.now().clock is ClockState.HOLDOVER
    assert by_battery.known() is None


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
    system = RealSystem()
    for written, ahead_ms in ((None, 0), ("60000\n", 60_000), ("soon", 0)):
        if written is not None:
            (tmp_path / "offset").write_text(written)
        before_ms, shown_ms, after_ms = system.wall_ms(), clock.now().wall_ms, system.wall_ms()
        assert before_ms <= shown_ms - ahead_ms <= after_ms
    clock.signed_time(issued_at_ms=5, uncertainty_ms=0)
    assert clock.floor_ms == 0
    assert clock.known() is None
