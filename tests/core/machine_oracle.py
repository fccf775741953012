"""What a door may be released by, known from outside: the oracle of test_machine.py.

Invariant: it never asks the core; it knows wires, orders, grants and commands by what happened to the door, and keeps
the relay as a lock does, with its own deadline.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from edge.core.door_state import InputLine, LineState
from edge.core.effects import Energise, EventDraft, Grant, Secure
from edge.core.tap import LATE_MS
from tests.core.machine_parts import INSIDE, RELEASE_MS, STUDENT, WINDOWS, Person
from wire.names import Action, ClockState, DoorMode, EventKind, PassKind, RelockRule
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edge.core.effects import Effect
    from wire.command import Command

ON_FIRE = (LineState.ACTIVE, LineState.FAULT)
STAFF_HOLD_MS = 12 * 3_600_000


@dataclass
class Decided:
    """A grant that waits for the disk."""

    grant: Grant
    person: Person
    decided_ms: int
    together: frozenset[int]
    """The grants that were decided with it, for people who pass together or not at all; itself included."""


@dataclass
class Oracle:
    """What is known of a door from outside, and what follows for its relay.

    Attributes:
        may_until_ms, must_until_ms: until when a grant, a command or the exit button may, and must, hold the relay.
        relay_until_ms: the lock's own deadline.
        inherited_until_ms: what of it the daemon before this one left behind, until this one orders otherwise.
        alarms: those that began and did not end.
        to_call: those that stand at the end of maintenance and were not told again yet.
        ordered: what a command ordered for a while: the mode, when it ends and when it began, Unix seconds.
        ordered_until_ms: when that ends by the clock that is never set; None until it was looked at.
    """

    settings: DoorSettings | None = None
    lines: dict[InputLine, LineState] = field(default_factory=dict)
    on_fire: bool = False
    first: bool = False
    tapped: tuple[bytes, int] | None = None
    staff_until_ms: int = 0
    unlocked: bool = False
    may_until_ms: int = 0
    must_until_ms: int = 0
    relay_until_ms: int = 0
    inherited_until_ms: int = 0
    alarms: set[EventKind] = field(default_factory=set)
    to_call: set[EventKind] = field(default_factory=set)
    ordered: tuple[int, ...] | None = None
    ordered_until_ms: int | None = None

    def line(self, line: InputLine) -> LineState:
        """What a wire says."""
        return self.lines.get(line, LineState.UNKNOWN)

    @property
    def pressed(self) -> bool:
        """Whether somebody presses the exit button."""
        return self.line(InputLine.REX) is LineState.ACTIVE

    # --- how it is to rest ---------------------------------------------------------------------------------------

    def look(self, wall_ms: int, now_ms: int, clock: ClockState) -> None:
        """Find out how the door is to rest at this moment."""
        if self.settings is None or self.settings.mode is not DoorMode.LOCKED or not self.settings.double_tap_ms:
            self.staff_until_ms = 0
        self._look_at_order(wall_ms, now_ms, clock)
        scheduled = self.settings is not None and self._scheduled(self.settings, wall_ms, clock)
        self.first = self.first and scheduled
        self.unlocked = self.settings is not None and self._unlocked(self.settings, now_ms, scheduled=scheduled)

    def _look_at_order(self, wall_ms: int, now_ms: int, clock: ClockState) -> None:
        if self.ordered is None:
            return
        mode, ends_s, began_s = self.ordered
        longest_ms = now_ms + (ends_s - began_s) * 1000
        self.ordered_until_ms = min(longest_ms, self.ordered_until_ms or longest_ms)
        if clock is not ClockState.SUSPECT:
            self.ordered_until_ms = min(self.ordered_until_ms, now_ms + ends_s * 1000 - wall_ms)
        shut = self.settings is not None and self.settings.mode in (DoorMode.BLOCKED, DoorMode.LOCKED_DOWN)
        blind = clock is ClockState.SUSPECT and mode == DoorMode.UNLOCKED
        if shut or blind or self.ordered_until_ms <= now_ms:
            self.ordered = self.ordered_until_ms = None

    @property
    def rest(self) -> DoorMode:
        """The mode in which the door is to rest."""
        if self.settings is not None and self.ordered is not None:
            return DoorMode(self.ordered[0])
        mode = DoorMode.LOCKED if self.settings is None else self.settings.mode
        return DoorMode.UNLOCKED if self.unlocked else mode

    @staticmethod
    def _scheduled(settings: DoorSettings, wall_ms: int, clock: ClockState) -> bool:
        if not settings.unlock_schedule or clock is ClockState.SUSPECT:
            return False
        minute = wall_ms // 60_000 % 1440
        return any(begin <= minute < end for begin, end in WINDOWS)

    def _unlocked(self, settings: DoorSettings, now_ms: int, *, scheduled: bool) -> bool:
        if self.ordered is not None:
            return self.ordered[0] == DoorMode.UNLOCKED
        if settings.mode is not DoorMode.LOCKED:
            return settings.mode is DoorMode.UNLOCKED
        return now_ms < self.staff_until_ms or (scheduled and (self.first or not settings.first_person_in))

    @property
    def free(self) -> bool:
        """Whether the door is open to all."""
        return self.on_fire or self.unlocked

    # --- what happens --------------------------------------------------------------------------------------------

    def admits(self, person: Person) -> bool:
        """Whether the mode and the other door let a person pass."""
        settings = DoorSettings() if self.settings is None else self.settings
        if DoorMode.BLOCKED in (settings.mode, self.rest):
            return False
        if settings.mode is DoorMode.LOCKED_DOWN and person.kind is not PassKind.EMERGENCY:
            return False
        return not settings.interlock or self.line(InputLine.INTERLOCK) is LineState.INACTIVE

    def released(self, now_ms: int, hold_ms: int, *, surely: bool = True) -> None:
        """Somebody may pass."""
        self.may_until_ms = max(self.may_until_ms, now_ms + hold_ms)
        if surely:
            self.must_until_ms = max(self.must_until_ms, now_ms + hold_ms)

    def durable(self, decided: Decided, now_ms: int) -> bool:
        """The journal holds a grant; tells whether it is to be carried out."""
        in_time = now_ms - decided.decided_ms <= LATE_MS
        return in_time and self.admits(decided.person)

    def admitted(self, person: Person, reader: str, now_ms: int) -> None:
        """Somebody was let in: perhaps the first of a schedule, perhaps staff who tap twice."""
        settings = DoorSettings() if self.settings is None else self.settings
        self.first = self.first or (settings.first_person_in and reader != INSIDE)
        before, self.tapped = self.tapped, None
        if person.kind is not PassKind.STAFF or not settings.double_tap_ms:
            return
        if before is None or before[0] != person.credential or now_ms - before[1] > settings.double_tap_ms:
            self.tapped = (person.credential, now_ms)
        else:
            self.staff_until_ms = 0 if now_ms < self.staff_until_ms else now_ms + STAFF_HOLD_MS

    def hinders(self, command: Command, wall_ms: int, clock: ClockState) -> bool:
        """Whether the door, as it stands, keeps a command from being carried out."""
        if command.action is Action.UNLOCK:
            return not self.admits(STUDENT)
        if command.action is Action.RESET_FIRE:
            return self.on_fire and self.line(InputLine.FIRE) is not LineState.INACTIVE
        if command.action is Action.MODE:
            return self._keeps_its_mode(command, wall_ms, clock)
        return command.action is Action.REBOOT and self.on_fire

    def _keeps_its_mode(self, command: Command, wall_ms: int, clock: ClockState) -> bool:
        if self.settings is None or self.settings.mode in (DoorMode.BLOCKED, DoorMode.LOCKED_DOWN):
            return True
        if clock is ClockState.SUSPECT or command.ends_at_s * 1000 <= wall_ms:
            return True
        other_is_open = self.settings.interlock and self.line(InputLine.INTERLOCK) is not LineState.INACTIVE
        return command.mode is DoorMode.UNLOCKED and other_is_open

    def commanded(self, command: Command, wall_ms: int, now_ms: int, clock: ClockState) -> bool:
        """The journal holds a command; tells whether an unlock is to be carried out."""
        if not command.issued_at_s * 1000 - 10_000 <= wall_ms < command.expires_at_s * 1000:
            return False
        if self.hinders(command, wall_ms, clock):
            return False
        if command.action is Action.RESET_FIRE:
            self.on_fire = False
        elif command.mode is not None:
            self.ordered = (int(command.mode), command.ends_at_s, wall_ms // 1000)
            self.ordered_until_ms = None
        elif command.action is Action.RELEASE:
            self.ordered = self.ordered_until_ms = None
            self.staff_until_ms = 0
        elif command.action is Action.UNLOCK:
            self.released(now_ms, RELEASE_MS)
            return True
        return False

    def reads(self, line: InputLine, state: LineState, now_ms: int) -> None:
        """A wire says something."""
        before, self.lines[line] = self.line(line), state
        if line is InputLine.FIRE:
            self.on_fire = self.on_fire or state in ON_FIRE
        elif line is InputLine.CONTACT:
            self._contact_reads(before, state, now_ms)
        elif line is InputLine.REX and LineState.ACTIVE in (before, state):
            self.released(now_ms, RELEASE_MS, surely=state is LineState.ACTIVE)

    def _contact_reads(self, before: LineState, state: LineState, now_ms: int) -> None:
        """Who has passed needs the door no longer, if its rule says so; a wire that was lost may hide who did."""
        rule = (DoorSettings() if self.settings is None else self.settings).relock
        ends = {RelockRule.ON_OPEN: LineState.ACTIVE, RelockRule.ON_CLOSE: LineState.INACTIVE}.get(rule)
        if state is not ends or before is state:
            return
        self.must_until_ms = now_ms
        if {before, state} == {LineState.ACTIVE, LineState.INACTIVE} and not self.free:
            self.may_until_ms = now_ms
        if self.pressed:
            self.released(now_ms, RELEASE_MS)

    def started_again(self, *, on_fire: bool, ordered: tuple[int, ...] | None) -> Oracle:
        """The door of a daemon that starts: what was under way is over, and the lock keeps its own deadline."""
        return Oracle(
            on_fire=on_fire,
            ordered=ordered,
            relay_until_ms=self.relay_until_ms,
            inherited_until_ms=self.relay_until_ms,
        )

    # --- what follows --------------------------------------------------------------------------------------------

    def follow(self, effects: Iterable[Effect], now_ms: int) -> None:
        """Carry the orders to the lock out, as a lock does."""
        for effect in effects:
            if isinstance(effect, Energise):
                assert 1 <= effect.hold_ms <= 86_400_000
                until = now_ms + effect.hold_ms
                assert self.free or self.pressed or until <= self.may_until_ms
                self.relay_until_ms = until
            elif isinstance(effect, Secure):
                self.relay_until_ms = self.inherited_until_ms = now_ms

    def check_relay(self, now_ms: int) -> None:
        """The relay is released exactly as long as something calls for it."""
        released = self.relay_until_ms > now_ms
        assert released <= (self.free or self.pressed or max(self.may_until_ms, self.inherited_until_ms) > now_ms)
        assert released >= (self.free or self.pressed or self.must_until_ms > now_ms)

    def tell(self, draft: EventDraft) -> None:
        """An alarm begins once and ends once, is muted exactly during maintenance, and calls when that ends."""
        if draft.kind is EventKind.MAINTENANCE_ENDED:
            self.to_call = set(self.alarms)
        if draft.kind not in ALARMS and draft.kind not in ENDS:
            return
        muted = self.settings is not None and self.settings.maintenance
        assert draft.rule == ("muted" if muted else None)
        if draft.kind in self.to_call:
            self.to_call.remove(draft.kind)
        elif draft.kind in ALARMS:
            assert draft.kind not in self.alarms
            self.alarms.add(draft.kind)
        else:
            self.alarms.remove(ENDS[draft.kind])


ENDS = {
    EventKind.FORCED_OPEN_RESTORED: EventKind.FORCED_OPEN,
    EventKind.OPEN_TOO_LONG_RESTORED: EventKind.OPEN_TOO_LONG,
    EventKind.CONTACT_RESTORED: EventKind.CONTACT_FAULT,
    EventKind.LOCK_RESTORED: EventKind.LOCK_FAILED,
    EventKind.TAMPER_RESTORED: EventKind.TAMPER,
    EventKind.POWER_RESTORED: EventKind.POWER_LOST,
}
ALARMS = frozenset(ENDS.values())
