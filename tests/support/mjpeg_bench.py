"""A network camera on loopback: a real HTTP server that sends images as multipart/x-mixed-replace."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from firmware_adapters.camera import CameraReader
from firmware_adapters.catalogue import open_reader
from tests.support.readers import qr_png

if TYPE_CHECKING:
    from pathlib import Path

# Bytes that are no image, as a camera with a bad cable sends; they show that it lives.
NO_IMAGE = b"\xff\xd8\xff"
# A camera goes on sending what it sees, ten times a second.
AGAIN_S = 0.1
# A code is held before it for a few frames.
STAYS, EVERY_S = 4, 0.04


class _View:
    """What is before the camera: images follow each other, each for a few frames."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.images: list[bytes] = []
        self.stopping = threading.Event()

    @property
    def off(self) -> bool:
        return self.stopping.is_set()


class MjpegBench:
    """A camera under contract."""

    def __init__(self, folder: Path, *, lengths: bool = True) -> None:
        assert folder.exists()
        self._lengths = lengths
        self.content_type = "multipart/x-mixed-replace; boundary=frame"
        self._view = _View()
        self._server = self._serve(0)
        self.port = self._server.server_address[1]
        reader = open_reader(f"camera+http://127.0.0.1:{self.port}/stream?fps=30", "camera-1")
        assert isinstance(reader, CameraReader)
        self.reader = reader

    def present(self, payload: bytes) -> None:
        with self._view.changed:
            self._view.images.append(qr_png(payload.decode("ascii")))
            self._view.changed.notify_all()

    def read_as(self, payload: bytes) -> bytes:
        return payload

    def lose(self) -> None:
        with self._view.changed:
            self._view.stopping.set()
            self._view.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def restore(self) -> None:
        self._view = _View()
        self._server = self._serve(self.port)

    def dispose(self) -> None:
        if not self._view.off:
            self.lose()

    def _serve(self, port: int) -> ThreadingHTTPServer:
        view, lengths, bench = self._view, self._lengths, self

        class Camera(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", bench.content_type)
                self.end_headers()
                try:
                    while not view.off:
                        self._frame(_next(view))
                except OSError:
                    return

            def _frame(self, image: bytes | None) -> None:
                for each in [image] * STAYS if image else [NO_IMAGE]:
                    length = f"Content-Length: {len(each)}\r\n" if lengths else ""
                    view.stopping.wait(EVERY_S)
                    self.wfile.write(f"--frame\r\nContent-Type: image/png\r\n{length}\r\n".encode() + each + b"\r\n")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Nobody reads it."""

        server = ThreadingHTTPServer(("127.0.0.1", port), Camera)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server


def _next(view: _View) -> bytes | None:
    with view.changed:
        if not view.images and not view.off:
            view.changed.wait(AGAIN_S)
        return view.images.pop(0) if view.images else None
