"""Bytes of a scanner to lines: by example, and under any bytes cut in any way."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.line_framer import LineFramer


def framed(data: bytes, *, most: int = 16) -> list[bytes]:
    return LineFramer(most).feed(data)


@pytest.mark.parametrize("terminator", [b"\r", b"\n", b"\r\n"])
def test_each_terminator_ends_a_line(terminator: bytes):
    assert framed(b"ABC" + terminator) == [b"ABC"]


def test_several_lines_in_one_read_come_out_in_order():
    assert framed(b"A\rB\nC\r\nD\n") == [b"A", b"B", b"C", b"D"]


def test_terminators_may_be_mixed_and_empty_lines_vanish():
    assert framed(b"\r\n\n\r\rA\n\n\rB\r\n\r\n") == [b"A", b"B"]


def test_crlf_cut_between_two_reads_ends_one_line():
    framer = LineFramer(16)
    assert framer.feed(b"ABC\r") == [b"ABC"]
    assert framer.feed(b"\nDEF\r\n") == [b"DEF"]


def test_a_line_without_its_end_waits():
    framer = LineFramer(16)
    assert framer.feed(b"AB") == []
    assert framer.unfinished
    assert framer.feed(b"C\n") == [b"ABC"]
    assert not framer.unfinished


def test_silence_ends_a_line():
    framer = LineFramer(16)
    framer.feed(b"ABC")
    assert framer.flush() == [b"ABC"]
    assert framer.flush() == []


def test_bytes_that_are_no_text_are_kept_as_they_are():
    assert framed(b"\x00\xff\x80\x1b\n") == [b"\x00\xff\x80\x1b"]


def test_a_line_of_the_longest_length_is_whole():
    assert framed(b"A" * 16 + b"\n") == [b"A" * 16]


def test_a_longer_line_comes_out_once_cut_to_one_byte_too_many():
    assert framed(b"A" * 17 + b"\n") == [b"A" * 17]
    assert framed(b"A" * 5000 + b"\nB\n") == [b"A" * 17, b"B"]


def test_an_overlong_line_is_dropped_up_to_its_terminator_over_many_reads():
    framer = LineFramer(16)
    lines = [line for _ in range(1000) for line in framer.feed(b"A" * 100)]
    assert lines == [b"A" * 17]
    assert framer.pending_bytes == 0
    assert framer.unfinished
    assert framer.feed(b"\nB\n") == [b"B"]


def test_silence_ends_an_overlong_line_too():
    framer = LineFramer(16)
    framer.feed(b"A" * 100)
    assert framer.flush() == []
    assert framer.feed(b"B\n") == [b"B"]


@pytest.mark.parametrize("most", [0, -1])
def test_a_bound_below_one_byte_is_refused(most: int):
    with pytest.raises(ValueError, match="at least 1"):
        LineFramer(most)


# Streams with terminators often enough to matter, and lines around the bound.
_streams = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"A", b"BC" * 4, b"\x00\xff", b"D" * 40])).map(b"".join)


@given(data=st.one_of(st.binary(max_size=400), _streams), cuts=st.lists(st.integers(0, 400)), most=st.integers(1, 20))
def test_lines_do_not_depend_on_how_the_stream_was_cut(data: bytes, cuts: list[int], most: int):
    framer = LineFramer(most)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    lines: list[bytes] = []
    for start, end in pairwise(edges):
        lines += framer.feed(data[start:end])
        assert framer.pending_bytes <= most
    assert lines == framed(data, most=most)


@given(data=st.one_of(st.binary(max_size=400), _streams), most=st.integers(1, 20))
def test_lines_are_the_pieces_between_terminators_cut_to_the_bound(data: bytes, most: int):
    framer = LineFramer(most)
    lines = framer.feed(data) + framer.flush()
    assert lines == [piece[: most + 1] for piece in re.split(rb"[\r\n]", data) if piece]
