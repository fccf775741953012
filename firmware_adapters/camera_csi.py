"""Frames of a Raspberry Pi's own (CSI) camera, by picamera2.

Import this module only in the camera's worker process: it loads the image libraries.
Invariant: of what the camera delivers only the brightness (Y plane) is looked at; no colour is ever made.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from firmware_adapters.camera_frames import Frame
from firmware_adapters.qr_looks import Gray
from firmware_adapters.worker_records import Fault, FaultKind, SourceError

# One is filled, one is looked at, one waits; each is 1.4 MB at 720p.
BUFFERS = 3


def csi_frames(camera: str, *, fps: int, width: int, height: int) -> Iterator[Frame | None]:
    """Yield the frames of a CSI camera as it delivers them, `fps` a second.

    Args:
        camera: its number, as rpicam-hello --list-cameras gives it.
        fps: frames a second asked of the camera.
        width: pixels asked of it; it may choose others.
        height: likewise.

    Raises:
        SourceError: picamera2 is not installed, or the camera is not there (any more).
    """
    try:
        from picamera2 import Picamera2  # noqa: PLC0415 - the system's package, on a Raspberry Pi only
    except ImportError as error:
        raise SourceError(_missing(error)) from error
    try:
        with Picamera2(int(camera)) as device:
            main = {"size": (width, height), "format": "YUV420"}
            device.configure(
                device.create_video_configuration(main=main, controls={"FrameRate": fps}, buffer_count=BUFFERS)
            )
            device.start()
            layout = device.stream_configuration("main")
            width, height = layout["size"]
            stride = layout["stride"]
            count = 0
            while True:
                buffer = np.asarray(device.capture_buffer("main"), dtype=np.uint8)
                count += 1
                yield Frame(str(count), partial(luma, buffer, width=width, height=height, stride=stride))
    except (RuntimeError, IndexError, OSError) as error:
        remedy = "check its ribbon cable and that rpicam-hello --list-cameras shows it; it is opened again by itself"
        what = f"the CSI camera {camera} delivers nothing ({str(error) or type(error).__name__})"
        raise SourceError(Fault(FaultKind.LOST, what, remedy)) from error


def luma(buffer: npt.NDArray[np.uint8], *, width: int, height: int, stride: int) -> Gray | None:
    """Cut the brightness out of a YUV420 buffer.

    Args:
        buffer: flat; `height` rows of `stride` bytes are the Y plane, what follows is colour.
        width: pixels of a row that are picture; the rest of `stride` is padding.
        height: rows.
        stride: bytes from one row to the next.

    Returns:
        Shape (height, width) in memory of its own, or None when the buffer is too short for that.
    """
    if not 0 < width <= stride or height <= 0 or buffer.size < stride * height:
        return None
    return np.ascontiguousarray(buffer.reshape(-1)[: stride * height].reshape(height, stride)[:, :width])


def _missing(error: ImportError) -> Fault:
    return Fault(
        FaultKind.UNSUPPORTED,
        f"a CSI camera needs picamera2, which does not load ({error.msg})",
        "install it with: apt install python3-picamera2, and make doorward's environment with --system-site-packages",
    )
