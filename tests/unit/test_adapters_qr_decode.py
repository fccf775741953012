"""Frames to payloads: what is read, how much of it, and when zbar looks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from firmware_adapters.qr_decode import (
    GATE_OPEN_MS,
    MOST_CODES,
    FrameDecoder,
    Gray,
    MotionGate,
    decode_frame,
)
from tests.support.images import HEIGHT, WIDTH, background, code, frame_with, moire, pass_like


def test_a_pass_on_a_phone_is_read_as_it_was_written():
    payload = pass_like()
    assert decode_frame(frame_with(code(payload))) == [payload.encode()]


@pytest.mark.parametrize("turn", [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE])
def test_a_phone_held_any_way_is_read(turn: int):
    turned = np.asarray(cv2.rotate(frame_with(code("ANY WAY")), turn), dtype=np.uint8)
    assert decode_frame(turned) == [b"ANY WAY"]


def test_a_dark_screen_is_read():
    assert decode_frame(np.asarray(255 - frame_with(code("DARK MODE")), dtype=np.uint8)) == [b"DARK MODE"]


def test_two_phones_are_two_payloads():
    assert sorted(decode_frame(frame_with(code("ONE"), code("TWO")))) == [b"ONE", b"TWO"]


def test_the_same_code_twice_in_a_frame_is_one_payload():
    assert decode_frame(frame_with(code("TWICE"), code("TWICE"))) == [b"TWICE"]


def test_bytes_that_are_no_text_come_through():
    assert decode_frame(frame_with(code(bytes(range(1, 200))))) == [bytes(range(1, 200))]


@pytest.mark.parametrize(
    "frame",
    [
        background(),
        np.zeros((HEIGHT, WIDTH), dtype=np.uint8),
        np.full((1, 1), 255, dtype=np.uint8),
        np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8),
    ],
    ids=["wall", "dark", "one pixel", "noise"],
)
def test_a_frame_without_a_code_has_no_payload(frame: Gray):
    assert decode_frame(frame) == []


def test_of_sixty_codes_eight_are_considered_and_the_rest_are_counted():
    frame = frame_with(*(code(f"CODE {number}", scale=3) for number in range(60)), left=20, top=10, gap=8)
    found = FrameDecoder(fallbacks_per_s=2).decode(frame, at_ms=0)
    assert len(found.codes) == MOST_CODES == 8
    assert found.ignored == 52


def test_zbar_looks_only_where_zxing_finds_nothing_and_only_so_often():
    decoder = FrameDecoder(fallbacks_per_s=2)
    assert decoder.has_fallback
    wall = background()
    looks = [decoder.decode(wall, at_ms=at_ms).fallback for at_ms in range(0, 1001, 100)]
    assert [number * 100 for number, look in enumerate(looks) if look] == [0, 500, 1000]
    assert not decoder.decode(frame_with(code("SEEN")), at_ms=5000).fallback


def test_zbar_never_looks_when_it_is_not_allowed_to():
    decoder = FrameDecoder(fallbacks_per_s=0)
    assert not any(decoder.decode(background(), at_ms=at_ms).fallback for at_ms in (0, 10_000))


@pytest.mark.parametrize("seed", range(3))
def test_zbar_reads_a_screen_with_stripes_that_zxing_does_not(seed: int):
    payload = pass_like(seed)
    frame = moire(frame_with(code(payload)), period=4.85)
    assert FrameDecoder(fallbacks_per_s=0).decode(frame, at_ms=0).codes == ()
    assert FrameDecoder(fallbacks_per_s=1).decode(frame, at_ms=0).codes == (payload.encode(),)
    assert decode_frame(frame) == [payload.encode()]


def test_a_frame_that_zbar_may_not_see_yet_is_said_to_be_worth_another():
    decoder = FrameDecoder(fallbacks_per_s=2)
    assert not decoder.decode(background(), at_ms=0).withheld
    assert decoder.decode(background(), at_ms=100).withheld
    assert not decoder.decode(background(), at_ms=600).withheld
    assert not decoder.decode(frame_with(code("SEEN")), at_ms=700).withheld


def test_the_gate_opens_for_the_first_frame_and_stays_shut_while_nothing_moves():
    gate = MotionGate()
    frame = frame_with(code("STILL"))
    assert gate.opens(frame, at_ms=0)
    assert not gate.opens(frame, at_ms=100)
    assert not gate.opens(frame, at_ms=GATE_OPEN_MS - 1)


def test_the_gate_opens_every_second_although_nothing_moves():
    gate = MotionGate()
    frame = background()
    gate.opens(frame, at_ms=0)
    assert gate.opens(frame, at_ms=GATE_OPEN_MS)
    assert not gate.opens(frame, at_ms=GATE_OPEN_MS + 1)


def test_the_gate_opens_when_a_pass_rotates_at_the_smallest_readable_size():
    gate = MotionGate()
    gate.opens(frame_with(code(pass_like(1), scale=2)), at_ms=0)
    assert gate.opens(frame_with(code(pass_like(2), scale=2)), at_ms=66)


def test_the_gate_stays_shut_for_the_noise_of_a_sensor():
    gate = MotionGate()
    random = np.random.default_rng(5)
    scene = background().astype(np.int16)
    frames = [np.clip(scene + random.normal(0, 12, scene.shape), 0, 255).astype(np.uint8) for _ in range(5)]
    assert [gate.opens(frame, at_ms=66 * number) for number, frame in enumerate(frames)] == [True, *[False] * 4]


def test_the_gate_compares_with_the_last_decoded_frame_so_a_slow_change_opens_it():
    gate = MotionGate()
    scene = np.full((HEIGHT, WIDTH), 50, dtype=np.uint8)
    opened = [gate.opens(np.asarray(scene + 3 * step, dtype=np.uint8), at_ms=60 * step) for step in range(10)]
    assert opened == [True, False, False, False, False, True, False, False, False, False]


def test_the_gate_opens_again_when_it_is_told_to():
    gate = MotionGate()
    gate.opens(background(), at_ms=0)
    gate.look_again()
    assert gate.opens(background(), at_ms=66)


def test_the_gate_takes_frames_of_any_size():
    gate = MotionGate()
    assert gate.opens(np.zeros((1, 1), dtype=np.uint8), at_ms=0)
    assert gate.opens(np.full((2000, 3000), 255, dtype=np.uint8), at_ms=1)
