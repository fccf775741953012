"""What time alone does: every deadline is named, none is missed, none is left behind; and the inputs that only note."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.companions import PinOutcome
from edge.core.credential import Form, Medium, PinEntry, Presentation
from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import CheckPin, Feedback, Show
from edge.core.flood import WINDOW_MS
from edge.core.memory import Memo, MemoKind
from edge.core.tap import (
    GrantDurable,
    Input,
    LineChanged,
    LockAnswered,
    PinChecked,
    PinEntered,
    PolicyReplaced,
    RosterReplaced,
    State,
    TimeDue,
    handle,
    next_deadline_ms,
)
from tests.core.campus import (
    CARD,
    MONOTONIC_MS,
    NOW,
    NOW_S,
    PERSON,
    PLACE,
    READER,
    VERIFIERS,
    code,
    commits,
    door,
    drafts,
    entry,
    feed,
    instant,
    policy,
    printed,
    roster,
    shown,
    tap,
)
from tests.core.doors import CLOSED_DOOR, kinds
from tests.core.running import hours
from wire.names import Assurance, DoorMode, EventKind, PassKind, Reason, Step
from wire.passes import make_pass_id
from wire.roster import IdentifierForm
from wire.settings import DoorSettings

GARBAGE = tap(b"garbage")
OPEN, CLOSED = LineChanged(InputLine.CONTACT, LineState.ACTIVE), LineChanged(InputLine.CONTACT, LineState.INACTIVE)
PRESSED, LET_GO = LineChanged(InputLine.REX, LineState.ACTIVE), LineChanged(InputLine.REX, LineState.INACTIVE)
VISITOR = printed(kind=PassKind.VISITOR)
PAPER = DoorSettings(minimum_assurance=Assurance.PRINTED)

ROSTER = roster({(IdentifierForm.CARD_UID, CARD): entry(pin=VERIFIERS)})
CARD_AND_PIN = DoorSettings(minimum_assurance=Assurance.IDENTIFIER, pin_below=Assurance.ROTATING)


def usual(settings: DoorSettings | None = None) -> State:
    return replace(door(settings), door=CLOSED_DOOR, roster=ROSTER)


def passed(state: State) -> State:
    state, effects = handle(state, tap(code()), NOW)
    return handle(state, GrantDurable(commits(effects)[0].grant, 1), NOW)[0]


def fed(state: State, *inputs: Input) -> State:
    return feed(state, *inputs)[0]


CARD_TAP = Presentation(READER, Medium.NFC, CARD, MONOTONIC_MS, Form.CARD_NUMBER)
RUNNING = {
    "the end of a release": (passed(usual()), 5_000),
    "the end of a release by the exit button": (fed(usual(), PRESSED, LET_GO), 5_000),
    "the next look at a button that is held": (fed(usual(), PRESSED), 5_000),
    "the warning of a door that stands open": (fed(usual(), OPEN), 20_000),
    "a door that stands open too long": (fed(usual(DoorSettings(pre_alarm_ms=0)), OPEN), 30_000),
    "the renewal of an unlocked door": (
        fed(usual(), PolicyReplaced(policy(DoorSettings(mode=DoorMode.UNLOCKED)))),
        20_000,
    ),
    "the renewal of a fire": (fed(usual(), LineChanged(InputLine.FIRE, LineState.ACTIVE)), 3_600_000),
    "a bolt that does not follow": (
        fed(usual(DoorSettings(lock_time_ms=700)), LineChanged(InputLine.LOCK_MONITOR, LineState.ACTIVE)),
        700,
    ),
    "the end of a flood": (fed(usual(), GARBAGE), WINDOW_MS),
    "a visitor who waits in vain": (fed(usual(PAPER), tap(VISITOR)), 30_000),
    "the next minute of a schedule": (fed(usual(), PolicyReplaced(hours())), 40_000),
}


@pytest.mark.parametrize(("state", "after_ms"), list(RUNNING.values()), ids=list(RUNNING))
def test_every_deadline_is_named_nothing_happens_before_it_and_it_is_not_left_behind(state: State, after_ms: int):
    assert next_deadline_ms(state) == MONOTONIC_MS + after_ms
    assert handle(state, TimeDue(), instant(after_ms - 1))[1] == ()
    after, _ = handle(state, TimeDue(), instant(after_ms))
    assert after != state
    following = next_deadline_ms(after)
    assert following is None or following > MONOTONIC_MS + after_ms


def test_a_door_at_rest_asks_for_nothing():
    assert next_deadline_ms(usual()) is None
    assert next_deadline_ms(State(place=PLACE)) is None
    assert handle(usual(), TimeDue(), instant(10**9)) == (usual(), ())


def test_the_nearest_of_many_is_the_one_that_is_named():
    state = fed(passed(usual()), GARBAGE, OPEN)
    seen: list[int] = []
    while (due := next_deadline_ms(state)) is not None:
        seen.append(due - MONOTONIC_MS)
        state, _ = handle(state, TimeDue(), instant(due - MONOTONIC_MS))
    assert seen == [5_000, 10_000, 20_000, 30_000]


def test_time_that_is_told_late_misses_nothing():
    state = fed(passed(usual()), *[GARBAGE] * 30, OPEN)
    state, effects = handle(state, TimeDue(), instant(3_600_000))
    assert kinds(effects) == [
        EventKind.DENIALS_SUPPRESSED,
        EventKind.DOOR_RELOCKED,
        EventKind.OPEN_PRE_ALARM,
        EventKind.OPEN_TOO_LONG,
    ]
    assert next_deadline_ms(state) is None


def test_a_door_that_may_not_stand_open_at_all_alarms_at_once_and_once():
    settings = DoorSettings(open_time_ms=0, pre_alarm_ms=0)
    state, effects = feed(usual(settings), OPEN, TimeDue(), TimeDue())
    assert kinds(effects).count(EventKind.OPEN_TOO_LONG) == 1
    assert next_deadline_ms(state) is None


# --- people who wait -------------------------------------------------------------------------------------------


def test_somebody_who_waited_in_vain_is_refused_with_whatever_happens_next():
    state = fed(usual(PAPER), tap(VISITOR))
    for event in (TimeDue(), CLOSED):
        after, effects = handle(state, event, instant(30_000))
        assert [(draft.step, draft.reason) for draft in drafts(effects)] == [(Step.COMPANIONS, Reason.ESCORT_REQUIRED)]
        assert after.companions.waiting == ()


def test_all_whose_time_is_over_are_refused_in_the_order_in_which_they_came():
    state = fed(usual(PAPER), tap(VISITOR))
    other = make_pass_id(0, 50)
    state, _ = handle(state, tap(printed(kind=PassKind.VISITOR, pass_id=other)), instant(10))
    _, effects = handle(state, TimeDue(), instant(30_010))
    assert [draft.credential for draft in drafts(effects)] == [make_pass_id(0, 42), other]


def test_a_pin_goes_through_the_shell_and_back():
    rules = PolicyReplaced(policy(CARD_AND_PIN), None)
    state, effects = feed(usual(), rules, replace(tap(b""), presentation=CARD_TAP))
    assert shown(effects) == [Show(READER, Feedback.ENTER_PIN)]
    state, effects = handle(state, PinEntered(PinEntry(READER, b"1234", MONOTONIC_MS)), NOW)
    assert effects == (CheckPin(0, VERIFIERS, b"1234"),)
    state, effects = handle(state, PinChecked(0, PinOutcome.RIGHT), NOW)
    assert [commit.grant.credential for commit in commits(effects)] == [PERSON]


# --- inputs that only note -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, EventKind.ROSTER_UPDATED])
def test_a_newer_roster_is_in_force_and_journaled_unless_it_was_only_loaded_again(kind: EventKind | None):
    state, effects = handle(replace(usual(), roster=None), RosterReplaced(ROSTER, kind), NOW)
    assert state.roster == ROSTER
    assert kinds(effects) == ([] if kind is None else [kind])


def test_what_the_lock_answers_is_judged_and_journaled_under_its_versions():
    state, effects = handle(usual(), LockAnswered(carried_out=False), NOW)
    assert [(draft.kind, draft.policy_version) for draft in drafts(effects)] == [(EventKind.LOCK_FAILED, 17)]
    state, effects = handle(state, LockAnswered(carried_out=True), NOW)
    assert (state, kinds(effects)) == (usual(), [EventKind.LOCK_RESTORED])


def test_a_policy_that_forgets_who_was_where_says_how_many():
    memory = usual().memory
    for number, noted_s in enumerate((NOW_S - 2, NOW_S - 1, NOW_S)):
        memory = memory.with_memo(Memo(MemoKind.PRESENCE, bytes([number]), (1, noted_s)))
    rules = policy(DoorSettings(forget_presence_before_s=NOW_S))
    state, effects = handle(replace(usual(), memory=memory), PolicyReplaced(rules, None), NOW)
    assert [(draft.kind, draft.count) for draft in drafts(effects)] == [(EventKind.PRESENCE_RESET, 2)]
    assert dict(state.memory.present) == {1: 1}
    assert drafts(handle(state, PolicyReplaced(rules, None), NOW)[1]) == []


def test_a_mode_of_the_door_is_not_changed_by_what_only_notes():
    for event in (RosterReplaced(ROSTER, EventKind.ROSTER_UPDATED), LockAnswered(carried_out=False)):
        assert handle(usual(), event, NOW)[0].door.mode is Mode.LOCKED
