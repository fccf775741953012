"""How the door asks for changes."""

from __future__ import annotations

import pytest

from sync.pace import LONG_WAIT_S, POLL_ROUNDS, POLL_S, PullPace


def test_the_first_question_is_quick_so_that_the_door_knows_at_once_whether_it_is_connected():
    assert PullPace().wait_s == 0
    assert PullPace().answered().wait_s == LONG_WAIT_S


def test_a_long_question_that_broke_is_followed_by_a_quick_one():
    assert PullPace(quick_left=0).broke().wait_s == 0


def test_one_broken_long_question_does_not_lead_to_polling():
    pace = PullPace(quick_left=0).broke().answered()
    assert not pace.polling
    assert pace.wait_s == LONG_WAIT_S


def test_two_broken_long_questions_in_a_row_lead_to_polling():
    pace = PullPace(quick_left=0).broke().answered().broke().answered()
    assert pace.polling
    assert pace.wait_s == 0
    assert pace.pause_s(asked_s=0, changed=False, elapsed_s=0.0) == POLL_S


def test_polling_ends_with_another_long_question():
    pace = PullPace(quick_left=0, cut=1).broke()
    for _ in range(POLL_ROUNDS):
        assert pace.wait_s == 0
        pace = pace.answered()
    assert pace.wait_s == LONG_WAIT_S


def test_an_answered_long_question_clears_the_suspicion():
    assert PullPace(quick_left=0, cut=3).answered() == PullPace(quick_left=0, cut=0)


def test_a_broken_quick_question_proves_nothing_about_long_ones():
    assert PullPace(quick_left=5, cut=2).broke() == PullPace(quick_left=1, cut=0)


def test_after_a_change_the_next_question_follows_at_once():
    assert PullPace(quick_left=0).pause_s(asked_s=25, changed=True, elapsed_s=0.1) == 0.0


def test_after_a_long_question_that_ran_its_time_the_next_follows_at_once():
    assert PullPace(quick_left=0).pause_s(asked_s=25, changed=False, elapsed_s=25.2) == 0.0


def test_a_cloud_that_answers_long_questions_early_with_nothing_is_not_asked_more_often():
    assert PullPace(quick_left=0).pause_s(asked_s=25, changed=False, elapsed_s=5.0) == 20.0


@pytest.mark.parametrize(("quick_left", "cut"), [(0, 0), (0, 1), (1, 0), (5, 2)])
def test_a_hurried_question_is_quick_and_forgets_nothing_of_the_network(quick_left: int, cut: int):
    hurried = PullPace(quick_left, cut).hurried()
    assert (hurried.wait_s, hurried.cut) == (0, cut)
    assert hurried.quick_left == max(1, quick_left)
