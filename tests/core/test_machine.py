"""Any history of a door: what never happens, whatever is tapped, pressed, committed, ordered or lost.

A model beside the core keeps the relay as a lock does, with its own deadline, and knows independently what may have
released it. Each step is also run on a twin that remembers no issuer signature: both must do the same.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import CommitCommand, CommitGrant, Effect, Energise, Record, Secure
from edge.core.instant import Instant
from edge.core.policy import PolicyState
from edge.core.tap import (
    LATE_MS,
    CommandDurable,
    CommandReceived,
    GrantDurable,
    GrantFailed,
    Input,
    LineChanged,
    PolicyReplaced,
    RosterReplaced,
    State,
    Tap,
    TimeDue,
    TrustReplaced,
    handle,
    next_deadline_ms,
)
from edge.core.trust import PassMemo, TrustState
from tests.core.campus import (
    DOOR,
    MONOTONIC_MS,
    NOW_MS,
    SITE,
    code,
    command,
    door,
    policy,
    present,
    printed,
    status,
    tap,
    trust,
)
from tests.core.campus import issue as issue_pass
from tests.core.denials import NONCE
from tests.core.doors import BASE
from tests.vectors.parts.rosters import NEXT as NEXT_ROSTER
from tests.vectors.parts.rosters import USUAL as ROSTER
from wire.names import Action, Assurance, ClockState, DoorMode, EventKind, PassKind, RelockRule, SuspectRule
from wire.passes import make_pass_id
from wire.roster import Roster
from wire.settings import DoorSettings

RELEASE_MS = 5_000
KINDS = {PassKind.STANDARD: 42, PassKind.EMERGENCY: 43}
OLD = {code(kind=kind, index=index): kind for kind, index in KINDS.items()}
PRINTED = {printed(kind=kind, pass_id=make_pass_id(0, index)): kind for kind, index in KINDS.items()}
BOUND = present(issue_pass(), audience=f"{SITE}/{DOOR}", nonce=NONCE)
PAYLOADS = [*OLD, *PRINTED, BOUND, b"", b"garbage", next(iter(OLD))[:-3]]
FREE = (Mode.UNLOCKED, Mode.LOCKED_OPEN)
ON_FIRE = (LineState.ACTIVE, LineState.FAULT)


@lru_cache
def rules(mode: DoorMode, relock: RelockRule, minimum: Assurance) -> PolicyState:
    suspect = SuspectRule.IGNORE_SCHEDULES  # so that only step 3 stands between a suspect clock and a grant
    return policy(DoorSettings(mode=mode, relock=relock, minimum_assurance=minimum, suspect=suspect))


@lru_cache
def believed(revoked: frozenset[int]) -> TrustState:
    return trust(lists={0: status(*revoked)})


def without_memory(state: State) -> State:
    if state.trust is None:
        return state
    return replace(state, trust=replace(state.trust, memo=PassMemo()))


class Door(RuleBasedStateMachine):
    """One door, fed anything."""

    def __init__(self) -> None:
        super().__init__()
        self.monotonic_ms, self.wall_ms = MONOTONIC_MS, NOW_MS
        self.clock = ClockState.TRUSTED
        self.uncertainty_ms = 0
        self.awaited: list[tuple[CommitGrant, PassKind, int]] = []
        self.answered: list[CommitGrant] = []
        self.granted_codes: set[bytes] = set()
        self.mode = DoorMode.LOCKED
        self.fire_line = LineState.UNKNOWN
        self.commands = 0
        self.on_fire = False
        self.revoked: frozenset[int] = frozenset()
        self.allowed_until_ms = 0  # by a grant that was carried out, or by egress
        self.relay_until_ms = 0  # the lock's own deadline

    @initialize(
        known=st.booleans(),
        mode=st.sampled_from(DoorMode),
        relock=st.sampled_from(RelockRule),
        minimum=st.sampled_from([Assurance.PRINTED, Assurance.ROTATING]),
    )
    def begin(self, *, known: bool, mode: DoorMode, relock: RelockRule, minimum: Assurance) -> None:
        self.state = replace(door(), policy=None)
        if known:
            self.order(mode=mode, relock=relock, minimum=minimum)

    # --- feeding, with the oracle of every order to the lock -----------------------------------------------------

    def now(self) -> Instant:
        return Instant(
            wall_ms=self.wall_ms,
            monotonic_ms=self.monotonic_ms,
            clock=self.clock,
            uncertainty_ms=self.uncertainty_ms,
        )

    def feed(self, event: Input, *, may_release: bool) -> tuple[Effect, ...]:
        twin = handle(without_memory(self.state), event, self.now())
        outcome = handle(self.state, event, self.now())
        assert outcome == twin
        self.state, effects = outcome
        for effect in effects:
            if isinstance(effect, Energise):
                assert may_release
                assert 1 <= effect.hold_ms <= 86_400_000
                self.relay_until_ms = self.monotonic_ms + effect.hold_ms
            elif isinstance(effect, Secure):
                assert not self.on_fire
                self.relay_until_ms = self.allowed_until_ms = self.monotonic_ms
        if not self.held_by_policy():
            assert self.relay_until_ms >= self.allowed_until_ms  # nobody's release is shortened by another's
        return effects

    def held_by_policy(self) -> bool:
        return self.mode is DoorMode.UNLOCKED or self.on_fire

    # --- what can happen -----------------------------------------------------------------------------------------

    @rule(payload=st.sampled_from(PAYLOADS))
    def somebody_tries_something_else(self, payload: bytes) -> None:
        self.tapped(payload, (OLD | PRINTED).get(payload))

    @rule(kind=st.sampled_from([*KINDS]), age_s=st.sampled_from([0, 0, 15, 40, -5]))
    def somebody_shows_a_wallet(self, kind: PassKind, age_s: int) -> None:
        shown_s = (self.wall_ms // 1000 - age_s) // 15 * 15
        self.tapped(code(signed_at_s=shown_s, kind=kind, index=KINDS[kind]), kind)

    def tapped(self, payload: bytes, kind: PassKind | None) -> None:
        for effect in self.feed(tap(payload), may_release=False):
            if isinstance(effect, CommitGrant):
                assert kind is not None
                assert self.mode is not DoorMode.BLOCKED
                assert self.mode is not DoorMode.LOCKED_DOWN or kind is PassKind.EMERGENCY
                assert KINDS[kind] not in self.revoked
                assert self.clock is not ClockState.SUSPECT
                assert payload not in self.granted_codes
                self.granted_codes |= set() if payload in PRINTED else {payload}
                self.awaited.append((effect, kind, self.monotonic_ms))

    @precondition(lambda self: self.awaited)
    @rule(data=st.data())
    def a_grant_becomes_durable(self, data: st.DataObject) -> None:
        commit, kind, decided_ms = self.awaited.pop(data.draw(st.integers(0, len(self.awaited) - 1)))
        self.answered.append(commit)
        admits = self.mode is not DoorMode.BLOCKED and (
            self.mode is not DoorMode.LOCKED_DOWN or kind is PassKind.EMERGENCY
        )
        in_time = self.monotonic_ms - decided_ms <= LATE_MS
        if admits and in_time:
            self.allowed_until_ms = max(self.allowed_until_ms, self.monotonic_ms + commit.grant.hold_ms)
        effects = self.feed(GrantDurable(commit.grant, 1), may_release=admits and in_time)
        if admits and in_time:
            assert self.relay_until_ms > self.monotonic_ms
        else:
            assert [effect.draft.granted for effect in effects if isinstance(effect, Record)][-1:] == [False]

    @rule(
        data=st.data(),
        kind=st.sampled_from([*KINDS]),
        mode=st.one_of(st.none(), st.sampled_from(DoorMode)),
        passed_ms=st.sampled_from([0, 0, LATE_MS, LATE_MS + 1]),
    )
    def a_grant_is_overtaken(self, data: st.DataObject, kind: PassKind, mode: DoorMode | None, passed_ms: int) -> None:
        self.somebody_shows_a_wallet(kind=kind, age_s=0)
        if mode is not None:
            self.order(mode=mode, relock=RelockRule.ON_CLOSE, minimum=Assurance.ROTATING)
        self.time_passes(passed_ms)
        if self.awaited:
            self.a_grant_becomes_durable(data)

    @precondition(lambda self: self.awaited)
    @rule(data=st.data())
    def a_grant_fails(self, data: st.DataObject) -> None:
        commit, _, _ = self.awaited.pop(data.draw(st.integers(0, len(self.awaited) - 1)))
        self.answered.append(commit)
        self.feed(GrantFailed(commit.grant), may_release=False)

    @precondition(lambda self: self.answered)
    @rule(data=st.data())
    def an_answer_comes_twice(self, data: st.DataObject) -> None:
        self.feed(GrantDurable(data.draw(st.sampled_from(self.answered)).grant, 2), may_release=False)

    @rule(line=st.sampled_from([InputLine.CONTACT, InputLine.REX, InputLine.FIRE]), state=st.sampled_from(LineState))
    def a_wire_says(self, line: InputLine, state: LineState) -> None:
        if line is InputLine.CONTACT:
            # a relock of its own rule may end in the unlocked mode
            self.feed(LineChanged(line, state), may_release=self.held_by_policy())
        elif line is InputLine.REX:
            self.exit_button_says(state)
        else:
            self.fire_line = state
            self.on_fire = self.on_fire or state in ON_FIRE
            self.feed(LineChanged(line, state), may_release=state in ON_FIRE)

    def exit_button_says(self, state: LineState) -> None:
        pressed = state is LineState.ACTIVE
        if pressed:
            self.allowed_until_ms = max(self.allowed_until_ms, self.monotonic_ms + RELEASE_MS)
        effects = self.feed(LineChanged(InputLine.REX, state), may_release=pressed)
        if pressed:
            assert self.relay_until_ms > self.monotonic_ms  # free at once, whatever the mode
            assert EventKind.EGRESS in [effect.draft.kind for effect in effects if isinstance(effect, Record)]

    @rule()
    def somebody_resets_the_fire(self) -> None:
        self.commands += 1
        data = command(Action.RESET_FIRE, counter=self.commands, issued_at_s=self.wall_ms // 1000)
        for effect in self.feed(CommandReceived(data), may_release=False):
            if isinstance(effect, CommitCommand):
                if self.fire_line is LineState.INACTIVE:
                    self.on_fire = False
                self.feed(CommandDurable(effect.command, 1), may_release=self.mode is DoorMode.UNLOCKED)

    @rule(
        mode=st.sampled_from(DoorMode),
        relock=st.sampled_from(RelockRule),
        minimum=st.sampled_from([Assurance.PRINTED, Assurance.ROTATING]),
    )
    def order(self, *, mode: DoorMode, relock: RelockRule, minimum: Assurance) -> None:
        self.mode = mode
        self.feed(PolicyReplaced(rules(mode, relock, minimum)), may_release=mode is DoorMode.UNLOCKED)

    @rule(revoked=st.sampled_from([frozenset[int](), frozenset({42}), frozenset({43})]))
    def the_list_changes(self, revoked: frozenset[int]) -> None:
        self.revoked = revoked
        self.feed(TrustReplaced(believed(revoked), EventKind.STATUS_UPDATED), may_release=False)

    @rule(roster=st.sampled_from([ROSTER, NEXT_ROSTER]), kind=st.sampled_from([None, EventKind.ROSTER_UPDATED]))
    def the_roster_changes(self, roster: Roster, kind: EventKind | None) -> None:
        effects = self.feed(RosterReplaced(roster, kind), may_release=False)
        noted = [effect.draft.kind for effect in effects if isinstance(effect, Record)]
        assert noted[-1:] == [kind] if kind is not None else EventKind.ROSTER_UPDATED not in noted

    @rule(
        moved_ms=st.sampled_from([0, -120_000, -15_000, 15_000, 120_000]),
        clock=st.sampled_from([ClockState.TRUSTED, ClockState.TRUSTED, *ClockState]),
        uncertainty_ms=st.sampled_from([0, 1_000, 90_000]),
    )
    def the_clock_is_set_and_believed_otherwise(self, moved_ms: int, clock: ClockState, uncertainty_ms: int) -> None:
        self.wall_ms += moved_ms
        self.clock = clock
        self.uncertainty_ms = uncertainty_ms

    @rule(passed_ms=st.one_of(st.integers(0, 2 * LATE_MS), st.integers(0, 300_000)))
    def time_passes(self, passed_ms: int) -> None:
        end_ms = self.monotonic_ms + passed_ms
        while (due := next_deadline_ms(self.state)) is not None and due <= end_ms:
            self.wall_ms += max(0, due - self.monotonic_ms)
            self.monotonic_ms = max(self.monotonic_ms, due)
            self.feed(TimeDue(), may_release=self.held_by_policy())
            assert next_deadline_ms(self.state) != due  # no deadline is left behind
        self.wall_ms += end_ms - self.monotonic_ms
        self.monotonic_ms = end_ms

    # --- what always holds ---------------------------------------------------------------------------------------

    @invariant()
    def the_relay_is_released_only_with_a_cause_in_force(self) -> None:
        if self.relay_until_ms > self.monotonic_ms and not self.held_by_policy():
            assert self.allowed_until_ms >= self.relay_until_ms

    @invariant()
    def a_fire_keeps_the_door_free(self) -> None:
        if self.on_fire:
            assert self.state.door.mode is Mode.LOCKED_OPEN
            assert self.relay_until_ms > self.monotonic_ms

    @invariant()
    def the_lock_does_what_the_state_says(self) -> None:
        mode = self.state.door.mode
        released = self.relay_until_ms > self.monotonic_ms
        assert released is (mode in FREE or mode is Mode.ACCESSED)
        assert (self.state.door.relock_at_ms is not None) is (mode is Mode.ACCESSED)
        assert (self.state.door.renew_at_ms is not None) is (mode in FREE)

    def teardown(self) -> None:
        """Without further input and with enough time, the door is in the mode that its policy orders."""
        self.time_passes(60 * 60_000)
        expected = Mode.LOCKED_OPEN if self.on_fire else BASE[self.mode]
        assert self.state.door.mode is expected
        assert (self.relay_until_ms > self.monotonic_ms) is (expected in FREE)


Door.TestCase.settings = hypothesis_settings(stateful_step_count=40)
TestDoor = Door.TestCase


def test_the_machine_knows_every_input():
    fed = {
        Tap,
        GrantDurable,
        GrantFailed,
        LineChanged,
        CommandReceived,
        CommandDurable,
        TimeDue,
        TrustReplaced,
        PolicyReplaced,
        RosterReplaced,
    }
    names = {kind.__name__ for kind in Input.__args__}
    assert names - {kind.__name__ for kind in fed} == {"Noted"}
