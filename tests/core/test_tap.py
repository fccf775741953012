"""One tap composed: what is journaled, what waits for the disk, what a flood costs, what versions are told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import (
    CommitGrant,
    Effect,
    Energise,
    EventDraft,
    Feedback,
    Grant,
    Record,
    ReplayMark,
    Secure,
    Show,
)
from edge.core.flood import DENIALS_A_WINDOW, WINDOW_MS
from edge.core.replay import KEEP_MS
from edge.core.tap import (
    AWAITED_GRANTS,
    LATE_MS,
    GrantDurable,
    GrantFailed,
    Input,
    LineChanged,
    Noted,
    PolicyReplaced,
    RosterReplaced,
    State,
    TimeDue,
    TrustReplaced,
    handle,
    next_deadline_ms,
)
from tests.core.campus import (
    MONOTONIC_MS,
    NOW,
    NOW_MS,
    NOW_S,
    PLACE,
    READER,
    bundle,
    code,
    command,
    commanded,
    commits,
    door,
    drafts,
    durable,
    feed,
    instant,
    issue,
    pass_id,
    policy,
    present,
    printed,
    shown,
    status,
    tap,
    trust,
)
from tests.core.denials import replay_key
from tests.vectors.parts.rosters import USUAL as ROSTER
from wire.names import Action, Assurance, ClockState, DoorMode, EventKind, PassFlags, PassKind, Reason, Step
from wire.policy import ALL_DAYS, Schedule, Window
from wire.settings import DoorSettings

GARBAGE = tap(b"garbage")


def granted(state: State, payload: bytes | None = None) -> tuple[State, CommitGrant]:
    """Tap a good code; gives the grant that waits for the disk."""
    state, effects = handle(state, tap(code() if payload is None else payload), NOW)
    (commit,) = commits(effects)
    assert effects == (commit,)
    return state, commit


# --- commit, then actuate --------------------------------------------------------------------------------------


def test_a_grant_commits_its_event_and_mark_and_moves_nothing_yet():
    state, commit = granted(door())
    assert commit.draft == EventDraft(
        kind=EventKind.ACCESS_GRANTED,
        at=NOW,
        step=Step.GRANT,
        granted=True,
        credential=pass_id(),
        assurance=Assurance.ROTATING,
        reader=READER,
        rule="level-7",
        policy_version=17,
        trust_version=1,
        status_sequence=881,
        status_age_s=60,
    )
    assert commit.mark == ReplayMark(
        key=replay_key(code()), expires_wall_ms=NOW_MS + KEEP_MS, expires_monotonic_ms=MONOTONIC_MS + KEEP_MS
    )
    assert commit.grant == Grant(
        grant_id=0, hold_ms=5_000, credential=pass_id(), assurance=Assurance.ROTATING, rule="level-7", reader=READER
    )
    assert state.door == door().door


def test_a_durable_grant_releases_the_door_and_tells_the_person():
    state, commit = granted(door())
    state, effects = durable(state, commit, seq=12)
    assert effects == (Energise(5_000, 12), Show(READER, Feedback.GRANTED))
    assert state.door.mode is Mode.ACCESSED


def test_a_printed_pass_is_granted_without_a_mark_and_again():
    state = door(DoorSettings(minimum_assurance=Assurance.PRINTED))
    for grant_id in (0, 1):
        state, commit = granted(state, printed())
        assert (commit.mark, commit.grant.grant_id) == (None, grant_id)


def test_a_holder_who_needs_longer_gets_a_longer_release():
    state, commit = granted(door(), present(issue(flags=PassFlags.EXTENDED_RELEASE)))
    assert durable(state, commit)[1][0] == Energise(15_000, 1)


def refused(effects: tuple[Effect, ...]) -> tuple[Step | None, Reason | None]:
    """Step and reason of the one refusal that is shown and journaled."""
    assert [type(effect) for effect in effects] == [Show, Record]
    (draft,) = drafts(effects)
    assert (draft.kind, draft.granted, draft.reader) == (EventKind.ACCESS_DENIED, False, READER)
    assert (draft.credential, draft.assurance) == (pass_id(), Assurance.ROTATING)
    return draft.step, draft.reason


STORAGE = (Step.GRANT, Reason.STORAGE_FAULT)


def test_a_grant_that_failed_is_refused_as_a_storage_fault():
    state, commit = granted(door())
    state, effects = handle(state, GrantFailed(commit.grant), NOW)
    assert refused(effects) == STORAGE
    assert shown(effects) == [Show(READER, Feedback.TRY_AGAIN)]
    assert state.door == door().door


@pytest.mark.parametrize(("late_ms", "in_time"), [(LATE_MS, True), (LATE_MS + 1, False)])
def test_a_grant_is_carried_out_when_it_is_durable_within_two_seconds(late_ms: int, *, in_time: bool):
    state, commit = granted(door())
    state, effects = durable(state, commit, instant(late_ms))
    assert (Energise(5_000, 1) in effects) is in_time
    if not in_time:
        assert refused(effects) == STORAGE
        assert state.door == door().door


@pytest.mark.parametrize("first", [GrantDurable, GrantFailed])
@pytest.mark.parametrize("second", [GrantDurable, GrantFailed])
def test_only_the_first_answer_to_a_grant_counts(
    first: type[GrantDurable | GrantFailed], second: type[GrantDurable | GrantFailed]
):
    def answer(kind: type[GrantDurable | GrantFailed], commit: CommitGrant) -> Input:
        return GrantDurable(commit.grant, 1) if kind is GrantDurable else GrantFailed(commit.grant)

    state, commit = granted(door())
    state, _ = handle(state, answer(first, commit), NOW)
    assert handle(state, answer(second, commit), NOW) == (state, ())


def test_a_grant_that_nobody_decided_moves_nothing():
    stray = Grant(grant_id=5, hold_ms=5_000, credential=b"", assurance=Assurance.ROTATING, rule="", reader=READER)
    assert feed(door(), GrantDurable(stray, 1), GrantFailed(stray)) == (door(), ())


def test_grants_may_become_durable_in_any_order():
    state, first = granted(door())
    state, second = granted(state, code(index=43))
    state, effects = durable(state, second, seq=2)
    assert Energise(5_000, 2) in effects
    state, effects = durable(state, first, seq=1)
    assert Energise(5_000, 1) in effects
    assert state.awaited == ()


def test_grants_that_wait_are_bounded_and_the_oldest_are_taken_back():
    state = door(DoorSettings(minimum_assurance=Assurance.PRINTED))
    waiting: list[CommitGrant] = []
    for _ in range(AWAITED_GRANTS):
        state, commit = granted(state, printed())
        waiting.append(commit)
    state, effects = handle(state, tap(printed()), NOW)
    assert [(draft.step, draft.reason) for draft in drafts(effects)] == [(Step.GRANT, None), STORAGE]
    assert len(state.awaited) == AWAITED_GRANTS
    assert durable(state, waiting[0]) == (state, ())
    assert Energise(5_000, 1) in durable(state, waiting[1])[1]


@pytest.mark.parametrize(
    ("mode", "kind", "reason"),
    [
        (DoorMode.LOCKED_DOWN, PassKind.STANDARD, Reason.DOOR_LOCKED_DOWN),
        (DoorMode.BLOCKED, PassKind.STANDARD, Reason.DOOR_BLOCKED),
        (DoorMode.BLOCKED, PassKind.EMERGENCY, Reason.DOOR_BLOCKED),
        (DoorMode.LOCKED_DOWN, PassKind.EMERGENCY, None),
        (DoorMode.LOCKED, PassKind.STANDARD, None),
    ],
)
def test_a_lockdown_overtakes_a_grant_that_waits_for_the_disk(mode: DoorMode, kind: PassKind, reason: Reason | None):
    state, commit = granted(door(), code(kind=kind))
    state, _ = handle(state, PolicyReplaced(policy(DoorSettings(mode=mode), version=18)), NOW)
    state, effects = durable(state, commit)
    if reason is None:
        assert Energise(5_000, 1) in effects
    else:
        assert refused(effects) == (Step.DOOR_MODE, reason)
        assert shown(effects) == [Show(READER, Feedback.DENIED_NOT_NOW)]


def test_new_rules_move_the_door_at_once_and_not_by_way_of_the_old_ones():
    state, _ = handle(door(), PolicyReplaced(policy(DoorSettings(mode=DoorMode.UNLOCKED)), None), NOW)
    _, effects = handle(state, PolicyReplaced(policy(DoorSettings(mode=DoorMode.BLOCKED)), None), NOW)
    assert [effect for effect in effects if isinstance(effect, Energise | Secure)] == [Secure()]
    assert [draft.kind for draft in drafts(effects)] == [EventKind.MODE_CHANGED]


def test_a_grant_at_an_unlocked_door_is_journaled_and_shown():
    state, _ = handle(door(), PolicyReplaced(policy(DoorSettings(mode=DoorMode.UNLOCKED))), NOW)
    state, commit = granted(state)
    after, effects = durable(state, commit)
    assert (after.door.mode, effects) == (Mode.UNLOCKED, (Show(READER, Feedback.GRANTED),))
    assert (after.awaited, after.passing) == ((), ())


@pytest.mark.parametrize(
    ("kind", "double_tap_ms", "stays_unlocked"),
    [
        (PassKind.STAFF, 3_000, True),
        (PassKind.STAFF, 0, False),
        (PassKind.STANDARD, 3_000, False),
        (PassKind.EMERGENCY, 3_000, False),
    ],
)
def test_a_second_grant_of_a_staff_pass_keeps_the_door_unlocked_where_it_may(
    kind: PassKind, double_tap_ms: int, *, stays_unlocked: bool
):
    state = door(DoorSettings(double_tap_ms=double_tap_ms))
    for turn in range(2):
        state, commit = granted(state, code(kind=kind, signed_at_s=NOW_S + turn))
        state, _ = durable(state, commit)
    state, effects = handle(state, TimeDue(), instant(5_000))
    assert (state.door.mode is Mode.UNLOCKED) is stays_unlocked
    assert (Secure() in effects) is not stays_unlocked


def test_the_first_grant_in_the_hours_of_a_schedule_unlocks_the_door_where_it_waits_for_one():
    rules = policy(
        DoorSettings(unlock_schedule=1, first_person_in=True), schedules={1: Schedule((Window(ALL_DAYS, 0, 1440),))}
    )
    state, _ = handle(door(), PolicyReplaced(rules), NOW)
    assert state.door.mode is Mode.LOCKED
    state, effects = handle(state, tap(code()), NOW)
    state, _ = durable(state, commits(effects)[0])
    state, _ = handle(state, TimeDue(), instant(5_000))
    assert state.door.mode is Mode.UNLOCKED


# --- floods ----------------------------------------------------------------------------------------------------


def flooded(count: int, state: State | None = None) -> tuple[State, list[EventDraft], list[Show]]:
    state, effects = feed(door() if state is None else state, *[GARBAGE] * count)
    return state, drafts(effects), shown(effects)


def test_a_flood_is_journaled_in_full_up_to_its_limit_and_always_shown():
    _, journaled, told = flooded(DENIALS_A_WINDOW)
    assert (len(journaled), len(told)) == (DENIALS_A_WINDOW, DENIALS_A_WINDOW)
    _, journaled, told = flooded(DENIALS_A_WINDOW + 5)
    assert (len(journaled), len(told)) == (DENIALS_A_WINDOW, DENIALS_A_WINDOW + 5)


def test_what_a_flood_suppressed_is_journaled_as_a_number_when_its_window_ends():
    state, _, _ = flooded(DENIALS_A_WINDOW + 5)
    due = next_deadline_ms(state)
    assert due == MONOTONIC_MS + WINDOW_MS
    assert handle(state, TimeDue(), instant(WINDOW_MS - 1)) == (state, ())
    state, effects = handle(state, TimeDue(), instant(WINDOW_MS))
    told = [(draft.kind, draft.count, draft.at) for draft in drafts(effects)]
    assert told == [(EventKind.DENIALS_SUPPRESSED, 5, instant(WINDOW_MS))]
    assert (drafts(effects)[0].policy_version, next_deadline_ms(state)) == (17, None)


def test_a_window_that_suppressed_nothing_ends_silently():
    state, _, _ = flooded(DENIALS_A_WINDOW)
    state, effects = handle(state, TimeDue(), instant(WINDOW_MS))
    assert (effects, next_deadline_ms(state)) == ((), None)


def test_a_new_window_journals_in_full_again():
    state, _, _ = flooded(DENIALS_A_WINDOW + 1)
    _, effects = handle(state, GARBAGE, instant(WINDOW_MS))
    assert [draft.kind for draft in drafts(effects)] == [EventKind.DENIALS_SUPPRESSED, EventKind.ACCESS_DENIED]


def test_the_window_begins_with_its_first_denial():
    state, _ = handle(door(), GARBAGE, instant(3_000))
    state, _ = handle(state, GARBAGE, instant(9_000))
    assert next_deadline_ms(state) == MONOTONIC_MS + 3_000 + WINDOW_MS


def test_a_flood_hides_no_grant_and_no_grant_that_is_taken_back():
    state, _, _ = flooded(DENIALS_A_WINDOW + 1)
    state, commit = granted(state)
    _, effects = handle(state, GrantFailed(commit.grant), NOW)
    assert refused(effects) == STORAGE


# --- lines, time, documents ------------------------------------------------------------------------------------


def test_egress_and_fire_never_wait_for_storage():
    for line in (InputLine.REX, InputLine.FIRE):
        _, effects = handle(State(place=PLACE), LineChanged(line, LineState.ACTIVE), NOW)
        assert isinstance(effects[0], Energise)
        assert not commits(effects)


def test_a_person_resets_a_fire():
    state, _ = feed(
        door(), LineChanged(InputLine.FIRE, LineState.ACTIVE), LineChanged(InputLine.FIRE, LineState.INACTIVE)
    )
    assert state.door.mode is Mode.LOCKED_OPEN
    state, effects = commanded(state, command(Action.RESET_FIRE))
    assert (state.door.mode, effects[1]) == (Mode.LOCKED, Secure())
    assert [draft.kind for draft in drafts(effects)] == [EventKind.COMMAND_EXECUTED, EventKind.FIRE_RESET]


def test_time_relocks_the_door():
    state, commit = granted(door())
    state, _ = durable(state, commit)
    assert next_deadline_ms(state) == MONOTONIC_MS + 5_000
    state, effects = handle(state, TimeDue(), instant(5_000))
    assert (state.door.mode, effects[0]) == (Mode.LOCKED, Secure())


def test_the_nearest_deadline_is_the_one_that_counts():
    state, commit = granted(door())
    state, _ = feed(state, GrantDurable(commit.grant, 1), GARBAGE)
    assert next_deadline_ms(state) == MONOTONIC_MS + 5_000
    state, _ = handle(state, TimeDue(), instant(5_000))
    assert next_deadline_ms(state) == MONOTONIC_MS + WINDOW_MS


def test_new_documents_are_journaled_under_their_own_versions():
    state, effects = handle(door(), TrustReplaced(trust(bundle(version=2)), EventKind.TRUST_UPDATED), NOW)
    assert [(draft.kind, draft.trust_version) for draft in drafts(effects)] == [(EventKind.TRUST_UPDATED, 2)]
    _, effects = handle(state, PolicyReplaced(policy(version=18)), NOW)
    told = [(draft.kind, draft.trust_version, draft.policy_version) for draft in drafts(effects)]
    assert told == [(EventKind.POLICY_UPDATED, 2, 18)]


def test_a_mere_refresh_is_no_event():
    newer = trust(lists={0: status(issued_at_s=NOW_S)})
    state, effects = handle(door(), TrustReplaced(newer, None), NOW)
    assert (state.trust, effects) == (newer, ())
    _, effects = handle(state, PolicyReplaced(policy(), None), NOW)
    assert effects == (Secure(),)


def test_a_new_roster_is_held_and_journaled_and_a_refreshed_one_is_no_event():
    state, effects = handle(door(), RosterReplaced(ROSTER, EventKind.ROSTER_UPDATED), NOW)
    assert [draft.kind for draft in drafts(effects)] == [EventKind.ROSTER_UPDATED]
    later = replace(ROSTER, version=13)
    state, effects = handle(state, RosterReplaced(later, None), NOW)
    assert (state.roster, effects) == (later, ())


def test_events_of_a_door_that_was_never_told_carry_version_zero():
    _, effects = handle(State(place=PLACE), GARBAGE, NOW)
    assert [(draft.policy_version, draft.trust_version) for draft in drafts(effects)] == [(0, 0)]


def test_a_revocation_is_in_force_with_the_next_tap():
    state, _ = granted(door())
    state, _ = handle(state, TrustReplaced(trust(lists={0: status(43)}), EventKind.STATUS_UPDATED), NOW)
    _, effects = handle(state, tap(code(index=43)), NOW)
    assert [draft.reason for draft in drafts(effects)] == [Reason.REVOKED]


@pytest.mark.parametrize(
    "event",
    [
        tap(code()),
        GARBAGE,
        LineChanged(InputLine.REX, LineState.ACTIVE),
        LineChanged(InputLine.CONTACT, LineState.ACTIVE),
        TrustReplaced(trust(), EventKind.TRUST_UPDATED),
        PolicyReplaced(policy()),
        RosterReplaced(ROSTER, EventKind.ROSTER_UPDATED),
        Noted(EventKind.STARTED),
    ],
    ids=lambda event: type(event).__name__,
)
def test_every_event_carries_its_instant_and_versions(event: Input):
    closed, _ = handle(door(), LineChanged(InputLine.CONTACT, LineState.INACTIVE), NOW)
    later = instant(1_234)
    _, effects = handle(closed, event, later)
    told = [(draft.at, draft.policy_version, draft.trust_version) for draft in drafts(effects)]
    assert told
    assert set(told) == {(later, 17, 1)}


def test_what_the_shell_notices_is_journaled_and_changes_nothing():
    _, effects = handle(door(), Noted(EventKind.POLICY_REFUSED, reason=Reason.LOCKS_EVERYONE_OUT), NOW)
    assert [(draft.reader, draft.reason) for draft in drafts(effects)] == [(None, Reason.LOCKS_EVERYONE_OUT)]
    state, effects = handle(door(), Noted(EventKind.READER_LOST, READER), NOW)
    assert state == door()
    assert [(draft.kind, draft.reader) for draft in drafts(effects)] == [(EventKind.READER_LOST, READER)]


# --- the clock's state -----------------------------------------------------------------------------------------


def test_a_change_of_the_clocks_state_is_journaled_before_what_it_led_to():
    state, effects = handle(door(), tap(code()), instant(clock=ClockState.SUSPECT))
    assert [(draft.kind, draft.at.clock) for draft in drafts(effects)] == [
        (EventKind.CLOCK_CHANGED, ClockState.SUSPECT),
        (EventKind.ACCESS_DENIED, ClockState.SUSPECT),
    ]
    assert drafts(effects)[0].policy_version == 17
    assert handle(state, TimeDue(), instant(clock=ClockState.SUSPECT)) == (state, ())


def test_the_first_state_of_the_clock_is_no_change():
    state, effects = handle(replace(door(), clock=None), TimeDue(), instant(clock=ClockState.HOLDOVER))
    assert (state.clock, effects) == (ClockState.HOLDOVER, ())
