"""A network camera's frames: JPEG images over HTTP, decoded straight to grayscale.

Import this module only in the camera's worker process: it loads the image libraries.
Invariants: every wait on the network has a deadline; of the images that arrive while one is decoded only the last
counts.
"""

import http.client
import time
from collections.abc import Iterator
from functools import partial

from firmware_adapters.camera_frames import MAX_FILE_BYTES, Frame, decode_image
from firmware_adapters.camera_records import Fault, FaultKind, SourceError
from firmware_adapters.multipart import Multipart, StreamError, boundary_of

# A camera sends several images a second; the daemon waits a little longer (camera_process.SOURCE_DEADLINE_S).
READ_DEADLINE_S = 4.0
_READ_BYTES = 65_536
_OK = 200


def http_frames(url: str, *, fps: int) -> Iterator[Frame | None]:
    """Yield the images of an MJPEG stream, at most `fps` a second.

    Args:
        url: http://host:port/path.
        fps: frames a second at most; those in between are dropped undecoded.

    Raises:
        SourceError: the camera is not there, does not send such a stream, or stops.
    """
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host, timeout=READ_DEADLINE_S)
    try:
        connection.request("GET", f"/{path}", headers={"Accept": "multipart/x-mixed-replace"})
        answer = connection.getresponse()
        content = answer.getheader("Content-Type", "") if answer.status == _OK else f"status {answer.status}"
        parts = Multipart(boundary_of(content), most_bytes=MAX_FILE_BYTES)
        yield from _paced(answer, parts, fps=fps)
    except (OSError, http.client.HTTPException) as error:
        raise _lost(url, f"does not answer ({error})") from error
    except StreamError as error:
        raise _lost(url, str(error)) from error
    finally:
        connection.close()


def _paced(answer: http.client.HTTPResponse, parts: Multipart, *, fps: int) -> Iterator[Frame | None]:
    due_s, count = time.monotonic(), 0
    while data := answer.read1(_READ_BYTES):
        images = parts.feed(data)
        now_s = time.monotonic()
        if images and now_s >= due_s:
            due_s = now_s + 1 / fps
            count += 1
            yield Frame(str(count), partial(decode_image, images[-1]))
        else:
            yield None
    raise StreamError("has ended its stream")


def _lost(url: str, what: str) -> SourceError:
    remedy = "check its supply and network and its address; it is opened again by itself"
    return SourceError(Fault(FaultKind.LOST, f"the camera at {url} {what}", remedy))
