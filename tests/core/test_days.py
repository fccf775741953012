"""Generated days by the thousand, each lived again: the same inputs give the same effects and the same states."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from random import Random
from typing import TYPE_CHECKING

import pytest

from edge.core.effects import AskCloud, Energise, Journaling, Restart, TakePictures
from edge.core.tap import Input
from tests.core.days import generate
from tests.core.lives import Life, Lived, read_day
from wire.names import EventKind, Reason

if TYPE_CHECKING:
    from tests.conftest import Effort

_DAYS_A_LIFE = 5
_FIRST_SEED = 20_260_000

_SELDOM = 100
"""Days in which everything below is to be seen at least once."""
_REASONS = [
    Reason.MALFORMED,
    Reason.UNSUPPORTED_CREDENTIAL,
    Reason.CLOCK_SUSPECT,
    Reason.UNKNOWN_ISSUER_KEY,
    Reason.SIGNATURE_INVALID,
    Reason.CREDENTIAL_EXPIRED,
    Reason.PRESENTATION_EXPIRED,
    Reason.PRESENTATION_FROM_FUTURE,
    Reason.WRONG_AUDIENCE,
    Reason.NONCE_MISMATCH,
    Reason.REVOKED,
    Reason.REPLAYED,
    Reason.DOOR_LOCKED_DOWN,
    Reason.DOOR_BLOCKED,
    Reason.DOOR_INTERLOCKED,
    Reason.UNAUTHORIZED,
    Reason.ANTIPASSBACK_VIOLATION,
    Reason.SECOND_FACTOR_WRONG,
    Reason.SECOND_FACTOR_BLOCKED,
    Reason.ESCORT_REQUIRED,
    Reason.SECOND_PERSON_REQUIRED,
    Reason.STORAGE_FAULT,
]
_NOT_THE_CORES = {
    EventKind.STARTED,
    EventKind.STOPPED,
    EventKind.INPUTS_LOST,
    EventKind.INPUTS_RESTORED,
    EventKind.POLICY_REFUSED,
    EventKind.STORAGE_FAULT,
    EventKind.STORAGE_RESTORED,
}
_ONLY_LOADED_AGAIN = {EventKind.TRUST_UPDATED, EventKind.POLICY_UPDATED, EventKind.ROSTER_UPDATED}
_TO_BE_SEEN = [
    *(each.__name__ for each in Input.__args__),
    *(kind.name for kind in EventKind if kind not in _NOT_THE_CORES | _ONLY_LOADED_AGAIN),
    *(f"{EventKind.ACCESS_DENIED.name} {reason.name}" for reason in _REASONS),
    "released by a grant or command",
    "rests by policy",
    "rests by staff",
    "rests by command",
    "Restart",
    "AskCloud",
    "TakePictures",
    "rests by schedule-1",
]


def _told(step: Lived) -> list[str]:
    """What a step did, in words to be counted."""
    words = [type(step.event).__name__]
    for effect in step.effects:
        if isinstance(effect, Journaling):
            words.append(effect.draft.kind.name)
            if effect.draft.reason is not None:
                words.append(f"{effect.draft.kind.name} {effect.draft.reason.name}")
            if effect.draft.kind is EventKind.MODE_CHANGED:
                words.append(f"rests by {effect.draft.rule}")
        elif isinstance(effect, Restart | AskCloud | TakePictures):
            words.append(type(effect).__name__)
        elif isinstance(effect, Energise) and effect.cause_seq:
            words.append("released by a grant or command")
    return words


def _live(seed: int) -> Counter[str]:
    """Live some days three times, the last time by inputs that are made anew; gives what happened."""
    seen: Counter[str] = Counter()
    one, again, anew = Life(), Life(), Life()
    for number in range(_DAYS_A_LIFE):
        text = generate(Random(f"{seed}/{number}"), number)
        day = read_day(text)
        for first, second, third in zip(one.live(day), again.live(day), anew.live(read_day(text)), strict=True):
            assert first == second == third, f"day {number} of seed {seed}"
            seen.update(_told(first))
    return seen


@pytest.mark.timeout(6 * 3600)
def test_generated_days_lived_again_are_the_same_to_the_last_effect(effort: Effort):
    days = effort.pick(usual=120, long=10_000)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        seen = sum(pool.map(_live, range(_FIRST_SEED, _FIRST_SEED + days // _DAYS_A_LIFE)), Counter[str]())
    # Days on which nothing happens prove nothing: each of these must have been seen, and people let in every hour.
    assert {word: seen[word] for word in _TO_BE_SEEN if seen[word] < days // _SELDOM} == {}
    assert seen["released by a grant or command"] > 8 * days


def test_one_day_is_written_and_read_the_same_each_time():
    text = generate(Random("a day"), 0)
    assert read_day(text) == read_day(text)
    assert len(read_day(text)) > 50


def test_a_life_that_differs_in_one_moment_is_noticed():
    """The comparison has teeth: a door whose disk is slower, and one that was never told whom to believe, differ."""
    day = read_day(generate(Random("a day"), 0))
    slower = [([*moment[:-2], 1_000, moment[-1]] if moment[1] == "tap" else moment, event) for moment, event in day]
    assert Life().live(day) == Life().live(day)
    assert Life().live(day) != Life().live(slower)
    assert Life().live(day) != Life().live(day[1:])
