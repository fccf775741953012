"""What the core asks the shell to do.

Invariant: an effect is data; the shell performs effects in the order they are given (edge/controller.py).
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

from edge.core.instant import Instant
from edge.core.memory import Memo
from wire.command import Command
from wire.names import Assurance, EventKind, Reason, Step
from wire.roster import PinVerifiers


class Feedback(Enum):
    """What the person at the door learns: the reason class, never details (behaviour, product rule 5)."""

    GRANTED = "granted"
    DENIED_EXPIRED = "denied_expired"
    DENIED_NOT_NOW = "denied_not_now"
    DENIED_NOT_HERE = "denied_not_here"
    TRY_AGAIN = "try_again"
    WAIT = "wait"
    ENTER_PIN = "enter_pin"
    NEXT_PERSON = "next_person"


@dataclass(frozen=True, slots=True)
class Denied:
    """A refusal, built where it is found and carried unchanged to journal, feedback and cloud.

    Attributes:
        step: the check that refused; reason: why, from the closed list.
        credential: the pass id if it was read, verified or not.
        assurance: the credential's level once it is known.
        fault: for a form that did not parse, the parser's reason ("not_canonical"), else None.
    """

    step: Step
    reason: Reason
    credential: bytes | None = None
    assurance: Assurance | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A permission to pass once.

    Attributes:
        grant_id: counts the grants of this run; ties a commit to its grant.
        hold_ms: how long the lock is to stay released.
    """

    grant_id: int
    hold_ms: int
    credential: bytes
    assurance: Assurance
    rule: str
    reader: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayMark:
    """A presentation that was accepted.

    Attributes:
        key: SHA-256 over what the holder signed.
        expires_wall_ms, expires_monotonic_ms: forget it only after both.
    """

    key: bytes
    expires_wall_ms: int
    expires_monotonic_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EventDraft:
    """An event before the journal gives it a number and chains it (wire/event.py has the meanings)."""

    kind: EventKind
    at: Instant
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


@dataclass(frozen=True, slots=True)
class Record:
    """Journal this with what is to be remembered, in one transaction; nothing waits for it."""

    draft: EventDraft
    memos: tuple[Memo, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitGrant:
    """Journal this with its replay mark in one transaction, then tell the core `GrantDurable` or `GrantFailed`."""

    draft: EventDraft
    mark: ReplayMark | None
    grant: Grant
    memos: tuple[Memo, ...] = ()


@dataclass(frozen=True, slots=True)
class CommitCommand:
    """Journal this, then tell the core `CommandDurable`: a command is carried out at most once."""

    draft: EventDraft
    command: Command
    memos: tuple[Memo, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckPin:
    """Check a PIN (argon2id, slow on purpose: outside of the core), then tell the core `PinChecked`.

    Attributes:
        check_id: ties the answer to the question.
        digits: as keyed in; never logged, journaled or recorded.
    """

    check_id: int
    verifiers: PinVerifiers
    digits: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Energise:
    """Release the door for at most `hold_ms`; `cause_seq` is the journal number that allowed it, 0 for egress."""

    hold_ms: int
    cause_seq: int = 0


@dataclass(frozen=True, slots=True)
class Secure:
    """Secure the door now."""


@dataclass(frozen=True, slots=True)
class Show:
    """Tell the person at a reader."""

    reader: str
    feedback: Feedback


@dataclass(frozen=True, slots=True)
class Restart:
    """End the daemon cleanly, so that whoever supervises it starts it again; what was journaled before is durable."""


@dataclass(frozen=True, slots=True)
class AskCloud:
    """Ask the cloud at once what is new, whatever was being waited for."""


@dataclass(frozen=True, slots=True)
class TakePictures:
    """Have the door's cameras keep pictures of now, named after the event `cause_seq`."""

    cause_seq: int


Errand: TypeAlias = Restart | AskCloud | TakePictures
"""Effects that ask something of the daemon, not of the door."""
Journaling: TypeAlias = Record | CommitGrant | CommitCommand
"""Effects that write an event."""
Effect: TypeAlias = Record | CommitGrant | CommitCommand | CheckPin | Energise | Secure | Show | Errand

_EXPIRED = frozenset({Reason.CREDENTIAL_EXPIRED, Reason.REVOKED, Reason.ISSUER_KEY_NOT_VALID, Reason.USES_EXHAUSTED})
_NOT_NOW = frozenset(
    {
        Reason.NOT_PERMITTED_AT_THIS_TIME,
        Reason.CREDENTIAL_NOT_ACTIVE,
        Reason.DOOR_LOCKED_DOWN,
        Reason.DOOR_BLOCKED,
        Reason.DOOR_INTERLOCKED,
        Reason.OCCUPANCY_LIMIT,
        Reason.ANTIPASSBACK_VIOLATION,
        Reason.SECOND_FACTOR_BLOCKED,
    }
)
_NOT_HERE = frozenset(
    {
        Reason.UNAUTHORIZED,
        Reason.WRONG_ISSUER,
        Reason.WRONG_AUDIENCE,
        Reason.UNKNOWN_ISSUER_KEY,
        Reason.ASSURANCE_TOO_LOW,
        Reason.CREDENTIAL_NOT_FOUND,
    }
)


def feedback_of(reason: Reason) -> Feedback:
    """Give the reason class that a person learns."""
    if reason in _EXPIRED:
        return Feedback.DENIED_EXPIRED
    if reason in _NOT_NOW:
        return Feedback.DENIED_NOT_NOW
    return Feedback.DENIED_NOT_HERE if reason in _NOT_HERE else Feedback.TRY_AGAIN
