"""A tenant with real keys, for tests: issues passes, lists, policies and the folder of a provisioned door."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from edge.core.policy import PolicyState
from edge.core.trust import HeldStatus, TrustState
from wire.keys import Ed25519Signer, P256Signer
from wire.names import DoorId, KeyPurpose, PassFlags, PassKind, Tenant
from wire.passes import Pass, make_pass_id, seal_pass
from wire.policy import PolicyBundle, seal_policy
from wire.presentation import seal_presentation
from wire.roster import Roster, RosterEntry, make_roster, seal_roster
from wire.roster_delta import make_roster_delta, seal_roster_delta
from wire.settings import DoorSettings
from wire.status_list import StatusList, seal_status_list
from wire.text import to_text
from wire.trust import PinnedTrust, TrustBundle, TrustedKey, encode_pinned, open_trust, seal_trust

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo
    from pathlib import Path

LIST_BYTES = 1024
YEAR_S = 365 * 86_400


def seed(*parts: str) -> bytes:
    """Give 32 repeatable bytes."""
    return hashlib.sha256("/".join(parts).encode()).digest()


def p256(*parts: str) -> P256Signer:
    """Give a repeatable P-256 key."""
    return P256Signer(ec.derive_private_key(int.from_bytes(seed(*parts), "big") >> 1 | 1, ec.SECP256R1()))


@dataclass
class TenantKeys:
    """The keys of one tenant; `now_s` is when everything it signs was signed."""

    name: str
    now_s: int
    root: Ed25519Signer = field(init=False)
    signers: dict[KeyPurpose, Ed25519Signer] = field(init=False)

    def __post_init__(self) -> None:
        self.root = Ed25519Signer(seed(self.name, "root"))
        self.signers = {
            purpose: Ed25519Signer(seed(self.name, purpose.name))
            for purpose in KeyPurpose
            if purpose is not KeyPurpose.DEVICE_CA
        }

    def trust(self, version: int = 1) -> bytes:
        """Sign the trust bundle."""
        keys = tuple(
            TrustedKey(
                key=signer.public_key,
                purpose=purpose,
                not_before_s=self.now_s - 86_400,
                expires_at_s=self.now_s + YEAR_S,
            )
            for purpose, signer in self.signers.items()
        )
        bundle = TrustBundle(tenant=Tenant(self.name), version=version, issued_at_s=self.now_s, keys=keys)
        return seal_trust(bundle, self.root)

    def status(self, *, sequence: int = 1, revoked: Iterable[int] = (), issued_at_s: int | None = None) -> bytes:
        """Sign status list 0."""
        bits = bytearray(LIST_BYTES)
        for index in revoked:
            bits[index >> 3] |= 1 << (index & 7)
        issued = self.now_s if issued_at_s is None else issued_at_s
        status = StatusList(
            tenant=self.name,
            list_id=0,
            sequence=sequence,
            issued_at_s=issued,
            expires_at_s=issued + 7 * 86_400,
            ttl_s=300,
            bits=bytes(bits),
        )
        return seal_status_list(status, self.signers[KeyPurpose.STATUS])

    def policy_bundle(
        self, door: str = "main", *, version: int = 1, settings: DoorSettings | None = None
    ) -> PolicyBundle:
        """Give a policy that admits access level 1 at any time."""
        return PolicyBundle(
            tenant=Tenant(self.name),
            door=DoorId(door),
            version=version,
            issued_at_s=self.now_s,
            settings=settings or DoorSettings(),
            levels={1: (0,)},
            schedules={},
        )

    def policy(self, door: str = "main", *, version: int = 1, settings: DoorSettings | None = None) -> bytes:
        """Sign that policy."""
        return self.sign_policy(self.policy_bundle(door, version=version, settings=settings))

    def sign_policy(self, bundle: PolicyBundle) -> bytes:
        """Sign any policy."""
        return seal_policy(bundle, self.signers[KeyPurpose.POLICY])

    def roster(
        self,
        entries: Mapping[bytes, RosterEntry],
        *,
        version: int = 1,
        site: str = "hq",
        level_sets: tuple[tuple[int, ...], ...] = (),
    ) -> Roster:
        """Give a roster of a site with these entries by their keys."""
        return make_roster(
            entries,
            tenant=Tenant(self.name),
            site=site,
            version=version,
            issued_at_s=self.now_s + version,
            pepper=seed(self.name, site, "pepper"),
            level_sets=level_sets,
        )

    def sign_roster(self, roster: Roster) -> bytes:
        """Sign a whole roster."""
        return seal_roster(roster, self.signers[KeyPurpose.POLICY])

    def sign_roster_delta(self, old: Roster, new: Roster) -> bytes:
        """Sign what leads from one roster to the next."""
        return seal_roster_delta(make_roster_delta(old, new), self.signers[KeyPurpose.POLICY])

    def issue(self, holder: P256Signer | None, *, index: int = 1, kind: PassKind = PassKind.STANDARD) -> bytes:
        """Issue a pass for seven days with access level 1."""
        claims = Pass(
            issuer=Tenant(self.name),
            pass_id=make_pass_id(0, index),
            issued_at_s=self.now_s,
            not_before_s=None,
            expires_at_s=self.now_s + 7 * 86_400,
            holder_key=None if holder is None else holder.public_key,
            kind=kind,
            flags=PassFlags.NONE,
            access_levels=(1,),
        )
        return seal_pass(claims, self.signers[KeyPurpose.PASS])

    def trust_state(self, *, revoked: Iterable[int] = ()) -> TrustState:
        """Give what a door of this tenant believes."""
        bits = bytearray(LIST_BYTES)
        for index in revoked:
            bits[index >> 3] |= 1 << (index & 7)
        held = HeldStatus(sequence=1, issued_at_s=self.now_s, expires_at_s=self.now_s + 7 * 86_400, bits=bytes(bits))
        return TrustState(open_trust(self.trust(), self.root.public_key), {0: held})

    def policy_state(self, zone: tzinfo, *, settings: DoorSettings | None = None) -> PolicyState:
        """Give the rules of door "main"."""
        return PolicyState(self.policy_bundle(settings=settings), zone)

    def write_materials(self, folder: Path, *, door: str = "main", settings: DoorSettings | None = None) -> None:
        """Write what provisioning leaves in a door's state folder."""
        folder.mkdir(parents=True, exist_ok=True)
        pinned = PinnedTrust(self.root.public_key, self.trust())
        (folder / "root.cbor").write_bytes(encode_pinned(pinned))
        (folder / "trust.cose").write_bytes(self.trust())
        (folder / "status-0.cose").write_bytes(self.status())
        (folder / "policy.cose").write_bytes(self.policy(door, settings=settings))


def present(pass_bytes: bytes, holder: P256Signer, *, at_s: int, audience: str = "hq") -> bytes:
    """Sign a presentation in its text form, as a wallet shows it."""
    return to_text(seal_presentation(pass_bytes, holder, issued_at_s=at_s, audience=audience))
