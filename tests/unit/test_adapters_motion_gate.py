"""Which frames are worth decoding."""

from __future__ import annotations

import numpy as np

from firmware_adapters.motion_gate import GATE_OPEN_MS, MotionGate, Scene
from tests.support.images import HEIGHT, WIDTH, background, code, frame_with, pass_like


def test_the_first_frame_is_new_and_the_same_one_is_not():
    gate = MotionGate()
    frame = frame_with(code("STILL"))
    assert gate.judge(frame, at_ms=0) is Scene.CHANGED
    assert gate.judge(frame, at_ms=100) is Scene.SAME
    assert gate.judge(frame, at_ms=GATE_OPEN_MS - 1) is Scene.SAME


def test_a_look_is_due_every_second_although_nothing_moves():
    gate = MotionGate()
    frame = background()
    gate.judge(frame, at_ms=0)
    assert gate.judge(frame, at_ms=GATE_OPEN_MS) is Scene.DUE
    assert gate.judge(frame, at_ms=GATE_OPEN_MS + 1) is Scene.SAME


def test_a_pass_that_rotates_at_the_smallest_readable_size_is_a_change():
    gate = MotionGate()
    gate.judge(frame_with(code(pass_like(1), scale=2)), at_ms=0)
    assert gate.judge(frame_with(code(pass_like(2), scale=2)), at_ms=66) is Scene.CHANGED


def test_the_noise_of_a_sensor_is_no_change():
    gate = MotionGate()
    random = np.random.default_rng(5)
    scene = background().astype(np.int16)
    frames = [np.clip(scene + random.normal(0, 12, scene.shape), 0, 255).astype(np.uint8) for _ in range(5)]
    judged = [gate.judge(frame, at_ms=66 * number) for number, frame in enumerate(frames)]
    assert judged == [Scene.CHANGED, *[Scene.SAME] * 4]


def test_each_frame_is_compared_with_the_last_decoded_one_so_a_slow_change_is_seen():
    gate = MotionGate()
    scene = np.full((HEIGHT, WIDTH), 50, dtype=np.uint8)
    judged = [gate.judge(np.asarray(scene + 3 * step, dtype=np.uint8), at_ms=60 * step) for step in range(10)]
    changed = [step for step, each in enumerate(judged) if each is Scene.CHANGED]
    assert changed == [0, 5]
    assert set(judged) == {Scene.CHANGED, Scene.SAME}


def test_the_next_frame_is_due_when_another_look_is_wanted():
    gate = MotionGate()
    gate.judge(background(), at_ms=0)
    gate.look_again()
    assert gate.judge(background(), at_ms=66) is Scene.DUE
    assert gate.judge(background(), at_ms=132) is Scene.SAME


def test_frames_of_any_size_are_judged():
    gate = MotionGate()
    assert gate.judge(np.zeros((1, 1), dtype=np.uint8), at_ms=0) is Scene.CHANGED
    assert gate.judge(np.full((2000, 3000), 255, dtype=np.uint8), at_ms=1) is Scene.CHANGED
