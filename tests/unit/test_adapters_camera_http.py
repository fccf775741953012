"""Frames of a camera in the network, in the process that reads them, from a real server on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from firmware_adapters.camera_http import MAX_HEAD_BYTES, READ_BYTES, http_frames
from firmware_adapters.mjpeg_parts import MAX_PART_BYTES
from firmware_adapters.qr_decode import decode_frame
from firmware_adapters.worker_records import Fault, FaultKind, SourceError
from tests.support.images import code, frame_with
from tests.support.mjpeg import BOUNDARY, NetworkCamera, jpeg, part
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD_HEAD = f"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\n\r\n".encode()


@pytest.fixture(name="camera")
def _camera() -> Iterator[NetworkCamera]:
    camera = NetworkCamera()
    camera.manner.live = False
    yield camera
    camera.unplug()


def read(url: str, count: int) -> list[list[bytes]]:
    """Return the payloads of the next frames."""
    with closing(http_frames(url, fps=60)) as frames:  # type: ignore[type-var] # a generator, which can be closed
        loaded = [frame.load() for frame in islice(frames, count) if frame is not None]
    return [[] if gray is None else decode_frame(gray) for gray in loaded]


def fault(url: str) -> Fault:
    """Return how the source of the first frame fails."""
    with pytest.raises(SourceError) as caught:
        next(http_frames(url, fps=60))
    return caught.value.fault


@contextlib.contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """Answer one request with bytes as they are, and hang up; give the address."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def speak() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                connection.sendall(answer)

        speaking = threading.Thread(target=speak)
        speaking.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/live"
        speaking.join(DEADLINE_S)


def test_the_stream_is_asked_for_and_its_frames_are_read(camera: NetworkCamera):
    camera.show(frame_with(code("ONE")))
    assert read(f"http://{camera.address}/a b?c=%25", 1) == [[b"ONE"]]
    assert camera.manner.asked == ["/a%20b?c=%2525"]


def test_a_part_that_comes_with_the_head_is_read():
    with saying(GOOD_HEAD + part(jpeg(frame_with(code("AT ONCE"))))) as url:
        assert read(url, 1) == [[b"AT ONCE"]]


def test_a_part_that_is_no_image_is_a_frame_that_cannot_be_read(camera: NetworkCamera):
    camera.send(part(b"no image"))
    assert read(f"http://{camera.address}/", 1) == [[]]


def test_of_the_frames_that_have_piled_up_the_newest_counts():
    parts = [part(jpeg(code(f"N{number}"), quality=50)) for number in range(5)]
    assert sum(map(len, parts)) < READ_BYTES  # so that they arrive together
    with saying(GOOD_HEAD + b"".join(parts)) as url:
        assert read(url, 1) == [[b"N4"]]


def test_after_the_last_frame_the_end_is_a_loss():
    with saying(GOOD_HEAD + part(jpeg(frame_with(code("LAST"))))) as url:
        frames = http_frames(url, fps=60)
        assert next(frames) is not None
        with pytest.raises(SourceError, match="delivers no more frames"):
            next(frames)


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (404, FaultKind.LOST, "answers 404 Not Found"),
        (503, FaultKind.LOST, "answers 503 Service Unavailable"),
        (401, FaultKind.PERMISSION, "asks for a password"),
        (403, FaultKind.PERMISSION, "asks for a password"),
    ],
)
def test_a_refusal_is_told_by_its_kind(camera: NetworkCamera, status: int, kind: FaultKind, said: str):
    camera.manner.status = status
    told = fault(f"http://{camera.address}/")
    assert told.kind is kind
    assert said in told.what


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", FaultKind.LOST, "does not answer in HTTP"),
        (b"HTTP/1.0 200 OK\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES, FaultKind.LOST, "does not answer in HTTP"),
        (b"HTTP/1.0 200 OK\r\n", FaultKind.LOST, "delivers no more frames"),
        (b"HTTP/1.1 200 OK\r\n\r\n", FaultKind.UNSUPPORTED, "but something unnamed"),
        (
            GOOD_HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
            FaultKind.UNSUPPORTED,
            "serves no plain motion JPEG",
        ),
        (
            GOOD_HEAD + f"--{BOUNDARY}\r\nContent-Length: {MAX_PART_BYTES + 1}\r\n\r\n".encode(),
            FaultKind.LOST,
            "sends what is no motion JPEG (a part has more than 8000000 bytes)",
        ),
    ],
    ids=["another protocol", "endless head", "cut head", "no type", "chunked", "huge part"],
)
def test_an_answer_that_is_none_is_told(answer: bytes, kind: FaultKind, said: str):
    with saying(answer) as url:
        told = fault(url)
    assert told.kind is kind
    assert said in told.what


def test_a_server_that_is_not_there_is_lost():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    told = fault(f"http://127.0.0.1:{port}/")
    assert told.kind is FaultKind.LOST
    assert "cannot be reached (Connection refused)" in told.what


def test_a_server_that_accepts_and_says_nothing_is_lost_in_time():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        told = fault(f"http://127.0.0.1:{mute.getsockname()[1]}/")
    assert told.kind is FaultKind.LOST
    assert "has delivered no frame for 3 s" in told.what
