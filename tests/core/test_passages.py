"""Whether a grant was used, and what is taken back of one that was not, or not carried out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest

from edge.core.anti_passback import put_back
from edge.core.door_state import InputLine, LineState, Mode
from edge.core.effects import CommitGrant, Effect, Record
from edge.core.grants import AWAITED_GRANTS, LATE_MS
from edge.core.memory import Memo, MemoKind
from edge.core.policy import PolicyState
from edge.core.tap import GrantDurable, GrantFailed, LineChanged, PolicyReplaced, State, TimeDue, handle
from tests.core.campus import (
    NOW,
    NOW_S,
    READER,
    changed,
    closed,
    code,
    commits,
    door,
    drafts,
    durable,
    feed,
    holder,
    instant,
    kinds,
    pass_id,
    passed,
    policy,
    printed,
    refusals,
    tap,
    under,
)
from tests.core.people import INTO, OUT_OF, STORAGE, TWO, someone
from wire.names import Assurance, DoorMode, EventKind, Reason, RelockRule, Step
from wire.settings import DoorSettings

NOT_TAKEN = EventKind.ACCESS_NOT_TAKEN
OPENED = LineChanged(InputLine.CONTACT, LineState.ACTIVE)
CLOSED = LineChanged(InputLine.CONTACT, LineState.INACTIVE)
RELEASE_MS = DoorSettings().release_time_ms


def rules(version: int = 17, **changes: object) -> PolicyState:
    """A door whose readers lead in and out, and that counts the uses of paper."""
    settings = DoorSettings(minimum_assurance=Assurance.PRINTED, printed_uses=3)
    made = policy(replace(settings, **changes), version=version)  # type: ignore[arg-type]
    return changed(made, passages={READER: INTO, "inside": OUT_OF})


def area_of(state: State, key: bytes) -> int | None:
    fact = state.memory.get(MemoKind.PRESENCE, key)
    return None if fact is None else fact[0]


def released(state: State, payload: bytes | None = None) -> State:
    """A grant that is carried out; the door is released and has not moved yet."""
    state, effects = handle(state, tap(code(person=1, index=1) if payload is None else payload), NOW)
    return durable(state, commits(effects)[0])[0]


# --- used, or not ----------------------------------------------------------------------------------------------


def test_a_grant_is_not_taken_if_the_door_never_opened_until_it_relocked():
    state = released(closed(under(rules())))
    assert area_of(state, holder(1)) == 1
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS - 1))
    assert kinds(effects) == []
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS))
    assert kinds(effects) == [EventKind.DOOR_RELOCKED, NOT_TAKEN]
    draft = drafts(effects)[1]
    told = (draft.credential, draft.reader, draft.rule, draft.at, draft.granted, draft.step)
    assert told == (pass_id(1), READER, "level-7", instant(RELEASE_MS), None, None)
    assert area_of(state, holder(1)) is None
    assert state.passing == ()
    assert dict(state.memory.present) == {}
    assert kinds(handle(state, TimeDue(), instant(RELEASE_MS + 1))[1]) == []


def test_a_grant_is_taken_once_the_door_opened():
    state = released(closed(under(rules())))
    state, effects = handle(state, OPENED, instant(1_000))
    assert kinds(effects) == [EventKind.DOOR_OPENED]
    assert state.passing == ()
    state, _ = handle(state, CLOSED, instant(2_000))
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS))
    assert NOT_TAKEN not in kinds(effects)
    assert area_of(state, holder(1)) == 1


@pytest.mark.parametrize("relock", list(RelockRule))
def test_a_grant_is_taken_whenever_the_door_relocks(relock: RelockRule):
    state, effects = feed(released(closed(under(rules(relock=relock)))), OPENED, CLOSED)
    _, more = handle(state, TimeDue(), instant(RELEASE_MS))
    assert NOT_TAKEN not in kinds((*effects, *more))


@pytest.mark.parametrize("contact", [LineState.UNKNOWN, LineState.FAULT, LineState.ACTIVE])
def test_a_door_that_is_not_known_to_be_closed_may_have_been_used(contact: LineState):
    """Nobody watches, the wire is broken, or the door stood open already."""
    before, _ = handle(closed(under(rules())), LineChanged(InputLine.CONTACT, contact), NOW)
    state = released(before)
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS))
    assert NOT_TAKEN not in kinds(effects)
    assert area_of(state, holder(1)) == 1


@pytest.mark.parametrize("contact", [LineState.UNKNOWN, LineState.FAULT])
def test_a_contact_that_fails_while_the_door_is_released_may_have_missed_the_passage(contact: LineState):
    state, effects = feed(released(closed(under(rules()))), LineChanged(InputLine.CONTACT, contact), CLOSED)
    _, more = handle(state, TimeDue(), instant(RELEASE_MS))
    assert NOT_TAKEN not in kinds((*effects, *more))


def test_a_door_that_is_free_may_have_been_used():
    state = released(closed(under(rules())))
    state, effects = handle(state, LineChanged(InputLine.FIRE, LineState.ACTIVE), NOW)
    assert (NOT_TAKEN in kinds(effects), state.passing) == (False, ())
    free, _ = handle(closed(under(rules())), PolicyReplaced(rules(18, mode=DoorMode.UNLOCKED)), NOW)
    state = released(free)
    assert state.passing == ()
    assert area_of(state, holder(1)) == 1


def test_an_exit_keeps_the_door_released_and_the_grant_open():
    state = released(closed(under(rules())))
    press, leave = (LineChanged(InputLine.REX, line) for line in (LineState.ACTIVE, LineState.INACTIVE))
    state, _ = handle(state, press, instant(3_000))
    state, _ = handle(state, leave, instant(3_100))
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS))
    assert (kinds(effects), len(state.passing)) == ([], 1)
    _, effects = handle(state, TimeDue(), instant(3_000 + RELEASE_MS))
    assert kinds(effects) == [EventKind.DOOR_RELOCKED, NOT_TAKEN]


def test_a_door_that_is_blocked_while_released_was_not_used_unless_it_opened():
    state = released(closed(under(rules())))
    state, effects = handle(state, PolicyReplaced(rules(18, mode=DoorMode.BLOCKED)), NOW)
    assert NOT_TAKEN not in kinds(effects)
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS))
    assert (state.door.mode, kinds(effects)[-1]) == (Mode.BLOCKED, NOT_TAKEN)


def test_each_grant_of_one_release_is_taken_or_not_with_the_door():
    state = closed(under(rules()))
    for person in (1, 2):
        state = released(state, code(person=person, index=person))
    used, effects = handle(state, OPENED, NOW)
    assert (NOT_TAKEN in kinds(effects), dict(used.memory.present)) == (False, {1: 2})
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS))
    assert kinds(effects)[-2:] == [NOT_TAKEN, NOT_TAKEN]
    assert dict(state.memory.facts) == {}


def test_grants_that_may_be_used_are_bounded():
    state = closed(door(DoorSettings(minimum_assurance=Assurance.PRINTED)))
    for _ in range(AWAITED_GRANTS + 1):
        state = released(state, printed())
    assert [each.grant.grant_id for each in state.passing] == list(range(1, AWAITED_GRANTS + 1))


# --- one grant taken back --------------------------------------------------------------------------------------


def failed(state: State, commit: CommitGrant) -> tuple[State, tuple[Effect, ...]]:
    return handle(state, GrantFailed(commit.grant), NOW)


def late(state: State, commit: CommitGrant) -> tuple[State, tuple[Effect, ...]]:
    return durable(state, commit, instant(LATE_MS + 1))


def overtaken(state: State, commit: CommitGrant) -> tuple[State, tuple[Effect, ...]]:
    newer = rules(18, mode=DoorMode.LOCKED_DOWN)
    return durable(replace(state, policy=newer), commit)


def interlocked(state: State, commit: CommitGrant) -> tuple[State, tuple[Effect, ...]]:
    return durable(replace(state, policy=rules(18, interlock=True)), commit)


@pytest.mark.parametrize(
    ("take_back", "refused"),
    [
        (failed, STORAGE),
        (late, STORAGE),
        (overtaken, (Step.DOOR_MODE, Reason.DOOR_LOCKED_DOWN)),
        (interlocked, (Step.DOOR_MODE, Reason.DOOR_INTERLOCKED)),
    ],
)
def test_a_grant_that_is_taken_back_leaves_nothing(
    take_back: Callable[[State, CommitGrant], tuple[State, tuple[Effect, ...]]], refused: tuple[Step, Reason]
):
    start = closed(under(rules()))
    state, effects = handle(start, tap(printed()), NOW)
    (commit,) = commits(effects)
    assert (area_of(state, pass_id()), state.memory.get(MemoKind.USES, pass_id())) == (1, (1, NOW_S))
    state, effects = take_back(state, commit)
    assert refusals(effects) == [refused]
    assert state.memory == start.memory
    assert (state.awaited, state.passing) == ((), ())


def test_whoever_did_not_pass_is_where_they_were():
    state = passed(under(rules()), someone(1))
    state, effects = handle(closed(state), someone(1, reader="inside", later_s=5), instant(5_000))
    assert area_of(state, holder(1)) is None
    state, effects = handle(state, GrantFailed(commits(effects)[0].grant), instant(5_000))
    assert state.memory.get(MemoKind.PRESENCE, holder(1)) == (1, NOW_S)
    (record,) = (effect for effect in effects if isinstance(effect, Record))
    assert [memo.value for memo in record.memos] == [(1, NOW_S)]


@pytest.mark.parametrize(("before_s", "known"), [(NOW_S, True), (NOW_S + 1, False)])
def test_nobody_is_put_back_to_where_a_reset_forgot_them(before_s: int, *, known: bool):
    state = passed(under(rules()), someone(1))
    state, effects = handle(state, someone(1, reader="inside", later_s=5), instant(5_000))
    (commit,) = commits(effects)
    state, _ = handle(state, PolicyReplaced(rules(18, forget_presence_before_s=before_s)), instant(5_000))
    state, _ = handle(state, GrantFailed(commit.grant), instant(5_000))
    assert area_of(state, holder(1)) == (1 if known else None)


# --- several grants of one holder ------------------------------------------------------------------------------


def several(count: int) -> tuple[State, list[CommitGrant]]:
    """So many grants of one printed pass, which comes in and goes out in turn; none has been answered."""
    state, waiting = closed(under(rules(printed_uses=9))), list[CommitGrant]()
    for turn in range(count):
        state, effects = handle(state, tap(printed(), READER if turn % 2 == 0 else "inside"), NOW)
        waiting += commits(effects)
    return state, waiting


def facts_after(turns: list[int]) -> tuple[int | None, int]:
    """Where the holder of `several` is and how often the pass was used, if these of its grants were used."""
    return (None if not turns or turns[-1] % 2 else 1), len(turns)


def facts(state: State) -> tuple[int | None, int]:
    used, *_ = state.memory.get(MemoKind.USES, pass_id()) or (0,)
    return area_of(state, pass_id()), used


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("kept", [set[int](), {0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, {0, 1, 2}], ids=str)
def test_of_several_grants_those_that_are_taken_back_leave_nothing_in_any_order(order: tuple[int], kept: set[int]):
    """Those kept are durable, and the door opens for them at once."""
    state, waiting = several(3)
    for turn in order:
        if turn in kept:
            state, _ = feed(state, GrantDurable(waiting[turn].grant, 1), OPENED, CLOSED)
        else:
            state, _ = failed(state, waiting[turn])
    assert facts(state) == facts_after(sorted(kept))


@pytest.mark.parametrize("order", list(permutations(range(3))))
@pytest.mark.parametrize("carried_out", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, {0, 1, 2}], ids=str)
def test_several_grants_that_are_carried_out_and_not_used_leave_nothing(order: tuple[int], carried_out: set[int]):
    state, waiting = several(3)
    for turn in order:
        state, _ = (durable if turn in carried_out else failed)(state, waiting[turn])
    state, effects = handle(state, TimeDue(), instant(RELEASE_MS))
    assert kinds(effects).count(NOT_TAKEN) == len(carried_out)
    assert facts(state) == (None, 0)


@pytest.mark.parametrize("then", [failed, durable])
def test_a_grant_that_was_not_used_hands_its_undoing_on_to_one_that_is_awaited(
    then: Callable[[State, CommitGrant], tuple[State, tuple[Effect, ...]]],
):
    state, waiting = several(2)
    state, _ = durable(state, waiting[0])
    state, _ = handle(state, TimeDue(), instant(RELEASE_MS))
    assert facts(state) == (None, 1)
    state, _ = then(state, waiting[1])
    assert facts(state) == (None, 0 if then is failed else 1)


def wallets(*readers: str) -> tuple[State, list[CommitGrant]]:
    """Grants of one phone at these readers, a second apart; none has been answered."""
    state, waiting = closed(under(rules())), list[CommitGrant]()
    for turn, reader in enumerate(readers):
        state, effects = handle(state, someone(1, later_s=turn, reader=reader), instant(turn * 1_000))
        waiting += commits(effects)
    return state, waiting


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_two_grants_of_a_phone_are_undone_in_either_order(first: int, second: int):
    state, waiting = wallets(READER, READER)
    state, _ = failed(state, waiting[first])
    assert state.memory.get(MemoKind.PRESENCE, holder(1)) == (1, NOW_S + (1 if first == 0 else 0))
    state, effects = failed(state, waiting[second])
    (record,) = (effect for effect in effects if isinstance(effect, Record))
    assert record.memos == (Memo(MemoKind.PRESENCE, holder(1), None),)
    assert dict(state.memory.facts) == {}


def test_a_passage_leaves_the_grants_of_others_and_later_ones_of_the_same_holder_alone():
    """Person 2 passes; persons 1's grants, before and after, still put person 1 back."""
    state, one = handle(closed(under(rules())), someone(1), NOW)
    state, two = handle(state, someone(2), NOW)
    state, three = handle(state, someone(2, later_s=1, reader="inside"), NOW)
    state, _ = feed(state, GrantDurable(commits(two)[0].grant, 1), OPENED, CLOSED)
    state, _ = failed(state, commits(one)[0])
    assert area_of(state, holder(1)) is None
    assert area_of(state, holder(2)) is None
    state, _ = failed(state, commits(three)[0])
    assert state.memory.get(MemoKind.PRESENCE, holder(2)) == (1, NOW_S)


def test_a_reset_looks_at_when_somebody_was_noted():
    fact = Memo(MemoKind.PRESENCE, b"ann", (9, 9, NOW_S))
    assert put_back(fact, DoorSettings(forget_presence_before_s=NOW_S)) is fact
    gone = Memo(MemoKind.PRESENCE, b"ann", None)
    assert put_back(fact, DoorSettings(forget_presence_before_s=NOW_S + 1)) == gone
    assert put_back(gone, DoorSettings(forget_presence_before_s=NOW_S + 1)) is gone


def test_grants_of_others_are_not_touched():
    state = closed(under(rules()))
    state, one = handle(state, tap(printed()), NOW)
    state, other = handle(state, tap(printed(pass_id=pass_id(43))), NOW)
    state, _ = failed(state, commits(one)[0])
    assert (area_of(state, pass_id()), area_of(state, pass_id(43))) == (None, 1)
    state, _ = failed(state, commits(other)[0])
    assert dict(state.memory.facts) == {}


def test_a_later_grant_at_a_reader_that_leads_nowhere_hands_nothing_on():
    state, one = handle(closed(under(rules())), someone(1), NOW)
    state, other = handle(state, someone(1, reader="locker", later_s=1), NOW)
    state, _ = failed(state, commits(one)[0])
    assert area_of(state, holder(1)) is None
    state, _ = failed(state, commits(other)[0])
    assert area_of(state, holder(1)) is None


def test_of_too_many_grants_that_wait_the_oldest_is_taken_back_with_what_it_noted():
    state = closed(under(rules(printed_uses=0)))
    state, _ = handle(state, tap(printed()), NOW)
    state, effects = feed(state, *[tap(printed(pass_id=pass_id(43)))] * AWAITED_GRANTS)
    assert refusals(effects) == [STORAGE]
    assert (area_of(state, pass_id()), area_of(state, pass_id(43))) == (None, 1)
    assert len(state.awaited) == AWAITED_GRANTS


def test_two_who_may_only_pass_together_are_both_put_back():
    state, _ = handle(closed(under(changed(rules(), settings=TWO))), someone(1), NOW)
    state, effects = handle(state, someone(2), NOW)
    assert dict(state.memory.present) == {1: 2}
    state, effects = failed(state, commits(effects)[1])
    assert dict(state.memory.facts) == {}
