"""The text form of a presentation: "DW1:" and Base45 (RFC 9285), for QR alphanumeric mode.

Invariant: `from_text(to_text(data)) == data`; each byte string has exactly one text.
Must not: strip, fold or repair; a scanner that changes characters is a broken scanner.
"""

from typing import Final

from wire.errors import WireError, WireReason

PREFIX: Final = b"DW1:"
MAX_TEXT_CHARACTERS: Final = 640
MAX_TEXT_BYTES: Final = (MAX_TEXT_CHARACTERS - len(PREFIX)) // 3 * 2
"""What fits: 424 bytes."""

_ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_BAD: Final = 255
_DIGITS: Final = bytes(_ALPHABET.index(code) if code in _ALPHABET else _BAD for code in range(256))
_GROUP: Final = 3


def to_text(data: bytes) -> bytes:
    """Write bytes as "DW1:" and Base45; ASCII.

    Raises:
        WireError: TOO_LARGE for more than 424 bytes, whose text nobody would read.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise WireError(WireReason.TOO_LARGE, "text")
    out = bytearray(PREFIX)
    for high, low in zip(data[::2], data[1::2], strict=False):
        number = high << 8 | low
        rest, first = divmod(number, 45)
        third, second = divmod(rest, 45)
        out += bytes((_ALPHABET[first], _ALPHABET[second], _ALPHABET[third]))
    if len(data) % 2:
        second, first = divmod(data[-1], 45)
        out += bytes((_ALPHABET[first], _ALPHABET[second]))
    return bytes(out)


def from_text(text: bytes) -> bytes:
    """Read the text form.

    Raises:
        WireError: TOO_LARGE above 640 characters, WRONG_PREFIX, WRONG_ALPHABET, or NOT_CANONICAL for a group
            that stands for no bytes (RFC 9285 §4).
    """
    if not text:
        raise WireError(WireReason.EMPTY, "text")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise WireError(WireReason.TOO_LARGE, "text")
    if not text.startswith(PREFIX):
        raise WireError(WireReason.WRONG_PREFIX, "text")
    digits = text[len(PREFIX) :].translate(_DIGITS)
    if _BAD in digits:
        raise WireError(WireReason.WRONG_ALPHABET, "text")
    whole, tail = divmod(len(digits), _GROUP)
    if tail == 1:
        raise WireError(WireReason.NOT_CANONICAL, "text")
    end = whole * _GROUP
    return _whole_groups(digits[:end], whole) + (_last(digits[end:]) if tail else b"")


def _whole_groups(digits: bytes, count: int) -> bytes:
    """Give two bytes for each group of three digits.

    All groups at once, as one long number with 32 bits a group: a third of the time of a loop over them. No group
    reaches 32 bits (the largest is 91,124), so none carries into its neighbour.
    """
    lanes = bytearray(4 * count)
    lanes[3::4] = digits[0::3]
    first = int.from_bytes(lanes, "big")
    lanes[3::4] = digits[1::3]
    second = int.from_bytes(lanes, "big")
    lanes[3::4] = digits[2::3]
    third = int.from_bytes(lanes, "big")
    numbers = (first + 45 * second + 2025 * third).to_bytes(4 * count, "big")
    if any(numbers[1::4]):  # three characters stand for 16 bits
        raise WireError(WireReason.NOT_CANONICAL, "text")
    lanes = bytearray(2 * count)
    lanes[0::2], lanes[1::2] = numbers[2::4], numbers[3::4]
    return bytes(lanes)


def _last(pair: bytes) -> bytes:
    number = pair[0] + 45 * pair[1]
    if number > 0xFF:  # noqa: PLR2004 - two characters stand for 8 bits
        raise WireError(WireReason.NOT_CANONICAL, "text")
    return bytes((number,))
