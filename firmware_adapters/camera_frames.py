"""Where a camera's frames come from: a video device, or image files that appear in a folder.

Import this module only in the camera's worker process: it loads the image libraries.

Invariant: a source yields a frame once, and its faults are `SourceError`s.
"""

import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from firmware_adapters.qr_looks import Gray
from firmware_adapters.worker_records import Fault, FaultKind, SourceError

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".pgm", ".png")
# How long a file may take to be written before it counts as unreadable.
WRITING_S = 0.4
WRITING_POLL_S = 0.02
# How often a folder without news says that it is watched.
IDLE_S = 0.25
# Larger than any 24-megapixel photograph.
MAX_FILE_BYTES = 32_000_000
# A camera at twice the wanted rate delivers a little early at times; take the frame all the same.
EARLY_S = 0.005

# The brightness comes second in it (linux/videodev2.h, V4L2_PIX_FMT_UYVY).
_UYVY = cv2.VideoWriter.fourcc(*"UYVY")


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame that is due but not read yet.

    Args:
        name: tells it from the others of this source.
        load: returns its pixels, or None when it cannot be read.
    """

    name: str
    load: Callable[[], Gray | None]


def folder_frames(folder: Path, *, fps: int, after: str | None) -> Iterator[Frame | None]:
    """Yield the image files of a folder as they appear, at most `fps` a second, and None every `IDLE_S` without any.

    A camera shows the present: of the files that are there at first only the newest, by name, counts. Then files
    follow in name order; one whose name sorts before the last is never seen. Nothing is removed. To be seen whole,
    a file is written under another suffix or a leading dot and then renamed.

    Args:
        folder: the folder; a missing one is a loss.
        fps: frames a second at most.
        after: the last name that an earlier source of this folder has yielded, None when there was none.

    Raises:
        SourceError: the folder is not there (any more), or may not be read.
    """
    last = _name_before_newest(folder) if after is None else after
    told_s = time.monotonic()
    while True:
        began_s = time.monotonic()
        name = min((name for name in _image_names(folder) if name > last), default=None)
        if name is not None:
            last = name
            yield Frame(name, partial(load_file, folder / name))
        elif began_s - told_s >= IDLE_S:
            yield None
        if name is not None or began_s - told_s >= IDLE_S:
            told_s = began_s
        time.sleep(max(0.0, began_s + 1 / fps - time.monotonic()))


def _name_before_newest(folder: Path) -> str:
    names = sorted(_image_names(folder))
    return names[-2] if len(names) > 1 else ""


def _image_names(folder: Path) -> list[str]:
    try:
        paths = list(folder.iterdir())
    except FileNotFoundError as error:
        what = f"the image folder {folder} is not there"
        remedy = "make it, or correct the address; it is watched by itself from then on"
        raise SourceError(Fault(FaultKind.LOST, what, remedy)) from error
    except OSError as error:
        what = f"the image folder {folder} cannot be read ({error.strerror})"
        remedy = "give the daemon's user a folder it may read"
        raise SourceError(Fault(FaultKind.PERMISSION, what, remedy)) from error
    return [path.name for path in paths if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]


def load_file(path: Path) -> Gray | None:
    """Read an image file as grayscale; None when it is none, too large, or not complete within `WRITING_S`."""
    give_up_s = time.monotonic() + WRITING_S
    while True:
        gray = _read_image(path)
        if gray is not None or time.monotonic() >= give_up_s:
            return gray
        time.sleep(WRITING_POLL_S)


def _read_image(path: Path) -> Gray | None:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= MAX_FILE_BYTES:
            return None
        return decode_image(path.read_bytes())
    except OSError:
        return None


def decode_image(data: bytes) -> Gray | None:
    """Decode an image file's bytes straight to grayscale; None when they are no image."""
    try:
        gray = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return None
    return None if gray is None else np.asarray(gray, dtype=np.uint8)


def video_frames(device: str, *, fps: int, width: int, height: int) -> Iterator[Frame | None]:
    """Yield the frames of a video device, at most `fps` a second.

    Args:
        device: the number of a camera, the path of a device, or the path of a recording (played at `fps`).
        fps: frames a second at most; those in between are dropped undecoded.
        width: pixels asked of a device, which may choose others.
        height: likewise.

    Raises:
        SourceError: the device is not there, or delivers no more frames.
    """
    live = device.isdigit() or device.startswith("/dev/")
    capture = _open_device(device, fps=fps, width=width, height=height) if live else cv2.VideoCapture(device)
    try:
        if not capture.isOpened():
            raise _video_lost(device, "cannot be opened")
        due_s = time.monotonic()
        count = 0
        while capture.grab():
            now_s = time.monotonic()
            if live and now_s < due_s - EARLY_S:
                continue
            time.sleep(max(0.0, due_s - now_s))
            due_s = max(due_s, now_s) + 1 / fps
            count += 1
            yield Frame(str(count), partial(_retrieve, capture, _luma_channel(capture)))
        raise _video_lost(device, "delivers no more frames")
    finally:
        capture.release()


def _open_device(device: str, *, fps: int, width: int, height: int) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(int(device) if device.isdigit() else device, cv2.CAP_V4L2)
    # Raw frames: the Y plane of YUYV, or a JPEG that is decoded straight to grayscale, at half the cost of colour.
    for setting, value in (
        (cv2.CAP_PROP_CONVERT_RGB, 0),
        (cv2.CAP_PROP_FRAME_WIDTH, width),
        (cv2.CAP_PROP_FRAME_HEIGHT, height),
        (cv2.CAP_PROP_FPS, fps),
        (cv2.CAP_PROP_BUFFERSIZE, 1),
    ):
        capture.set(setting, value)
    return capture


def _luma_channel(capture: cv2.VideoCapture) -> int:
    return 1 if int(capture.get(cv2.CAP_PROP_FOURCC)) == _UYVY else 0


def _retrieve(capture: cv2.VideoCapture, luma: int) -> Gray | None:
    arrived, pixels = capture.retrieve()
    if not arrived:
        return None
    height = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    return to_gray(np.asarray(pixels, dtype=np.uint8), height=height, luma=luma)


def to_gray(pixels: Gray, *, height: int = 0, luma: int = 0) -> Gray | None:
    """Turn what OpenCV delivers into grayscale.

    Args:
        pixels: shape (1, n) or (n,): a JPEG's bytes; (height, width): gray; (height, width, 2): YUYV or UYVY; (height,
            width, 3): BGR. Gray with more rows than `height` is NV12 or YUV420, whose colour stands below.
        height: of the picture; 0 when that is not known.
        luma: which channel of two is the brightness.

    Returns:
        Shape (height, width), or None for anything else.
    """
    if pixels.ndim == 1 or (pixels.ndim == len(("height", "width")) and pixels.shape[0] == 1):
        return decode_image(pixels.tobytes())
    match pixels.shape:
        case (_, _):
            return pixels[:height] if height > 0 else pixels
        case (_, _, 2):
            return np.ascontiguousarray(pixels[:, :, luma])
        case (_, _, 3):
            return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        case _:
            return None


def _video_lost(device: str, what: str) -> SourceError:
    remedy = "check its cable and that no other program has it; it is opened again by itself"
    return SourceError(Fault(FaultKind.LOST, f"the camera {device} {what}", remedy))
