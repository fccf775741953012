"""What another policy would have decided on taps of the past: the core's own decision, once under each policy.

Invariant: only policy is asked; signatures, times, revocation and replay were judged at the door and stay as they were.
Must not: be used by a door; what it calls verified was verified there, by its own word.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from doorward.taps import DecidedTap, Facts
from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.policy import Granted, PolicyState, decide
from edge.core.trust import Revocation
from edge.core.verify import VerifiedCredential
from wire.names import PassId, Reason, Tenant
from wire.passes import Pass

_BEFORE_POLICY: Final = ("max_revocation_age_s", "staleness", "recently_issued_s")
"""Settings that decide before policy is asked: what a change of them does is not seen here."""


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
    """Decide every tap under both policies."""
    diff = PolicyDiff()
    for tap in taps:
        if tap.facts is None:
            diff.not_asked += 1
            continue
        change = Change(tap, _decide(tap, tap.facts, old), _decide(tap, tap.facts, new))
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
    return [name for name in _BEFORE_POLICY if getattr(old.bundle.settings, name) != getattr(new.bundle.settings, name)]


def _decide(tap: DecidedTap, facts: Facts, policy: PolicyState) -> Granted | Denied:
    """Ask the core, as of then; the only place that does."""
    now = Instant(wall_ms=tap.at_ms, monotonic_ms=0, clock=tap.clock)
    return decide(_as_verified(tap, facts), policy, now)


def _as_verified(tap: DecidedTap, facts: Facts) -> VerifiedCredential:
    claims = Pass(
        issuer=Tenant(""),
        pass_id=PassId(tap.credential or b""),
        issued_at_s=0,
        not_before_s=None,
        expires_at_s=0,
        holder_key=None,
        kind=facts.kind,
        flags=facts.flags,
        access_levels=facts.access_levels,
    )
    revocation = Revocation(revoked=False, sequence=0, age_s=0, expired=False)
    return VerifiedCredential(claims=claims, assurance=facts.assurance, replay_key=None, revocation=revocation)
