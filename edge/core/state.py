"""All that a decision depends on, and all that can happen to a door.

Invariant: a state is replaced, never changed; an input carries what the shell measured, and no secret it need not know.
Must not: hold behaviour; `handle` in edge/core/tap.py is the only way from one state to the next.
"""

from dataclasses import dataclass, field
from typing import TypeAlias

from edge.core.companions import Companions, PinOutcome
from edge.core.credential import PinEntry, Presentation
from edge.core.door_state import DoorState, InputLine, LineState
from edge.core.effects import Grant
from edge.core.flood import Flood
from edge.core.memory import Memo, Memory
from edge.core.orders import Orders
from edge.core.policy import PolicyState
from edge.core.replay import ReplayMarks
from edge.core.trust import TrustState
from edge.core.verify import Place
from wire.command import Command
from wire.names import Action, ClockState, EventKind, PassKind, Reason
from wire.roster import Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """A grant that is decided, and of which it is not known yet whether anybody passed.

    Attributes:
        kind, holder: whose it is.
        decided_ms: when, monotonic.
        undo: what takes its memos back.
        together: the grant of the other of two people, who pass together or not at all; None for whoever passes alone.
        seq: its number in the journal, once it is there; before, 0.
    """

    grant: Grant
    kind: PassKind
    holder: bytes
    decided_ms: int
    undo: tuple[Memo, ...]
    together: int | None = None
    seq: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """All that a decision depends on besides the input and the time.

    Attributes:
        flood, command_flood: taps and commands that were refused just now.
        awaited: the grants whose commit is awaited.
        passing: those that were carried out and may still not be used.
        unequipped: commands that this door cannot carry out: no camera that keeps pictures, no cloud.
    """

    place: Place
    trust: TrustState | None = None
    policy: PolicyState | None = None
    roster: Roster | None = None
    replay: ReplayMarks = field(default_factory=ReplayMarks)
    memory: Memory = field(default_factory=Memory)
    door: DoorState = field(default_factory=DoorState)
    orders: Orders = field(default_factory=Orders)
    companions: Companions = field(default_factory=Companions)
    flood: Flood = field(default_factory=Flood)
    command_flood: Flood = field(default_factory=Flood)
    clock: ClockState | None = None
    grants: int = 0
    awaited: tuple[Underway, ...] = ()
    passing: tuple[Underway, ...] = ()
    unequipped: frozenset[Action] = frozenset()


@dataclass(frozen=True, slots=True)
class Tap:
    """Something was presented at a reader."""

    presentation: Presentation


@dataclass(frozen=True, slots=True)
class PinEntered:
    """A PIN was keyed in."""

    entry: PinEntry


@dataclass(frozen=True, slots=True)
class PinChecked:
    """The answer to a `CheckPin`."""

    check_id: int
    outcome: PinOutcome


@dataclass(frozen=True, slots=True)
class GrantDurable:
    """The journal holds a grant; the door may move. `seq` is its journal number."""

    grant: Grant
    seq: int


@dataclass(frozen=True, slots=True)
class GrantFailed:
    """The journal could not take a grant in time."""

    grant: Grant


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A signed command came; nothing of it has been checked."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CommandDurable:
    """The journal holds that a command is carried out; it may be. `seq` is its journal number."""

    command: Command
    seq: int


@dataclass(frozen=True, slots=True)
class LineChanged:
    """A wire of the door changed."""

    line: InputLine
    state: LineState


@dataclass(frozen=True, slots=True)
class LockAnswered:
    """The lock's adapter carried its last order out, or could not."""

    carried_out: bool


@dataclass(frozen=True, slots=True)
class TimeDue:
    """A deadline that `next_deadline_ms` named has come."""


@dataclass(frozen=True, slots=True)
class TrustReplaced:
    """Newer keys or revocation lists are in force; `kind` is journaled, None for a mere refresh."""

    trust: TrustState
    kind: EventKind | None


@dataclass(frozen=True, slots=True)
class PolicyReplaced:
    """A newer policy is in force; `kind` is journaled, None when it was only loaded again."""

    policy: PolicyState
    kind: EventKind | None = EventKind.POLICY_UPDATED


@dataclass(frozen=True, slots=True)
class RosterReplaced:
    """A newer roster is in force; `kind` is journaled, None when it was only loaded again."""

    roster: Roster
    kind: EventKind | None


@dataclass(frozen=True, slots=True)
class Noted:
    """The shell noticed something that belongs into the journal and changes no decision."""

    kind: EventKind
    reader: str | None = None
    reason: Reason | None = None


Input: TypeAlias = (
    Tap
    | PinEntered
    | PinChecked
    | GrantDurable
    | GrantFailed
    | CommandReceived
    | CommandDurable
    | LineChanged
    | LockAnswered
    | TimeDue
    | TrustReplaced
    | PolicyReplaced
    | RosterReplaced
    | Noted
)
