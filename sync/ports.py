"""What synchronisation needs from its surroundings: the journal, the signed documents, the way up, time.

The daemon implements `Journal`, `Materials` and `SignedTime`; an uplink implements `Uplink`.

Invariant: a fault reaches the engine as one of this module's errors, never as a library's own.
Must not: hold behaviour.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, unique
from typing import Protocol

from wire.batch import Acknowledgement
from wire.names import DeviceId
from wire.trust import TrustBundle
from wire.versions import Versions


@unique
class Reason(Enum):
    """Why an exchange with the cloud failed; decide on this, never on the text."""

    UNREACHABLE = "unreachable"  # no connection, or it broke
    DEADLINE = "deadline"  # no answer in time
    TLS_REFUSED = "tls_refused"  # the two ends do not believe each other's certificates
    NOT_ENROLLED = "not_enrolled"  # the cloud does not (or no longer) know this device
    REFUSED = "refused"  # the cloud understood and said no
    UNREADABLE = "unreadable"  # the answer is not what the protocol says, or too large
    SEQUENCE_GAP = "sequence_gap"  # the cloud lacks earlier events; `durable` says up to where it has them
    CHAIN_BROKEN = "chain_broken"  # the events do not follow those that the cloud holds
    EPOCH_CLOSED = "epoch_closed"  # a later journal of this device has replaced this one
    QUARANTINED = "quarantined"  # the cloud stores nothing of this device until an operator has decided
    BUSY = "busy"  # come back later; `retry_after_s` may say when
    CLOSED = "closed"  # used after aclose()
    NO_TRUST = "no_trust"  # no trust bundle yet: an acknowledgement cannot be checked
    ACKNOWLEDGEMENT_REFUSED = "acknowledgement_refused"  # not signed by the cloud, or not about this journal
    MATERIAL_REFUSED = "material_refused"  # a trust bundle, status list, policy or roster that does not verify
    NO_PROGRESS = "no_progress"  # the cloud keeps announcing what it does not deliver
    JOURNAL_MISMATCH = "journal_mismatch"  # the cloud's head is not this journal's at that place
    JOURNAL_GAP = "journal_gap"  # events that the cloud asks for are no longer here
    JOURNAL_DAMAGED = "journal_damaged"  # an event that the format of a batch does not allow
    JOURNAL_UNAVAILABLE = "journal_unavailable"  # the store does not answer now


class SyncError(Exception):
    """An exchange failed; the door keeps working and it is tried again.

    Args:
        reason: the class of the fault.
        what: one clause that says what went wrong.
        remedy: what the reader of the message does next, as an instruction.
    """

    def __init__(self, reason: Reason, *, what: str, remedy: str) -> None:
        super().__init__(f"{what}; {remedy}")
        self.reason = reason
        self.what = what
        self.remedy = remedy


class UplinkError(SyncError):
    """The way up failed.

    Args:
        reason: UNREACHABLE to CLOSED.
        what: one clause that says what went wrong.
        remedy: what the reader of the message does next.
        retry_after_s: seconds that the cloud asks to be left alone, None when it does not say.
        durable: with SEQUENCE_GAP and CHAIN_BROKEN, up to which event the cloud says that it holds this journal.
            Not signed: it may move what is sent next, never what is kept.
    """

    def __init__(
        self, reason: Reason, *, what: str, remedy: str, retry_after_s: float | None = None, durable: int | None = None
    ) -> None:
        super().__init__(reason, what=what, remedy=remedy)
        self.retry_after_s = retry_after_s
        self.durable = durable


class JournalMismatch(SyncError):
    """An acknowledgement names another head than the journal's own at that event.

    Args:
        durable: the event that the acknowledgement names.
    """

    def __init__(self, *, durable: int) -> None:
        super().__init__(
            Reason.JOURNAL_MISMATCH,
            what=f"the cloud holds other events than this door up to number {durable}",
            remedy="look for a copied memory card: two doors may be writing under one identity; enrol one of them anew",
        )
        self.durable = durable


class JournalUnavailable(SyncError):
    """The store cannot answer now (disk, lock); the engine tries again.

    Args:
        what: one clause that says what went wrong.
        remedy: what the reader of the message does next.
    """

    def __init__(self, *, what: str, remedy: str) -> None:
        super().__init__(Reason.JOURNAL_UNAVAILABLE, what=what, remedy=remedy)


@dataclass(frozen=True, slots=True)
class Marks:
    """How far the journal has come; sequence numbers, 0 for none.

    Attributes:
        durable: the cloud has committed all events up to here.
        backed_up: and has them in a backup up to here; these may be deleted.
        last: the newest event.
    """

    durable: int
    backed_up: int
    last: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """A document as the cloud sent it, not yet verified.

    Attributes:
        data: its bytes, at most as many as were asked for.
        media_type: of `wire.messages`, without parameters, lower case.
        etag: the entity tag, None when there was none.
    """

    data: bytes
    media_type: str
    etag: str | None


@dataclass(frozen=True, slots=True)
class NotModified:
    """The document still is what the entity tag says."""


class Journal(Protocol):
    """The door's events, which are also the outbox."""

    @property
    def device(self) -> DeviceId:
        """Whose journal it is."""
        ...

    @property
    def epoch(self) -> bytes:
        """8 random bytes made with the journal (wire.batch)."""
        ...

    async def events_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        """Give the kept events with a number above `seq` as (number, bytes): ascending, gapless, at most `limit`.

        When `seq` + 1 was deleted, the first kept event comes first.

        Raises:
            JournalUnavailable: the store cannot answer now.
        """
        ...

    async def marks(self) -> Marks:
        """Give the marks as committed.

        Raises:
            JournalUnavailable: the store cannot answer now.
        """
        ...

    async def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Take over a verified acknowledgement; committed on return.

        The durable mark becomes the one named, lower than before if the cloud was restored, but never below what
        was deleted. Events up to `backed_up` may be deleted; those up to `durable` only as the last resort, when the
        journal holds more than it may, the oldest first.

        Raises:
            JournalMismatch: the head named is not this journal's own at `durable`; nothing has changed.
            JournalUnavailable: the store cannot answer now.
        """
        ...


class Materials(Protocol):
    """The signed documents that the door decides by.

    Each `accept_…` verifies, commits and puts into force, or raises WireError and leaves the old in force.
    """

    def trust(self) -> TrustBundle | None:
        """Give the bundle in force, None before the first."""
        ...

    def versions(self) -> Versions:
        """Give what is in force."""
        ...

    async def accept_trust(self, data: bytes) -> None:
        """Take over a trust bundle.

        Raises:
            WireError: it is refused.
            JournalUnavailable: the store cannot answer now.
        """
        ...

    async def accept_policy(self, data: bytes) -> None:
        """Take over a policy bundle; raises as `accept_trust`."""
        ...

    async def accept_status(self, data: bytes) -> None:
        """Take over a whole status list; raises as `accept_trust`."""
        ...

    async def accept_delta(self, data: bytes) -> None:
        """Apply the delta of a status list; raises as `accept_trust`, then the whole list is fetched."""
        ...

    def roster_base(self) -> int:
        """Give the version from which a delta of the roster is wanted, 0 when the whole is."""
        ...

    async def accept_roster(self, data: bytes) -> None:
        """Take over a whole roster; raises as `accept_trust`."""
        ...

    async def accept_roster_delta(self, data: bytes) -> None:
        """Apply the delta of the roster; raises as `accept_trust`, then the whole roster is fetched."""
        ...

    async def accept_commands(self, data: bytes) -> None:
        """Give a list of commands to the door, which judges each and answers it with an event.

        Raises:
            WireError: it is no list.
            JournalUnavailable: the store cannot answer now; what was not journaled was not carried out.
        """
        ...


class SignedTime(Protocol):
    """Whoever wants to know the time from the cloud."""

    def signed_time(self, *, issued_at_ms: int, uncertainty_ms: int) -> None:
        """Learn that the cloud's clock showed `issued_at_ms` (Unix) at most `uncertainty_ms` ago.

        Called after each verified acknowledgement that the cloud gave itself and that covers the batch it answers.
        """
        ...


class Uplink(Protocol):
    """The way to the cloud. Every call has a deadline of its own and raises nothing but UplinkError."""

    @property
    def bearable_events(self) -> int:
        """How many events the next batch may have on the way that it would take now."""
        ...

    @property
    def direct(self) -> bool:
        """Whether the last batch was answered by the cloud itself: nobody on the way could repeat an old answer."""
        ...

    async def send_batch(self, data: bytes) -> bytes:
        """Deliver a signed batch and give the acknowledgement's bytes, unverified."""
        ...

    def doubt(self) -> None:
        """Learn that the cloud itself is to be heard: after a refusal, say, or an acknowledgement that did not verify.

        Where there are two ways to the cloud, the next batch takes the one on which nobody can answer in its name.
        """
        ...

    async def report(self, data: bytes) -> None:
        """Send a report of health, as well as can be: a lost one costs nothing."""
        ...

    async def fetch(
        self, path: str, *, etag: str | None, query: Mapping[str, str], max_bytes: int
    ) -> Fetched | NotModified:
        """Get a document of at most `max_bytes`.

        Args:
            path: of `wire.messages`.
            etag: what is there already; with it the answer may be NotModified.
            query: parameters of the request.
            max_bytes: a longer document is UNREADABLE.
        """
        ...

    async def changes(self, versions: Versions, *, wait_s: int) -> Versions:
        """Give the cloud's versions at once when they differ from `versions`, else after `wait_s` seconds.

        Where changes are announced it may take some minutes instead. The answer is the cloud's own either way.
        """
        ...

    async def aclose(self) -> None:
        """End all connections; a second call does nothing."""
        ...


class Surroundings(Protocol):
    """Time, waiting and chance, so that tests never sleep."""

    def monotonic_ms(self) -> int:
        """Milliseconds of a clock that never jumps."""
        ...

    def wall_ms(self) -> int:
        """Unix milliseconds, as well as this machine knows them."""
        ...

    def fraction(self) -> float:
        """Draw a random number from 0 (included) to 1 (excluded)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    async def wait_for(self, event: asyncio.Event, seconds: float) -> bool:
        """Wait until `event` is set, but not longer than `seconds`; tell whether it is."""
        ...


@unique
class Direction(Enum):
    """What a notice is about: one of the two loops, or the way through the broker."""

    PUSH = "push"  # events up
    PULL = "pull"  # trust, commands, status lists, policy and roster down
    BROKER = "broker"  # which way batches take


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the technician's log shows.

    Attributes:
        direction: where it comes from.
        reason: the fault, None when all is well again.
        sentence: what happened and what to do, for people.
    """

    direction: Direction
    reason: Reason | None
    sentence: str


class Notices(Protocol):
    """Whoever keeps the log."""

    def notice(self, notice: Notice) -> None:
        """Take a notice; must return at once."""
        ...
