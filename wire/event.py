"""The event: one line of a door's journal, hash-chained (docs/spec/event.md).

Invariant: every key is present, in order, in its shortest encoding (absent values are null), so an event's
bytes match one regular expression and chain by SHA-256 over exactly those bytes.
Must not: hold a name, a card number or a payload that was read.

The canonical form is checked by one compiled pattern instead of re-encoding: the cloud reads tens of
thousands of events a second (docs/adr/0003).
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import cbor2

from wire.codec import Value, encode
from wire.errors import WireError, WireReason
from wire.names import Assurance, ClockState, DeviceId, DoorId, EventKind, Reason, Step

SCHEMA: Final = 1
MAX_EVENT_BYTES: Final = 512
"""The longest that the pattern admits is 346 bytes; the rest bounds the work on anything else."""
MAX_NAME_CHARACTERS: Final = 32
MAX_CREDENTIAL_BYTES: Final = 16
HASH_BYTES: Final = 32
CHAIN_START: Final = bytes(HASH_BYTES)
"""`prev` of the first event of an epoch."""

_UINT: Final = (
    rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?!\x00\x00).{4}|\x1b(?!\x00\x00\x00\x00)[\x00-\x7f].{7})"
)
_TIME_MS: Final = (
    rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19[\x01-\xff].|\x1a(?!\x00\x00).{4}|\x1b\x00\x00(?!\x00\x00)[\x00-\xe5].{5})"
)
"""A number of milliseconds up to `codec.MAX_TIME_MS`."""
_NULL: Final = rb"\xf6"
_NAME: Final = (
    b"(?:"
    + b"|".join(rb"%c[a-z0-9-]{%d}" % (0x60 + n, n) for n in range(1, 24))
    + b"|"
    + b"|".join(rb"\x78%b[a-z0-9-]{%d}" % (re.escape(bytes((n,))), n) for n in range(24, MAX_NAME_CHARACTERS + 1))
    + b")"
)
_CREDENTIAL: Final = (
    b"(?:"
    + b"|".join(rb"%b.{%d}" % (re.escape(bytes((0x40 + n,))), n) for n in range(1, MAX_CREDENTIAL_BYTES + 1))
    + b")"
)


def _one_of(numbers: Iterable[int]) -> bytes:
    """Match one of some integers below 24: one byte each, none of which means anything to `re`."""
    return b"[" + bytes(numbers) + b"]"


def _maybe(pattern: bytes) -> bytes:
    return b"(?:" + pattern + b"|" + _NULL + b")"


_SMALL: Final = rb"(?:[\x00-\x17]|\x18[\x18-\xff])"
_FIELDS: Final = (
    ("schema", _one_of((SCHEMA,))),
    ("device", _NAME),
    ("boot", _UINT),
    ("seq", _UINT),
    ("wall_ms", _TIME_MS),
    ("monotonic_ms", _UINT),
    ("clock", _one_of(ClockState)),
    ("door", _NAME),
    ("access_point", _NAME),
    ("kind", _SMALL),
    ("step", _maybe(_one_of(Step))),
    ("reason", _maybe(_SMALL)),
    ("granted", rb"[\xf4-\xf6]"),
    ("credential", _maybe(_CREDENTIAL)),
    ("assurance", _maybe(_one_of(Assurance))),
    ("reader", _maybe(_NAME)),
    ("rule", _maybe(_NAME)),
    ("policy_version", _UINT),
    ("trust_version", _UINT),
    ("status_sequence", _maybe(_UINT)),
    ("status_age_s", _maybe(_UINT)),
    ("elapsed_us", _maybe(_UINT)),
    ("count", _maybe(_UINT)),
    ("prev", rb"\x58\x20.{32}"),
)
FIELD_NAMES: Final = tuple(name for name, _ in _FIELDS)
_CANONICAL: Final = re.compile(
    rb"\xb8\x18"
    + b"".join(re.escape(bytes((key,))) + b"(" + pattern + b")" for key, (_, pattern) in enumerate(_FIELDS)),
    re.DOTALL,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What happened, as the journal keeps it.

    Attributes:
        boot: counts the daemon's starts in this epoch; seq: 1, 2, 3 … without gaps.
        wall_ms, monotonic_ms: the door's clocks; clock: how far to believe the former.
        step, reason: where and why a credential was refused; granted: None when nothing was decided.
        credential: pass id (6 bytes) or roster id; rule: what admitted ("level-7").
        status_sequence, status_age_s: of the revocation list that was asked; elapsed_us: from reading to decision.
        count: how many events this one stands for (floods).
        prev: SHA-256 of the previous event's bytes.
    """

    device: DeviceId
    boot: int
    seq: int
    wall_ms: int
    monotonic_ms: int
    clock: ClockState
    door: DoorId
    access_point: str
    kind: EventKind
    step: Step | None = None
    reason: Reason | None = None
    granted: bool | None = None
    credential: bytes | None = None
    assurance: Assurance | None = None
    reader: str | None = None
    rule: str | None = None
    policy_version: int = 0
    trust_version: int = 0
    status_sequence: int | None = None
    status_age_s: int | None = None
    elapsed_us: int | None = None
    count: int | None = None
    prev: bytes = CHAIN_START


def encode_event(event: Event) -> bytes:
    """Write an event's canonical bytes.

    Raises:
        WireError: when a value is outside what the format allows.
    """
    values = [SCHEMA, *(_plain(getattr(event, name)) for name in FIELD_NAMES[1:])]
    data = encode(dict(enumerate(values)), field="event")
    match_event(data)
    return data


def _plain(value: Value) -> Value:
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def match_event(data: bytes) -> re.Match[bytes]:
    """Check an event's form; group `key + 1` of the match is the encoded item of that key, for who needs only a few.

    Raises:
        WireError: TOO_LARGE, or NOT_CANONICAL for anything that is not exactly one event.
    """
    if len(data) > MAX_EVENT_BYTES:
        raise WireError(WireReason.TOO_LARGE, "event")
    match = _CANONICAL.fullmatch(data)
    if match is None:
        raise WireError(WireReason.NOT_CANONICAL, "event")
    return match


def event_values(data: bytes) -> list[Value]:
    """Read an event as the plain values of `FIELD_NAMES`, in that order (index = key).

    Raises:
        WireError: as `match_event`.
    """
    match_event(data)
    found: dict[int, Value] = cbor2.loads(data)
    return list(found.values())


def parse_event(data: bytes) -> Event:
    """Read an event.

    Raises:
        WireError: as `event_values`; UNKNOWN_VALUE for a kind or reason that is not listed.
    """
    values = dict(zip(FIELD_NAMES, event_values(data), strict=True))
    del values["schema"]
    try:
        return Event(**{name: _typed(name, value) for name, value in values.items()})  # type: ignore[arg-type]
    except ValueError as error:
        raise WireError(WireReason.UNKNOWN_VALUE, "event") from error


_ENUMS: Final = {"clock": ClockState, "kind": EventKind, "step": Step, "reason": Reason, "assurance": Assurance}


def _typed(name: str, value: Value) -> object:
    enum = _ENUMS.get(name)
    return enum(value) if enum is not None and type(value) is int else value


def chain_hash(data: bytes) -> bytes:
    """Give the hash that the next event carries as `prev`."""
    return hashlib.sha256(data).digest()
