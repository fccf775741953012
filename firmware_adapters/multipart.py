"""Cut the body of an MJPEG stream into its images (multipart/x-mixed-replace, as network cameras send it).

Pure. Invariant: at most one image of `most_bytes` and its headers are held; what is longer ends the stream.
"""

import re

# A part's headers: a type, a length, perhaps a time.
MOST_HEADER_BYTES = 4096
_LENGTH = re.compile(rb"^content-length:[ \t]*(\d{1,9})[ \t]*$", re.IGNORECASE | re.MULTILINE)
_BOUNDARY = re.compile(r'boundary="?([^";]{1,70})"?', re.IGNORECASE)


class StreamError(Exception):
    """The stream is none that this reads."""


def boundary_of(content_type: str) -> bytes:
    """Return what separates the images of a stream.

    Raises:
        StreamError: it is no stream of images.
    """
    found = _BOUNDARY.search(content_type)
    if not content_type.lower().startswith("multipart/") or found is None:
        raise StreamError(f"sends {content_type[:40] or 'nothing named'!r} instead of an MJPEG stream")
    return b"--" + found[1].strip().removeprefix("--").encode("latin-1", "replace")


class Multipart:
    """Bytes in, images out."""

    def __init__(self, boundary: bytes, *, most_bytes: int) -> None:
        """Separate at `boundary`, as `boundary_of` gives it."""
        self._boundary = boundary
        self._most_bytes = most_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the body, cut anywhere, and return the images that they complete.

        Raises:
            StreamError: an image or its headers are longer than any.
        """
        self._held += data
        images: list[bytes] = []
        while (image := self._next()) is not None:
            if image:
                images.append(image)
        if len(self._held) > self._most_bytes + MOST_HEADER_BYTES:
            raise StreamError(f"sends an image of more than {self._most_bytes} bytes")
        return images

    def _next(self) -> bytes | None:
        """Return the next image, empty for a part without one, None when it is not there completely."""
        start = self._held.find(self._boundary)
        head_end = self._held.find(b"\r\n\r\n", start)
        if start < 0 or head_end < 0:
            return None
        if head_end - start > MOST_HEADER_BYTES:
            raise StreamError("sends headers that do not end")
        begin = head_end + 4
        length = _LENGTH.search(bytes(self._held[start:head_end]).replace(b"\r\n", b"\n"))
        if length is not None:
            end = begin + int(length[1])
            if end - begin > self._most_bytes:
                raise StreamError(f"sends an image of more than {self._most_bytes} bytes")
            following = end
        else:
            following = self._held.find(self._boundary, begin)
            end = following - 2 if self._held[following - 2 : following] == b"\r\n" else following
        if following < 0 or len(self._held) < following:
            return None
        image = bytes(self._held[begin:end])
        del self._held[:following]
        return image
