"""A camera in the network: a real HTTP server on loopback that serves motion JPEG, well or badly."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import cv2
import numpy as np

from tests.support.images import code, frame_with
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from firmware_adapters.qr_looks import Gray

BOUNDARY = "frame-boundary"
# Of a camera of 20 frames a second.
FRAME_S = 0.05


def jpeg(gray: Gray, *, quality: int = 90) -> bytes:
    """Return a frame as a JPEG file."""
    done, data = cv2.imencode(".jpg", gray, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert done
    return data.tobytes()


def part(image: bytes, *, sized: bool = True) -> bytes:
    """Return a part of the stream, with its length told or not."""
    length = f"Content-Length: {len(image)}\r\n" if sized else ""
    return f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\n{length}\r\n".encode() + image + b"\r\n"


@dataclass(slots=True)
class Manner:
    """How the camera answers.

    Attributes:
        live: the last frame shown is sent again and again, as a camera does.
        drip: bytes that are sent again and again instead.
    """

    status: int = 200
    content_type: str = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
    protocol: str = "HTTP/1.0"
    live: bool = True
    drip: bytes = b""
    asked: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Sent:
    """Bytes for the watcher.

    Attributes:
        frame: repeated while there is nothing else, when the camera is live.
        held: repeated until its code was seen, before anything else is sent.
    """

    data: bytes
    frame: bool
    held: bool


class NetworkCamera:
    """Serves on a port of loopback, until it is unplugged; plugged in again it has the same port."""

    def __init__(self, progress: Callable[[], int] = int) -> None:
        """Serve; `progress` moves when the watcher has seen a code."""
        self.manner = Manner()
        self._progress = progress
        self._port = 0
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._watching: socket.socket | None = None
        self._last = b""
        self._sending: SimpleQueue[_Sent | None] = SimpleQueue()
        self.plug_in()

    @property
    def address(self) -> str:
        """Return host and port."""
        return f"127.0.0.1:{self._port}"

    def send(self, data: bytes) -> None:
        """Send bytes to whoever watches, as they are, now or once somebody does."""
        self._sending.put(_Sent(data, frame=False, held=False))

    def show(self, gray: Gray, *, held: bool = False) -> None:
        """Send a frame as a whole part, or hold a code before the camera until it was seen."""
        self._sending.put(_Sent(part(jpeg(gray)), frame=True, held=held))

    def hang_up(self) -> None:
        """End the answer that is being given, after what was sent."""
        self._sending.put(None)

    def plug_in(self) -> None:
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.protocol_version = camera.manner.protocol
                camera.manner.asked.append(self.path)
                self.send_response(camera.manner.status)
                self.send_header("Content-Type", camera.manner.content_type)
                self.end_headers()
                if camera.manner.status == 200:
                    camera._serve(self.connection)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._sending = SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        """Vanish from the network: nothing listens any more, and whoever watched is cut off."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE_S)
        self._server = None
        if self._watching is not None:
            with contextlib.suppress(OSError):
                self._watching.shutdown(socket.SHUT_RDWR)

    def _serve(self, connection: socket.socket) -> None:
        self._watching = connection
        sending = self._sending
        with contextlib.suppress(OSError):  # the watcher has left
            while self._watching is connection and self._server is not None:
                try:
                    sent = sending.get(timeout=FRAME_S)
                except Empty:
                    connection.sendall(self.manner.drip or self._last)
                    continue
                if self._watching is not connection:
                    sending.put(sent)
                    return
                if sent is None:
                    return
                seen = self._progress()
                connection.sendall(sent.data)
                self._last = sent.data if sent.frame and self.manner.live else b""
                if sent.held:
                    self._hold(connection, sent.data, seen)

    def _hold(self, connection: socket.socket, data: bytes, seen: int) -> None:
        """Repeat a frame until its code was seen."""
        pause = threading.Event()
        while self._watching is connection and self._server is not None and self._progress() == seen:
            pause.wait(FRAME_S)
            connection.sendall(data)


def showing(payload: str) -> Gray:
    """Return a 720p frame with a code, as a camera has it: no pixel quite as in the last frame."""
    grain = np.random.default_rng(len(payload)).normal(0, 2, (720, 1280))
    return np.clip(frame_with(code(payload)) + grain, 0, 255).astype(np.uint8)
