"""A door that lives through generated days (days.py), with a shell and a disk as plain as can be.

Invariant: what happens depends on the day's text and on what the core did before, on nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from edge.core.companions import PinOutcome
from edge.core.credential import Form, Medium, PinEntry, Presentation
from edge.core.door_state import InputLine, LineState, recalled
from edge.core.effects import CheckPin, CommitCommand, CommitGrant, Effect, Journaling
from edge.core.instant import Instant
from edge.core.memory import Memory
from edge.core.orders import recalled as recalled_orders
from edge.core.policy import PolicyState
from edge.core.replay import KEEP_MS, ReplayMarks
from edge.core.tap import (
    CommandDurable,
    CommandReceived,
    GrantDurable,
    GrantFailed,
    Input,
    LineChanged,
    LockAnswered,
    Noted,
    PinChecked,
    PinEntered,
    PolicyReplaced,
    RosterReplaced,
    State,
    Tap,
    TimeDue,
    TrustReplaced,
    handle,
    next_deadline_ms,
)
from edge.core.trust import HeldStatus, TrustState
from tests.core.campus import KEYS, MONOTONIC_MS, PLACE, bundle
from tests.core.days import DAY_MS, MIDNIGHT_S, Moment
from tests.core.machine_parts import roster
from wire.names import ClockState, EventKind
from wire.policy import open_policy
from wire.status_list import open_status_list
from wire.text import from_text

if TYPE_CHECKING:
    from edge.core.effects import ReplayMark


Happening: TypeAlias = tuple[Moment, Input | None]
"""A moment with the input that it is for the core."""


@dataclass(frozen=True)
class Lived:
    """One step of a life: what was fed, what came of it."""

    event: Input
    effects: tuple[Effect, ...]
    state: State


@dataclass
class Life:
    """One door through its days; time is that of the day, `skew_ms` how far its clock is set from it."""

    state: State = field(default_factory=lambda: State(place=PLACE))
    monotonic_ms: int = MONOTONIC_MS
    skew_ms: int = 0
    clock: ClockState = ClockState.TRUSTED
    uncertainty_ms: int = 0
    memory: Memory = field(default_factory=Memory)
    marks: dict[bytes, ReplayMark] = field(default_factory=dict)
    answers: list[tuple[int, Input]] = field(default_factory=list)
    disk_ms: int = 5
    disk_works: bool = True
    pin: PinOutcome = PinOutcome.WRONG
    steps: list[Lived] = field(default_factory=list)

    def live(self, day: list[Happening]) -> list[Lived]:
        """Live one day more; gives its steps."""
        self.steps = []
        begin_ms = MONOTONIC_MS + (self.monotonic_ms - MONOTONIC_MS + DAY_MS - 1) // DAY_MS * DAY_MS
        for moment, event in day:
            self._until(begin_ms + int(moment[0] or 0))
            self._happens(moment, event)
        self._until(begin_ms + DAY_MS - 1)
        return self.steps

    def _now(self) -> Instant:
        wall_ms = MIDNIGHT_S * 1000 + self.monotonic_ms - MONOTONIC_MS + self.skew_ms
        return Instant(
            wall_ms=wall_ms, monotonic_ms=self.monotonic_ms, clock=self.clock, uncertainty_ms=self.uncertainty_ms
        )

    def _feed(self, event: Input) -> None:
        self.state, effects = handle(self.state, event, self._now())
        self.steps.append(Lived(event, effects, self.state))
        for effect in effects:
            if isinstance(effect, Journaling):
                self.memory = self.memory.with_memos(effect.memos)
            if isinstance(effect, CommitGrant):
                self._commit(effect)
            elif isinstance(effect, CommitCommand):
                self._answer(self.disk_ms, CommandDurable(effect.command, len(self.steps)))
            elif isinstance(effect, CheckPin):
                self._answer(self.disk_ms, PinChecked(effect.check_id, self.pin))

    def _commit(self, commit: CommitGrant) -> None:
        if self.disk_works and commit.mark is not None:
            self.marks[commit.mark.key] = commit.mark
        answer: Input = GrantDurable(commit.grant, len(self.steps)) if self.disk_works else GrantFailed(commit.grant)
        self._answer(self.disk_ms, answer)

    def _answer(self, after_ms: int, answer: Input) -> None:
        self.answers.append((self.monotonic_ms + after_ms, answer))

    def _until(self, end_ms: int) -> None:
        """Let time pass; the core is woken when it asked for it, and the disk answers when it is ready."""
        while True:
            due_ms = next_deadline_ms(self.state)
            answer = min(self.answers, key=lambda each: each[0], default=None)
            if answer is not None and answer[0] <= end_ms and (due_ms is None or answer[0] <= due_ms):
                self.answers.remove(answer)
                self.monotonic_ms = max(self.monotonic_ms, answer[0])
                self._feed(answer[1])
            elif due_ms is not None and due_ms <= end_ms:
                self.monotonic_ms = max(self.monotonic_ms, due_ms)
                self._feed(TimeDue())
            else:
                self.monotonic_ms = max(self.monotonic_ms, end_ms)
                return

    def _happens(self, moment: Moment, event: Input | None) -> None:
        _, name, *what = moment
        if name in ("tap", "exchange"):
            self.disk_ms, self.disk_works = int(what[-2] or 0), bool(what[-1])
        elif name == "pin":
            self.pin, self.disk_ms = PinOutcome(what[2]), int(what[3] or 0)
        elif name == "clock":
            self.skew_ms, self.uncertainty_ms = int(what[0] or 0), int(what[2] or 0)
            self.clock = ClockState(int(what[1] or 0))
        elif name == "restart":
            self._starts_again()
        if event is not None:
            self._feed(event)

    def _starts_again(self) -> None:
        """A daemon recalls what its disk holds, and nothing else."""
        until_ms = self.monotonic_ms + KEEP_MS
        alive = {key: mark for key, mark in self.marks.items() if key in self.state.replay.marks}
        marks = {key: replace(mark, expires_monotonic_ms=until_ms) for key, mark in alive.items()}
        replay = ReplayMarks(MappingProxyType(marks), horizon_ms=self.state.replay.horizon_ms)
        self.answers = []
        self.state = State(
            place=PLACE,
            memory=self.memory,
            replay=replay,
            door=recalled(self.memory),
            orders=recalled_orders(self.memory),
        )


# --- a moment, read anew ---------------------------------------------------------------------------------------


def read_day(text: str) -> list[Happening]:
    """Make the inputs that a day's text tells of, from bytes; None where the shell itself is what happens."""
    return [(moment, None if moment[1] in ("clock", "restart") else _read(moment)) for moment in json.loads(text)]


def _read(moment: Moment) -> Input:
    at_ms, name, *what = moment
    read_at_ms = MONOTONIC_MS + int(at_ms or 0)
    first = str(what[0])
    match name:
        case "tap":
            form = Form(int(what[2] or 0))
            return Tap(Presentation(str(what[1]), Medium.QR, bytes.fromhex(first), read_at_ms, form))
        case "exchange":
            payload, nonce = from_text(bytes.fromhex(first)), bytes.fromhex(str(what[2]))
            return Tap(Presentation(str(what[1]), Medium.NFC, payload, read_at_ms, Form.EXCHANGE, nonce))
        case "pin":
            return PinEntered(PinEntry(first, str(what[1]).encode(), read_at_ms))
        case "line":
            return LineChanged(InputLine(first), LineState(str(what[1])))
        case "lock":
            return LockAnswered(bool(what[0]))
        case "policy":
            return PolicyReplaced(PolicyState(open_policy(bytes.fromhex(first), KEYS.policy.public_key), UTC), None)
        case "status":
            return TrustReplaced(_believed(bytes.fromhex(first)), None if what[1] is None else EventKind(int(what[1])))
        case "roster":
            return RosterReplaced(roster(enrolled=bool(what[0])), None)
        case "command":
            return CommandReceived(bytes.fromhex(first))
        case _:
            return Noted(EventKind(int(first)), "outside")


def _believed(data: bytes) -> TrustState:
    held = open_status_list(data, KEYS.status.public_key)
    status = HeldStatus(
        sequence=held.sequence, issued_at_s=held.issued_at_s, expires_at_s=held.expires_at_s, bits=held.bits
    )
    return TrustState(bundle(), {0: status})
