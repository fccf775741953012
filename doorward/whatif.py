"""What another policy would have decided on taps of the past: the core's own decision, once under each policy.

Invariant: only policy is asked; signatures, times, revocation and replay were judged at the door and stay as they were.
Must not: be used by a door; what it calls verified was verified there, by its own word.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from doorward.taps import DecidedTap, Facts
from edge.core.companions import refused_by_pin
from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.memory import Memory
from edge.core.policy import Granted, PolicyState, Situation, decide
from edge.core.trust import Revocation
from edge.core.verify import VerifiedCredential
from wire.names import Reason
from wire.roster import PinVerifiers

_UNSEEN: Final = (
    *("max_revocation_age_s", "staleness", "recently_issued_s", "printed_uses"),
    *("interlock", "two_person", "escorts", "companion_ms", "pin_attempts", "pin_block_s"),
)
"""Settings that decide before policy is asked, or by what others do: what a change of them does is not seen here."""


@dataclass(frozen=True, slots=True)
class Change:
    """A tap that the new policy decides otherwise."""

    tap: DecidedTap
    old: Granted | Denied
    new: Granted | Denied


@dataclass(slots=True)
class PolicyDiff:
    """What two policies make of the same taps.

    Attributes:
        opened, denied: taps that both let in, that both refuse.
        closing: those that only the old one lets in, opening: those that only the new one does.
        not_asked: taps that were refused before policy was asked.
        otherwise: taps that the door itself decided otherwise than the old policy does here.
    """

    opened: int = 0
    denied: int = 0
    closing: list[Change] = field(default_factory=list)
    opening: list[Change] = field(default_factory=list)
    not_asked: int = 0
    otherwise: int = 0

    @property
    def compared(self) -> int:
        """How many taps both policies were asked about."""
        return self.opened + self.denied + len(self.closing) + len(self.opening)

    def closing_reasons(self) -> Counter[Reason]:
        """Count why the new policy refuses what the old one let in."""
        return Counter(change.new.reason for change in self.closing if isinstance(change.new, Denied))

    def opening_reasons(self) -> Counter[Reason]:
        """Count why the old policy refused what the new one lets in."""
        return Counter(change.old.reason for change in self.opening if isinstance(change.old, Denied))


def compare_policies(old: PolicyState, new: PolicyState, taps: Iterable[DecidedTap]) -> PolicyDiff:
    """Decide every tap under both policies, each with the presence that its own grants lead to."""
    diff = PolicyDiff()
    under_old, under_new = _Side(old), _Side(new)
    for tap in taps:
        if tap.facts is None:
            diff.not_asked += 1
            continue
        change = Change(tap, under_old.decide(tap, tap.facts), under_new.decide(tap, tap.facts))
        opens = isinstance(change.old, Granted), isinstance(change.new, Granted)
        diff.otherwise += tap.granted is not opens[0]
        match opens:
            case (True, True):
                diff.opened += 1
            case (True, False):
                diff.closing.append(change)
            case (False, True):
                diff.opening.append(change)
            case _:
                diff.denied += 1
    return diff


def unseen_settings(old: PolicyState, new: PolicyState) -> list[str]:
    """Name the settings in which two policies differ and whose effect on these taps is not seen."""
    return [name for name in _UNSEEN if getattr(old.bundle.settings, name) != getattr(new.bundle.settings, name)]


class _Side:
    """One policy, and who is where by the grants that it gave; nobody is anywhere at first."""

    def __init__(self, policy: PolicyState) -> None:
        self._policy = policy
        self._memory = Memory()

    def decide(self, tap: DecidedTap, facts: Facts) -> Granted | Denied:
        """Ask the core, as of then; the only place that does."""
        now = Instant(wall_ms=tap.at_ms, monotonic_ms=0, clock=tap.clock)
        situation = Situation(reader=tap.reader, interlocked=False, memory=self._memory)
        credential = _as_verified(tap, facts)
        found = decide(credential, self._policy, situation, now)
        if isinstance(found, Denied):
            return found
        refused = refused_by_pin(credential, self._policy.bundle.settings, self._memory, now)
        if refused is not None:
            return refused
        self._memory = self._memory.with_memos(found.memos)
        return found


def _as_verified(tap: DecidedTap, facts: Facts) -> VerifiedCredential:
    return VerifiedCredential(
        credential=tap.credential or b"",
        kind=facts.kind,
        flags=facts.flags,
        access_levels=facts.access_levels,
        expires_at_s=None,
        assurance=facts.assurance,
        replay_key=None,
        holder_key=facts.holder,
        revocation=Revocation(revoked=False, sequence=0, age_s=0, expired=False),
        pin=_SOME_PIN if facts.pin else None,
    )


_SOME_PIN: Final = PinVerifiers(salt=b"", pin=b"", duress=None)
"""That there is one is all that is asked here."""
