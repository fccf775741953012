"""What a daemon and its worker processes tell each other: one JSON object a line.

Pure, and light: the workers load this but neither the ports nor the core. Both ends are this program, so a line that
does not parse is a fault of the other end.
Invariant: a record is a flat dataclass of texts, numbers, truth values, bytes and enumerations; nobody logs a line.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum, EnumType
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# The longest record is a card's longest answer (65,538 bytes in base64), and room.
MAX_RECORD_BYTES = 98_304

_Record = TypeVar("_Record", bound="DataclassInstance")


class FaultKind(Enum):
    """Why a device cannot be used; `edge.ports.Reason` has each of them by the same value."""

    LOST = "lost"
    BUSY = "busy"
    PERMISSION = "permission"
    UNSUPPORTED = "unsupported"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Fault:
    """The device cannot be used, or (UNSUPPORTED) a library is missing; the worker ends.

    Args:
        kind: the class of the fault.
        what: one clause that names the device and what went wrong.
        remedy: what the reader of the message does next.
    """

    kind: FaultKind
    what: str
    remedy: str


class SourceError(Exception):
    """The device failed; raised in the worker and told as its `Fault`."""

    def __init__(self, fault: Fault) -> None:
        """Carry the fault."""
        super().__init__(fault.what)
        self.fault = fault


def not_installed(user: str, error: ImportError, *, extra: str) -> Fault:
    """Make the fault of a missing library that `user` needs, which comes with an extra of this package."""
    what = f"{user} needs the Python package {error.name}, which does not load ({error.msg})"
    return Fault(FaultKind.UNSUPPORTED, what, f"install it with: pip install 'doorward[{extra}]'")


def encode(record: "DataclassInstance") -> bytes:
    """Write a record as one line."""
    members = {"record": type(record).__name__} | asdict(record)
    return json.dumps(members, default=_plain).encode() + b"\n"


def decode(line: bytes, kinds: Mapping[str, type[_Record]]) -> _Record:
    """Read what `encode` wrote of one of `kinds`, by name.

    Raises:
        ValueError: it did not.
    """
    try:
        members = json.loads(line)
        kind = kinds[members.pop("record")]
        types = {field.name: field.type for field in fields(kind)}
        return kind(**{name: _restored(value, types.get(name)) for name, value in members.items()})
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("not a record of this worker") from error


def by_name(*kinds: type[_Record]) -> Mapping[str, type[_Record]]:
    """Return what `decode` takes of these kinds of records."""
    return MappingProxyType({kind.__name__: kind for kind in kinds})


def _plain(value: bytes | Enum) -> object:
    return b64encode(value).decode() if isinstance(value, bytes) else value.value


def _restored(value: Any, wanted: object) -> Any:  # noqa: ANN401 - what JSON gives
    """Make of a JSON value what the record has in that place: of the types that JSON lacks, those in use."""
    if wanted == tuple[bytes, ...]:
        return tuple(b64decode(each, validate=True) for each in value)
    if wanted is bytes:
        return b64decode(value, validate=True)
    return wanted(value) if isinstance(wanted, EnumType) else value
