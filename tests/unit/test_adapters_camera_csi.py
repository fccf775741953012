"""What a Raspberry Pi's camera delivers becomes grey; where picamera2 is missing, the remedy says how it is got."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from firmware_adapters.camera_csi import csi_frames, luma
from firmware_adapters.qr_decode import decode_frame
from firmware_adapters.worker_records import FaultKind, SourceError
from tests.support.images import HEIGHT, WIDTH, code, frame_with
from tests.support.readers import PICAMERA2


def yuv420(gray: np.ndarray, stride: int) -> np.ndarray:
    """Return a buffer as the camera fills it: padded rows, then colour at a quarter of the size, twice."""
    height, width = gray.shape
    rows = np.full((height * 3 // 2, stride), 77, dtype=np.uint8)
    rows[:height, :width] = gray
    return rows.reshape(-1)


@pytest.mark.parametrize("stride", [WIDTH, WIDTH + 64])
def test_the_brightness_is_cut_out_of_padding_and_colour(stride: int):
    scene = frame_with(code("BRIGHT"))
    gray = luma(yuv420(scene, stride), width=WIDTH, height=HEIGHT, stride=stride)
    assert gray is not None
    assert np.array_equal(gray, scene)
    assert gray.flags.c_contiguous
    assert decode_frame(gray) == [b"BRIGHT"]


def test_a_buffer_with_just_the_brightness_is_enough_and_a_byte_less_is_not():
    assert luma(np.zeros(12, dtype=np.uint8), width=3, height=3, stride=4) is not None
    assert luma(np.zeros(11, dtype=np.uint8), width=3, height=3, stride=4) is None


@pytest.mark.parametrize(("width", "height", "stride"), [(4, 3, 3), (0, 3, 4), (3, 0, 4), (3, -1, 4)])
def test_a_layout_that_cannot_be_is_none(width: int, height: int, stride: int):
    assert luma(np.zeros(100, dtype=np.uint8), width=width, height=height, stride=stride) is None


def test_frames_come_until_the_camera_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "picamera2.py").write_text(PICAMERA2)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TEST_CSI", str(tmp_path))
    (tmp_path / "plugged").touch()
    (tmp_path / "1.y").write_bytes(frame_with(code("CSI")).tobytes())
    frames = csi_frames("0", fps=60, width=WIDTH, height=HEIGHT)
    frame = next(frames)
    assert frame is not None
    gray = frame.load()
    assert gray is not None
    assert decode_frame(gray) == [b"CSI"]
    (tmp_path / "plugged").unlink()
    with pytest.raises(SourceError) as caught:
        next(frames)
    sys.modules.pop("picamera2")
    assert caught.value.fault.kind is FaultKind.LOST
    assert "Camera frontend has timed out" in caught.value.fault.what


def test_a_missing_picamera2_is_told_with_its_remedy():
    with pytest.raises(SourceError) as caught:
        next(csi_frames("0", fps=15, width=1280, height=720))
    fault = caught.value.fault
    assert fault.kind is FaultKind.UNSUPPORTED
    assert "picamera2" in fault.what
    assert "apt install python3-picamera2" in fault.remedy
