"""What a keyboard-wedge scanner types, as the bytes of its codes.

Pure. Such a scanner is a keyboard to the kernel: it presses the keys of a US keyboard (linux/input-event-codes.h) and
ends a code with Enter or Tab.
Invariant: a key counts once, when it is pressed; keys that type nothing count for nothing.
"""

import struct
from collections.abc import Mapping
from types import MappingProxyType

# struct input_event of 64-bit kernels (linux/input.h): time, type, code, value.
EVENT = struct.Struct("llHHi")
# EV_SYN, SYN_DROPPED: nobody has read for so long that the kernel had to forget events.
_DROPPED = (0, 3)
LOST = "\0"
"""Stands for what was forgotten: a code with a hole is delivered, and refused for what it holds."""
_EV_KEY, _PRESSED, _RELEASED = 1, 1, 0
_SHIFTS = frozenset({42, 54})
_ROWS = (
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
)
_KEYPAD = {71: "7", 72: "8", 73: "9", 74: "-", 75: "4", 76: "5", 77: "6", 78: "+", 79: "1", 80: "2", 81: "3"}
_OTHERS = {15: "\n", 28: "\n", 55: "*", 57: " ", 82: "0", 83: ".", 96: "\n", 98: "/"}


def _keys(row: int) -> dict[int, str]:
    """Number the keys of each row of the keyboard, without (0) or with (1) shift."""
    typed = [(first, rows[row]) for first, *rows in _ROWS]
    found = {first + place: character for first, keys in typed for place, character in enumerate(keys)}
    return found | _KEYPAD | _OTHERS


PLAIN: Mapping[int, str] = MappingProxyType(_keys(0))
SHIFTED: Mapping[int, str] = MappingProxyType(_keys(1))


class Keys:
    """The kernel's events in, bytes out; Enter and Tab end a line."""

    def __init__(self) -> None:
        """Begin with no key held."""
        self._held = bytearray()
        self._shifts: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes of the device, cut anywhere, and return what they type."""
        self._held += data
        whole = len(self._held) // EVENT.size * EVENT.size
        events, self._held = bytes(self._held[:whole]), self._held[whole:]
        return "".join(self._take(kind, code, value) for _, _, kind, code, value in EVENT.iter_unpack(events)).encode()

    def _take(self, kind: int, code: int, value: int) -> str:
        if (kind, code) == _DROPPED:
            self._shifts.clear()
            return LOST
        return self._type(code, value) if kind == _EV_KEY else ""

    def _type(self, code: int, value: int) -> str:
        if code in _SHIFTS:
            if value == _RELEASED:
                self._shifts.discard(code)
            else:
                self._shifts.add(code)
            return ""
        if value != _PRESSED:
            return ""
        return (SHIFTED if self._shifts else PLAIN).get(code, "")
