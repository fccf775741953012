"""The door's clock: what time it is, and how far to believe it (docs/behaviour.md, clock trust).

Invariant: time never goes below the persisted floor, and the floor rises only by issuer-signed time.
Must not: trust the system's clock merely because it shows a plausible time.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edge.core.instant import Instant
from edge.ntp import ntp_synchronised
from wire.names import ClockState

DRIFT_PPM: Final = 50
"""A Pi's crystal: at most 4.3 s a day, over its temperature range."""
TRUSTED_WITHIN_MS: Final = 1_000
"""Uncertainty up to which counted time still counts as known: 5.5 h of drift."""
RTC_UNCERTAINTY_MS: Final = 2_000
"""A battery clock counts whole seconds: it may lose one when it is set and one when it is read. Its drift is counted
apart, as the crystal's."""
NTP_ASKED_EVERY_MS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Known:
    """A moment whose time was known: Unix milliseconds, and by how much the machine's own clock may have been off."""

    wall_ms: int
    uncertainty_ms: int


class Clock(Protocol):
    """Where the daemon gets its instants."""

    def now(self) -> Instant:
        """Give this moment."""
        ...

    def signed_time(self, *, issued_at_ms: int, uncertainty_ms: int) -> None:
        """Learn the issuer's time, at most `uncertainty_ms` old."""
        ...

    @property
    def floor_ms(self) -> int:
        """The newest issuer-signed time that was seen, Unix milliseconds."""
        ...

    def known(self) -> Known | None:
        """Give what a restart is to remember of this moment; None when the time was not known in this run."""
        ...


def monotonic_ms() -> int:
    """Milliseconds since this machine started, unaffected by anyone setting its clock."""
    return time.monotonic_ns() // 1_000_000


def wall_ms() -> int:
    """Unix milliseconds, as the system says."""
    return time.time_ns() // 1_000_000


class System(Protocol):
    """The machine's clocks."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back."""
        ...

    def wall_ms(self) -> int:
        """Unix milliseconds as the system says."""
        ...

    def ntp_synchronised(self) -> bool:
        """Tell whether the system's time is disciplined."""
        ...


class RealSystem:
    """This machine's clocks."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back."""
        return monotonic_ms()

    def wall_ms(self) -> int:
        """Unix milliseconds as the system says."""
        return wall_ms()

    def ntp_synchronised(self) -> bool:
        """Tell whether the system's time is disciplined."""
        return ntp_synchronised()


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A moment whose wall time was known; `vouched` unless a battery clock alone says so."""

    wall_ms: int
    monotonic_ms: int
    uncertainty_ms: int
    vouched: bool = True


class LadderClock:
    """The ladder TRUSTED, HOLDOVER, SUSPECT over a machine's clocks.

    Args:
        system: the machine's clocks.
        rtc: whether the machine keeps time without power.
        floor_ms: the persisted floor.
        known: what the run before remembered; without it nobody has ever compared the battery clock with anything.
    """

    def __init__(self, system: System, *, rtc: bool, floor_ms: int, known: Known | None = None) -> None:
        self._system = system
        self._kept = known if rtc else None
        self._floor_ms = floor_ms
        self._anchor: _Anchor | None = None
        self._asked_ms: int | None = None
        self._synchronised = False

    @property
    def floor_ms(self) -> int:
        """The newest issuer-signed time that was seen, Unix milliseconds."""
        return self._floor_ms

    def now(self) -> Instant:
        """Give this moment."""
        monotonic = self._system.monotonic_ms()
        wall = self._system.wall_ms()
        if wall >= self._floor_ms and self._ntp(monotonic):
            self._anchor = _Anchor(wall, monotonic, 0)
        if self._anchor is None:
            self._anchor = self._by_battery(wall, monotonic)
        if self._anchor is not None:
            return self._counted(self._anchor, monotonic)
        return Instant(wall_ms=max(wall, self._floor_ms), monotonic_ms=monotonic, clock=ClockState.SUSPECT)

    def _by_battery(self, wall: int, monotonic: int) -> _Anchor | None:
        """Believe the battery clock as far as the run before knew the time; one that went back is not believed."""
        if self._kept is None or wall < max(self._floor_ms, self._kept.wall_ms):
            return None
        drift = (wall - self._kept.wall_ms) * DRIFT_PPM // 1_000_000
        return _Anchor(wall, monotonic, self._kept.uncertainty_ms + drift + RTC_UNCERTAINTY_MS, vouched=False)

    def known(self) -> Known | None:
        """Give what a restart is to remember of this moment.

        By how much the system's clock is off counts in full: nobody knows whether the battery clock was ever set by
        anything better.
        """
        if self._anchor is None or not self._anchor.vouched:
            return None
        now = self._counted(self._anchor, self._system.monotonic_ms())
        return Known(now.wall_ms, now.uncertainty_ms + abs(now.wall_ms - self._system.wall_ms()))

    def _ntp(self, monotonic: int) -> bool:
        if self._asked_ms is None or monotonic - self._asked_ms >= NTP_ASKED_EVERY_MS:
            self._asked_ms = monotonic
            self._synchronised = self._system.ntp_synchronised()
        return self._synchronised

    def _counted(self, anchor: _Anchor, monotonic: int) -> Instant:
        elapsed = monotonic - anchor.monotonic_ms
        uncertainty = anchor.uncertainty_ms + elapsed * DRIFT_PPM // 1_000_000
        known = anchor.vouched and uncertainty <= TRUSTED_WITHIN_MS
        return Instant(
            wall_ms=max(anchor.wall_ms + elapsed, self._floor_ms),
            monotonic_ms=monotonic,
            clock=ClockState.TRUSTED if known else ClockState.HOLDOVER,
            uncertainty_ms=uncertainty,
        )

    def signed_time(self, *, issued_at_ms: int, uncertainty_ms: int) -> None:
        """Learn the issuer's time; it raises the floor, and anchors the clock where NTP does not."""
        self._floor_ms = max(self._floor_ms, issued_at_ms)
        monotonic = self._system.monotonic_ms()
        vouched = self._anchor if self._anchor is not None and self._anchor.vouched else None
        known = None if vouched is None else self._counted(vouched, monotonic)
        if not self._ntp(monotonic) and (known is None or known.uncertainty_ms > uncertainty_ms):
            self._anchor = _Anchor(issued_at_ms + uncertainty_ms // 2, monotonic, uncertainty_ms)


class SimulatedClock:
    """A twin's clock: the system's time, moved by the milliseconds that a file holds. Never on a real door."""

    def __init__(self, offset_file: Path) -> None:
        self._offset_file = offset_file
        self._floor_ms = 0

    @property
    def floor_ms(self) -> int:
        """Always 0: simulated time leaves nothing behind."""
        return self._floor_ms

    def now(self) -> Instant:
        """Give this moment, moved."""
        try:
            offset_ms = int(self._offset_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            offset_ms = 0
        return Instant(
            wall_ms=wall_ms() + offset_ms, monotonic_ms=monotonic_ms(), clock=ClockState.TRUSTED, uncertainty_ms=0
        )

    def known(self) -> Known | None:
        """Nothing: simulated time leaves nothing behind."""
        return None

    def signed_time(self, *, issued_at_ms: int, uncertainty_ms: int) -> None:
        """Ignore the issuer's time: this clock is told the time by its file."""
