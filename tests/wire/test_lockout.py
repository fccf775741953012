"""No bundle shuts everybody out unless a person ordered it; both sides of each boundary are in lockout.json."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.vectors.parts.kit import DAY_S
from tests.vectors.parts.policies import NOBODY
from tests.wire import strategies as ours
from wire.errors import WireError, WireReason
from wire.names import DoorMode
from wire.policy import ALL_DAYS, ALWAYS, PolicyBundle, Schedule, Window, refuse_lockout
from wire.settings import DoorSettings

_DAYS = st.integers(0, 20)
_FREE_WEEK = range(100_001, 100_008)
"""Beyond the last day that a bundle can name: what is active then is active by its usual week."""


@st.composite
def bundles(draw: st.DrawFn) -> PolicyBundle:
    """Rules whose few days lie close together, so that they meet."""
    windows: st.SearchStrategy[tuple[Window, ...]] = st.lists(
        st.sampled_from([Window(1 << bit, 0, 60) for bit in range(7)]), max_size=2
    ).map(tuple)
    single: st.SearchStrategy[tuple[Window, ...]] = st.sampled_from([(), (Window(ALL_DAYS, 0, 60),)])
    schedule = st.builds(Schedule, st.just(()) | windows, windows, st.dictionaries(_DAYS, single, max_size=3))
    there = draw(st.dictionaries(st.integers(1, 4), schedule, max_size=3))
    known = [*there] if draw(st.booleans()) and there else [ALWAYS, *there]
    named = st.lists(st.sampled_from(known), min_size=1, max_size=2)
    return replace(
        NOBODY,
        version=draw(st.integers(2, 4)),
        issued_at_s=draw(_DAYS) * DAY_S + draw(st.integers(0, DAY_S - 1)),
        settings=DoorSettings(
            mode=draw(st.sampled_from([*DoorMode, *[DoorMode.LOCKED] * 6])),
            unlock_schedule=draw(st.sampled_from([ALWAYS, *there])),
            first_person_in=draw(st.booleans()),
        ),
        levels=draw(st.dictionaries(st.integers(1, 3), named.map(tuple), min_size=1, max_size=2)),
        schedules=there,
        holidays=draw(st.frozensets(_DAYS, max_size=4)),
    )


def _is_put_in_force(bundle: PolicyBundle, held: PolicyBundle | None) -> bool:
    try:
        refuse_lockout(bundle, held)
    except WireError as error:
        if error.reason is not WireReason.LOCKS_OUT:
            raise
        return False
    return True


def _active(bundle: PolicyBundle, number: int, day: int) -> bool:
    """Ask as a door does, day by day."""
    if number == ALWAYS:
        return True
    schedule = bundle.schedules[number]
    weekday = (day - 4) % 7  # 1970-01-05 was a Monday
    windows = schedule.holiday_windows if day in bundle.holidays else schedule.windows
    return any(window.days >> weekday & 1 for window in schedule.exceptions.get(day, windows))


def _ever(bundle: PolicyBundle, number: int, since: int) -> bool:
    return any(_active(bundle, number, day) for day in (*range(since, 21), *_FREE_WEEK))


def _admitted(bundle: PolicyBundle, since: int) -> set[int]:
    if bundle.settings.mode in {DoorMode.BLOCKED, DoorMode.LOCKED_DOWN}:
        return set()
    return {level for level, ids in bundle.levels.items() if any(_ever(bundle, number, since) for number in ids)}


def _rests_unlocked(bundle: PolicyBundle, since: int) -> bool:
    settings = bundle.settings
    if settings.mode is DoorMode.LOCKED and settings.unlock_schedule and not settings.first_person_in:
        return _ever(bundle, settings.unlock_schedule, since)
    return settings.mode is DoorMode.UNLOCKED


@given(bundle=bundles(), held=st.none() | bundles())
@example(bundle=NOBODY, held=None)
def test_what_is_refused_is_what_shuts_everybody_out(bundle: PolicyBundle, held: PolicyBundle | None):
    since = bundle.issued_at_s // DAY_S - 1
    now = _admitted(bundle, since)
    before = set() if held is None or bundle.version > held.version + 1 else _admitted(held, since)
    kept = not before or bool(now & before) or bundle.settings.mode is DoorMode.UNLOCKED
    somebody = bool(now) or _rests_unlocked(bundle, since)
    assert _is_put_in_force(bundle, held) is (kept and somebody)


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 4)
@given(bundle=ours.policies(), held=st.none() | ours.policies())
def test_what_a_person_ordered_is_always_put_in_force(bundle: PolicyBundle, held: PolicyBundle | None):
    assert _is_put_in_force(replace(bundle, locks_out=True), held)


@hypothesis_settings(max_examples=hypothesis_settings().max_examples // 4)
@given(ours.policies(), ours.windows())
def test_the_same_rules_under_the_next_version_are_put_in_force_if_they_admit(bundle: PolicyBundle, window: Window):
    schedules = {**bundle.schedules, 1: Schedule((window,))}
    admits = replace(bundle, version=1, settings=DoorSettings(), levels={**bundle.levels, 1: (1,)}, schedules=schedules)
    assert _is_put_in_force(admits, None)
    assert _is_put_in_force(replace(admits, version=2), admits)
