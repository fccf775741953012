"""Passes on paper: how often one opens a door, counted by the door itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.effects import Feedback, Show
from edge.core.memory import Memo, MemoKind
from edge.core.tap import GrantFailed, PolicyReplaced, State, TimeDue, handle
from tests.core.campus import (
    NOW,
    NOW_S,
    READER,
    closed,
    code,
    commits,
    door,
    durable,
    feed,
    instant,
    pass_id,
    passed,
    policy,
    printed,
    refusals,
    shown,
    tap,
)
from wire.names import Assurance, Reason, Step
from wire.settings import DoorSettings

EXHAUSTED = (Step.REPLAY, Reason.USES_EXHAUSTED)


def counting(uses: int) -> DoorSettings:
    return DoorSettings(minimum_assurance=Assurance.PRINTED, printed_uses=uses)


def used(times: int, *, allowed: int) -> State:
    """A door at which the usual printed pass was used so often."""
    state = door(counting(allowed))
    for _ in range(times):
        state = passed(state, tap(printed()))
    return state


@pytest.mark.parametrize(("times", "exhausted"), [(0, False), (1, False), (2, True)])
def test_a_printed_pass_opens_a_door_as_often_as_it_may(times: int, *, exhausted: bool):
    _, effects = handle(used(times, allowed=2), tap(printed()), NOW)
    assert refusals(effects) == ([EXHAUSTED] if exhausted else [])
    assert shown(effects) == ([Show(READER, Feedback.DENIED_EXPIRED)] if exhausted else [])


def test_a_use_is_noted_in_the_transaction_of_its_grant():
    _, effects = handle(used(1, allowed=2), tap(printed()), instant(5_000))
    assert commits(effects)[0].memos == (Memo(MemoKind.USES, pass_id(), (2, NOW_S + 5)),)


def test_where_uses_are_not_counted_none_are_noted():
    state = used(3, allowed=0)
    assert dict(state.memory.facts) == {}


def test_uses_are_each_passs_own():
    state = used(1, allowed=1)
    assert commits(handle(state, tap(printed(pass_id=pass_id(43))), NOW)[1])


def test_a_phone_is_not_counted():
    state = passed(door(counting(1)), tap(code()))
    assert dict(state.memory.facts) == {}
    assert commits(handle(state, tap(code(signed_at_s=NOW_S + 1)), NOW)[1])


def test_a_grant_that_waits_for_the_disk_counts_already():
    state, _ = handle(door(counting(1)), tap(printed()), NOW)
    assert refusals(handle(state, tap(printed()), NOW)[1]) == [EXHAUSTED]


def test_a_use_that_came_to_nothing_is_given_back():
    state, effects = handle(door(counting(1)), tap(printed()), NOW)
    state, _ = handle(state, GrantFailed(commits(effects)[0].grant), NOW)
    assert commits(handle(state, tap(printed()), NOW)[1])


def test_a_use_that_was_not_taken_is_given_back():
    state, effects = handle(closed(door(counting(1))), tap(printed()), NOW)
    state, _ = durable(state, commits(effects)[0])
    assert refusals(handle(state, tap(printed()), instant(4_999))[1]) == [EXHAUSTED]
    state, _ = handle(state, TimeDue(), instant(5_000))
    assert commits(handle(state, tap(printed()), instant(5_000))[1])


def test_uses_outlive_a_restart():
    state = replace(door(counting(1)), memory=used(1, allowed=1).memory)
    assert refusals(handle(state, tap(printed()), NOW)[1]) == [EXHAUSTED]


@pytest.mark.parametrize(("allowed", "refused"), [(0, []), (1, [EXHAUSTED]), (2, [EXHAUSTED]), (3, [])])
def test_a_new_policy_counts_the_uses_of_before(allowed: int, refused: list[tuple[Step, Reason]]):
    _, effects = feed(used(2, allowed=9), PolicyReplaced(policy(counting(allowed), version=18)), tap(printed()))
    assert refusals(effects) == refused
