"""Wiegand frames: parity, framing by silence, and everything that a long cable adds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.wiegand_decoder import (
    MOST_BITS,
    SHORTEST_PERIOD_US,
    CardNumber,
    Frame,
    Key,
    Noise,
    WiegandDecoder,
    decode_frame,
)

GAP_US = 25_000
PERIOD_US = 2000


def framed(data_bits: list[int]) -> list[int]:
    """Put the parity bits around 24, 32 or 35 data bits, each over its own half."""
    half = (len(data_bits) + 1) // 2
    return [sum(data_bits[:half]) % 2, *data_bits, 1 - sum(data_bits[-half:]) % 2]


def bits(text: str) -> list[int]:
    return [int(each) for each in text if each in "01"]


def decoded(frame: list[int], *, period_us: int = PERIOD_US) -> list[Frame]:
    decoder = WiegandDecoder(gap_us=GAP_US)
    found: list[Frame] = []
    for place, bit in enumerate(frame):
        found += decoder.pulse(bit, at_us=place * period_us)
    return found + decoder.flush()


def test_the_known_card_is_read():
    """H10301: facility 123, card 4567; its parity bits counted by hand."""
    frame = bits("1 01111011 0001000111010111 0")
    assert decoded(frame) == [CardNumber(bytes.fromhex("001a") + bytes.fromhex("bd88eb80"))]


@pytest.mark.parametrize("count", [24, 32, 35])
@given(data=st.data())
def test_each_length_is_read_when_both_parities_agree(count: int, data: st.DataObject):
    frame = framed(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    (found,) = decoded(frame)
    assert isinstance(found, CardNumber)
    assert int.from_bytes(found.number[:2], "big") == count + 2
    assert [*map(int, f"{int.from_bytes(found.number[2:], 'big'):0{8 * len(found.number[2:])}b}")][: count + 2] == frame


@pytest.mark.parametrize("count", [24, 32, 35])
@given(data=st.data())
def test_one_turned_bit_anywhere_is_refused(count: int, data: st.DataObject):
    frame = framed(data.draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    frame[data.draw(st.integers(0, count + 1))] ^= 1
    assert decoded(frame) == [CardNumber(b"")]


@given(data_bits=st.lists(st.integers(0, 1), min_size=24, max_size=24), end=st.booleans())
def test_a_lost_bit_is_refused(data_bits: list[int], end: bool):  # noqa: FBT001 - drawn
    frame = framed(data_bits)
    assert decoded(frame[:-1] if end else frame[1:]) == [CardNumber(b"")]


@pytest.mark.parametrize("length", [9, 25, 27, 33, 35, 36, 38, 64])
def test_other_lengths_are_refused(length: int):
    assert decoded([1] * length) == [CardNumber(b"")]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7])
def test_a_crackle_is_noise(length: int):
    assert decoded([1] * length) == [Noise()]


def test_a_babbling_line_holds_no_memory():
    decoder = WiegandDecoder(gap_us=GAP_US)
    for place in range(100_000):
        assert decoder.pulse(1, at_us=place * PERIOD_US) == []
    assert len(decoder._bits) == MOST_BITS + 1
    assert decoder.flush() == [CardNumber(b"")]


def test_silence_of_exactly_the_gap_ends_a_frame_and_less_does_not():
    frame = framed([0, 1] * 12)
    decoder = WiegandDecoder(gap_us=GAP_US)
    for place, bit in enumerate(frame):
        assert decoder.pulse(bit, at_us=place * (GAP_US - 1)) == []
    assert [type(each) for each in decoder.pulse(0, at_us=25 * (GAP_US - 1) + GAP_US)] == [CardNumber]
    assert decoder.unfinished


def test_pulses_too_close_are_one_and_at_the_shortest_period_two():
    frame = framed([1, 1, 0] * 8)
    decoder = WiegandDecoder(gap_us=GAP_US)
    for place, bit in enumerate(frame):
        decoder.pulse(bit, at_us=place * PERIOD_US)
        decoder.pulse(1, at_us=place * PERIOD_US + SHORTEST_PERIOD_US - 1)
    (found,) = decoder.flush()
    assert found == decoded(frame, period_us=SHORTEST_PERIOD_US)[0]
    assert found != CardNumber(b"")


@pytest.mark.parametrize(("code", "key"), [(0, b"0"), (9, b"9"), (10, b"*"), (11, b"#")])
def test_keys_of_four_and_of_eight_bits(code: int, key: bytes):
    four = [*map(int, f"{code:04b}")]
    assert decode_frame(four) == Key(key)
    assert decode_frame([1 - bit for bit in four] + four) == Key(key)
    assert decode_frame(four + four) == CardNumber(b"")


@pytest.mark.parametrize("code", [12, 15])
def test_keys_that_do_not_exist_are_noise(code: int):
    assert decode_frame([*map(int, f"{code:04b}")]) == Noise()


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 60_000)), max_size=300))
def test_any_pulses_give_frames(pulses: list[tuple[int, int]]):
    decoder = WiegandDecoder(gap_us=GAP_US)
    at_us = 0
    for bit, step_us in pulses:
        at_us += step_us
        for frame in decoder.pulse(bit, at_us=at_us):
            assert isinstance(frame, CardNumber | Key | Noise)
