"""The second room: a presented credential becomes a verified one, offline, in numbered steps.

Invariant: only this module constructs `VerifiedCredential`; the steps run in the order of docs/behaviour.md and
the first that fails names itself.
Must not: ask a policy; who may pass when is the next room's.
"""

import hashlib
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from edge.core.credential import Presented, PresentedCredential, PresentedIdentifier
from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.trust import Revocation, TrustState
from wire.errors import WireError
from wire.names import Assurance, ClockState, KeyId, PassFlags, PassId, PassKind, Reason, StalenessRule, Step
from wire.passes import Pass
from wire.presentation import RotatingPresentation
from wire.roster import PinVerifiers, Roster, RosterEntry, identifier_key
from wire.settings import DoorSettings
from wire.trust import TrustedKey

PAST_MS: Final = 30_000
"""A presentation is accepted for two rotations of 15 s after it was signed."""
FUTURE_MS: Final = 10_000
"""A phone's clock may run ahead of the door's by this much."""
WIDEST_MS: Final = 90_000
"""Uncertainty widens both windows, never beyond this."""
HOLDER_BYTES: Final = 8
_NO_KEY: Final = KeyId(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a door is: the audience a presentation must name."""

    tenant: str
    site: str
    door: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCredential:
    """A credential whose signatures, times, audience and revocation hold. Only this module makes one.

    Attributes:
        credential: the pass id, or the roster id of an enrolled one; what events name.
        expires_at_s: the first second at which it no longer holds; None when only revocation ends it.
        replay_key: 32 bytes to remember; None for what is not signed anew, and for what answers this door's nonce.
        signed_at_s: with a replay key, when the holder signed; Unix seconds.
        holder_key: the key that stands for the holder across renewals; None for a printed pass.
        revocation: what the list (or roster) said, and how old it was.
        issued_at_s, issuer_key: of a pass, when and with which key it was signed; 0 and empty for an enrolled one.
        roster_key: under which key the roster has an enrolled one; None for a pass.
        pin: what checks this holder's PIN, None when there is none.
    """

    credential: bytes
    kind: PassKind
    flags: PassFlags
    access_levels: tuple[int, ...]
    expires_at_s: int | None
    assurance: Assurance
    replay_key: bytes | None
    holder_key: bytes | None
    revocation: Revocation
    signed_at_s: int = 0
    issued_at_s: int = 0
    issuer_key: KeyId = _NO_KEY
    roster_key: bytes | None = None
    pin: PinVerifiers | None = None

    @property
    def holder(self) -> bytes:
        """Who this is for presence and companions: the same for every pass of one phone, at most 8 bytes."""
        if self.holder_key is None:
            return self.credential
        return hashlib.sha256(self.holder_key).digest()[:HOLDER_BYTES]


def verify(
    credential: PresentedCredential, trust: TrustState, place: Place, settings: DoorSettings, now: Instant
) -> VerifiedCredential | Denied:
    """Check steps 3 to 8 of a tap.

    Args:
        credential: what was read.
        trust: keys and lists, already verified under the root.
        place: where this door is.
        settings: this door's staleness rule.
        now: when it was read.
    """
    rotating = credential.rotating
    # 3 clock state allows this kind
    refused = refused_by_clock(credential, now)
    if refused is not None:
        return refused
    # 4 issuer key: known, right purpose, in validity
    key = _issuer_key(credential.signed_pass.key_id, trust, now)
    if isinstance(key, Reason):
        return _deny(Step.ISSUER_KEY, key, credential)
    # 5 issuer signature
    try:
        claims = trust.memo.verified(credential.signed_pass, key)
    except WireError as error:
        return _deny(Step.ISSUER_SIGNATURE, Reason.SIGNATURE_INVALID, credential, error)
    # 6 pass validity
    reason = _validity(claims, trust, now)
    if reason is not None:
        return _deny(Step.VALIDITY, reason, credential)
    # 7 holder signature, iat window, audience, nonce
    if rotating is not None:
        refused = _holder(credential, rotating, claims, place, now)
        if refused is not None:
            return refused
    # 8 revocation, with the list's age
    revocation = trust.revocation(claims.pass_id, now.wall_s)
    if revocation is None:
        return _deny(Step.REVOCATION, Reason.REVOCATION_STALE, credential)
    reason = _revocation(revocation, settings, credential.assurance, now, issued_at_s=claims.issued_at_s)
    if reason is not None:
        return _deny(Step.REVOCATION, reason, credential)
    return VerifiedCredential(
        credential=claims.pass_id,
        kind=claims.kind,
        flags=claims.flags,
        access_levels=claims.access_levels,
        expires_at_s=claims.expires_at_s,
        assurance=credential.assurance,
        replay_key=None if rotating is None or rotating.nonce is not None else rotating.replay_key,
        signed_at_s=0 if rotating is None else rotating.issued_at_s,
        holder_key=None if claims.holder_key is None else claims.holder_key.point,
        revocation=revocation,
        issued_at_s=claims.issued_at_s,
        issuer_key=key.key_id,
    )


def verify_identifier(
    presented: PresentedIdentifier, roster: Roster | None, settings: DoorSettings, now: Instant
) -> VerifiedCredential | Denied:
    """Find an enrolled credential (step 8); what proves it was proven by its adapter.

    Args:
        presented: what was read.
        roster: the enrolled credentials, already verified; None when this door has none.
        settings: this door's staleness rule.
        now: when it was read.
    """
    not_found = Denied(Step.REVOCATION, Reason.CREDENTIAL_NOT_FOUND, None, presented.assurance)
    if roster is None:
        return not_found
    key = _roster_key(presented, roster)
    entry = roster.find(key)
    if entry is None:
        return not_found
    revocation = roster_revocation(roster, now)
    reason = _revocation(revocation, settings, presented.assurance, now)
    if reason is not None:
        return Denied(Step.REVOCATION, reason, entry.roster_id, presented.assurance)
    return VerifiedCredential(
        credential=entry.roster_id,
        kind=entry.kind,
        flags=entry.flags,
        access_levels=entry.access_levels,
        expires_at_s=None,
        assurance=presented.assurance,
        replay_key=None,
        holder_key=None,
        revocation=revocation,
        roster_key=key,
        pin=entry.pin,
    )


def roster_revocation(roster: Roster, now: Instant) -> Revocation:
    """Give what a roster says of everybody who stands in it: not revoked, as of its version."""
    age_s = max(0, now.wall_s - roster.issued_at_s)
    return Revocation(revoked=False, sequence=roster.version, age_s=age_s, expired=False)


def _roster_key(presented: PresentedIdentifier, roster: Roster) -> bytes:
    if presented.hashed:
        return presented.identifier
    return identifier_key(roster.pepper, presented.kind, presented.identifier)


def refused_by_clock(credential: Presented, now: Instant) -> Denied | None:
    """Check step 3: only what is bound to a nonce, or enrolled, can be judged without knowing the time."""
    if not isinstance(credential, PresentedCredential) or credential.assurance is Assurance.NONCE_BOUND:
        return None
    return _deny(Step.CLOCK, Reason.CLOCK_SUSPECT, credential) if now.clock is ClockState.SUSPECT else None


# --- somebody who waited ----------------------------------------------------------------------------------------


def refused_meanwhile(
    credential: VerifiedCredential,
    trust: TrustState | None,
    roster: Roster | None,
    settings: DoorSettings,
    now: Instant,
) -> Denied | None:
    """Check steps 3 to 8 again for somebody who waited: all that does not lie in the credential may have changed."""
    if credential.roster_key is None:
        refused = _signed_meanwhile(credential, trust, settings, now)
    else:
        refused = _enrolled_meanwhile(credential, credential.roster_key, roster, settings, now)
    return None if refused is None else Denied(*refused, credential.credential, credential.assurance)


def _signed_meanwhile(
    credential: VerifiedCredential, trust: TrustState | None, settings: DoorSettings, now: Instant
) -> tuple[Step, Reason] | None:
    if now.clock is ClockState.SUSPECT and credential.assurance is not Assurance.NONCE_BOUND:
        return Step.CLOCK, Reason.CLOCK_SUSPECT
    if trust is None:
        return Step.ISSUER_KEY, Reason.NO_TRUST
    key = _issuer_key(credential.issuer_key, trust, now)
    if isinstance(key, Reason):
        return Step.ISSUER_KEY, key
    if credential.expires_at_s is not None and now.wall_s >= credential.expires_at_s:
        return Step.VALIDITY, Reason.CREDENTIAL_EXPIRED
    revocation = trust.revocation(PassId(credential.credential), now.wall_s)
    if revocation is None:
        return Step.REVOCATION, Reason.REVOCATION_STALE
    reason = _revocation(revocation, settings, credential.assurance, now, issued_at_s=credential.issued_at_s)
    return None if reason is None else (Step.REVOCATION, reason)


def _enrolled_meanwhile(
    credential: VerifiedCredential, key: bytes, roster: Roster | None, settings: DoorSettings, now: Instant
) -> tuple[Step, Reason] | None:
    """What is enrolled otherwise now counts as another credential, which has to be presented first."""
    entry = None if roster is None else roster.find(key)
    if roster is None or entry is None or not _is_same(credential, entry):
        return Step.REVOCATION, Reason.CREDENTIAL_NOT_FOUND
    reason = _revocation(roster_revocation(roster, now), settings, credential.assurance, now)
    return None if reason is None else (Step.REVOCATION, reason)


def _is_same(credential: VerifiedCredential, entry: RosterEntry) -> bool:
    enrolled = (entry.roster_id, entry.kind, entry.flags, entry.access_levels, entry.pin)
    held = (credential.credential, credential.kind, credential.flags, credential.access_levels, credential.pin)
    return enrolled == held


# --- single checks ----------------------------------------------------------------------------------------------


def _deny(step: Step, reason: Reason, credential: PresentedCredential, error: WireError | None = None) -> Denied:
    fault = None if error is None else error.reason.value
    return Denied(step, reason, credential.unverified_pass_id, credential.assurance, fault)


def _issuer_key(key_id: KeyId, trust: TrustState, now: Instant) -> TrustedKey | Reason:
    key = trust.issuer_key(key_id)
    if key is None:
        return Reason.UNKNOWN_ISSUER_KEY
    return key if key.not_before_s <= now.wall_s < key.expires_at_s else Reason.ISSUER_KEY_NOT_VALID


def _validity(claims: Pass, trust: TrustState, now: Instant) -> Reason | None:
    if claims.issuer != trust.bundle.tenant:
        return Reason.WRONG_ISSUER
    if now.wall_s >= claims.expires_at_s:
        return Reason.CREDENTIAL_EXPIRED
    return Reason.CREDENTIAL_NOT_ACTIVE if now.wall_s < claims.starts_at_s else None


def _holder(
    credential: PresentedCredential, rotating: RotatingPresentation, claims: Pass, place: Place, now: Instant
) -> Denied | None:
    if claims.holder_key is None:
        return _deny(Step.HOLDER, Reason.SIGNATURE_INVALID, credential)
    try:
        rotating.verify_holder(claims.holder_key)
    except WireError as error:
        return _deny(Step.HOLDER, Reason.SIGNATURE_INVALID, credential, error)
    reason = _freshness(rotating, credential.nonce, place, now)
    return None if reason is None else _deny(Step.HOLDER, reason, credential)


def _freshness(rotating: RotatingPresentation, nonce: bytes | None, place: Place, now: Instant) -> Reason | None:
    if rotating.nonce is not None:
        return _binding(rotating.nonce, rotating.audience, nonce, place)
    age_ms = now.wall_ms - rotating.issued_at_s * 1000
    if age_ms >= min(PAST_MS + now.uncertainty_ms, WIDEST_MS) + 1000:
        return Reason.PRESENTATION_EXPIRED
    if -age_ms > min(FUTURE_MS + now.uncertainty_ms, WIDEST_MS):
        return Reason.PRESENTATION_FROM_FUTURE
    return None if rotating.audience == place.site else Reason.WRONG_AUDIENCE


def _binding(signed: bytes, audience: str, given: bytes | None, place: Place) -> Reason | None:
    """A nonce that this door gave out a moment ago says that the signature is fresh, whatever the clocks say."""
    if given is None or not compare_digest(signed, given):
        return Reason.NONCE_MISMATCH
    return None if audience == f"{place.site}/{place.door}" else Reason.WRONG_AUDIENCE


def _revocation(
    revocation: Revocation,
    settings: DoorSettings,
    assurance: Assurance,
    now: Instant,
    *,
    issued_at_s: int | None = None,
) -> Reason | None:
    """Check step 8: not revoked, by what is fresh enough or by the door's rule for what is not.

    Nobody says when an enrolled credential was issued, so that it never counts as issued recently.
    """
    if revocation.revoked:
        return Reason.REVOKED
    if not revocation.expired and revocation.age_s <= settings.max_revocation_age_s:
        return None
    rule = settings.staleness
    if rule is StalenessRule.RECENTLY_ISSUED:
        admits = issued_at_s is not None and now.wall_s - issued_at_s <= settings.recently_issued_s
    else:
        admits = rule is StalenessRule.NONCE_BOUND_ONLY and assurance is Assurance.NONCE_BOUND
    return None if admits else Reason.REVOCATION_STALE
