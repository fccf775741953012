"""An institution's keys in memory, and the files that offline verification takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wire.keys import Ed25519Signer, PublicKey
from wire.names import KeyPurpose, PassFlags, PassKind, Tenant
from wire.passes import Pass, make_pass_id, seal_pass
from wire.status_list import StatusList, seal_status_list
from wire.trust import PinnedTrust, TrustBundle, TrustedKey, encode_pinned, seal_trust

if TYPE_CHECKING:
    from pathlib import Path

    from wire.keys import Signer

NOW_S = 1_767_225_600
"""2026-01-01T00:00:00Z."""
DAY_S = 86_400
STATUS_LIST_BITS = 8_000


@dataclass(frozen=True, slots=True)
class Issuer:
    """An institution that issues at `NOW_S`; another `seed` gives other keys."""

    tenant: Tenant = Tenant("north-campus")  # noqa: RUF009 - a NewType is the string itself
    seed: int = 1
    root: Signer = field(init=False)
    passes: Signer = field(init=False)
    status: Signer = field(init=False)

    def __post_init__(self) -> None:
        for offset, name in enumerate(("root", "passes", "status")):
            object.__setattr__(self, name, Ed25519Signer(bytes([self.seed * 8 + offset]) * 32))

    def issue(self, holder: PublicKey | None, *, index: int = 77, kind: PassKind = PassKind.STANDARD) -> bytes:
        """Issue a pass for a week."""
        claims = Pass(
            issuer=self.tenant,
            pass_id=make_pass_id(0, index),
            issued_at_s=NOW_S,
            not_before_s=None,
            expires_at_s=NOW_S + 7 * DAY_S,
            holder_key=holder,
            kind=kind,
            flags=PassFlags.EXTENDED_RELEASE,
            access_levels=(1, 7),
        )
        return seal_pass(claims, self.passes)

    def write_trust(self, path: Path) -> Path:
        """Write the trust file."""
        keys = tuple(
            TrustedKey(key=key.public_key, purpose=purpose, not_before_s=NOW_S, expires_at_s=NOW_S + 365 * DAY_S)
            for key, purpose in ((self.passes, KeyPurpose.PASS), (self.status, KeyPurpose.STATUS))
        )
        bundle = TrustBundle(tenant=self.tenant, version=3, issued_at_s=NOW_S, keys=keys)
        path.write_bytes(encode_pinned(PinnedTrust(self.root.public_key, seal_trust(bundle, self.root))))
        return path

    def write_status(self, path: Path, *, revoked: tuple[int, ...] = (), list_id: int = 0) -> Path:
        """Write a status list of `NOW_S`."""
        bits = bytearray(STATUS_LIST_BITS // 8)
        for index in revoked:
            bits[index >> 3] |= 1 << (index & 7)
        status = StatusList(
            tenant=str(self.tenant),
            list_id=list_id,
            sequence=5,
            issued_at_s=NOW_S,
            expires_at_s=NOW_S + 30 * DAY_S,
            ttl_s=3_600,
            bits=bytes(bits),
        )
        path.write_bytes(seal_status_list(status, self.status))
        return path
