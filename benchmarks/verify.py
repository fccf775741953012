"""What verifying a presentation costs beyond its signatures.

`verify`: the bytes as a reader gives them to a verified credential, a pass never seen before. Its floor is the two bare
signature checks, Ed25519 by libsodium and P-256 by OpenSSL, with keys that are loaded and signatures in the library's
own form. `verify-cached`: the same pass again; its floor is the one bare P-256 check that is left.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from nacl.bindings import crypto_sign_open

from benchmarks.door import PASSES, PLACE, SETTINGS, World, make_world
from benchmarks.measure import compared, in_turn
from benchmarks.result import Result
from edge.core.credential import PresentedCredential, read_code
from edge.core.trust import TrustState
from edge.core.verify import VerifiedCredential, verify
from wire.envelope import to_be_signed
from wire.names import ExternalAad
from wire.presentation import RotatingPresentation

HOLDERS = 128
CODES_A_HOLDER = 8
ROUNDS = 4_000
_WARM_UP = 200
_ECDSA = ec.ECDSA(hashes.SHA256())
_CURVE = ec.SECP256R1()


@dataclass(frozen=True, slots=True)
class BareChecks:
    """The signatures of one presentation, ready to be checked and nothing else."""

    issuer_point: bytes
    issuer_signed: bytes
    holder_key: ec.EllipticCurvePublicKey
    holder_point: bytes
    holder_signature: bytes
    holder_signed: bytes

    def both(self) -> None:
        """Check the issuer's and the holder's signature."""
        crypto_sign_open(self.issuer_signed, self.issuer_point)
        self.holder()

    def both_and_key(self) -> None:
        """Check both, with the holder's key read from the 33 bytes that a pass carries."""
        crypto_sign_open(self.issuer_signed, self.issuer_point)
        key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, self.holder_point)
        key.verify(self.holder_signature, self.holder_signed, _ECDSA)

    def holder(self) -> None:
        """Check the holder's signature alone."""
        self.holder_key.verify(self.holder_signature, self.holder_signed, _ECDSA)


def bare_checks(world: World, payload: bytes) -> BareChecks:
    """Take a presentation apart down to what the libraries ask for."""
    shown = _read(payload).rotating
    if not isinstance(shown, RotatingPresentation) or shown.signed_pass.unverified.holder_key is None:
        raise TypeError
    signed, outer = shown.signed_pass.envelope, shown.envelope
    r, s = int.from_bytes(outer.signature[:32], "big"), int.from_bytes(outer.signature[32:], "big")
    return BareChecks(
        issuer_point=world.issuer.public_key.point,
        issuer_signed=signed.signature + to_be_signed(signed.protected, signed.payload, ExternalAad.PASS),
        holder_key=shown.signed_pass.unverified.holder_key.p256(),
        holder_point=shown.signed_pass.unverified.holder_key.point,
        holder_signature=encode_dss_signature(r, s),
        holder_signed=to_be_signed(outer.protected, outer.payload, ExternalAad.PRESENTATION),
    )


def _read(payload: bytes) -> PresentedCredential:
    credential = read_code(payload)
    if not isinstance(credential, PresentedCredential):
        raise TypeError(credential)
    return credential


def _verified(payload: bytes, trust: TrustState, world: World) -> None:
    found = verify(_read(payload), trust, PLACE, SETTINGS, world.now)
    if not isinstance(found, VerifiedCredential):
        raise TypeError(found)


def cold() -> Iterable[Result]:
    """Measure `verify`: no pass was seen before."""
    world = make_world(holders=HOLDERS, codes_a_holder=CODES_A_HOLDER, now_ms=int(time.time() * 1000))
    bare = [bare_checks(world, payload) for payload in world.presentations]
    bits = bytes(PASSES // 8)
    count = len(bare)
    strangers = [world.believing(bits) for _ in range(ROUNDS + _WARM_UP)]  # each remembers nothing
    floor, with_key, subject = in_turn(
        lambda turn: bare[turn % count].both(),
        lambda turn: bare[turn % count].both_and_key(),
        lambda turn: _verified(world.presentations[turn % count], strangers[turn], world),
        rounds=ROUNDS,
        warm_up=_WARM_UP,
    )
    told = f"{_NOTE_COLD}; with that key read from its 33 bytes the floor is {with_key.median / 1000:.0f} us"
    yield compared("verify", subject, floor, must="<= 1.75 of the floor", note=told)


def cached() -> Iterable[Result]:
    """Measure `verify-cached`: every pass was seen before, each code is new."""
    world = make_world(holders=HOLDERS, codes_a_holder=CODES_A_HOLDER, now_ms=int(time.time() * 1000))
    bare = [bare_checks(world, payload) for payload in world.presentations]
    trust = world.believing(bytes(PASSES // 8))
    count = len(bare)
    for payload in world.presentations:
        _verified(payload, trust, world)
    floor, subject = in_turn(
        lambda turn: bare[turn % count].holder(),
        lambda turn: _verified(world.presentations[turn % count], trust, world),
        rounds=ROUNDS,
        warm_up=_WARM_UP,
    )
    yield compared("verify-cached", subject, floor, must="<= 2.5 of the floor", note=_NOTE_CACHED)


_NOTE_COLD = (
    "text form to verified credential, steps 1 to 8, no pass seen before; floor: one Ed25519 check by libsodium and "
    "one P-256 check by OpenSSL with its key loaded, nothing else"
)
_NOTE_CACHED = "the same with every issuer signature remembered; floor: one P-256 check by OpenSSL with its key loaded"

RUNS: dict[str, Callable[[], Iterable[Result]]] = {"verify": cold, "verify-cached": cached}
