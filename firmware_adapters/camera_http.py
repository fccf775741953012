"""Frames of a camera in the network that serves motion JPEG over HTTP (multipart/x-mixed-replace).

Import this module only in the camera's worker process: it loads the image libraries.

Invariant: a frame is the newest that has arrived, and a source that gives none for `FRAME_DEADLINE_S` is a loss,
however slowly it drips.
"""

import http.client
import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from firmware_adapters.camera_frames import EARLY_S, Frame, decode_image
from firmware_adapters.camera_records import Fault, FaultKind, SourceError
from firmware_adapters.mjpeg_parts import PartCutter, PartError, boundary_of

# Less than what the daemon grants between two frames (camera_process.SOURCE_DEADLINE_S), so that the fault has a name.
FRAME_DEADLINE_S = 3.0
READ_BYTES = 65_536
LEAST_WAIT_S = 0.01
# What may be read at once to catch up with a source that is faster than this machine: two seconds of it.
MOST_CATCH_UP_READS = 64
# What an address may have unquoted besides letters and digits (RFC 3986 §3.3, §3.4).
_UNQUOTED = "/?:@!$&'()*+,;=~-._"


def http_frames(url: str, *, fps: int) -> Iterator[Frame | None]:
    """Yield the frames of a motion JPEG stream, at most `fps` a second; those in between are dropped undecoded.

    Args:
        url: http://host[:port]/path, percent-decoded.
        fps: frames a second at most.

    Raises:
        SourceError: the server is not there, serves no such stream, ends it, or gives no frame in time.
    """
    stream = _Stream(url)
    with closing(stream):
        due_s = time.monotonic()
        count = 0
        while True:
            jpeg = stream.newest()
            now_s = time.monotonic()
            if now_s < due_s - EARLY_S:
                continue
            due_s = max(due_s, now_s) + 1 / fps
            count += 1
            yield Frame(str(count), partial(decode_image, jpeg))


class _Stream:
    """A connection that delivers the parts of one answer."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._late_s = time.monotonic() + FRAME_DEADLINE_S
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or http.client.HTTP_PORT
        try:
            self._socket = socket.create_connection((host, port), timeout=FRAME_DEADLINE_S)
        except OSError as error:
            raise self._lost(f"cannot be reached ({_plain(error)})") from error
        try:
            self._answer = self._asked(host, port, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
            self._parts = self._cutter()
        except SourceError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Leave."""
        self._answer.close()
        self._socket.close()

    def newest(self) -> bytes:
        """Return the last image that has arrived whole, waiting for one when there is none."""
        newest: bytes | None = None
        reads = 0
        while newest is None or (reads < MOST_CATCH_UP_READS and select.select([self._socket], [], [], 0)[0]):
            reads += 1
            try:
                *_, newest = [newest, *self._more()]
            except SourceError:
                if newest is None:
                    raise
                break  # met again at the next call
        self._late_s = time.monotonic() + FRAME_DEADLINE_S
        return newest

    def _more(self) -> list[bytes]:
        """Read once and return the images that are whole by it."""
        try:
            return list(self._parts.feed(self._read()))
        except PartError as error:
            raise self._lost(f"sends what is no motion JPEG ({error})") from error

    def _asked(self, host: str, port: int, target: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = self._socket
        try:
            connection.request("GET", quote(target, safe=_UNQUOTED), headers={"Accept": "multipart/x-mixed-replace"})
            return connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(f"does not answer ({_plain(error)})") from error

    def _cutter(self) -> PartCutter:
        answer = self._answer
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            remedy = "let this door read it without a password: a network of its own between the two protects it"
            raise SourceError(Fault(FaultKind.PERMISSION, f"the camera {self._url} asks for a password", remedy))
        if answer.status != HTTPStatus.OK:
            raise self._lost(f"answers {answer.status} {answer.reason}")
        boundary = boundary_of(answer.headers.get("Content-Type", ""))
        if boundary is None:
            what = f"the camera {self._url} serves no motion JPEG but {answer.headers.get('Content-Type')}"
            remedy = "look up the address of its multipart/x-mixed-replace stream in its manual"
            raise SourceError(Fault(FaultKind.UNSUPPORTED, what, remedy))
        return PartCutter(boundary)

    def _read(self) -> bytes:
        if self._answer.isclosed():
            raise self._lost("delivers no more frames")
        try:
            # Never zero, which would mean not to wait at all and not to time out either.
            self._socket.settimeout(max(LEAST_WAIT_S, self._late_s - time.monotonic()))
            data = self._answer.read1(READ_BYTES)
        except TimeoutError as error:
            raise self._silent() from error
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(f"broke off ({_plain(error)})") from error
        if not data:
            raise self._lost("delivers no more frames")
        if time.monotonic() >= self._late_s:
            raise self._silent()
        return data

    def _silent(self) -> SourceError:
        return self._lost(f"has delivered no frame for {FRAME_DEADLINE_S:g} s")

    def _lost(self, what: str) -> SourceError:
        remedy = "check its power, its network and the address; it is opened again by itself"
        return SourceError(Fault(FaultKind.LOST, f"the camera {self._url} {what}", remedy))


def _plain(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else str(error)
    return text or type(error).__name__
