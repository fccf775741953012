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
from wire.policy import PolicyBundle
from wire.settings import DoorSettings

MAX_WAITING: Final = 8
"""People who stand at one door and wait; of more, the first is refused."""
CHECK_MS: Final = 5_000
"""Who keyed a PIN in in time, perhaps under duress, is judged by it: argon2id takes a tenth of a second, a busy machine
more."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A member of staff who was let through a moment ago (monotonic ms), at a reader."""

    holder: bytes
    reader: str
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

    def without_waiting(self, holder: bytes) -> "Companions":
        """Forget that somebody waits."""
        waiting = tuple(each for each in self.waiting if each.candidate.credential.holder != holder)
        return self if len(waiting) == len(self.waiting) else replace(self, waiting=waiting)

    def without_host(self, holder: bytes) -> "Companions":
        """Forget a host, who did not pass."""
        return replace(self, hosts=tuple(host for host in self.hosts if host.holder != holder))


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
    fact = memory.get(MemoKind.WRONG_PINS, credential.credential)
    if fact is None or fact[0] < settings.pin_attempts or _lapsed(fact, settings, now):
        return None
    return Reason.SECOND_FACTOR_BLOCKED


def _lapsed(fact: tuple[int, ...], settings: DoorSettings, now: Instant) -> bool:
    return now.wall_s >= fact[-1] + settings.pin_block_s


def missing(candidate: Candidate, bundle: PolicyBundle, companions: Companions, now: Instant) -> Need | None:
    """Tell what a candidate still needs; None when it may pass. Emergency passes need nobody."""
    if not _has_pin(candidate, bundle.settings):
        return Need.PIN
    if _needs_host(candidate.credential, bundle.settings):
        hosts = _hosts_of(candidate, bundle, companions, now)
        return Need.HOST if len(hosts) < bundle.settings.escorts else None
    if not _needs_second(candidate.credential, bundle.settings):
        return None
    return None if partner_of(candidate, bundle, companions) is not None else Need.SECOND_PERSON


def _has_pin(candidate: Candidate, settings: DoorSettings) -> bool:
    return candidate.pin_known or not needs_pin(candidate.credential, settings)


def _needs_host(credential: VerifiedCredential, settings: DoorSettings) -> bool:
    return credential.kind is PassKind.VISITOR and settings.escorts > 0


def _needs_second(credential: VerifiedCredential, settings: DoorSettings) -> bool:
    """A visitor with hosts is not alone; one that needs none counts like anybody."""
    exempt = credential.kind is PassKind.EMERGENCY or _needs_host(credential, settings)
    return settings.two_person and not exempt


def partner_of(candidate: Candidate, bundle: PolicyBundle, companions: Companions) -> Waiting | None:
    """Find another person who waits for a second one, on the same side of the door; None also for who needs none."""
    if not _needs_second(candidate.credential, bundle.settings):
        return None
    return next((each for each in companions.waiting if _is_partner(each, candidate, bundle)), None)


def _is_partner(each: Waiting, candidate: Candidate, bundle: PolicyBundle) -> bool:
    other = each.candidate
    waits_for_one = each.need is Need.SECOND_PERSON and _needs_second(other.credential, bundle.settings)
    is_another = other.credential.holder != candidate.credential.holder
    together = is_another and _same_side(other.reader, candidate.reader, bundle)
    return waits_for_one and together and _has_pin(other, bundle.settings)


def _same_side(one: str, other: str, bundle: PolicyBundle) -> bool:
    """Readers of one passage are on one side; of one without passage nothing is known, and it goes with itself only."""
    return one == other or (one in bundle.passages and bundle.passages[one] == bundle.passages.get(other))


def escorted(bundle: PolicyBundle, companions: Companions, now: Instant) -> tuple[Waiting, ...]:
    """Give the visitors who wait for hosts and now have them."""
    visitors = (each for each in companions.waiting if each.need is Need.HOST)
    return tuple(each for each in visitors if missing(each.candidate, bundle, companions, now) is None)


def with_host(companions: Companions, kind: PassKind, host: Host, settings: DoorSettings) -> Companions:
    """Remember who was let through, if it is a member of staff."""
    if kind is not PassKind.STAFF:
        return companions
    others = (each for each in companions.hosts if each.holder != host.holder)
    recent = (each for each in others if _is_recent(each, settings, host.at_ms))
    return replace(companions, hosts=(*recent, host)[-MAX_WAITING:])


def _hosts_of(candidate: Candidate, bundle: PolicyBundle, companions: Companions, now: Instant) -> list[Host]:
    """Give the hosts who went the candidate's way just now; each is another person."""
    return [
        host
        for host in companions.hosts
        if host.holder != candidate.credential.holder
        and _is_recent(host, bundle.settings, now.monotonic_ms)
        and _same_side(host.reader, candidate.reader, bundle)
    ]


def _is_recent(host: Host, settings: DoorSettings, at_ms: int) -> bool:
    return at_ms - host.at_ms <= settings.companion_ms


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
    checked = replace(each, check_id=check_id, until_ms=max(each.until_ms, entry.read_at_ms + CHECK_MS))
    asked = tuple(checked if other is each else other for other in companions.waiting)
    question = CheckPin(check_id, each.candidate.credential.pin, entry.digits)
    return replace(companions, waiting=asked, checks=check_id + 1), question


def find_check(companions: Companions, check_id: int) -> Waiting | None:
    """Find who waits for a PIN check; None when that time is over."""
    return next((each for each in companions.waiting if each.check_id == check_id), None)


def count_wrong(credential: VerifiedCredential, settings: DoorSettings, memory: Memory, now: Instant) -> Memo:
    """Give the memo of one more wrong PIN; those before a block, or as long ago as one lasts, do not count."""
    fact = memory.get(MemoKind.WRONG_PINS, credential.credential)
    before = 0 if fact is None or _lapsed(fact, settings, now) else fact[0]
    return Memo(MemoKind.WRONG_PINS, credential.credential, (before + 1, now.wall_s))


def refuse_pin(credential: VerifiedCredential) -> Denied:
    """Give the denial of a wrong PIN."""
    return _deny(credential, Reason.SECOND_FACTOR_WRONG)
