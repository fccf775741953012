"""The one error that parsers of this package raise.

Invariant: any input whatsoever either parses or raises `WireError`; nothing else leaves a parser.
Must not: carry bytes of the input (they may be secret); `field` names the place only.
"""

from enum import Enum, unique


@unique
class WireReason(Enum):
    """Why bytes were refused. Closed list; vectors name these values (docs/spec/index.md)."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    WRONG_PREFIX = "wrong_prefix"
    WRONG_ALPHABET = "wrong_alphabet"
    NOT_CBOR = "not_cbor"
    NOT_CANONICAL = "not_canonical"
    DUPLICATE_KEY = "duplicate_key"
    FORBIDDEN_TYPE = "forbidden_type"
    WRONG_TYPE = "wrong_type"
    OUT_OF_RANGE = "out_of_range"
    MISSING_FIELD = "missing_field"
    UNKNOWN_FIELD = "unknown_field"
    UNKNOWN_VALUE = "unknown_value"
    UNKNOWN_ALGORITHM = "unknown_algorithm"
    ALGORITHM_MISMATCH = "algorithm_mismatch"
    KEY_INVALID = "key_invalid"
    SIGNATURE_INVALID = "signature_invalid"
    HASH_MISMATCH = "hash_mismatch"
    ROLLBACK = "rollback"
    LOCKS_OUT = "locks_out"


class WireError(Exception):
    """Bytes that are not what they should be.

    Args:
        reason: the class of the fault, for code and for vectors.
        field: the place ("pass.exp", "batch.events[3]"), for people.
    """

    def __init__(self, reason: WireReason, field: str) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {self.reason.value}"
