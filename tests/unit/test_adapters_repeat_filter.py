"""A code that stays before a camera counts once."""

from __future__ import annotations

from firmware_adapters.repeat_filter import RepeatFilter

A, B = b"A", b"B"


def test_a_payload_is_new_once_while_it_stays_in_view():
    repeats = RepeatFilter(window_ms=2000)
    assert repeats.new_in((A,), at_ms=0) == [A]
    # Seen every 1.9 s for a minute: it never left.
    assert [repeats.new_in((A,), at_ms=at_ms) for at_ms in range(1900, 60_000, 1900)] == [[]] * 31


def test_a_payload_is_new_again_after_the_window_out_of_view_and_not_before():
    repeats = RepeatFilter(window_ms=2000)
    repeats.new_in((A,), at_ms=0)
    assert repeats.new_in((A,), at_ms=1999) == []
    assert repeats.new_in((A,), at_ms=3999) == [A]


def test_a_rotated_payload_is_new_at_once():
    repeats = RepeatFilter(window_ms=2000)
    repeats.new_in((A,), at_ms=0)
    assert repeats.new_in((B,), at_ms=10) == [B]


def test_an_unchanged_scene_keeps_its_payloads_in_view():
    repeats = RepeatFilter(window_ms=2000)
    repeats.new_in((A,), at_ms=0)
    for at_ms in range(1000, 10_000, 1000):
        repeats.unchanged(at_ms=at_ms)
    assert repeats.new_in((A,), at_ms=10_500) == []


def test_an_unchanged_scene_without_the_payload_does_not_keep_it():
    repeats = RepeatFilter(window_ms=2000)
    repeats.new_in((A,), at_ms=0)
    repeats.new_in((), at_ms=100)
    repeats.unchanged(at_ms=1900)
    assert repeats.new_in((A,), at_ms=2000) == [A]


def test_a_window_of_zero_suppresses_nothing():
    repeats = RepeatFilter(window_ms=0)
    assert repeats.new_in((A,), at_ms=5) == [A]
    assert repeats.new_in((A,), at_ms=5) == [A]


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first():
    repeats = RepeatFilter(window_ms=2000, most=3)
    for number in range(4):
        repeats.new_in((b"%d" % number,), at_ms=number)
    assert repeats.new_in((b"3", b"2", b"1"), at_ms=4) == []
    assert repeats.new_in((b"0",), at_ms=5) == [b"0"]
