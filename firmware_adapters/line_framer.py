"""Cut a stream of bytes into lines, as serial scanners send them.

Pure. Invariants: at most `max_line_bytes` + 1 bytes are held, whatever is fed; the lines do not depend on how the
stream was cut into chunks.
"""

import re

_TERMINATORS = re.compile(rb"[\r\n]")


class LineFramer:
    """Bytes in, lines out; CR, LF and CRLF end a line, empty lines vanish.

    A line longer than `max_line_bytes` comes out once, cut to one byte more than that, as soon as it is too long;
    the rest of it up to its terminator is dropped.
    """

    def __init__(self, max_line_bytes: int) -> None:
        """Bound every line to `max_line_bytes`, at least 1."""
        if max_line_bytes < 1:
            message = f"max_line_bytes must be at least 1, not {max_line_bytes}"
            raise ValueError(message)
        self._max_line_bytes = max_line_bytes
        self._line = bytearray()
        self._overlong = False

    @property
    def pending_bytes(self) -> int:
        """Return how many bytes of an unfinished line are held."""
        return len(self._line)

    @property
    def unfinished(self) -> bool:
        """Tell whether a line has begun that no terminator has ended: `flush` is due when the stream falls idle."""
        return self._overlong or bool(self._line)

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next bytes of the stream and return the lines they complete."""
        lines: list[bytes] = []
        *ended, rest = _TERMINATORS.split(data)
        for piece in ended:
            self._append(piece, lines)
            lines += self.flush()
        self._append(rest, lines)
        return lines

    def flush(self) -> list[bytes]:
        """End the present line as a terminator would: return it, or nothing when it is empty or was too long."""
        line = bytes(self._line)
        self._line.clear()
        self._overlong = False
        return [line] if line else []

    def _append(self, piece: bytes, lines: list[bytes]) -> None:
        if self._overlong:
            return
        room = self._max_line_bytes + 1 - len(self._line)
        self._line += piece[:room]
        if len(self._line) > self._max_line_bytes:
            lines.append(bytes(self._line))
            self._line.clear()
            self._overlong = True
