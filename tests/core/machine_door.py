"""The door of test_machine.py, its shell and its disk: how it is fed, and what is checked of every effect.

Each step is also run on a twin that remembers no issuer signature: both must do the same.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from hypothesis.stateful import RuleBasedStateMachine

from edge.core.door_state import recalled
from edge.core.effects import (
    CheckPin,
    CommitCommand,
    CommitGrant,
    Effect,
    Energise,
    Feedback,
    Journaling,
    Record,
    Secure,
    Show,
)
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.orders import recalled as recalled_orders
from edge.core.replay import KEEP_MS, ReplayMarks
from edge.core.tap import LATE_MS, GrantDurable, Input, LineChanged, State, Tap, TimeDue, handle, next_deadline_ms
from edge.core.trust import PassMemo
from tests.core.campus import MONOTONIC_MS, NOW_MS, PLACE
from tests.core.machine_oracle import Decided, Oracle
from tests.core.machine_parts import CARD_HOLDER, Person, Shown, person_of, roster
from wire.names import Assurance, ClockState, PassKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge.core.door_state import InputLine, LineState
    from edge.core.effects import ReplayMark
    from wire.command import Command

WAITS = (Feedback.ENTER_PIN, Feedback.NEXT_PERSON)
NOT_BY_THE_CLOCK = (Assurance.NONCE_BOUND, Assurance.DYNAMIC_TAG)
"""What is shown by the door's own nonce, or enrolled."""


def without_signatures(state: State) -> State:
    """The same door, that remembers no issuer signature."""
    return state if state.trust is None else replace(state, trust=replace(state.trust, memo=PassMemo()))


@dataclass(frozen=True)
class Entry:
    """What one transaction of the journal keeps beside the event."""

    memos: tuple[Memo, ...]
    mark: ReplayMark | None


class FedDoor(RuleBasedStateMachine):
    """One door with its shell and its disk; what can happen to it is in test_machine.py."""

    def __init__(self) -> None:
        super().__init__()
        self.state = State(place=PLACE, roster=roster(enrolled=True))
        self.monotonic_ms, self.wall_ms = MONOTONIC_MS, NOW_MS
        self.clock, self.uncertainty_ms = ClockState.TRUSTED, 0
        self.clock_was_set = False
        self.wires: dict[InputLine, LineState] = {}
        self.oracle = Oracle()
        self.journal: list[Entry] = []
        self.safe = 0  # so many entries are on the disk for sure
        self.memory, self.memory_is_known = Memory(), True
        self.awaited: list[Decided] = []
        self.answered: list[CommitGrant] = []
        self.used: dict[bytes, int | None] = {}  # codes that were accepted, and what the journal held then, if it tells
        self.staff_ms: dict[bytes, int] = {}  # when staff were last granted
        self.pin_is_right = False
        self.checks: list[int] = []
        self.commands: list[Command] = []
        self.taken: dict[int, int] = {}  # counters of commands, and what the journal held then
        self.revoked, self.enrolled = frozenset[int](), True

    # --- feeding ---------------------------------------------------------------------------------------------------

    def now(self) -> Instant:
        return Instant(
            wall_ms=self.wall_ms,
            monotonic_ms=self.monotonic_ms,
            clock=self.clock,
            uncertainty_ms=self.uncertainty_ms,
        )

    def feed(self, event: Input, happens: Callable[[], object] | None = None) -> tuple[Effect, ...]:
        """Feed an input; `happens` tells the oracle of it, after it has noticed the time."""
        twin = handle(without_signatures(self.state), event, self.now())
        outcome = handle(self.state, event, self.now())
        assert outcome == twin
        self.oracle.look(self.wall_ms, self.monotonic_ms, self.clock)
        if happens is not None:
            happens()
        self.oracle.look(self.wall_ms, self.monotonic_ms, self.clock)
        self.state, effects = outcome
        self.clock_was_set = False
        self.oracle.follow(effects, self.monotonic_ms)
        # A clock that is set may secure the door just before a fire frees it: the last order counts.
        last = [effect for effect in effects if isinstance(effect, Energise | Secure)][-1:]
        assert Secure not in map(type, last) or not (self.oracle.free or self.oracle.pressed)
        for effect in effects:
            self._take(effect)
        if self.memory_is_known:
            assert self.state.memory == self.memory  # what a restart would recall
        return effects

    def _take(self, effect: Effect) -> None:
        """What the shell does with an effect."""
        if isinstance(effect, Journaling):
            assert effect.draft.at == self.now()
            self.oracle.tell(effect.draft)
            self.journal.append(Entry(effect.memos, effect.mark if isinstance(effect, CommitGrant) else None))
            self.memory = self.memory.with_memos(effect.memos)
        if isinstance(effect, CommitCommand):
            assert effect.command.counter not in self.taken
            self.taken[effect.command.counter] = len(self.journal)
            self.commands.append(effect.command)
        elif isinstance(effect, CheckPin):
            self.checks.append(effect.check_id)

    def reads(self, line: InputLine, state: LineState) -> tuple[Effect, ...]:
        self.wires[line] = state
        return self.feed(LineChanged(line, state), lambda: self.oracle.reads(line, state, self.monotonic_ms))

    # --- time ------------------------------------------------------------------------------------------------------

    def passes(self, passed_ms: int, *, probing: bool = False) -> None:
        """Let time pass by both clocks; the core is woken when it asked for it, and needs not to be between."""
        end_ms = self.monotonic_ms + passed_ms
        while (due := next_deadline_ms(self.state)) is not None and due <= end_ms:
            if probing:
                self._nothing_is_due_at(due - 1)
            self._goes_on_to(max(self.monotonic_ms, due))
            self.feed(TimeDue())
            following = next_deadline_ms(self.state)
            assert following is None or following > due  # none is left behind
        if probing:
            self._nothing_is_due_at(end_ms)
        self._goes_on_to(end_ms)

    def _goes_on_to(self, monotonic_ms: int) -> None:
        self.wall_ms += monotonic_ms - self.monotonic_ms
        self.monotonic_ms = monotonic_ms

    def _nothing_is_due_at(self, monotonic_ms: int) -> None:
        passed_ms = monotonic_ms - self.monotonic_ms
        if passed_ms >= 0 and not self.clock_was_set:
            then = replace(self.now(), wall_ms=self.wall_ms + passed_ms, monotonic_ms=monotonic_ms)
            assert handle(self.state, TimeDue(), then)[1] == ()
            noticed = copy(self.oracle)
            noticed.look(then.wall_ms, then.monotonic_ms, then.clock)
            assert noticed.unlocked is self.oracle.unlocked

    # --- people ----------------------------------------------------------------------------------------------------

    def taps(self, shown: Shown) -> tuple[Effect, ...]:
        payload = shown.presentation.payload
        if shown.person is CARD_HOLDER:
            self.pin_is_right = False
        effects = self.feed(Tap(shown.presentation))
        granted = [effect.grant.credential for effect in effects if isinstance(effect, CommitGrant)]
        told = [effect.feedback for effect in effects if isinstance(effect, Show)]
        assert granted or told  # nobody is left without an answer
        is_granted = shown.person is not None and shown.person.credential in granted
        if is_granted or told[-1:] == [Feedback.ENTER_PIN] or told[-1:] == [Feedback.NEXT_PERSON]:
            assert payload not in self.used or not shown.once
            assert self.clock is not ClockState.SUSPECT or shown.assurance in NOT_BY_THE_CLOCK
            self.used[payload] = len(self.journal) if is_granted else None
        self.commits(effects)
        return effects

    def commits(self, effects: tuple[Effect, ...]) -> None:
        """Check every grant among effects, and remember it until the disk answers."""
        made = [effect for effect in effects if isinstance(effect, CommitGrant)]
        together = frozenset(commit.grant.grant_id for commit in made)
        people = [person_of(commit.grant) for commit in made]
        for commit, person in zip(made, people, strict=True):
            self._check_grant(commit, person, people)
            self.awaited.append(Decided(commit.grant, person, self.monotonic_ms, together))
            self.answered.append(commit)
            if person.kind is PassKind.STAFF:
                self.staff_ms[person.credential] = self.monotonic_ms

    def _check_grant(self, commit: CommitGrant, person: Person, people: list[Person]) -> None:
        settings, grant = self.oracle.settings, commit.grant
        assert settings is not None
        assert self.oracle.admits(person)
        assert settings.minimum_assurance <= grant.assurance
        assert settings.pin_below <= grant.assurance or self.pin_is_right
        assert person.index not in self.revoked
        assert self.wall_ms // 1000 < person.ends_s  # no clock makes a pass last longer
        assert person is not CARD_HOLDER or self.enrolled
        if person.kind is PassKind.VISITOR:
            hosts = [at_ms for each, at_ms in self.staff_ms.items() if each != person.credential]
            recent = [at_ms for at_ms in hosts if self.monotonic_ms - at_ms <= settings.companion_ms + LATE_MS]
            assert len(recent) >= settings.escorts
        elif settings.two_person and person.kind is not PassKind.EMERGENCY:
            assert len({each.index for each in people if each.kind is not PassKind.VISITOR}) >= 2

    def becomes_durable(self, decided: Decided) -> None:
        """A grant of one is carried out at once; of several at once, at the latest when all are durable."""
        self.safe = len(self.journal)
        grant, alone, now_ms = decided.grant, len(decided.together) == 1, self.monotonic_ms
        carried_out = False

        def happens() -> None:
            nonlocal carried_out
            carried_out = self.oracle.durable(decided, now_ms)
            if carried_out:
                self.oracle.admitted(decided.person, grant.reader, now_ms)
                self.oracle.released(now_ms, grant.hold_ms if alone else LONGEST_MS, surely=alone)

        effects = self.feed(GrantDurable(grant, 1), happens)
        self.commits(effects)
        assert carried_out or not alone or False in [each.draft.granted for each in effects if isinstance(each, Record)]

    # --- starting again --------------------------------------------------------------------------------------------

    def starts_again(self, lost: int) -> None:
        """What a daemon that starts recalls is what its disk holds: of the last entries some may be lost."""
        kept = max(self.safe, len(self.journal) - lost)
        self.journal = self.journal[:kept]
        self.safe = kept
        self.memory = Memory().with_memos(memo for entry in self.journal for memo in entry.memos)
        self.memory_is_known = True
        marks = {entry.mark.key: entry.mark for entry in self.journal if entry.mark is not None}
        alive = {key: mark for key, mark in marks.items() if key in self.state.replay.marks}
        until_ms = self.monotonic_ms + KEEP_MS
        replay = ReplayMarks(
            MappingProxyType({key: replace(mark, expires_monotonic_ms=until_ms) for key, mark in alive.items()}),
            horizon_ms=self.state.replay.horizon_ms,
        )
        self.used = {code: held for code, held in self.used.items() if held is not None and held <= kept}
        self.taken = {counter: held for counter, held in self.taken.items() if held <= kept}
        self.awaited, self.answered, self.checks, self.commands = [], [], [], []
        self.staff_ms, self.pin_is_right = {}, False
        self.oracle = self.oracle.started_again(
            on_fire=self.memory.get(MemoKind.FIRE, b"") is not None, ordered=self.memory.get(MemoKind.MODE, b"")
        )
        self.state = State(
            place=PLACE,
            memory=self.memory,
            replay=replay,
            door=recalled(self.memory),
            orders=recalled_orders(self.memory),
        )


LONGEST_MS = 15_000
"""The extended release, the longest of any grant here."""
