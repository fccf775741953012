"""Step 9: what was accepted once is not accepted again, whatever the clocks do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.core.effects import ReplayMark
from edge.core.replay import KEEP_MS, MAX_MARKS, SWEEP_MS, ReplayMarks, is_over, make_mark
from edge.core.tap import State, handle
from edge.core.verify import WIDEST_MS
from tests.core.campus import NOW, NOW_MS, code, commits, door, drafts, durable, instant, tap
from tests.core.denials import full_of_marks
from wire.names import ClockState, Reason

KEY, OTHER = b"k" * 32, b"o" * 32


def accepted(
    state: State, payload: bytes, *, wall_ms: int, later_ms: int, uncertainty_ms: int = 0
) -> tuple[State, bool]:
    """Tap; gives the state and whether the tap was granted."""
    now = instant(later_ms, wall_ms=wall_ms, clock=ClockState.TRUSTED, uncertainty_ms=uncertainty_ms)
    state, effects = handle(state, tap(payload), now)
    return state, bool(commits(effects))


def test_marks_that_are_added_within_a_moment_are_all_kept():
    marks = ReplayMarks(swept_ms=NOW.monotonic_ms)
    for key in (KEY, OTHER):
        marks = marks.add(make_mark(key, NOW), NOW)
    assert all(marks.seen(key, signed_at_ms=NOW_MS) for key in (KEY, OTHER))


def test_a_code_is_granted_once():
    state, effects = handle(door(), tap(code()), NOW)
    assert len(commits(effects)) == 1
    _, again = handle(state, tap(code()), NOW)
    assert [draft.reason for draft in drafts(again)] == [Reason.REPLAYED]


def test_a_code_is_not_granted_again_after_its_grant_was_carried_out():
    state, effects = handle(door(), tap(code()), NOW)
    state, _ = durable(state, commits(effects)[0])
    _, again = handle(state, tap(code()), instant(1))
    assert [draft.reason for draft in drafts(again)] == [Reason.REPLAYED]


def test_another_code_of_the_same_pass_is_granted():
    state, _ = handle(door(), tap(code()), NOW)
    _, effects = handle(state, tap(code(signed_at_s=NOW_MS // 1000 + 1)), NOW)
    assert len(commits(effects)) == 1


def test_a_refused_code_may_be_presented_again():
    state, effects = handle(door(), tap(code()), instant(-10_001))
    assert not commits(effects)
    _, effects = handle(state, tap(code()), instant(-10_000))
    assert len(commits(effects)) == 1


@pytest.mark.parametrize(
    ("wall_ms", "monotonic_ms", "over"),
    [(0, 0, True), (-1, 0, False), (0, -1, False), (-1, -1, False), (10**9, -1, False), (-1, 10**9, False)],
)
def test_a_mark_is_over_when_both_clocks_have_passed_its_end(wall_ms: int, monotonic_ms: int, *, over: bool):
    mark = make_mark(KEY, NOW)
    assert mark == ReplayMark(
        key=KEY, expires_wall_ms=NOW.wall_ms + KEEP_MS, expires_monotonic_ms=NOW.monotonic_ms + KEEP_MS
    )
    assert is_over(mark, instant(KEEP_MS + monotonic_ms, wall_ms=NOW_MS + KEEP_MS + wall_ms)) is over


def test_a_mark_outlives_every_window_in_which_its_code_could_be_accepted():
    assert KEEP_MS > 2 * WIDEST_MS + 1000


def test_marks_are_kept_until_their_time_is_over():
    marks = ReplayMarks().add(make_mark(KEY, NOW), NOW)
    late = instant(KEEP_MS - 1)
    assert set(marks.add(make_mark(OTHER, late), late).marks) == {KEY, OTHER}
    over = instant(KEEP_MS)
    assert set(marks.add(make_mark(OTHER, over), over).marks) == {OTHER}


@pytest.mark.parametrize(("later_ms", "kept"), [(SWEEP_MS - 1, True), (SWEEP_MS, False)])
def test_marks_whose_time_is_over_are_swept_out_now_and_then(later_ms: int, *, kept: bool):
    marks = ReplayMarks().add(make_mark(KEY, NOW), NOW)
    swept = instant(KEEP_MS - 1)
    marks = marks.add(make_mark(OTHER, swept), swept)
    late = instant(KEEP_MS - 1 + later_ms)
    assert (KEY in marks.add(make_mark(b"n" * 32, late), late).marks) is kept


def test_marks_are_swept_out_at_once_when_there_is_no_room():
    marks = replace(full_of_marks(), swept_ms=instant(KEEP_MS).monotonic_ms)
    late = instant(KEEP_MS)
    assert set(marks.add(make_mark(OTHER, late), late).marks) == {OTHER}


def test_what_a_forgotten_mark_stood_for_is_refused_for_good():
    marks = ReplayMarks().add(make_mark(KEY, NOW), NOW)
    over = instant(KEEP_MS)
    marks = marks.add(make_mark(OTHER, over), over)
    newest_ms = NOW_MS + WIDEST_MS  # the newest time that a code accepted at NOW can carry
    assert marks.seen(KEY, signed_at_ms=newest_ms)
    assert not marks.seen(KEY, signed_at_ms=newest_ms + 1)


def test_the_horizon_never_goes_back():
    later = instant(0, wall_ms=NOW_MS + 10 * KEEP_MS)
    marks = ReplayMarks().add(make_mark(KEY, later), later)
    over = instant(KEEP_MS, wall_ms=later.wall_ms + KEEP_MS)
    marks = marks.add(make_mark(OTHER, instant(KEEP_MS, wall_ms=NOW_MS)), over)
    far = marks.horizon_ms
    last = instant(2 * KEEP_MS, wall_ms=over.wall_ms)
    assert far == later.wall_ms + WIDEST_MS
    assert marks.add(make_mark(KEY, last), last).horizon_ms == far


@pytest.mark.parametrize("uncertainty_ms", [0, 60_000, 600_000])
def test_no_code_of_a_clock_that_only_goes_forward_is_behind_the_horizon(uncertainty_ms: int):
    """The oldest code the door accepts, just when the first mark is forgotten."""
    state, granted = accepted(door(), code(), wall_ms=NOW_MS, later_ms=0)
    assert granted
    state, granted = accepted(
        state, code(signed_at_s=NOW_MS // 1000 + KEEP_MS // 1000), wall_ms=NOW_MS + KEEP_MS, later_ms=KEEP_MS
    )
    assert granted
    window_s = min(30_000 + uncertainty_ms, WIDEST_MS) // 1000
    oldest = code(signed_at_s=(NOW_MS + KEEP_MS) // 1000 - window_s)
    _, granted = accepted(state, oldest, wall_ms=NOW_MS + KEEP_MS, later_ms=KEEP_MS + 1, uncertainty_ms=uncertainty_ms)
    assert granted


def test_setting_the_clock_back_reopens_nothing():
    state, _ = accepted(door(), code(), wall_ms=NOW_MS, later_ms=0)
    later = code(signed_at_s=NOW_MS // 1000 + 600)
    state, granted = accepted(state, later, wall_ms=NOW_MS + 600_000, later_ms=600_000)
    assert granted
    _, granted = accepted(state, code(), wall_ms=NOW_MS, later_ms=700_000)
    assert not granted


def test_the_cache_refuses_rather_than_forgets_when_full():
    assert not full_of_marks(MAX_MARKS - 1).full(NOW)
    assert full_of_marks(MAX_MARKS).full(instant(KEEP_MS - 1))


def test_marks_whose_time_is_over_leave_room():
    assert not full_of_marks(MAX_MARKS).full(instant(KEEP_MS))


# Few values, so that a history often comes back to a moment at which a code was fresh, after its mark had time to go.
_FAR_MS = 240_000
_MOVES = st.lists(
    st.tuples(
        st.sampled_from([0, 0, -_FAR_MS, _FAR_MS, 15_000, -15_000]),  # how the wall clock is set
        st.sampled_from([0, 0, _FAR_MS, 1_000]),  # how much time passes, by both clocks
        st.sampled_from([0, 0, 60_000, 10_000_000]),  # uncertainty
        st.integers(0, 2),  # which code is shown
    ),
    max_size=12,
)
_SIGNED_S = [NOW_MS // 1000 + turn * _FAR_MS // 1000 for turn in range(3)]


@pytest.mark.slow
@settings(max_examples=5 * settings().max_examples)
@given(_MOVES)
def test_no_code_is_granted_twice_however_the_clocks_move(moves: list[tuple[int, int, int, int]]):
    state, wall_ms, later_ms = door(), NOW_MS, 0
    granted: list[int] = []
    for set_ms, passed_ms, uncertainty_ms, which in moves:
        wall_ms, later_ms = wall_ms + passed_ms + set_ms, later_ms + passed_ms
        payload = code(signed_at_s=_SIGNED_S[which])
        state, given_ = accepted(state, payload, wall_ms=wall_ms, later_ms=later_ms, uncertainty_ms=uncertainty_ms)
        granted += [which] if given_ else []
    assert len(granted) == len(set(granted))
