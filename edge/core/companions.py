"""Step 14: what one person alone cannot bring: a PIN, a second person, a visitor's hosts.

Invariant: whoever waits is granted once nothing is missing, or refused when the time is over; nobody waits for ever.
Must not: check a PIN (the shell does, outside of the core) or grant anything itself.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from edge.core.credential import PinEntry
from edge.core.effects import CheckPin, Denied, Feedback
from edge.core.instant import Instant
from edge.core.memory import Memo, MemoKind, Memory
from edge.core.verify import VerifiedCredential
from wire.names import PassKind, Reason, Step
from wire.settings import DoorSettings

MAX_WAITING: Final = 8
"""People who stand at one door and wait; of more, the first is refused."""


class Need(Enum):
    """What somebody waits for."""

    PIN = "pin"
    SECOND_PERSON = "second_person"
    HOST = "host"


class PinOutcome(Enum):
    """What checking a PIN found."""

    RIGHT = "right"
    DURESS = "duress"
    WRONG = "wrong"


_REASONS: Final = {
    Need.PIN: Reason.SECOND_FACTOR_REQUIRED,
    Need.SECOND_PERSON: Reason.SECOND_PERSON_REQUIRED,
    Need.HOST: Reason.ESCORT_REQUIRED,
}
FEEDBACK: Final = {
    Need.PIN: Feedback.ENTER_PIN,
    Need.SECOND_PERSON: Feedback.NEXT_PERSON,
    Need.HOST: Feedback.NEXT_PERSON,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A verified credential on its way to a grant.

    Attributes:
        reader: where it was presented.
        pin_known: whether its PIN, if one is needed, was right.
    """

    credential: VerifiedCredential
    reader: str
    pin_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A candidate that waits; `until_ms` is monotonic, `check_id` the PIN check under way, None for none."""

    candidate: Candidate
    need: Need
    until_ms: int
    check_id: int | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """A member of staff who was let in a moment ago (monotonic ms)."""

    holder: bytes
    at_ms: int


@dataclass(frozen=True, slots=True)
class Companions:
    """Who waits at this door, who may be a visitor's host, and how many PINs were checked in this run."""

    waiting: tuple[Waiting, ...] = ()
    hosts: tuple[Host, ...] = ()
    checks: int = 0

    def without(self, each: Waiting) -> "Companions":
        """Give the others."""
        return replace(self, waiting=tuple(other for other in self.waiting if other is not each))


def refused_by_pin(
    credential: VerifiedCredential, settings: DoorSettings, memory: Memory, now: Instant
) -> Denied | None:
    """Refuse at once whom a PIN could not help: no PIN is enrolled, or too many were wrong."""
    if not needs_pin(credential, settings):
        return None
    reason = Reason.SECOND_FACTOR_REQUIRED if credential.pin is None else _blocked(credential, settings, memory, now)
    return None if reason is None else _deny(credential, reason)


def needs_pin(credential: VerifiedCredential, settings: DoorSettings) -> bool:
    """Tell whether this door asks for a PIN with a credential of this assurance."""
    return credential.assurance < settings.pin_below


def _blocked(credential: VerifiedCredential, settings: DoorSettings, memory: Memory, now: Instant) -> Reason | None:
    """A clock that is set forward ends a block, one that is set back prolongs it by as much: neither gains attempts."""
    wrong, last_s = memory.get(MemoKind.WRONG_PINS, credential.credential) or (0, 0)
    blocks = wrong >= settings.pin_attempts and now.wall_s < last_s + settings.pin_block_s
    return Reason.SECOND_FACTOR_BLOCKED if blocks else None


def missing(candidate: Candidate, settings: DoorSettings, companions: Companions, now: Instant) -> Need | None:
    """Tell what a candidate still needs; None when it may pass. Emergency passes need nobody."""
    credential = candidate.credential
    if needs_pin(credential, settings) and not candidate.pin_known:
        return Need.PIN
    if credential.kind is PassKind.VISITOR:
        hosts = {host.holder for host in companions.hosts if _recent(host, settings, now)}
        return Need.HOST if len(hosts - {credential.holder}) < settings.escorts else None
    if settings.two_person and credential.kind is not PassKind.EMERGENCY:
        return None if partner_of(candidate, companions) is not None else Need.SECOND_PERSON
    return None


def partner_of(candidate: Candidate, companions: Companions) -> Waiting | None:
    """Find another person who waits for a second one."""
    holder = candidate.credential.holder
    others = (each for each in companions.waiting if each.need is Need.SECOND_PERSON)
    return next((each for each in others if each.candidate.credential.holder != holder), None)


def escorted(settings: DoorSettings, companions: Companions, now: Instant) -> tuple[Waiting, ...]:
    """Give the visitors who wait for hosts and now have them."""
    visitors = (each for each in companions.waiting if each.need is Need.HOST)
    return tuple(each for each in visitors if missing(each.candidate, settings, companions, now) is None)


def with_host(
    companions: Companions, credential: VerifiedCredential, settings: DoorSettings, now: Instant
) -> Companions:
    """Remember a member of staff who was let in."""
    if credential.kind is not PassKind.STAFF:
        return companions
    holder = credential.holder
    recent = (host for host in companions.hosts if _recent(host, settings, now) and host.holder != holder)
    return replace(companions, hosts=(*recent, Host(holder, now.monotonic_ms))[-MAX_WAITING:])


def _recent(host: Host, settings: DoorSettings, now: Instant) -> bool:
    return now.monotonic_ms - host.at_ms <= settings.companion_ms


def wait(
    companions: Companions, candidate: Candidate, need: Need, settings: DoorSettings, now: Instant
) -> tuple[Companions, tuple[Waiting, ...]]:
    """Let a candidate wait; gives those who wait no more because of it.

    That is the same holder's earlier try, who waited to key in a PIN at the same reader, and of too many the first.
    """
    one = Waiting(candidate=candidate, need=need, until_ms=now.monotonic_ms + settings.companion_ms)
    kept = [each for each in companions.waiting if not _replaces(one, each)][1 - MAX_WAITING :]
    over = tuple(each for each in companions.waiting if each not in kept)
    return replace(companions, waiting=(*kept, one)), over


def _replaces(one: Waiting, other: Waiting) -> bool:
    same_holder = one.candidate.credential.holder == other.candidate.credential.holder
    same_keypad = one.need is other.need is Need.PIN and one.candidate.reader == other.candidate.reader
    return same_holder or same_keypad


def expired(companions: Companions, now: Instant) -> tuple[Waiting, ...]:
    """Give those whose time is over."""
    return tuple(each for each in companions.waiting if each.until_ms <= now.monotonic_ms)


def deadline_ms(companions: Companions) -> int | None:
    """Give the monotonic millisecond at which the first has waited long enough."""
    return min((each.until_ms for each in companions.waiting), default=None)


def refusal(each: Waiting) -> Denied:
    """Give the denial of somebody who waited in vain."""
    return _deny(each.candidate.credential, _REASONS[each.need])


def _deny(credential: VerifiedCredential, reason: Reason) -> Denied:
    return Denied(Step.COMPANIONS, reason, credential.credential, credential.assurance)


# --- PINs ------------------------------------------------------------------------------------------------------


def ask_pin(companions: Companions, entry: PinEntry) -> tuple[Companions, CheckPin | None]:
    """Start checking a PIN for whoever waits to give one at that reader; None when nobody does."""
    at_reader = (each for each in companions.waiting if each.need is Need.PIN and each.candidate.reader == entry.reader)
    each = next((each for each in at_reader if each.check_id is None), None)
    if each is None or each.candidate.credential.pin is None:
        return companions, None
    check_id = companions.checks
    asked = tuple(replace(other, check_id=check_id) if other is each else other for other in companions.waiting)
    question = CheckPin(check_id, each.candidate.credential.pin, entry.digits)
    return replace(companions, waiting=asked, checks=check_id + 1), question


def find_check(companions: Companions, check_id: int) -> Waiting | None:
    """Find who waits for a PIN check; None when that time is over."""
    return next((each for each in companions.waiting if each.check_id == check_id), None)


def count_wrong(credential: VerifiedCredential, settings: DoorSettings, memory: Memory, now: Instant) -> Memo:
    """Give the memo of one more wrong PIN; what lies before a block that is over does not count."""
    wrong, last_s = memory.get(MemoKind.WRONG_PINS, credential.credential) or (0, 0)
    over = wrong >= settings.pin_attempts or now.wall_s >= last_s + settings.pin_block_s
    return Memo(MemoKind.WRONG_PINS, credential.credential, (1 if over else wrong + 1, now.wall_s))


def refuse_pin(credential: VerifiedCredential) -> Denied:
    """Give the denial of a wrong PIN."""
    return _deny(credential, Reason.SECOND_FACTOR_WRONG)
