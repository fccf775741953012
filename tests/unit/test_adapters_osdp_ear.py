"""Hearing an OSDP line: who answers, who is silent, and where two answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.osdp_ear import Ear

ASK_1, ASK_2 = b"\xff\x53\x01\x08\x00\x04\x60", b"\xff\x53\x02\x08\x00\x04\x60"
ANSWER_1, ANSWER_2 = b"\x53\x81\x08\x00\x04\x40", b"\x53\x82\x08\x00\x04\x40"


def test_an_answer_is_heard_for_its_address_only():
    ear = Ear([1, 2])
    ear.heard(ANSWER_1, at_s=5.0)
    assert ear.last_s(1) == 5.0
    assert ear.last_s(2) == float("-inf")


def test_a_header_cut_between_two_reads_is_heard():
    ear = Ear([1])
    ear.heard(ANSWER_1[:1], at_s=5.0)
    ear.heard(ANSWER_1[1:], at_s=6.0)
    assert ear.last_s(1) == 6.0


def test_the_panels_own_echo_is_no_answer():
    ear = Ear([1])
    ear.heard(ASK_1, at_s=5.0)
    assert ear.last_s(1) == float("-inf")


def test_silence_counts_from_the_first_question_without_an_answer():
    ear = Ear([1, 2])
    assert ear.silent_s(1, at_s=9.0) == 0
    ear.asked(ASK_1, at_s=10.0)
    ear.asked(ASK_1, at_s=11.0)
    assert ear.silent_s(1, at_s=11.5) == 1.5
    assert ear.silent_s(2, at_s=11.5) == 0
    ear.heard(ANSWER_1, at_s=12.0)
    assert ear.silent_s(1, at_s=20.0) == 0


def test_two_answers_to_one_question_again_are_two_readers():
    ear = Ear([1, 2])
    for _ in range(2):
        assert not ear.twice(1)
        ear.asked(ASK_1, at_s=0)
        ear.heard(ANSWER_1 * 2, at_s=0)
    assert ear.twice(1)
    assert not ear.twice(2)


def test_a_late_answer_is_not_a_second_reader():
    ear = Ear([1])
    for _ in range(20):
        ear.asked(ASK_1, at_s=0)
        ear.asked(ASK_1, at_s=1)
        ear.heard(ANSWER_1 * 2, at_s=1)
    assert not ear.twice(1)


def test_calm_ends_the_suspicion():
    ear = Ear([1])
    ear.heard(ANSWER_1 * 2, at_s=0)
    assert ear.twice(1)
    for count in range(20):
        assert ear.twice(1), count
        ear.asked(ASK_1, at_s=0)
        ear.heard(ANSWER_1, at_s=0)
    assert not ear.twice(1)


@given(data=st.binary(max_size=300), frames=st.lists(st.binary(max_size=8), max_size=8))
def test_any_bytes_leave_what_is_known_in_its_bounds(data: bytes, frames: list[bytes]):
    ear = Ear([0, 1, 126])
    for frame in frames:
        ear.asked(frame, at_s=1.0)
    ear.heard(data, at_s=2.0)
    for address in (0, 1, 126):
        assert ear.last_s(address) in {2.0, float("-inf")}
        assert 0 <= ear.silent_s(address, at_s=3.0) <= 2.0
