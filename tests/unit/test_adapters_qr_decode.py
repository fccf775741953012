"""Frames to payloads: what is read, how much of it, and which ways of looking are taken when."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from benchmarks.camera_images import KINDS, draw

from firmware_adapters.qr_decode import FRAME_BUDGET_MS, MOST_CODES, FrameDecoder, decode_frame
from firmware_adapters.qr_looks import (
    MOST_ENLARGED_PIXELS,
    Gray,
    enlarged,
    fallbacks,
    histogram,
    load_zbar,
    plain,
    smoothed,
)
from tests.support.images import HEIGHT, WIDTH, background, code, frame_with, pass_like


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


LOOKS = {"plain": plain, "histogram": histogram, **fallbacks(load_zbar())}


@pytest.mark.parametrize(
    ("kind", "look"),
    [
        ("striped", "histogram"),
        ("grainy", "enlarged"),
        ("very grainy", "smoothed"),
        ("shaded", "thresholded"),
        ("small and striped", "zbar"),
    ],
)
def test_each_way_of_looking_reads_what_those_before_it_do_not(kind: str, look: str):
    earlier = list(LOOKS)[: list(LOOKS).index(look)]

    def reads(name: str, gray: Gray, payload: bytes) -> bool:
        return payload in [code.payload for code in LOOKS[name](gray)]

    pictures = (draw(kind, KINDS[kind], number) for number in range(8))
    assert any(
        reads(look, each.gray, each.payload) and not any(reads(name, each.gray, each.payload) for name in earlier)
        for each in pictures
    )


@pytest.mark.parametrize("kind", KINDS)
def test_all_ways_together_read_every_kind_and_whatever_zxing_reads_alone(kind: str):
    pictures = [draw(kind, KINDS[kind], number) for number in range(4)]
    alone = [bool(plain(each.gray)) for each in pictures]
    together = [decode_frame(each.gray) == [each.payload] for each in pictures]
    assert any(together)
    assert all(all_ways for all_ways, one in zip(together, alone, strict=True) if one)


@pytest.mark.parametrize("look", LOOKS)
def test_every_way_of_looking_says_where_a_code_is(look: str):
    (found,) = LOOKS[look](frame_with(code("PLACED", scale=8), left=400, top=200))
    assert found.payload == b"PLACED"
    xs, ys = zip(*found.corners, strict=True)
    # Version 1 has 21 modules of 8 pixels, behind 4 modules of quiet zone.
    for seen, true in ((min(xs), 432), (max(xs), 600), (min(ys), 232), (max(ys), 400)):
        assert abs(seen - true) <= 8


def test_a_frame_is_enlarged_up_to_the_size_of_a_full_hd_one():
    scale = 4
    at_bound = np.full((MOST_ENLARGED_PIXELS // 1920, 1920), 255, dtype=np.uint8)
    square = code("LARGE", scale=scale)
    at_bound[100 : 100 + square.shape[0], 100 : 100 + square.shape[1]] = square
    beyond = np.vstack([at_bound, at_bound[-1:]])
    for look in (enlarged, smoothed):
        assert [each.payload for each in look(at_bound)] == [b"LARGE"]
        assert look(beyond) == []
    assert [each.payload for each in plain(beyond)] == [b"LARGE"]


def taken(decoder: FrameDecoder, times_ms: range, gray: Gray, *, changed: bool = True) -> dict[int, str]:
    """Return which expensive look was taken when."""
    looks = {at_ms: decoder.decode(gray, at_ms=at_ms, changed=changed).fallback for at_ms in times_ms}
    return {at_ms: look for at_ms, look in looks.items() if look is not None}


def test_the_expensive_ways_take_turns_only_so_often():
    decoder = FrameDecoder(fallbacks_per_s=2)
    assert decoder.has_zbar
    assert taken(decoder, range(0, 2001, 100), background()) == {
        0: "enlarged",
        500: "smoothed",
        1000: "thresholded",
        1500: "zbar",
        2000: "enlarged",
    }


def test_no_expensive_way_is_taken_where_a_cheap_one_reads():
    decoder = FrameDecoder(fallbacks_per_s=30)
    striped = next(each for each in (draw("striped", KINDS["striped"], n) for n in range(8)) if histogram(each.gray))
    for gray, payload in ((frame_with(code("SEEN")), b"SEEN"), (striped.gray, striped.payload)):
        found = decoder.decode(gray, at_ms=0)
        assert found.codes == (payload,)
        assert found.fallback is None
        assert not found.withheld


def test_no_expensive_way_is_taken_when_none_is_allowed():
    decoder = FrameDecoder(fallbacks_per_s=0)
    found = [decoder.decode(background(), at_ms=at_ms) for at_ms in (0, 10_000)]
    assert not any(each.fallback or each.withheld for each in found)


def test_the_way_that_has_read_looks_first_the_next_time():
    decoder = FrameDecoder(fallbacks_per_s=30)
    grainy = next(
        each for each in (draw("very grainy", KINDS["very grainy"], n) for n in range(8)) if not enlarged(each.gray)
    )
    assert taken(decoder, range(0, 300, 100), grainy.gray) == {0: "enlarged", 100: "smoothed", 200: "smoothed"}


def test_a_scene_is_worth_more_frames_until_every_way_has_looked():
    decoder = FrameDecoder(fallbacks_per_s=10)
    assert decoder.decode(background(), at_ms=0).withheld
    told = [decoder.decode(background(), at_ms=at_ms, changed=False).withheld for at_ms in range(50, 501, 50)]
    # Looks at 100 and 200, and the last at 300; from then on nothing is owed to the scene.
    assert told == [True] * 5 + [False] * 5
    assert decoder.decode(background(), at_ms=600, changed=True).withheld


def test_a_code_that_is_not_found_any_more_is_looked_for_in_every_way():
    decoder = FrameDecoder(fallbacks_per_s=10)
    assert not decoder.decode(frame_with(code("SEEN")), at_ms=0).withheld
    assert decoder.decode(background(), at_ms=100, changed=False).withheld


@pytest.mark.parametrize(("spent_ms", "looks"), [(FRAME_BUDGET_MS - 1, True), (FRAME_BUDGET_MS, False)])
def test_a_frame_that_has_taken_its_time_gets_no_further_look(spent_ms: int, looks: bool):  # noqa: FBT001
    hands = iter([0, 0, spent_ms])
    decoder = FrameDecoder(fallbacks_per_s=10, clock_ms=lambda: next(hands))
    found = decoder.decode(background(), at_ms=0)
    assert (found.fallback == "enlarged") == looks
    assert found.withheld == looks


def test_a_frame_slow_at_the_first_look_gets_no_second():
    striped = next(each for each in (draw("striped", KINDS["striped"], n) for n in range(8)) if histogram(each.gray))
    hands = iter([0, FRAME_BUDGET_MS, FRAME_BUDGET_MS])
    assert FrameDecoder(fallbacks_per_s=10, clock_ms=lambda: next(hands)).decode(striped.gray, at_ms=0).codes == ()
