"""Cut a multipart stream of JPEG images (multipart/x-mixed-replace, RFC 2046 §5.1) into its parts.

Pure. Invariant: whatever comes, at most one part and its head are held, and a stream that lied about a part is
followed again from the next delimiter.
"""

from collections.abc import Iterator
from typing import Final

# A 4K frame at the best quality has about 4 MB.
MAX_PART_BYTES: Final = 8_000_000
MAX_HEAD_BYTES: Final = 4096
# RFC 2046 §5.1.1.
MAX_BOUNDARY_CHARS: Final = 70
# A length with more digits is none of ours.
_MAX_DIGITS: Final = 9


class PartError(Exception):
    """The stream is no sequence of parts of a bearable size."""


def boundary_of(content_type: str) -> str | None:
    """Return the boundary that a Content-Type names; None when it is no multipart type or names none."""
    kind, *parameters = content_type.split(";")
    if not kind.strip().lower().startswith("multipart/"):
        return None
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        value = value.strip().strip('"')
        if name.strip().lower() == "boundary" and 0 < len(value) <= MAX_BOUNDARY_CHARS and value.isascii():
            return value
    return None


class PartCutter:
    """Takes bytes as they come and gives the bodies of complete parts."""

    def __init__(self, boundary: str) -> None:
        """Cut at `boundary`; cameras are known to declare it with or without the dashes that begin the delimiter."""
        self._delimiter = b"--" + boundary.lstrip("-").encode("ascii")
        self._held = bytearray()
        self._length: int | None = None
        self._in_body = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes and yield each body that they complete.

        Raises:
            PartError: a head or body is larger than `MAX_HEAD_BYTES` or `MAX_PART_BYTES`.
        """
        self._held += data
        while True:
            if not self._in_body and not self._take_head():
                return
            body = self._take_body()
            if body is None:
                return
            self._in_body = False
            if body:
                yield body

    def _take_head(self) -> bool:
        """Drop everything to the end of the next head; False when it is not there yet."""
        at = self._held.find(self._delimiter)
        if at < 0:
            del self._held[: max(0, len(self._held) - len(self._delimiter) + 1)]
            return False
        del self._held[:at]
        ends = [(found, len(blank)) for blank in (b"\r\n\r\n", b"\n\n") if (found := self._held.find(blank)) >= 0]
        end, width = min(ends, default=(len(self._held), 0))
        if end > MAX_HEAD_BYTES:
            raise PartError(f"a part's head has more than {MAX_HEAD_BYTES} bytes")
        if not ends:
            return False
        self._length = _content_length(bytes(self._held[:end]))
        if self._length is not None and self._length > MAX_PART_BYTES:
            raise PartError(f"a part has more than {MAX_PART_BYTES} bytes")
        del self._held[: end + width]
        self._in_body = True
        return True

    def _take_body(self) -> bytes | None:
        """Take the body by its length, or else up to the next delimiter; None when it is not all there yet."""
        end = self._held.find(self._delimiter) if self._length is None else self._length
        if 0 <= end <= len(self._held):
            body = bytes(self._held[:end])
            del self._held[:end]
            return body if self._length is not None else body.removesuffix(b"\n").removesuffix(b"\r")
        if len(self._held) > MAX_PART_BYTES:
            raise PartError(f"a part has more than {MAX_PART_BYTES} bytes")
        return None


def _content_length(head: bytes) -> int | None:
    for line in head.split(b"\n"):
        name, _, value = line.partition(b":")
        digits = value.strip()
        if name.strip().lower() == b"content-length" and digits.isdigit() and len(digits) <= _MAX_DIGITS:
            return int(digits)
    return None
