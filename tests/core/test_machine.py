"""Any history of a door: what never happens, whatever is tapped, pressed, committed, ordered, lost or started again.

An oracle beside the core (machine_oracle.py) knows independently what may release the door; machine_door.py feeds both
and checks every effect.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from edge.core.companions import PinOutcome
from edge.core.credential import PinEntry
from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import CheckPin, Denied, Effect, Energise, Record, Show
from edge.core.tap import (
    LATE_MS,
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
    judge,
)
from tests.core.campus import DOOR, KEYS, READER, command, status, trust
from tests.core.doors import BASE
from tests.core.machine_door import FedDoor
from tests.core.machine_parts import (
    CHOICES,
    GUEST,
    INSIDE,
    JANITOR,
    ON_PAPER,
    PEOPLE,
    PORTER,
    SCHEDULE,
    STUDENT,
    USUAL,
    Person,
    Shown,
    roster,
    rules,
    show_bound,
    show_card,
    show_garbage,
    show_paper,
    show_wallet,
)
from wire.command import open_command
from wire.names import Action, Assurance, ClockState, DoorId, DoorMode, EventKind

if TYPE_CHECKING:
    from edge.core.trust import TrustState
    from wire.settings import DoorSettings

Changes = list[tuple[str, object]]

FREE = (Mode.UNLOCKED, Mode.LOCKED_OPEN)
JANITORS_PAPER, A_CARD = show_paper(ON_PAPER[2]), show_card()
OTHERS = [show_bound(), A_CARD, *map(show_garbage, (b"", b"garbage", b"DW1:ABC"))]
REVOKED = [frozenset[int](), frozenset({42}), frozenset({43, 44}), frozenset({45, 50, 51})]
BESIDE: list[Input] = [
    Noted(EventKind.READER_LOST, READER),
    LineChanged(InputLine.TAMPER, LineState.ACTIVE),
    LineChanged(InputLine.TAMPER, LineState.INACTIVE),
    LineChanged(InputLine.POWER, LineState.FAULT),
    LineChanged(InputLine.POWER, LineState.INACTIVE),
]
"""What has nothing to do with people, leaf or lock."""

all_changes = st.lists(
    st.sampled_from([(name, value) for name, values in CHOICES.items() for value in values]), max_size=4
)
line_states = st.sampled_from(LineState)
readers = st.sampled_from([READER, READER, INSIDE])


def ordered(changes: Changes, settings: DoorSettings = USUAL) -> DoorSettings:
    """Settings with some changes; in which order two people who come together are let in is not modelled."""
    made = replace(settings, **dict(changes))  # type: ignore[arg-type]
    return replace(made, double_tap_ms=0, first_person_in=False) if made.two_person else made


@lru_cache
def believed(revoked: frozenset[int]) -> TrustState:
    return trust(lists={0: status(*revoked)})


def less(state: State) -> list[State]:
    """The same door with less trust or stricter rules."""
    assert state.policy is not None
    settings = state.policy.bundle.settings
    return [
        replace(state, trust=None, roster=None),
        replace(state, trust=believed(frozenset(range(40, 60))), roster=roster(enrolled=False)),
        replace(state, policy=rules(settings, admits=False)),
        replace(state, policy=rules(replace(settings, mode=DoorMode.BLOCKED))),
        replace(state, policy=rules(replace(settings, minimum_assurance=Assurance.NONCE_BOUND))),
        replace(state, policy=rules(replace(settings, pin_below=Assurance.NONCE_BOUND))),
    ]


class Door(FedDoor):
    """One door, fed anything."""

    @initialize(known=st.sampled_from([True, True, True, False]), changes=all_changes)
    def begin(self, *, known: bool, changes: Changes) -> None:
        self.feed(TrustReplaced(believed(self.revoked), None))
        if known:
            self.somebody_orders(changes)

    # --- people ----------------------------------------------------------------------------------------------------

    @rule(person=st.sampled_from(PEOPLE), age_s=st.sampled_from([0, 0, 0, 15, 40, -5]), reader=readers)
    def somebody_shows_a_phone(self, person: Person, age_s: int, reader: str) -> None:
        self.taps(show_wallet(person, (self.wall_ms // 1000 - age_s) // 15 * 15, reader))

    @rule(person=st.sampled_from(ON_PAPER), reader=readers)
    def somebody_shows_paper(self, person: Person, reader: str) -> None:
        self.taps(show_paper(person, reader))

    @rule(shown=st.sampled_from(OTHERS))
    def something_else_is_shown(self, shown: Shown) -> None:
        self.taps(shown)

    @rule(
        shown=st.sampled_from([JANITORS_PAPER, JANITORS_PAPER, show_bound()]),
        apart_ms=st.sampled_from([0, 5_000, 20_000, 20_001]),
        between=st.sampled_from([*DoorMode, None, None]),
    )
    def somebody_taps_twice(self, shown: Shown, apart_ms: int, between: DoorMode | None) -> None:
        self.orders_also([("two_person", False), ("double_tap_ms", 20_000)])
        for _ in range(2):
            self.taps(shown)
            self.all_become_durable()
            self.time_passes(apart_ms, probing=False)
        if between is not None:
            self.orders_also([("mode", between)])
            self.orders_also([("mode", DoorMode.LOCKED)])

    @rule(passed_ms=st.integers(0, 20_000))
    def a_scanner_goes_mad(self, passed_ms: int) -> None:
        for _ in range(25):
            self.taps(OTHERS[-1])
        self.time_passes(passed_ms, probing=True)

    @rule(
        changes=st.sampled_from([[("two_person", True)], [("escorts", 1)], [("escorts", 2)]]),
        people=st.permutations([STUDENT, GUEST, JANITOR, PORTER]),
        apart_ms=st.sampled_from([0, 0, 15_000, 30_000]),
    )
    def people_come_together(self, changes: Changes, people: list[Person], apart_ms: int) -> None:
        self.orders_also(changes)
        for person in people:
            self.somebody_shows_a_phone(person, age_s=0, reader=READER)
            self.all_become_durable()
            self.time_passes(apart_ms, probing=False)

    @rule(outcome=st.sampled_from(PinOutcome), apart_ms=st.sampled_from([0, 0, 30_000]))
    def a_card_and_its_pin_are_given(self, outcome: PinOutcome, apart_ms: int) -> None:
        self.orders_also([("pin_below", Assurance.ROTATING)])
        self.taps(A_CARD)
        self.a_pin_is_keyed_in(READER)
        self.time_passes(apart_ms, probing=True)
        if self.checks:
            self.a_pin_is_checked(outcome, stray=False)

    @rule(reader=readers)
    def a_pin_is_keyed_in(self, reader: str) -> None:
        effects = self.feed(PinEntered(PinEntry(reader, b"1234", self.monotonic_ms)))
        assert any(isinstance(effect, CheckPin | Show) for effect in effects)

    @precondition(lambda self: self.checks)
    @rule(outcome=st.sampled_from(PinOutcome), stray=st.booleans())
    def a_pin_is_checked(self, outcome: PinOutcome, *, stray: bool) -> None:
        check_id = 999 if stray else self.checks.pop()
        self.pin_is_right = self.pin_is_right or (not stray and outcome is not PinOutcome.WRONG)
        effects = self.feed(PinChecked(check_id, outcome))
        self.commits(effects)
        told = [effect.draft.kind for effect in effects if isinstance(effect, Record)]
        assert outcome is PinOutcome.DURESS or EventKind.DURESS not in told

    # --- the disk --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.awaited)
    @rule(which=st.integers(0, 3))
    def a_grant_becomes_durable(self, which: int) -> None:
        self.becomes_durable(self.awaited.pop(which % len(self.awaited)))

    def all_become_durable(self) -> None:
        while self.awaited:
            self.becomes_durable(self.awaited.pop(0))

    @rule(
        person=st.sampled_from(PEOPLE),
        changes=st.one_of(st.none(), all_changes),
        passed_ms=st.sampled_from([0, 0, LATE_MS, LATE_MS + 1]),
    )
    def a_grant_is_overtaken(self, person: Person, changes: Changes | None, passed_ms: int) -> None:
        self.somebody_shows_a_phone(person=person, age_s=0, reader=READER)
        if changes is not None:
            self.somebody_orders(changes)
        self.time_passes(passed_ms, probing=True)
        if self.awaited:
            self.a_grant_becomes_durable(which=0)

    @precondition(lambda self: self.awaited)
    @rule(which=st.integers(0, 3), lost=st.booleans())
    def a_grant_fails(self, which: int, *, lost: bool) -> None:
        decided = self.awaited.pop(which % len(self.awaited))
        self.memory_is_known = self.memory_is_known and not lost
        self.feed(GrantFailed(decided.grant))

    @precondition(lambda self: self.answered)
    @rule(which=st.integers(0, 99))
    def an_answer_comes_twice(self, which: int) -> None:
        grant = self.answered[which % len(self.answered)].grant
        if grant not in [decided.grant for decided in self.awaited]:
            effects = self.feed(GrantDurable(grant, 2))
            assert 2 not in [effect.cause_seq for effect in effects if isinstance(effect, Energise)]

    # --- wires -----------------------------------------------------------------------------------------------------

    @rule(line=st.sampled_from(InputLine), state=line_states)
    def a_wire_says(self, line: InputLine, state: LineState) -> None:
        effects = self.reads(line, state)
        if line is InputLine.REX and state is LineState.ACTIVE:
            assert self.oracle.relay_until_ms > self.monotonic_ms  # free at once, whatever the mode
            assert EventKind.EGRESS in [effect.draft.kind for effect in effects if isinstance(effect, Record)]

    @rule(
        state=st.sampled_from([LineState.ACTIVE, LineState.FAULT]),
        later=line_states,
        apart_ms=st.sampled_from([0, 60_000]),
    )
    def a_fire_breaks_out(self, state: LineState, later: LineState, apart_ms: int) -> None:
        self.a_wire_says(InputLine.FIRE, state)
        self.time_passes(apart_ms, probing=True)
        self.a_wire_says(InputLine.FIRE, later)

    @rule(line=st.sampled_from([InputLine.CONTACT, InputLine.REX]), apart_ms=st.sampled_from([0, 1_000, 6_000, 60_000]))
    def somebody_passes(self, line: InputLine, apart_ms: int) -> None:
        for state in (LineState.INACTIVE, LineState.ACTIVE, LineState.INACTIVE):
            self.a_wire_says(line, state)
            self.time_passes(apart_ms, probing=True)

    @rule(carried_out=st.booleans())
    def the_lock_answers(self, *, carried_out: bool) -> None:
        self.feed(LockAnswered(carried_out))
        assert carried_out or EventKind.LOCK_FAILED in self.oracle.alarms

    @rule(kind=st.sampled_from([EventKind.READER_LOST, EventKind.STORAGE_FAULT]))
    def the_shell_notices(self, kind: EventKind) -> None:
        before = self.state.door
        self.feed(Noted(kind, READER))
        assert self.clock_was_set or self.state.door.mode is before.mode or self.state.orders.rule != "policy"

    # --- orders ----------------------------------------------------------------------------------------------------

    @rule(changes=all_changes)
    def somebody_orders(self, changes: Changes) -> None:
        self.order(ordered(changes))

    def orders_also(self, changes: Changes) -> None:
        self.order(ordered(changes, self.oracle.settings or USUAL))

    @rule(seconds=st.sampled_from([-60, 0, 60]))
    def presence_is_reset(self, seconds: int) -> None:
        self.orders_also([("forget_presence_before_s", self.wall_ms // 1000 + seconds)])

    @rule(
        first=st.booleans(),
        passed_ms=st.sampled_from([0, 40_000, 160_000, 300_000]),
        clock=st.sampled_from([ClockState.TRUSTED, *ClockState]),
    )
    def a_schedule_runs(self, passed_ms: int, clock: ClockState, *, first: bool) -> None:
        self.orders_also([("unlock_schedule", SCHEDULE), ("two_person", False), ("first_person_in", first)])
        for _ in range(2):
            self.somebody_shows_paper(ON_PAPER[0], READER)
            self.all_become_durable()
            self.time_passes(passed_ms, probing=True)
        self.the_clock_is_set_and_believed_otherwise(0, clock, 0)
        self.time_passes(passed_ms, probing=True)

    def order(self, settings: DoorSettings) -> None:
        def happens() -> None:
            self.oracle.settings = settings

        unlocked = self.oracle.unlocked
        effects = self.feed(PolicyReplaced(rules(settings), None), happens)
        told = [effect.draft.kind for effect in effects if isinstance(effect, Record)]
        assert self.oracle.unlocked is unlocked or EventKind.MODE_CHANGED in told

    @rule(revoked=st.sampled_from(REVOKED))
    def the_list_changes(self, revoked: frozenset[int]) -> None:
        self.revoked = revoked
        self.feed(TrustReplaced(believed(revoked), EventKind.STATUS_UPDATED))

    @rule(enrolled=st.booleans())
    def the_roster_changes(self, *, enrolled: bool) -> None:
        self.enrolled = enrolled
        self.feed(RosterReplaced(roster(enrolled=enrolled), EventKind.ROSTER_UPDATED))

    @rule(
        action=st.sampled_from(Action),
        ahead=st.sampled_from([1, 1, 1, 2, 0]),
        age_s=st.sampled_from([0, 0, 59, 60, -10, -11]),
        flaw=st.sampled_from([None, None, None, None, "forged", "foreign"]),
        at_once=st.booleans(),
        mode=st.sampled_from([DoorMode.LOCKED, DoorMode.UNLOCKED, DoorMode.BLOCKED]),
        hold_s=st.sampled_from([None, 1, 100, 240, 43_200]),
    )
    def a_command_comes(
        self,
        action: Action,
        ahead: int,
        age_s: int,
        flaw: str | None,
        *,
        at_once: bool,
        mode: DoorMode = DoorMode.UNLOCKED,
        hold_s: int | None = None,
    ) -> None:
        counter = max(self.taken, default=0) + ahead
        data = command(
            action,
            counter=counter,
            mode=mode if action is Action.MODE else None,
            hold_s=hold_s if action is Action.MODE else None,
            issued_at_s=self.wall_ms // 1000 - age_s,
            signer=KEYS.stranger if flaw == "forged" else None,
            target=DoorId("side-entrance") if flaw == "foreign" else DOOR,
        )
        holds = age_s in (0, 59, -10) and (ahead > 0 or not self.taken)
        believed = holds and flaw is None and self.clock is not ClockState.SUSPECT
        before, hindered = len(self.commands), False

        def happens() -> None:
            nonlocal hindered
            ordered = open_command(data, (KEYS.stranger if flaw == "forged" else KEYS.command).public_key)
            hindered = self.oracle.hinders(ordered, self.wall_ms, self.clock)

        self.feed(CommandReceived(data), happens)
        assert (len(self.commands) > before) is (believed and not hindered)
        if believed:
            self.taken.setdefault(counter, len(self.journal))
        while at_once and self.commands:
            self.a_command_becomes_durable(which=0)

    @precondition(lambda self: self.commands)
    @rule(which=st.integers(0, 3))
    def a_command_becomes_durable(self, which: int) -> None:
        taken = self.commands.pop(which % len(self.commands))
        self.safe = len(self.journal)
        carried_out: list[bool] = []
        self.feed(
            CommandDurable(taken, 1),
            lambda: carried_out.append(self.oracle.commanded(taken, self.wall_ms, self.monotonic_ms, self.clock)),
        )
        assert not carried_out[0] or self.oracle.relay_until_ms > self.monotonic_ms

    @rule()
    def somebody_resets_the_fire(self) -> None:
        self.a_command_comes(Action.RESET_FIRE, ahead=1, age_s=0, flaw=None, at_once=True)

    # --- time, and starting again ----------------------------------------------------------------------------------

    @rule(
        moved_ms=st.sampled_from([0, 0, -120_000, -15_000, 15_000, 120_000, 86_400_000]),
        clock=st.sampled_from([ClockState.TRUSTED, ClockState.TRUSTED, *ClockState]),
        uncertainty_ms=st.sampled_from([0, 1_000, 90_000]),
    )
    def the_clock_is_set_and_believed_otherwise(self, moved_ms: int, clock: ClockState, uncertainty_ms: int) -> None:
        self.wall_ms += moved_ms
        self.clock, self.uncertainty_ms, self.clock_was_set = clock, uncertainty_ms, True

    @rule(passed_ms=st.one_of(st.integers(0, 2 * LATE_MS), st.integers(0, 300_000)), probing=st.booleans())
    def time_passes(self, passed_ms: int, *, probing: bool) -> None:
        self.passes(passed_ms, probing=probing)

    @rule(lost=st.integers(0, 3))
    def the_daemon_starts_again(self, lost: int) -> None:
        settings = self.oracle.settings
        self.starts_again(lost)
        self.feed(TrustReplaced(believed(self.revoked), None))
        self.feed(RosterReplaced(roster(enrolled=self.enrolled), None))
        if settings is not None:
            self.order(settings)
        for line, state in list(self.wires.items()):
            self.reads(line, state)
        self.passes(0)

    # --- what holds of any state -----------------------------------------------------------------------------------

    @precondition(lambda self: self.state.policy is not None)
    @rule(person=st.sampled_from([*PEOPLE, *ON_PAPER]), card=st.booleans())
    def less_never_admits_more(self, person: Person, *, card: bool) -> None:
        phone = show_wallet(person, self.wall_ms // 1000 // 15 * 15)
        shown = A_CARD if card else show_paper(person) if person in ON_PAPER else phone
        if isinstance(judge(self.state, shown.presentation, self.now()), Denied):
            for reduced in less(self.state):
                assert isinstance(judge(reduced, shown.presentation, self.now()), Denied)

    @rule(beside=st.sampled_from(BESIDE), line=st.sampled_from(InputLine), state=line_states)
    def two_things_happen_at_once(self, beside: Input, line: InputLine, state: LineState) -> None:
        one: Input = LineChanged(line, state)
        if isinstance(beside, LineChanged) and beside.line is line:
            one = Tap(JANITORS_PAPER.presentation)
        assert self.outcome(one, beside) == self.outcome(beside, one)

    def outcome(self, *inputs: Input) -> tuple[State, Counter[Effect]]:
        state, seen = self.state, Counter[Effect]()
        state, effects = handle(state, TimeDue(), self.now())
        for each in inputs:
            state, effects = handle(state, each, self.now())
            seen.update(effects)
        return state, seen

    @invariant()
    def the_relay_is_released_exactly_as_long_as_something_calls_for_it(self) -> None:
        self.oracle.check_relay(self.monotonic_ms)

    @invariant()
    def the_state_says_what_the_lock_and_the_journal_say(self) -> None:
        door = self.state.door
        released = self.oracle.relay_until_ms > self.monotonic_ms
        assert released is (door.mode in FREE or door.mode is Mode.ACCESSED) or self.state.policy is None
        assert (door.renew_at_ms is not None) is (door.mode in FREE)
        assert door.mode is not Mode.ACCESSED or door.relock_at_ms is not None
        assert self.oracle.on_fire is (door.mode is Mode.LOCKED_OPEN)
        assert door.alarms == self.oracle.alarms
        assert not self.oracle.to_call

    def teardown(self) -> None:
        """With the button let go, the fire reset and enough time, the door rests as it is ordered to."""
        self.reads(InputLine.REX, LineState.INACTIVE)
        self.reads(InputLine.FIRE, LineState.INACTIVE)
        self.clock = ClockState.TRUSTED
        self.somebody_resets_the_fire()
        self.passes(10 * 60_000)
        expected = BASE[self.oracle.rest]
        assert self.state.door.mode is expected
        assert (self.oracle.relay_until_ms > self.monotonic_ms) is (expected is Mode.UNLOCKED)
        assert self.state.companions.waiting == ()
        assert self.state.passing == ()


Door.TestCase.settings = hypothesis_settings(stateful_step_count=40)
TestDoor = Door.TestCase


def test_the_machine_feeds_every_input():
    fed = {
        Tap,
        PinEntered,
        PinChecked,
        GrantDurable,
        GrantFailed,
        CommandReceived,
        CommandDurable,
        LineChanged,
        LockAnswered,
        TimeDue,
        TrustReplaced,
        PolicyReplaced,
        RosterReplaced,
        Noted,
    }
    assert fed == set(Input.__args__)
