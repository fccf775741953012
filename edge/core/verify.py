"""The second room: a presented credential becomes a verified one, offline, in numbered steps.

Invariant: only this module constructs `VerifiedCredential`; the steps run in the order of docs/behaviour.md and
the first that fails names itself.
Must not: ask a policy; who may pass when is the next room's.
"""

from dataclasses import dataclass
from typing import Final

from edge.core.credential import PresentedCredential
from edge.core.effects import Denied
from edge.core.instant import Instant
from edge.core.trust import Revocation, TrustState
from wire.errors import WireError
from wire.names import Assurance, ClockState, Reason, StalenessRule, Step
from wire.passes import Pass
from wire.presentation import RotatingPresentation
from wire.settings import DoorSettings
from wire.trust import TrustedKey

PAST_MS: Final = 30_000
"""A presentation is accepted for two rotations of 15 s after it was signed."""
FUTURE_MS: Final = 10_000
"""A phone's clock may run ahead of the door's by this much."""
WIDEST_MS: Final = 90_000
"""Uncertainty widens both windows, never beyond this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a door is: the audience a presentation must name."""

    tenant: str
    site: str
    door: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCredential:
    """A credential whose signatures, times, audience and revocation hold. Only `verify` makes one.

    Attributes:
        claims: the pass.
        replay_key: 32 bytes to remember; None for a printed pass.
        revocation: what the list said, and how old it was.
    """

    claims: Pass
    assurance: Assurance
    replay_key: bytes | None
    revocation: Revocation


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
    key = _issuer_key(credential, trust, now)
    if isinstance(key, Denied):
        return key
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
    if revocation.revoked:
        return _deny(Step.REVOCATION, Reason.REVOKED, credential)
    if _too_old(revocation, settings) and not _allowed_when_stale(claims, settings, now):
        return _deny(Step.REVOCATION, Reason.REVOCATION_STALE, credential)
    return VerifiedCredential(
        claims=claims,
        assurance=credential.assurance,
        replay_key=None if rotating is None else rotating.replay_key,
        revocation=revocation,
    )


def refused_by_clock(credential: PresentedCredential, now: Instant) -> Denied | None:
    """Check step 3: only what is bound to a nonce can be judged without knowing the time."""
    if now.clock is ClockState.SUSPECT and credential.assurance is not Assurance.NONCE_BOUND:
        return _deny(Step.CLOCK, Reason.CLOCK_SUSPECT, credential)
    return None


def _deny(step: Step, reason: Reason, credential: PresentedCredential, error: WireError | None = None) -> Denied:
    fault = None if error is None else error.reason.value
    return Denied(step, reason, credential.unverified_pass_id, credential.assurance, fault)


def _issuer_key(credential: PresentedCredential, trust: TrustState, now: Instant) -> TrustedKey | Denied:
    key = trust.issuer_key(credential.signed_pass.key_id)
    if key is None:
        return _deny(Step.ISSUER_KEY, Reason.UNKNOWN_ISSUER_KEY, credential)
    if not key.not_before_s <= now.wall_s < key.expires_at_s:
        return _deny(Step.ISSUER_KEY, Reason.ISSUER_KEY_NOT_VALID, credential)
    return key


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
    reason = _freshness(rotating, place, now)
    return None if reason is None else _deny(Step.HOLDER, reason, credential)


def _freshness(rotating: RotatingPresentation, place: Place, now: Instant) -> Reason | None:
    if rotating.nonce is not None:
        return Reason.NONCE_MISMATCH  # no reader of this release hands out nonces
    age_ms = now.wall_ms - rotating.issued_at_s * 1000
    if age_ms >= min(PAST_MS + now.uncertainty_ms, WIDEST_MS) + 1000:
        return Reason.PRESENTATION_EXPIRED
    if -age_ms > min(FUTURE_MS + now.uncertainty_ms, WIDEST_MS):
        return Reason.PRESENTATION_FROM_FUTURE
    return None if rotating.audience == place.site else Reason.WRONG_AUDIENCE


def _too_old(revocation: Revocation, settings: DoorSettings) -> bool:
    return revocation.expired or revocation.age_s > settings.max_revocation_age_s


def _allowed_when_stale(claims: Pass, settings: DoorSettings, now: Instant) -> bool:
    """Tell whether the door's rule admits a pass all the same.

    NONCE_BOUND_ONLY admits nothing yet: no reader of this release hands out nonces.
    """
    recent = now.wall_s - claims.issued_at_s <= settings.recently_issued_s
    return recent and settings.staleness is StalenessRule.RECENTLY_ISSUED
