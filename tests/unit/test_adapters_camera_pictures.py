"""The last pictures of a camera: which are kept, that no code stays readable, and who may read the files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from firmware_adapters.camera_frames import load_file
from firmware_adapters.camera_pictures import GAP_MS, MOST_PICTURES, WIDEST_PX, Pictures
from firmware_adapters.qr_decode import decode_frame
from firmware_adapters.qr_looks import plain
from tests.support.images import code, frame_with, pass_like

if TYPE_CHECKING:
    from pathlib import Path

    from firmware_adapters.qr_looks import Corners, Gray


def shade(level: int) -> Gray:
    return np.full((72, 128), level, dtype=np.uint8)


def levels(pictures: Pictures, folder: Path) -> list[int]:
    """Return the brightness of each picture that is written."""
    count = pictures.write(folder / "event")
    loaded = [load_file(folder / f"event-{number}.jpg") for number in range(1, count + 1)]
    assert len(list(folder.iterdir())) == count
    return [round(float(np.mean(each))) for each in loaded if each is not None]


CORNERS: tuple[Corners, ...] = (((0, 0), (1, 0), (1, 1), (0, 1)),)


def test_nothing_seen_is_nothing_written(tmp_path: Path):
    assert levels(Pictures(), tmp_path) == []


def test_one_picture_in_half_a_second_is_kept_and_only_the_last_few(tmp_path: Path):
    pictures = Pictures()
    for number in range(12):
        pictures.add(shade(10 * number), at_ms=number * GAP_MS // 2, corners=())
    assert MOST_PICTURES == 4
    assert levels(pictures, tmp_path) == [40, 60, 80, 100]


@pytest.mark.parametrize(("at_ms", "kept"), [(GAP_MS - 1, [10]), (GAP_MS, [10, 20])])
def test_a_picture_is_due_when_the_gap_is_over(tmp_path: Path, at_ms: int, kept: list[int]):
    pictures = Pictures()
    pictures.add(shade(10), at_ms=0, corners=())
    pictures.add(shade(20), at_ms=at_ms, corners=())
    assert levels(pictures, tmp_path) == kept


def test_the_newest_with_a_code_is_kept_besides(tmp_path: Path):
    pictures = Pictures()
    for number in range(4):
        pictures.add(shade(10 * number), at_ms=number * GAP_MS, corners=())
    for number in (200, 210):
        pictures.add(shade(number), at_ms=3 * GAP_MS + 100, corners=CORNERS)
    assert levels(pictures, tmp_path) == [10, 20, 30, 210]


def test_no_code_can_be_read_from_a_picture(tmp_path: Path):
    frame = frame_with(code(pass_like(1), scale=5), code("SECOND", scale=8))
    before = frame.copy()
    found = plain(frame)
    assert len(found) == 2
    pictures = Pictures()
    pictures.add(frame, at_ms=0, corners=tuple(each.corners for each in found))
    assert pictures.write(tmp_path / "event") == 1
    picture = load_file(tmp_path / "event-1.jpg")
    assert picture is not None
    assert decode_frame(picture) == []
    assert np.array_equal(frame, before)
    pictures = Pictures()
    pictures.add(frame, at_ms=0, corners=())
    pictures.write(tmp_path / "plain")
    uncovered = load_file(tmp_path / "plain-1.jpg")
    assert uncovered is not None
    assert len(decode_frame(uncovered)) == 2


@pytest.mark.parametrize(
    ("size", "written"), [((1280, 720), (960, 540)), ((WIDEST_PX, 700), (WIDEST_PX, 700)), ((3, 4000), (3, 4000))]
)
def test_a_picture_is_no_wider_than_needed(tmp_path: Path, size: tuple[int, int], written: tuple[int, int]):
    pictures = Pictures()
    pictures.add(np.zeros(size[::-1], dtype=np.uint8), at_ms=0, corners=())
    pictures.write(tmp_path / "event")
    picture = cv2.imread(str(tmp_path / "event-1.jpg"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == written[::-1]


def test_only_the_owner_may_read_a_picture_whatever_the_mask(tmp_path: Path):
    pictures = Pictures()
    pictures.add(shade(1), at_ms=0, corners=())
    usual = os.umask(0)
    try:
        pictures.write(tmp_path / "event")
    finally:
        os.umask(usual)
    assert stat.S_IMODE((tmp_path / "event-1.jpg").stat().st_mode) == 0o600


def test_a_folder_that_is_gone_is_an_error(tmp_path: Path):
    pictures = Pictures()
    pictures.add(shade(1), at_ms=0, corners=())
    with pytest.raises(FileNotFoundError):
        pictures.write(tmp_path / "none" / "event")
