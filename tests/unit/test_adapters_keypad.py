"""Keys to PINs: what ends one, what clears one, and that none is ever cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.keypad import MOST_DIGITS, Keypad


def pins(keys: bytes) -> list[bytes]:
    return Keypad(pause_ms=3000).press(keys, at_ms=0)


@pytest.mark.parametrize("enter", [b"#", b"\r", b"\n"])
def test_enter_ends_a_pin(enter: bytes):
    assert pins(b"1234" + enter + b"5") == [b"1234"]


@pytest.mark.parametrize("clear", [b"*", b"\x7f"])
def test_clear_begins_again(clear: bytes):
    assert pins(b"99" + clear + b"12#") == [b"12"]


def test_an_empty_entry_is_none():
    assert pins(b"##*#") == []


def test_other_keys_count_for_nothing():
    assert pins(b"1A\x002\xff#") == [b"12"]


def test_the_longest_pin_is_whole_and_a_longer_one_is_none():
    assert pins(b"7" * MOST_DIGITS + b"#") == [b"7" * MOST_DIGITS]
    assert pins(b"7" * (MOST_DIGITS + 1) + b"#") == []
    assert pins(b"7" * 100 + b"#12#") == [b"12"]


def test_a_pause_ends_a_pin_at_its_time_and_not_before():
    keypad = Keypad(pause_ms=3000)
    assert keypad.due_ms() is None
    keypad.press(b"1", at_ms=0)
    keypad.press(b"2", at_ms=2000)
    assert keypad.due_ms() == 5000
    assert keypad.expire(at_ms=4999) == []
    assert keypad.expire(at_ms=5000) == [b"12"]
    assert keypad.due_ms() is None
    assert keypad.expire(at_ms=9000) == []


def test_a_key_after_the_pause_begins_another_pin():
    keypad = Keypad(pause_ms=3000)
    keypad.press(b"12", at_ms=0)
    assert keypad.press(b"34#", at_ms=3000) == [b"12", b"34"]


def test_a_pause_ends_an_overlong_entry_too():
    keypad = Keypad(pause_ms=3000)
    keypad.press(b"7" * 17, at_ms=0)
    assert keypad.due_ms() == 3000
    assert keypad.press(b"12#", at_ms=3000) == [b"12"]


@given(st.binary(max_size=80))
def test_any_keys_give_pins_of_digits_in_their_bounds(keys: bytes):
    keypad = Keypad(pause_ms=3000)
    for pin in keypad.press(keys, at_ms=0) + keypad.expire(at_ms=3000):
        assert pin.isdigit()
        assert 1 <= len(pin) <= MOST_DIGITS
