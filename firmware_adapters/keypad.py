"""The keys of a reader's keypad become a PIN.

Pure: the adapter reads the clock. Invariant: at most `MOST_DIGITS` digits are held, and a longer entry is dropped as a
whole: a cut PIN could be somebody else's.
"""

# What a PinEntry holds (edge/core/credential.py); longer PINs are not issued.
MOST_DIGITS = 16

CLEAR = frozenset(b"*\x7f")
"""OSDP sends DEL for the key `*` (IEC 60839-11-5, osdp_KEYPAD)."""
ENTER = frozenset(b"#\r\n")
"""OSDP sends CR for the key `#`."""
_DIGITS = frozenset(b"0123456789")


class Keypad:
    """Keys in, PINs out: digits until `#` or a pause; `*` clears."""

    def __init__(self, *, pause_ms: int) -> None:
        """End an entry when no key follows within `pause_ms` milliseconds."""
        self._pause_ms = pause_ms
        self._digits = bytearray()
        self._overlong = False
        self._last_ms = 0

    def press(self, keys: bytes, *, at_ms: int) -> list[bytes]:
        """Take keys in the order they were pressed and return the PINs they complete; other keys count for nothing."""
        pins = self.expire(at_ms=at_ms)
        for key in keys:
            if key in ENTER:
                pins += self._finish()
            elif key in CLEAR:
                self._clear()
            elif key in _DIGITS:
                self._add(key)
        self._last_ms = at_ms
        return pins

    def due_ms(self) -> int | None:
        """Return when `expire` ends the present entry, None when there is none."""
        return self._last_ms + self._pause_ms if self._digits or self._overlong else None

    def expire(self, *, at_ms: int) -> list[bytes]:
        """Return the PIN that a pause has ended by `at_ms`, if one has."""
        due_ms = self.due_ms()
        return self._finish() if due_ms is not None and at_ms >= due_ms else []

    def _add(self, key: int) -> None:
        if len(self._digits) == MOST_DIGITS:
            self._digits.clear()
            self._overlong = True
        if not self._overlong:
            self._digits.append(key)

    def _finish(self) -> list[bytes]:
        pins = [bytes(self._digits)] if self._digits else []
        self._clear()
        return pins

    def _clear(self) -> None:
        self._digits.clear()
        self._overlong = False
