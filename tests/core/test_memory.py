"""What a door remembers beyond its journal: facts by memo, who is where counted along, and a bound."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pytest
from immutables import Map

from edge.core.companions import PinOutcome
from edge.core.effects import Journaling, Record
from edge.core.memory import MAX_FACTS, Memo, MemoKind, Memory
from edge.core.printed import give_back
from edge.core.tap import GrantFailed, State, handle
from tests.core.campus import (
    NOW,
    NOW_S,
    PERSON,
    READER,
    answered,
    card,
    changed,
    commits,
    feed,
    holder,
    instant,
    pass_id,
    policy,
    printed,
    tap,
    under,
)
from tests.core.people import INTO, PEOPLE, someone
from wire.names import Assurance
from wire.settings import DoorSettings

PRESENCE, USES, WRONG_PINS = MemoKind.PRESENCE, MemoKind.USES, MemoKind.WRONG_PINS


def memory(*memos: Memo) -> Memory:
    return Memory().with_memos(memos)


# --- facts -----------------------------------------------------------------------------------------------------


def test_a_memo_is_kept_changed_and_forgotten():
    kept = memory(Memo(USES, b"a", (1, 10)))
    assert kept.get(USES, b"a") == (1, 10)
    changed_ = kept.with_memo(Memo(USES, b"a", (2, 20)))
    assert changed_.get(USES, b"a") == (2, 20)
    forgotten = changed_.with_memo(Memo(USES, b"a", None))
    assert forgotten.get(USES, b"a") is None
    assert forgotten == Memory()
    assert kept.get(USES, b"a") == (1, 10)  # what was remembered before stays as it was


def test_forgetting_what_is_not_remembered_changes_nothing():
    kept = memory(Memo(USES, b"a", (1, 10)))
    assert kept.with_memo(Memo(USES, b"b", None)) is kept
    assert kept.with_memo(Memo(PRESENCE, b"a", None)) is kept


def test_the_same_key_of_two_kinds_is_two_facts():
    both = memory(Memo(USES, b"a", (1, 10)), Memo(WRONG_PINS, b"a", (2, 20)))
    assert (both.get(USES, b"a"), both.get(WRONG_PINS, b"a")) == ((1, 10), (2, 20))


def test_memos_are_taken_in_their_order():
    assert memory(Memo(USES, b"a", (1, 10)), Memo(USES, b"a", (2, 20))).get(USES, b"a") == (2, 20)
    assert memory(Memo(USES, b"a", (1, 10)), Memo(USES, b"a", None)) == Memory()


def test_those_who_are_in_an_area_are_counted_along():
    def counts(*memos: Memo) -> dict[int, int]:
        return dict(memory(*memos).present)

    ann, bob = Memo(PRESENCE, b"ann", (1, 10)), Memo(PRESENCE, b"bob", (1, 11))
    assert counts() == {}
    assert counts(ann, bob) == {1: 2}
    assert counts(ann, ann, bob) == {1: 2}
    assert counts(ann, bob, Memo(PRESENCE, b"ann", (2, 12))) == {1: 1, 2: 1}
    assert counts(ann, bob, Memo(PRESENCE, b"ann", None)) == {1: 1}
    assert counts(ann, Memo(PRESENCE, b"ann", None)) == {}
    assert counts(Memo(USES, b"ann", (1, 10)), Memo(WRONG_PINS, b"ann", (1, 10))) == {}


def test_facts_are_found_to_be_forgotten_by_kind_and_value():
    held = memory(Memo(PRESENCE, b"a", (1, 10)), Memo(PRESENCE, b"b", (1, 20)), Memo(USES, b"c", (1, 10)))
    assert held.to_forget(PRESENCE, lambda value: value[-1] < 20) == (Memo(PRESENCE, b"a", None),)
    assert held.to_forget(PRESENCE, lambda value: value[-1] < 10) == ()


# --- the bound -------------------------------------------------------------------------------------------------


@lru_cache
def full(kind: MemoKind = PRESENCE, count: int = MAX_FACTS) -> Memory:
    """As many facts of a kind, each noted a second after the one before."""
    facts = {(kind, number.to_bytes(8, "big")): (1, 1_000 + number) for number in range(count)}
    return Memory(Map(facts), Map({1: count} if kind is PRESENCE else {}))


FULL = full()
NEW = Memo(PRESENCE, b"new", (1, NOW_S))


def test_there_is_room_for_the_last_fact_and_none_for_one_more():
    almost = FULL.with_memo(Memo(PRESENCE, (7).to_bytes(8, "big"), None))
    assert almost.with_room((NEW,)) == (NEW,)
    forgotten = FULL.with_room((NEW,))
    assert forgotten[-1] == NEW
    assert len(forgotten) == MAX_FACTS // 16 + 2


def test_the_oldest_are_forgotten():
    *forgotten, new = FULL.with_room((NEW,))
    oldest = [number.to_bytes(8, "big") for number in range(MAX_FACTS // 16 + 1)]
    assert forgotten == [Memo(PRESENCE, key, None) for key in oldest]
    after = FULL.with_memos([*forgotten, new])
    assert len(after.facts) == MAX_FACTS - MAX_FACTS // 16
    assert after.present[1] == len(after.facts)


@pytest.mark.parametrize("memo", [Memo(PRESENCE, bytes(8), (2, NOW_S)), Memo(PRESENCE, b"new", None)])
def test_what_adds_nothing_needs_no_room(memo: Memo):
    assert FULL.with_room((memo,)) == (memo,)
    assert FULL.with_room(()) == ()


def test_two_memos_need_room_for_two():
    almost = FULL.with_memo(Memo(PRESENCE, (7).to_bytes(8, "big"), None))
    memos = (NEW, Memo(PRESENCE, b"newer", (1, NOW_S)))
    assert len(almost.with_room(memos)) == (MAX_FACTS - 1) // 16 + 1 + 2


def test_only_facts_of_the_kind_that_grows_are_forgotten():
    uses = (Memo(USES, number.to_bytes(8, "big"), (1, number)) for number in range(32))
    memos = full(count=MAX_FACTS - 32).with_memos(uses).with_room((Memo(USES, b"new", (1, NOW_S)),))
    assert memos == (*(Memo(USES, number.to_bytes(8, "big"), None) for number in range(3)), memos[-1])


def test_a_kind_without_facts_takes_one_more():
    memo = Memo(WRONG_PINS, b"new", (1, NOW_S))
    assert FULL.with_room((memo,)) == (memo,)


def test_the_oldest_are_those_noted_first_whatever_their_keys_and_other_numbers():
    facts = {(USES, number.to_bytes(8, "big")): (number, number, 90_000 - number) for number in range(MAX_FACTS)}
    *forgotten, _ = Memory(Map(facts)).with_room((Memo(USES, b"new", (1, NOW_S)),))
    last = [number.to_bytes(8, "big") for number in range(MAX_FACTS - MAX_FACTS // 16 - 1, MAX_FACTS)]
    assert sorted(memo.key for memo in forgotten) == last


def test_facts_of_the_same_second_are_forgotten_in_the_order_of_their_keys():
    held = Memory(Map({(USES, number.to_bytes(8, "big")): (1, 1_000) for number in range(MAX_FACTS)}))
    *forgotten, _ = held.with_room((Memo(USES, b"new", (1, 1_000)),))
    assert [memo.key for memo in forgotten] == [number.to_bytes(8, "big") for number in range(MAX_FACTS // 16 + 1)]


# --- at a door that remembers all it can -----------------------------------------------------------------------


def crowded(kind: MemoKind) -> State:
    """A door that remembers as many facts of a kind as it can."""
    settings = DoorSettings(minimum_assurance=Assurance.IDENTIFIER, pin_below=Assurance.PRINTED, printed_uses=2)
    rules = changed(policy(settings), passages={READER: INTO})
    return replace(under(rules, enrolled=PEOPLE), memory=full(kind))


def test_a_grant_makes_room_and_gives_it_not_back_when_it_is_taken_back():
    state, effects = handle(crowded(PRESENCE), someone(1), NOW)
    (commit,) = commits(effects)
    assert len(commit.memos) == MAX_FACTS // 16 + 2
    assert len(state.memory.facts) == MAX_FACTS - MAX_FACTS // 16
    state, effects = handle(state, GrantFailed(commit.grant), NOW)
    (record,) = (effect for effect in effects if isinstance(effect, Record))
    assert record.memos == (Memo(PRESENCE, holder(1), None),)
    assert len(state.memory.facts) == MAX_FACTS - MAX_FACTS // 16 - 1


def test_a_use_makes_room_among_the_uses():
    state, effects = handle(crowded(USES), tap(printed()), NOW)
    (commit,) = commits(effects)
    assert {memo.kind for memo in commit.memos if memo.value is None} == {USES}
    assert state.memory.get(USES, pass_id()) == (1, NOW_S)


def test_a_wrong_pin_makes_room_among_the_wrong_pins():
    state, _ = handle(crowded(WRONG_PINS), card(), NOW)
    state, effects = answered(state, PinOutcome.WRONG)
    (record,) = (effect for effect in effects if isinstance(effect, Record))
    assert len(record.memos) == MAX_FACTS // 16 + 2
    assert state.memory.get(WRONG_PINS, PERSON) == (1, NOW_S)


# --- uses of paper, given back ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"), [((3, 10), (2, 10)), ((2, 10), (1, 10)), ((1, 10), None), (None, None)], ids=str
)
def test_a_use_is_given_back(before: tuple[int, int] | None, after: tuple[int, int] | None):
    held = memory(Memo(USES, b"paper", before))
    assert give_back(b"paper", held) == Memo(USES, b"paper", after)


# --- what a restarted daemon recalls ---------------------------------------------------------------------------


def test_all_that_is_remembered_is_in_the_memos_of_the_effects():
    """A day at a door; tests/core/test_properties.py does the same with any inputs."""
    state = replace(crowded(PRESENCE), memory=Memory())
    events = [someone(1), tap(printed()), someone(2), card(), someone(3)]
    state, effects = feed(state, *events)
    state, more = answered(state, PinOutcome.WRONG)
    state, last = handle(state, GrantFailed(commits(effects)[0].grant), instant(1))
    memos = [memo for effect in (*effects, *more, *last) if isinstance(effect, Journaling) for memo in effect.memos]
    assert Memory().with_memos(memos) == state.memory
    assert len(state.memory.facts) == 5
