"""When the cloud is asked while a broker tells of changes: soon on a hint, by the clock whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sync.hints import NET_S, Hints, with_taken_commands
from wire.versions import Versions

ASKED = Hints().asked(now_ms=0, session=1, fraction=0.0, hinted=False, fruitful=False)


def test_a_new_session_asks_at_once_because_announcements_may_have_been_missed():
    assert Hints().wait_s(now_ms=0, session=1, hinted=False) == 0
    assert ASKED.wait_s(now_ms=0, session=2, hinted=False) == 0


def test_without_a_hint_the_cloud_is_asked_by_the_clock():
    assert ASKED.wait_s(now_ms=0, session=1, hinted=False) == NET_S
    assert ASKED.wait_s(now_ms=299_000, session=1, hinted=False) == 1
    assert ASKED.wait_s(now_ms=400_000, session=1, hinted=False) == 0


def test_doors_that_asked_together_ask_apart_the_next_time():
    apart = Hints().asked(now_ms=0, session=1, fraction=1.0, hinted=False, fruitful=False)
    assert apart.wait_s(now_ms=0, session=1, hinted=False) == 240


def test_a_hint_is_followed_at_once():
    assert ASKED.wait_s(now_ms=1, session=1, hinted=True) == 0


def test_hints_that_prove_vain_are_followed_ever_less_often():
    hints, pauses = ASKED, []
    for _ in range(11):
        hints = hints.asked(now_ms=0, session=1, fraction=0.0, hinted=True, fruitful=False)
        pauses.append(hints.wait_s(now_ms=0, session=1, hinted=True))
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_hint_that_proves_true_makes_up_for_those_that_did_not():
    vain = ASKED.asked(now_ms=0, session=1, fraction=0.0, hinted=True, fruitful=False)
    assert vain.asked(now_ms=0, session=1, fraction=0.0, hinted=False, fruitful=False).vain == 1
    assert vain.asked(now_ms=0, session=1, fraction=0.0, hinted=True, fruitful=True).vain == 0


@given(st.lists(st.tuples(st.integers(0, 100_000), st.booleans(), st.booleans()), max_size=50))
def test_no_row_of_lies_makes_the_door_wait_longer_than_the_clock_says(row: list[tuple[int, bool, bool]]):
    hints, now_ms = ASKED, 0
    for elapsed_ms, hinted, fruitful in row:
        now_ms += elapsed_ms
        assert 0 <= hints.wait_s(now_ms=now_ms, session=1, hinted=hinted) <= NET_S
        hints = hints.asked(now_ms=now_ms, session=1, fraction=0.5, hinted=hinted, fruitful=fruitful)
    assert hints.wait_s(now_ms=hints.asked_ms + round(NET_S * 1000), session=1, hinted=False) == 0


def test_commands_that_were_taken_are_no_news_however_few_the_cloud_still_tells_of():
    held = Versions(1, 1, {0: 1}, 1, 9)
    assert with_taken_commands(Versions(1, 1, {0: 1}, 1, 0), held) == held
    assert with_taken_commands(Versions(1, 1, {0: 1}, 1, 10), held) != held
