"""Frames of a folder and of a recording, in the process that reads them."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from firmware_adapters.camera_frames import (
    MAX_FILE_BYTES,
    Frame,
    decode_image,
    folder_frames,
    load_file,
    to_gray,
    video_frames,
)
from firmware_adapters.qr_decode import decode_frame
from firmware_adapters.worker_records import FaultKind, SourceError
from tests.support.images import HEIGHT, WIDTH, background, code, frame_with, png

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def names(frames: Iterator[Frame | None], count: int) -> list[str]:
    """Return the names of the next `count` frames, passing over the times without any."""
    return [frame.name for frame in islice((frame for frame in frames if frame is not None), count)]


def touch(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).write_bytes(b"x")


def test_of_the_files_there_at_first_only_the_newest_counts_and_later_ones_follow_in_order(tmp_path: Path):
    touch(tmp_path, "01.png", "02.png", "03.jpg")
    frames = folder_frames(tmp_path, fps=60, after=None)
    assert names(frames, 1) == ["03.jpg"]
    touch(tmp_path, "06.png", "04.jpeg", "05.BMP", "02b.png")
    assert names(frames, 3) == ["04.jpeg", "05.BMP", "06.png"]


def test_an_empty_folder_is_alive_and_its_first_file_counts(tmp_path: Path):
    frames = folder_frames(tmp_path, fps=60, after=None)
    assert next(frames) is None
    assert next(frames) is None
    touch(tmp_path, "a.png")
    assert names(frames, 1) == ["a.png"]


def test_a_later_worker_goes_on_after_the_frame_that_was_begun(tmp_path: Path):
    touch(tmp_path, "01.png", "02.png", "03.png")
    assert names(folder_frames(tmp_path, fps=60, after="01.png"), 2) == ["02.png", "03.png"]


def test_files_that_are_hidden_or_no_images_are_passed_over(tmp_path: Path):
    touch(tmp_path, ".01.png", "02.tmp", "03.txt", "png", "04.png.part", "05.png")
    assert names(folder_frames(tmp_path, fps=60, after=""), 1) == ["05.png"]


def test_a_missing_folder_is_a_loss(tmp_path: Path):
    with pytest.raises(SourceError) as caught:
        next(folder_frames(tmp_path / "none", fps=60, after=None))
    assert caught.value.fault.kind is FaultKind.LOST


def test_a_folder_that_is_a_file_is_told_so(tmp_path: Path):
    touch(tmp_path, "file")
    with pytest.raises(SourceError) as caught:
        next(folder_frames(tmp_path / "file", fps=60, after=None))
    assert caught.value.fault.kind is FaultKind.PERMISSION
    assert "cannot be read" in caught.value.fault.what


def test_a_file_is_loaded_as_grayscale(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(png(frame_with(code("LOADED"))))
    gray = load_file(tmp_path / "a.png")
    assert gray is not None
    assert gray.shape == (HEIGHT, WIDTH)
    assert decode_frame(gray) == [b"LOADED"]


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0" * 100])
def test_a_file_that_is_no_image_is_unreadable(tmp_path: Path, content: bytes):
    (tmp_path / "a.png").write_bytes(content)
    assert load_file(tmp_path / "a.png") is None


def test_a_file_too_large_and_things_that_are_no_files_are_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    for name in ("pipe.png", "folder.png", "large.png", "gone.png"):
        assert load_file(tmp_path / name) is None


def test_an_image_of_too_many_pixels_is_unreadable():
    """A file of a few kilobytes that claims a gigapixel."""
    header = b"P5\n40000 40000\n255\n"
    assert decode_image(header + b"\x00" * 1000) is None


def test_what_opencv_delivers_becomes_gray():
    gray = frame_with(code("GRAY"))
    colour = np.asarray(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    yuyv = np.dstack([gray, np.full_like(gray, 128)])
    jpeg = np.asarray(cv2.imencode(".jpg", gray)[1], dtype=np.uint8)
    for pixels in (gray, colour, yuyv, jpeg.reshape(-1), jpeg.reshape(1, -1)):
        found = to_gray(pixels)
        assert found is not None
        assert found.shape == gray.shape
        assert found.flags.c_contiguous
        assert decode_frame(found) == [b"GRAY"]


def test_brightness_is_found_in_each_layout_of_a_video_device():
    gray = frame_with(code("LUMA"))
    uyvy = np.dstack([np.full_like(gray, 128), gray])
    planar = np.vstack([gray, np.full((HEIGHT // 2, WIDTH), 128, dtype=np.uint8)])
    for found in (to_gray(uyvy, height=HEIGHT, luma=1), to_gray(planar, height=HEIGHT), to_gray(gray, height=HEIGHT)):
        assert found is not None
        assert np.array_equal(found, gray)


@pytest.mark.parametrize("shape", [(1, 10), (10,), (4, 4, 4), (2, 2, 2, 2)])
def test_what_is_no_frame_is_none(shape: tuple[int, ...]):
    assert to_gray(np.zeros(shape, dtype=np.uint8)) is None


def test_a_recording_is_played_to_its_end_which_is_a_loss(tmp_path: Path):
    path = tmp_path / "recording.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (WIDTH, HEIGHT))
    for payload in ("FIRST", "SECOND"):
        writer.write(np.asarray(cv2.cvtColor(frame_with(code(payload)), cv2.COLOR_GRAY2BGR), dtype=np.uint8))
    writer.release()
    frames = video_frames(str(path), fps=60, width=WIDTH, height=HEIGHT)
    read = [decode_frame(gray) for gray in (frame.load() for frame in islice(frames, 2) if frame) if gray is not None]
    assert read == [[b"FIRST"], [b"SECOND"]]
    with pytest.raises(SourceError) as caught:
        next(frames)
    assert caught.value.fault.kind is FaultKind.LOST
    assert "no more frames" in caught.value.fault.what


@pytest.mark.parametrize("device", ["/dev/videoNone", "97", "/nowhere/recording.avi"])
def test_a_camera_that_is_not_there_is_a_loss(device: str):
    with pytest.raises(SourceError) as caught:
        next(video_frames(device, fps=15, width=1280, height=720))
    assert caught.value.fault.kind is FaultKind.LOST
    assert device in caught.value.fault.what


def test_the_background_of_these_tests_has_no_code():
    assert decode_frame(background()) == []
