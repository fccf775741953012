"""Recordings: any input of the core, and any state of a door, as CBOR and back (docs/replay.md).

Invariant: what was written reads back equal, or `RecordingError` is raised; only the classes of `KNOWN` occur.
Must not: hold keys, lists or rules: they are named by their versions, and whoever reads a recording brings them.

The annotations of the core's dataclasses are the schema. Fields go by name, so that a recording of an older release
is readable as long as only fields with a default were added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import Final, Protocol, cast, get_args

import cbor2

from edge.core import (
    companions,
    credential,
    door_state,
    effects,
    flood,
    instant,
    memory,
    orders,
    replay,
    state,
    trust,
    verify,
)
from edge.core.instant import Instant
from edge.core.policy import PolicyState
from edge.core.state import Input, State
from edge.core.trust import TrustState
from edge.recording_forms import Form, Forms, Substitute, unknown, unreadable
from wire.codec import MAX_TIME_MS, Value, decode, head
from wire.command import Command
from wire.errors import WireError
from wire.roster import PinVerifiers, Roster

MAX_RUN_BYTES: Final = 1024 * 1024
"""Of inputs that were joined; the recorder joins at most 64 KiB."""
MAX_STATE_BYTES: Final = 16 * 1024 * 1024
"""65,536 facts about holders take about 3 MB."""
_MAX_DEPTH: Final = 24


# --- what is named, not held -----------------------------------------------------------------------------------


@unique
class Kept(Enum):
    """What a recording names by its version; the values stand in the store's tables."""

    TRUST = "trust"
    POLICY = "policy"
    STATUS = "status"
    ROSTER = "roster"


@dataclass(frozen=True, slots=True)
class Named:
    """One thing that must be kept for a recording to be readable; `list_id` is 0 but for a status list."""

    kind: Kept
    list_id: int
    version: int


@dataclass(frozen=True, slots=True)
class PolicyReference:
    """A policy bundle, by its version."""

    version: int


@dataclass(frozen=True, slots=True)
class StatusReference:
    """A status list: its bits by number and sequence, and the times that were in force with them."""

    list_id: int
    sequence: int
    issued_at_s: int
    expires_at_s: int


@dataclass(frozen=True, slots=True)
class TrustReference:
    """A trust bundle by its version, and the status lists held with it."""

    version: int
    statuses: tuple[StatusReference, ...]


@dataclass(frozen=True, slots=True)
class RosterReference:
    """A roster, by its version."""

    version: int


class Retained(Protocol):
    """Where what a recording names is found again; its methods raise `RecordingError` NOT_KEPT."""

    def policy(self, reference: PolicyReference) -> PolicyState:
        """Give the rules."""
        ...

    def trust(self, reference: TrustReference) -> TrustState:
        """Give keys and lists."""
        ...

    def roster(self, reference: RosterReference) -> Roster:
        """Give the enrolled credentials."""
        ...


# --- the closed world ------------------------------------------------------------------------------------------

KNOWN: Final = frozenset(
    {
        Command,
        PinVerifiers,
        companions.Candidate,
        companions.Companions,
        companions.Host,
        companions.Waiting,
        credential.PinEntry,
        credential.Presentation,
        door_state.DoorState,
        effects.Grant,
        effects.ReplayMark,
        flood.Flood,
        instant.Instant,
        memory.Memo,
        memory.Memory,
        orders.ModeOrder,
        orders.Orders,
        orders.StaffTap,
        replay.ReplayMarks,
        state.State,
        state.Underway,
        trust.Revocation,
        verify.Place,
        verify.VerifiedCredential,
        *get_args(state.Input),
        PolicyReference,
        RosterReference,
        StatusReference,
        TrustReference,
    }
)
"""The dataclasses that may occur; a state or an input that holds another one cannot be recorded."""


@dataclass(frozen=True, slots=True)
class Written:
    """Bytes of a recording, and what must be kept for them to be readable."""

    data: bytes
    named: tuple[Named, ...]


class RecordingWriter:
    """Writes inputs and states; one a thread."""

    def __init__(self) -> None:
        self._named: list[Named] = []
        forms = Forms(
            KNOWN,
            {
                PolicyState: Substitute(PolicyReference, self._policy, _never),
                TrustState: Substitute(TrustReference, self._trust, _never),
                Roster: Substitute(RosterReference, self._roster, _never),
            },
        )
        self._input = forms.of(tuple[Instant, Input])
        self._state = forms.of(State)

    def input(self, event: Input, now: Instant) -> Written:
        """Write one input and its moment; several are joined by `join_inputs`.

        Raises:
            RecordingError: UNKNOWN, it holds what no recording may hold, or a moment outside of the formats' calendar.
        """
        if not 0 <= now.wall_ms <= MAX_TIME_MS:
            raise unknown("wall_ms")
        return self._written(self._input, (now, event))

    def state(self, whole: State) -> Written:
        """Write a state; raises as `input`."""
        return self._written(self._state, whole)

    def _written(self, form: Form, value: object) -> Written:
        self._named.clear()
        return Written(cbor2.dumps(form.write(value)), tuple(self._named))

    def _policy(self, value: object) -> PolicyReference:
        version = cast("PolicyState", value).bundle.version
        self._named.append(Named(Kept.POLICY, 0, version))
        return PolicyReference(version)

    def _trust(self, value: object) -> TrustReference:
        believed = cast("TrustState", value)
        statuses = tuple(
            StatusReference(number, held.sequence, held.issued_at_s, held.expires_at_s)
            for number, held in sorted(believed.statuses.items())
        )
        self._named.append(Named(Kept.TRUST, 0, believed.bundle.version))
        self._named.extend(Named(Kept.STATUS, each.list_id, each.sequence) for each in statuses)
        return TrustReference(believed.bundle.version, statuses)

    def _roster(self, value: object) -> RosterReference:
        version = cast("Roster", value).version
        self._named.append(Named(Kept.ROSTER, 0, version))
        return RosterReference(version)


def _never(value: object) -> object:
    raise unknown(type(value).__name__)


def join_inputs(inputs: Sequence[bytes]) -> bytes:
    """Join inputs that were written, in their order."""
    return head(4, len(inputs)) + b"".join(inputs)


class RecordingReader:
    """Reads inputs and states.

    Args:
        retained: where what they name is found.
    """

    def __init__(self, retained: Retained) -> None:
        forms = Forms(
            KNOWN,
            {
                PolicyState: Substitute(
                    PolicyReference, _never, lambda it: retained.policy(cast("PolicyReference", it))
                ),
                TrustState: Substitute(TrustReference, _never, lambda it: retained.trust(cast("TrustReference", it))),
                Roster: Substitute(RosterReference, _never, lambda it: retained.roster(cast("RosterReference", it))),
            },
        )
        self._inputs = forms.of(tuple[tuple[Instant, Input], ...])
        self._state = forms.of(State)

    def inputs(self, data: bytes) -> list[tuple[Input, Instant]]:
        """Read what `join_inputs` gave.

        Raises:
            RecordingError: UNREADABLE for anything else, or NOT_KEPT.
        """
        read = self._inputs.read(_decode(data, "inputs", MAX_RUN_BYTES))
        pairs = [(event, now) for now, event in cast("tuple[tuple[Instant, Input], ...]", read)]
        if not all(0 <= now.wall_ms <= MAX_TIME_MS for _, now in pairs):
            raise unreadable("wall_ms")
        return pairs

    def state(self, data: bytes) -> State:
        """Read a state; raises as `inputs`."""
        return cast("State", self._state.read(_decode(data, "state", MAX_STATE_BYTES)))


def _decode(data: bytes, place: str, max_bytes: int) -> Value:
    try:
        return decode(data, field=place, max_bytes=max_bytes, max_depth=_MAX_DEPTH)
    except WireError as error:
        raise unreadable(place) from error
