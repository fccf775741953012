"""Card numbers as bytes: no two numbers meet, whatever their lengths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.card_bits import MAX_BITS, MAX_NUMBER_BYTES, card_number, packed

_numbers = st.lists(st.integers(0, 1), min_size=1, max_size=64)


@pytest.mark.parametrize(
    ("bits", "data", "number"),
    [(26, "aabbccc0", "001aaabbccc0"), (34, "aabbccddc0", "0022aabbccddc0"), (8, "ff", "0008ff"), (1, "80", "000180")],
)
def test_the_count_of_bits_comes_first(bits: int, data: str, number: str):
    assert card_number(bits, bytes.fromhex(data)).hex() == number


def test_what_follows_the_bits_does_not_count():
    assert card_number(26, bytes.fromhex("aabbccff01")) == card_number(26, bytes.fromhex("aabbccc0"))


@given(one=_numbers, other=_numbers)
def test_equal_bytes_mean_equal_bits(one: list[int], other: list[int]):
    same = card_number(len(one), packed(one)) == card_number(len(other), packed(other))
    assert same == (one == other)


@pytest.mark.parametrize(("bits", "data"), [(0, b""), (0, b"\xff"), (-1, b"\xff"), (9, b"\xff")])
def test_no_bits_or_missing_ones_are_no_number(bits: int, data: bytes):
    assert card_number(bits, data) == b""


def test_the_longest_number_fits_and_a_longer_one_stays_too_long():
    data = b"\xff" * 100
    assert len(card_number(MAX_BITS, data)) == MAX_NUMBER_BYTES
    assert len(card_number(MAX_BITS + 1, data)) == MAX_NUMBER_BYTES + 1
    assert len(card_number(800, data)) == MAX_NUMBER_BYTES + 1
