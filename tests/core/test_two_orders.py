"""Things that have nothing to do with each other may happen in either order: the door is the same afterwards."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.door_state import InputLine, LineState
from edge.core.tap import (
    GrantDurable,
    Input,
    LineChanged,
    LockAnswered,
    Noted,
    PolicyReplaced,
    RosterReplaced,
    State,
    TimeDue,
    TrustReplaced,
    handle,
)
from tests.core.campus import NOW, bundle, code, commits, door, feed, instant, policy, status, tap, trust
from tests.core.machine_parts import PEOPLE, Person, roster, rules, wallet
from wire.names import Assurance, DoorMode, EventKind, PassKind, RelockRule
from wire.settings import DoorSettings

states = st.sampled_from(LineState)


def wire(line: InputLine) -> st.SearchStrategy[Input]:
    return st.builds(LineChanged, st.just(line), states)


RULES = [policy(DoorSettings(mode=mode, maintenance=mode is DoorMode.BLOCKED), version=18 + mode) for mode in DoorMode]
APART: dict[str, st.SearchStrategy[Input]] = {
    "the case": wire(InputLine.TAMPER),
    "the mains": wire(InputLine.POWER),
    "the other door": wire(InputLine.INTERLOCK),
    "what the shell notices": st.just(Noted(EventKind.READER_LOST, "outside")),
    "trust": st.sampled_from(
        [
            TrustReplaced(trust(bundle(version=2), lists={0: status(each)}), EventKind.STATUS_UPDATED)
            for each in (42, 43)
        ]
    ),
    "the roster": st.builds(
        lambda enrolled: RosterReplaced(roster(enrolled=enrolled), EventKind.ROSTER_UPDATED), st.booleans()
    ),
    "the rules": st.sampled_from([PolicyReplaced(each) for each in RULES]),
}
"""Each of these changes something of its own."""
LEAF: dict[str, st.SearchStrategy[Input]] = {
    "the contact": wire(InputLine.CONTACT),
    "the exit button": wire(InputLine.REX),
    "the fire input": wire(InputLine.FIRE),
    "the bolt": wire(InputLine.LOCK_MONITOR),
    "the lock": st.builds(LockAnswered, st.booleans()),
}
"""These move one leaf and one lock, by the rules in force."""
PAIRS = [
    *combinations(APART, 2),
    *((one, other) for one in APART if one != "the rules" for other in LEAF),
    ("the exit button", "the fire input"),
    ("the lock", "the contact"),
]
EVERYTHING = APART | LEAF
histories = st.lists(st.one_of(*EVERYTHING.values(), st.builds(TimeDue)), max_size=6)


def after(state: State, *inputs: Input) -> State:
    return feed(state, *inputs, now=instant(1_000))[0]


@pytest.mark.parametrize(("one", "other"), PAIRS)
@settings(max_examples=settings().max_examples // 10)  # of each of many pairs
@given(data=st.data())
def test_two_independent_events_give_the_same_state_in_either_order(one: str, other: str, data: st.DataObject):
    state, _ = feed(door(), *data.draw(histories))
    first, second = data.draw(EVERYTHING[one]), data.draw(EVERYTHING[other])
    assert after(state, first, second) == after(state, second, first)


# --- people ----------------------------------------------------------------------------------------------------

ALONE = [person for person in PEOPLE if person.kind is not PassKind.VISITOR]


def granted(payloads: list[bytes], state: State) -> tuple[set[bytes], State]:
    """Whom the door grants, of some who tap at the same moment."""
    seen: set[bytes] = set()
    for payload in payloads:
        state, effects = handle(state, tap(payload), NOW)
        seen |= {commit.grant.credential for commit in commits(effects)}
    return seen, state


@given(
    people=st.lists(st.sampled_from(ALONE), unique=True, min_size=2, max_size=3),
    mode=st.sampled_from(DoorMode),
    minimum=st.sampled_from([Assurance.PRINTED, Assurance.NONCE_BOUND]),
    data=st.data(),
)
def test_who_taps_first_decides_nothing_for_those_who_need_nobody(
    people: list[Person], mode: DoorMode, minimum: Assurance, data: st.DataObject
):
    state = after(door(), PolicyReplaced(rules(DoorSettings(mode=mode, minimum_assurance=minimum))))
    codes = [wallet(person, NOW.wall_s) for person in people]
    first, one = granted(codes, state)
    second, other = granted(data.draw(st.permutations(codes)), state)
    assert first == second
    assert one.memory == other.memory
    assert one.replay == other.replay
    assert one.flood == other.flood


@pytest.mark.parametrize("relock", list(RelockRule))
@pytest.mark.parametrize("contact", [LineState.INACTIVE, LineState.UNKNOWN])
def test_grants_that_become_durable_in_either_order_release_the_door_alike(relock: RelockRule, contact: LineState):
    state = after(door(DoorSettings(relock=relock)), LineChanged(InputLine.CONTACT, contact))
    state, effects = handle(state, tap(code()), NOW)
    (first,) = commits(effects)
    state, effects = handle(state, tap(code(index=43)), NOW)
    (second,) = commits(effects)
    answers = GrantDurable(first.grant, 1), GrantDurable(second.grant, 2)
    one, other = after(state, *answers), after(state, *reversed(answers))
    assert one.door == other.door
    assert {each.grant for each in one.passing} == {each.grant for each in other.passing}
    assert replace(one, passing=()) == replace(other, passing=())
