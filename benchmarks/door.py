"""A door's world for benchmarks: real keys, passes, presentations, trust and policy.

Invariant: everything is signed and read by `wire`, as issuer, wallet and door would.
"""

from dataclasses import dataclass
from datetime import UTC
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from edge.core.instant import Instant
from edge.core.policy import PolicyState
from edge.core.trust import HeldStatus, TrustState
from edge.core.verify import Place
from wire.keys import Ed25519Signer, P256Signer
from wire.names import ClockState, DoorId, KeyPurpose, PassFlags, PassKind, Tenant
from wire.passes import Pass, make_pass_id, seal_pass
from wire.policy import ALWAYS, PolicyBundle
from wire.presentation import seal_presentation
from wire.settings import DoorSettings
from wire.text import to_text
from wire.trust import TrustBundle, TrustedKey, open_trust, seal_trust

TENANT: Final = Tenant("north-campus")
SITE: Final = "library"
PLACE: Final = Place(tenant=TENANT, site=SITE, door="main-entrance")
SETTINGS: Final = DoorSettings()
LEVELS: Final = (3, 7, 12, 40)
PASSES: Final = 10_000_000
"""What a revocation list of 1.25 MB holds."""
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class World:
    """What a door needs, and what is shown to it."""

    now: Instant
    issuer: Ed25519Signer
    trust: TrustBundle
    policy: PolicyState
    presentations: tuple[bytes, ...]

    def believing(self, bits: bytes | bytearray) -> TrustState:
        """Give a trust state that remembers no pass yet."""
        now_s = self.now.wall_s
        held = HeldStatus(sequence=881, issued_at_s=now_s - 60, expires_at_s=now_s + 30 * DAY_S, bits=bits)
        return TrustState(self.trust, {0: held})


def make_world(*, holders: int, codes_a_holder: int, now_ms: int) -> World:
    """Issue passes to so many phones and let each show so many codes, one a second."""
    issuer, root = Ed25519Signer(b"\x02" * 32), Ed25519Signer(b"\x01" * 32)
    now_s = now_ms // 1000
    key = TrustedKey(
        key=issuer.public_key, purpose=KeyPurpose.PASS, not_before_s=now_s - DAY_S, expires_at_s=now_s + 365 * DAY_S
    )
    bundle = TrustBundle(tenant=TENANT, version=1, issued_at_s=now_s - DAY_S, keys=(key,))
    shown = tuple(
        code for number in range(holders) for code in _codes(number, codes_a_holder, issuer=issuer, now_s=now_s)
    )
    return World(
        now=Instant(wall_ms=now_ms, monotonic_ms=1_000_000, clock=ClockState.TRUSTED),
        issuer=issuer,
        trust=open_trust(seal_trust(bundle, root), root.public_key),
        policy=_policy(now_s),
        presentations=shown,
    )


def _codes(number: int, count: int, *, issuer: Ed25519Signer, now_s: int) -> list[bytes]:
    phone = P256Signer(ec.generate_private_key(ec.SECP256R1()))
    claims = Pass(
        issuer=TENANT,
        pass_id=make_pass_id(0, number * 997 % PASSES),
        issued_at_s=now_s - DAY_S,
        not_before_s=None,
        expires_at_s=now_s + 6 * DAY_S,
        holder_key=phone.public_key,
        kind=PassKind.STANDARD,
        flags=PassFlags.NONE,
        access_levels=LEVELS,
    )
    token = seal_pass(claims, issuer)
    return [
        to_text(seal_presentation(token, phone, issued_at_s=now_s - age_s, audience=SITE)) for age_s in range(count)
    ]


def _policy(now_s: int) -> PolicyState:
    bundle = PolicyBundle(
        tenant=TENANT,
        door=DoorId(PLACE.door),
        version=17,
        issued_at_s=now_s - DAY_S,
        settings=SETTINGS,
        levels={LEVELS[-1]: (ALWAYS,)},
        schedules={},
    )
    return PolicyState(bundle, UTC)
