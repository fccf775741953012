"""What a daemon and its worker processes tell each other: one JSON object a line.

Pure, and light: the workers load this but neither the ports nor the core. Both ends are this program, so a line that
does not parse is a fault of the other end.
Invariant: a record is a flat dataclass of texts, numbers and truth values; bytes travel as hexadecimal text.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# The longest record names a device, what is wrong with it and what to do: far below.
MAX_RECORD_BYTES = 16_384

_Record = TypeVar("_Record")


@dataclass(frozen=True, slots=True)
class Fault:
    """The device cannot be used; the worker ends.

    Args:
        reason: the value of an `edge.ports.Reason`.
        what: one clause that names the device and what went wrong.
        remedy: what the reader of the message does next.
    """

    reason: str
    what: str
    remedy: str


def encode(record: "DataclassInstance") -> bytes:
    """Write a record as one line."""
    return json.dumps({"record": type(record).__name__} | asdict(record)).encode() + b"\n"


def decode(line: bytes, kinds: Mapping[str, type[_Record]]) -> _Record:
    """Read what `encode` wrote of one of `kinds`, by name.

    Raises:
        ValueError: it did not.
    """
    try:
        members = json.loads(line)
        return kinds[members.pop("record")](**members)
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a record of this worker") from error
