"""Frames of a camera in the network that serves motion JPEG over HTTP (multipart/x-mixed-replace).

Import this module only in the camera's worker process: it loads the image libraries.

Invariant: a frame is the newest that has arrived, and a source that gives none for `FRAME_DEADLINE_S` is a loss,
however slowly it drips.
"""

import select
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from urllib.parse import quote, urlsplit

from firmware_adapters.camera_frames import EARLY_S, Frame, decode_image
from firmware_adapters.mjpeg_parts import PartCutter, PartError, boundary_of
from firmware_adapters.worker_records import Fault, FaultKind, SourceError

# Less than what the daemon grants between two frames (camera_process.SOURCE_DEADLINE_S), so that the fault has a name.
FRAME_DEADLINE_S = 3.0
READ_BYTES = 65_536
# More than any camera's headers.
MAX_HEAD_BYTES = 16_384
LEAST_WAIT_S = 0.01
# How long to read on for the newest frame where a source is faster than this machine.
CATCH_UP_S = 0.25
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
            jpeg = stream.newest(not_before_s=due_s - EARLY_S)
            due_s = max(due_s, time.monotonic()) + 1 / fps
            count += 1
            yield Frame(str(count), partial(decode_image, jpeg))


class _Stream:
    """A connection that delivers the parts of one answer.

    Asked in HTTP/1.0 (RFC 1945) by hand: an answer is then never chunked, and Python's own client would load TLS and
    mail into the worker, 6 MB for a request of three lines.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._late_s = time.monotonic() + FRAME_DEADLINE_S
        parts = urlsplit(url)
        try:
            self._socket = socket.create_connection((parts.hostname, parts.port or 80), timeout=FRAME_DEADLINE_S)
        except OSError as error:
            raise self._lost(f"cannot be reached ({_plain(error)})") from error
        try:
            target = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe=_UNQUOTED)
            self._ask(f"GET {target} HTTP/1.0\r\nHost: {parts.netloc}\r\nAccept: multipart/x-mixed-replace\r\n\r\n")
            head, self._first = self._head()
            self._parts = self._cutter(head)
        except SourceError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Leave."""
        self._socket.close()

    def newest(self, *, not_before_s: float) -> bytes:
        """Return the last image that has arrived whole at `not_before_s` (monotonic), or the first after it."""
        newest: bytes | None = None
        end_s = max(not_before_s, time.monotonic()) + CATCH_UP_S
        while newest is None or (time.monotonic() < end_s and self._has_more(not_before_s)):
            try:
                *_, newest = [newest, *self._more()]
            except SourceError:
                if newest is None:
                    raise
                break  # met again at the next call
        self._late_s = time.monotonic() + FRAME_DEADLINE_S
        return newest

    def _has_more(self, until_s: float) -> bool:
        return bool(select.select([self._socket], [], [], max(0.0, until_s - time.monotonic()))[0])

    def _more(self) -> list[bytes]:
        """Read once and return the images that are whole by it."""
        data, self._first = self._first or self._read(), b""
        try:
            return list(self._parts.feed(data))
        except PartError as error:
            raise self._lost(f"sends what is no motion JPEG ({error})") from error

    def _ask(self, question: str) -> None:
        try:
            self._socket.sendall(question.encode("ascii"))
        except OSError as error:
            raise self._lost(f"broke off ({_plain(error)})") from error

    def _head(self) -> tuple[list[str], bytes]:
        """Read the head of the answer; give its lines, and what came after it."""
        held = b""
        while b"\r\n\r\n" not in held:
            if len(held) > MAX_HEAD_BYTES:
                raise self._lost("does not answer in HTTP")
            held += self._read()
        head, _, rest = held.partition(b"\r\n\r\n")
        return head.decode("latin-1").split("\r\n"), rest

    def _cutter(self, head: list[str]) -> PartCutter:
        protocol, _, answer = head[0].partition(" ")
        if not protocol.startswith("HTTP/"):
            raise self._lost("does not answer in HTTP")
        if answer[:3] in {"401", "403"}:
            remedy = "let this door read it without a password: a network of its own between the two protects it"
            raise SourceError(Fault(FaultKind.PERMISSION, f"the camera {self._url} asks for a password", remedy))
        if answer[:3] != "200":
            raise self._lost(f"answers {answer[:80]}")
        fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        content_type = fields.get("content-type", "")
        boundary = boundary_of(content_type)
        if boundary is None or "transfer-encoding" in fields:
            what = f"the camera {self._url} serves no plain motion JPEG but {content_type[:80] or 'something unnamed'}"
            remedy = "look up the address of its multipart/x-mixed-replace stream in its manual"
            raise SourceError(Fault(FaultKind.UNSUPPORTED, what, remedy))
        return PartCutter(boundary)

    def _read(self) -> bytes:
        """Read what there is, waiting no longer than a frame may take."""
        try:
            # Never zero, which would mean not to wait at all and not to time out either.
            self._socket.settimeout(max(LEAST_WAIT_S, self._late_s - time.monotonic()))
            data = self._socket.recv(READ_BYTES)
        except TimeoutError as error:
            raise self._silent() from error
        except OSError as error:
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


def _plain(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__
