"""Deterministic CBOR (RFC 8949 §4.2.1) of a small closed set of types, and readers for closed maps.

Invariant: `encode(decode(data)) == data` for every data that decodes.
Must not: accept floats, tags other than 18, indefinite lengths, duplicate keys or trailing bytes.

Decoding is cbor2's under strict options; encoding is our own, because cbor2's `canonical=True` orders map
keys by length first (RFC 7049) and costs several times as much (docs/adr/0002).
"""

from collections.abc import Mapping
from typing import Final, Never, TypeAlias, TypeVar

import cbor2

from wire.errors import WireError, WireReason

Value: TypeAlias = "int | bytes | str | bool | list[Value] | dict[int | str, Value] | cbor2.CBORTag | None"
"""What our messages are made of; the only tag is 18 (COSE_Sign1)."""

_T = TypeVar("_T")

COSE_SIGN1_TAG: Final = 18
MAX_UINT: Final = 2**63 - 1
"""Largest integer we accept: what SQLite and PostgreSQL hold in one column."""

MAX_TIME_MS: Final = 0xE5FF_FFFF_FFFF
"""Latest moment we accept, in the year 9983: every calendar and every database can still write it."""
MAX_TIME_S: Final = MAX_TIME_MS // 1000

_BUILT_IN_TAGS: Final = (0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000, 55799)


class _ForbiddenTypeError(Exception):
    """A type that our messages do not use."""


def _refuse_tag(_value: object, _immutable: object) -> Never:
    raise _ForbiddenTypeError


def _keep_sign1(value: Value, _immutable: object) -> cbor2.CBORTag:
    return cbor2.CBORTag(COSE_SIGN1_TAG, value)


_TAGS: Final = {**dict.fromkeys(_BUILT_IN_TAGS, _refuse_tag), COSE_SIGN1_TAG: _keep_sign1}
_DECODE_ERRORS: Final = (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError, MemoryError)


def decode(data: bytes, *, field: str, max_bytes: int, max_depth: int = 6) -> Value:
    """Parse canonical CBOR, bounded in size and depth.

    Args:
        data: exactly one item.
        field: the name of the whole, for errors.
        max_bytes: refuse longer input before looking at it.
        max_depth: nesting of arrays, maps and tags.

    Raises:
        WireError: NOT_CBOR when it is not well-formed or nested too deep, or the rule that it breaks.
    """
    if not data:
        raise WireError(WireReason.EMPTY, field)
    if len(data) > max_bytes:
        raise WireError(WireReason.TOO_LARGE, field)
    try:
        value = _loads(data, max_depth=max_depth)
    except _DECODE_ERRORS as error:
        raise WireError(_diagnose(data, max_depth, error), field) from error
    if encode(value, field=field) != data:
        raise WireError(WireReason.NOT_CANONICAL, field)
    return value


def _loads(data: bytes, *, max_depth: int, duplicates: bool = False, indefinite: bool = False) -> Value:
    found: Value = cbor2.loads(
        data,
        semantic_decoders=_TAGS,
        max_depth=max_depth,
        allow_indefinite=indefinite,
        allow_duplicate_keys=duplicates,
    )
    return found


def _diagnose(data: bytes, max_depth: int, error: BaseException) -> WireReason:
    """Name the one rule that was broken, for the error only; several at once are NOT_CBOR."""
    if isinstance(error.__cause__, _ForbiddenTypeError):
        return WireReason.FORBIDDEN_TYPE
    if _loads_when(data, max_depth=max_depth, duplicates=True):
        return WireReason.DUPLICATE_KEY
    if _loads_when(data, max_depth=max_depth, indefinite=True):
        return WireReason.NOT_CANONICAL
    return WireReason.NOT_CBOR


def _loads_when(data: bytes, *, max_depth: int, duplicates: bool = False, indefinite: bool = False) -> bool:
    try:
        _loads(data, max_depth=max_depth, duplicates=duplicates, indefinite=indefinite)
    except _DECODE_ERRORS:
        return False
    return True


def encode(value: Value, *, field: str = "value") -> bytes:
    """Write the deterministic encoding of RFC 8949 §4.2.1.

    Raises:
        WireError: FORBIDDEN_TYPE for a float, a simple value, another tag; OUT_OF_RANGE for an integer beyond 63 bits.
    """
    try:
        return _item(value)
    except _ForbiddenTypeError as error:
        raise WireError(WireReason.FORBIDDEN_TYPE, field) from error
    except (OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise WireError(WireReason.OUT_OF_RANGE, field) from error


_SHORT: Final = tuple(tuple(bytes([major << 5 | n]) for n in range(24)) for major in range(8))
_ONE: Final = tuple(tuple(bytes([major << 5 | 24, n]) for n in range(256)) for major in range(8))


def head(major: int, number: int) -> bytes:
    """Write an initial byte and argument in the shortest form (RFC 8949 §3).

    Raises:
        OverflowError: when the number needs more than 63 bits.
    """
    if number < 24:  # noqa: PLR2004 - RFC 8949 §3: the argument fits the initial byte
        return _SHORT[major][number]
    if number <= 0xFF:  # noqa: PLR2004 - one byte
        return _ONE[major][number]
    for info, size in ((25, 2), (26, 4)):
        if number < 1 << (8 * size):
            return ((major << 5 | info) << (8 * size) | number).to_bytes(size + 1, "big")
    if number > MAX_UINT:
        raise OverflowError
    return bytes([major << 5 | 27]) + number.to_bytes(8, "big")


def byte_string(data: bytes) -> bytes:
    """Write a definite-length byte string."""
    return head(2, len(data)) + data


def _item(value: Value) -> bytes:
    if type(value) is int:
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if type(value) is bytes:
        return head(2, len(value)) + value
    if type(value) is str:
        data = value.encode()
        return head(3, len(data)) + data
    if type(value) is list:
        return head(4, len(value)) + b"".join([_item(item) for item in value])
    if type(value) is dict:
        return _map(value)
    return _other(value)


def _map(entries: Mapping[int | str, Value]) -> bytes:
    pairs = []
    for key, value in entries.items():
        if type(key) is not int and type(key) is not str:
            raise _ForbiddenTypeError
        pairs.append(_item(key) + _item(value))
    # Encoded items are prefix-free, so that sorting whole pairs sorts by key (RFC 8949 §4.2.1).
    pairs.sort()
    return head(5, len(pairs)) + b"".join(pairs)


def _other(value: Value) -> bytes:
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, cbor2.CBORTag) and value.tag == COSE_SIGN1_TAG:
        return b"\xd2" + _item(value.value)
    raise _ForbiddenTypeError


class Fields:
    """Read a closed map: every key is taken by name and `close` refuses what is left.

    Args:
        value: a decoded item that must be a map.
        field: the name of the map, for errors.
    """

    __slots__ = ("_field", "_left")

    def __init__(self, value: Value, field: str) -> None:
        if type(value) is not dict:
            raise WireError(WireReason.WRONG_TYPE, field)
        self._left = dict(value)
        self._field = field

    def value(self, key: int, name: str) -> Value:
        """Take a value of any allowed type."""
        if key not in self._left:
            raise WireError(WireReason.MISSING_FIELD, f"{self._field}.{name}")
        return self._left.pop(key)

    def has(self, key: int) -> bool:
        """Tell whether an optional key is present."""
        return key in self._left

    def uint(self, key: int, name: str, maximum: int = MAX_UINT) -> int:
        """Take an unsigned integer of at most `maximum`."""
        return uint(self.value(key, name), f"{self._field}.{name}", maximum)

    def time(self, key: int, name: str) -> int:
        """Take a moment in Unix seconds."""
        return self.uint(key, name, MAX_TIME_S)

    def octets(self, key: int, name: str, minimum: int, maximum: int) -> bytes:
        """Take a byte string of `minimum` to `maximum` bytes."""
        return octets(self.value(key, name), f"{self._field}.{name}", minimum, maximum)

    def text(self, key: int, name: str, maximum: int) -> str:
        """Take a text of 1 to `maximum` characters."""
        return text(self.value(key, name), f"{self._field}.{name}", maximum)

    def array(self, key: int, name: str, maximum: int) -> list[Value]:
        """Take an array of at most `maximum` items."""
        return array(self.value(key, name), f"{self._field}.{name}", maximum)

    def flag(self, key: int, name: str) -> bool:
        """Take a truth value."""
        return flag(self.value(key, name), f"{self._field}.{name}")

    def member(self, key: int, name: str, table: Mapping[int, _T]) -> _T:
        """Take one of a closed list of numbers, as what it stands for."""
        return member(self.value(key, name), f"{self._field}.{name}", table)

    def close(self) -> None:
        """Refuse keys that nobody took."""
        if self._left:
            raise WireError(WireReason.UNKNOWN_FIELD, self._field)


def uint(value: Value, field: str, maximum: int = MAX_UINT) -> int:
    """Check an unsigned integer (bool is none)."""
    if type(value) is not int:
        raise WireError(WireReason.WRONG_TYPE, field)
    if not 0 <= value <= maximum:
        raise WireError(WireReason.OUT_OF_RANGE, field)
    return value


def flag(value: Value, field: str) -> bool:
    """Check a truth value."""
    if type(value) is not bool:
        raise WireError(WireReason.WRONG_TYPE, field)
    return value


def member(value: Value, field: str, table: Mapping[int, _T]) -> _T:
    """Check a number against a closed list and give what it stands for (bool is no number)."""
    if type(value) is not int:
        raise WireError(WireReason.WRONG_TYPE, field)
    if value not in table:
        raise WireError(WireReason.UNKNOWN_VALUE, field)
    return table[value]


def octets(value: Value, field: str, minimum: int, maximum: int) -> bytes:
    """Check a byte string's type and length."""
    if type(value) is not bytes:
        raise WireError(WireReason.WRONG_TYPE, field)
    if not minimum <= len(value) <= maximum:
        raise WireError(WireReason.OUT_OF_RANGE, field)
    return value


def text(value: Value, field: str, maximum: int) -> str:
    """Check a text's type and length (1 to `maximum` characters)."""
    if type(value) is not str:
        raise WireError(WireReason.WRONG_TYPE, field)
    if not 1 <= len(value) <= maximum:
        raise WireError(WireReason.OUT_OF_RANGE, field)
    return value


def array(value: Value, field: str, maximum: int) -> list[Value]:
    """Check an array's type and length."""
    if type(value) is not list:
        raise WireError(WireReason.WRONG_TYPE, field)
    if len(value) > maximum:
        raise WireError(WireReason.OUT_OF_RANGE, field)
    return value
