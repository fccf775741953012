"""Step 14, hosts: a visitor passes with members of staff, who went the same way just now."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.core.companions import MAX_WAITING
from edge.core.effects import Feedback, Show
from edge.core.tap import (
    GrantFailed,
    PolicyReplaced,
    TimeDue,
    handle,
    next_deadline_ms,
)
from tests.core.campus import (
    MONOTONIC_MS,
    NOW,
    READER,
    changed,
    closed,
    commits,
    door,
    feed,
    holder,
    instant,
    kinds,
    pass_id,
    passed,
    policy,
    refusals,
    shown,
    under,
)
from tests.core.people import (
    COMPANION_MS,
    INTO,
    OUT_OF,
    TWO,
    UNESCORTED,
    all_durable,
    granted,
    host,
    let_in,
    someone,
    visitor,
)
from wire.names import (
    EventKind,
    PassKind,
)
from wire.policy import Passage
from wire.settings import DoorSettings

# --- visitors and their hosts ----------------------------------------------------------------------------------


def test_a_visitor_who_needs_no_host_passes_alone():
    assert granted(handle(door(DoorSettings(escorts=0)), visitor(), NOW)[1]) == [pass_id(1)]


@pytest.mark.parametrize("escorts", [1, 2])
def test_a_visitor_waits_until_the_last_host_was_let_in(escorts: int):
    state, effects = handle(door(DoorSettings(escorts=escorts)), visitor(), NOW)
    assert effects == (Show(READER, Feedback.NEXT_PERSON),)
    for person in range(escorts):
        assert len(state.companions.waiting) == 1
        state, effects = handle(state, host(10 + person), NOW)
        assert granted(effects) == [pass_id(10 + person)]  # decided, and in nobody's sight yet
        state, effects = all_durable(state, effects)
    assert granted(effects) == [pass_id(1)]
    assert state.companions.waiting == ()
    _, effects = all_durable(state, effects)
    assert shown(effects) == [Show(READER, Feedback.GRANTED)]


@pytest.mark.parametrize(("hosts", "passes"), [(0, False), (1, False), (2, True)])
def test_a_visitor_may_come_after_the_hosts(hosts: int, *, passes: bool):
    state = door(DoorSettings(escorts=2))
    for person in range(hosts):
        state, _ = let_in(state, host(10 + person))
    assert bool(granted(handle(state, visitor(), NOW)[1])) is passes


@pytest.mark.parametrize(("later_ms", "passes"), [(COMPANION_MS, True), (COMPANION_MS + 1, False)])
def test_a_host_counts_for_as_long_as_people_wait_for_each_other(later_ms: int, *, passes: bool):
    state, _ = let_in(door(), host())
    assert bool(granted(handle(state, visitor(later_s=20), instant(later_ms))[1])) is passes


@pytest.mark.parametrize(("later_ms", "passes"), [(COMPANION_MS - 1, True), (COMPANION_MS, False)])
def test_a_visitor_waits_for_so_long(later_ms: int, *, passes: bool):
    state, _ = handle(door(), visitor(), NOW)
    state, effects = handle(state, host(later_s=20), instant(later_ms))
    assert refusals(effects) == ([] if passes else [UNESCORTED])
    assert bool(granted(all_durable(state, effects, instant(later_ms))[1])) is passes


@pytest.mark.parametrize("kind", [kind for kind in PassKind if kind is not PassKind.STAFF])
def test_only_staff_are_hosts(kind: PassKind):
    state, _ = handle(door(), visitor(), NOW)
    state, _ = let_in(state, someone(10, kind=kind))
    assert pass_id(1) in [each.candidate.credential.credential for each in state.companions.waiting]


def test_nobody_is_their_own_host_and_one_host_counts_once():
    state, _ = let_in(door(), host(1))
    assert granted(handle(state, visitor(1, later_s=1), NOW)[1]) == []
    state, _ = let_in(door(DoorSettings(escorts=2)), host())
    state, _ = let_in(state, host(later_s=1))
    assert granted(handle(state, visitor(), NOW)[1]) == []


def test_one_host_takes_all_visitors_along_that_wait():
    state, _ = feed(door(), visitor(1), visitor(2))
    state, effects = let_in(state, host())
    assert granted(effects) == [pass_id(1), pass_id(2)]


@pytest.mark.parametrize(
    ("passages", "reader", "passes"),
    [
        ({}, READER, True),
        ({}, "inside", False),
        ({READER: INTO, "inside": OUT_OF}, "inside", False),
        ({READER: INTO, "camera": INTO}, "camera", True),
    ],
)
def test_a_host_goes_the_visitors_way(passages: dict[str, Passage], reader: str, *, passes: bool):
    """A member of staff who leaves is nobody's host for coming in."""
    state, _ = let_in(under(changed(policy(), passages=passages)), host(reader=reader))
    assert bool(granted(handle(state, visitor(), NOW)[1])) is passes


def test_a_host_whose_grant_failed_is_no_host():
    state, _ = handle(door(), visitor(), NOW)
    state, effects = handle(state, host(), NOW)
    state, effects = handle(state, GrantFailed(commits(effects)[0].grant), NOW)
    assert granted(effects) == []
    assert len(state.companions.waiting) == 1


def test_a_host_who_did_not_pass_is_no_host_any_more():
    state, _ = let_in(closed(door()), host())
    assert granted(handle(state, visitor(), NOW)[1]) == [pass_id(1)]
    state, effects = handle(state, TimeDue(), instant(5_000))
    assert EventKind.ACCESS_NOT_TAKEN in kinds(effects)
    _, effects = handle(state, visitor(), instant(5_000))
    assert granted(effects) == []


def test_a_member_of_staff_who_was_taken_for_a_host_stays_one_after_passing():
    state = passed(closed(door()), host())
    assert granted(handle(state, visitor(), NOW)[1]) == [pass_id(1)]


def test_of_many_hosts_the_newest_are_remembered():
    state = door(DoorSettings(escorts=2))
    for person in range(MAX_WAITING + 1):
        state, _ = let_in(state, host(10 + person))
    assert len(state.companions.hosts) == MAX_WAITING
    assert [each.holder for each in state.companions.hosts][-1] == holder(10 + MAX_WAITING)


def test_hosts_of_before_are_forgotten_with_the_next():
    state, _ = let_in(door(), host(10))
    state, _ = let_in(state, host(11, later_s=20), instant(COMPANION_MS))
    assert len(state.companions.hosts) == 2
    state, _ = let_in(state, host(12, later_s=35), instant(COMPANION_MS + 1))
    assert [each.holder for each in state.companions.hosts] == [holder(11), holder(12)]


def test_a_visitor_at_a_door_for_two_passes_with_a_host_and_else_needs_a_second_person():
    two_with_host = door(TWO)
    state, _ = feed(two_with_host, host(10), visitor(1))
    assert granted(handle(state, someone(2), NOW)[1]) == [pass_id(10), pass_id(2)]
    state, effects = handle(state, someone(2), NOW)
    state, effects = all_durable(state, effects)
    assert granted(effects) == [pass_id(1)]
    without_host = door(replace(TWO, escorts=0))
    state, effects = handle(without_host, visitor(1), NOW)
    assert granted(effects) == []
    assert granted(handle(state, someone(2), NOW)[1]) == [pass_id(1), pass_id(2)]


def test_a_visitor_is_nobodys_second_person_while_visitors_need_hosts():
    state, _ = handle(door(replace(TWO, escorts=0)), visitor(1), NOW)
    state, _ = handle(state, PolicyReplaced(policy(TWO, version=18)), NOW)
    assert granted(handle(state, someone(2), NOW)[1]) == []


def test_a_visitor_of_an_easier_policy_does_not_pass_twice():
    """A visitor waits; a new policy needs no hosts; the visitor passes with the next code and waits no more."""
    state, _ = handle(door(), visitor(1), NOW)
    state, _ = handle(state, PolicyReplaced(policy(DoorSettings(escorts=0), version=18)), NOW)
    state, effects = handle(state, visitor(1, later_s=1), NOW)
    assert granted(effects) == [pass_id(1)]
    assert state.companions.waiting == ()


# --- many who wait ---------------------------------------------------------------------------------------------


def test_of_too_many_who_wait_the_first_is_refused():
    state, effects = feed(door(), *(visitor(person) for person in range(1, MAX_WAITING + 1)))
    assert (len(state.companions.waiting), refusals(effects)) == (MAX_WAITING, [])
    state, effects = handle(state, visitor(MAX_WAITING + 1), NOW)
    assert len(state.companions.waiting) == MAX_WAITING
    assert refusals(effects) == [UNESCORTED]
    assert pass_id(1) not in [each.candidate.credential.credential for each in state.companions.waiting]


def test_the_first_deadline_of_those_who_wait_is_the_doors():
    state, _ = handle(door(), visitor(1), NOW)
    state, _ = handle(state, visitor(2, later_s=1), instant(1_000))
    assert next_deadline_ms(state) == MONOTONIC_MS + COMPANION_MS
    state, effects = handle(state, TimeDue(), instant(COMPANION_MS))
    assert refusals(effects) == [UNESCORTED]
    assert next_deadline_ms(state) == MONOTONIC_MS + 1_000 + COMPANION_MS
