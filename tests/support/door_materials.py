"""A door's signed documents in memory: verified as the daemon verifies them, with the functions of `wire`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wire.command_list import parse_command_list
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError, WireReason
from wire.names import KeyPurpose
from wire.policy import MAX_POLICY_BYTES, open_policy
from wire.roster import MAX_ROSTER_BYTES, open_roster
from wire.roster_delta import MAX_ROSTER_DELTA_BYTES, apply_roster_delta, open_roster_delta
from wire.status_delta import MAX_DELTA_BYTES, apply_delta, open_delta
from wire.status_list import open_status_list, status_key_id
from wire.trust import advance_trust
from wire.versions import Versions

if TYPE_CHECKING:
    from wire.keys import PublicKey
    from wire.names import KeyId
    from wire.policy import PolicyBundle
    from wire.roster import Roster
    from wire.status_list import StatusList
    from wire.trust import TrustBundle


class MemoryMaterials:
    """Verifies and keeps.

    Args:
        root: the pinned root key.

    Attributes:
        accepted: what was put into force, in order: "trust 1", "status 0:1", "delta 0:2", "policy 1", "roster 1",
            "roster delta 2".
        refused: what was not.
    """

    def __init__(self, root: PublicKey) -> None:
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.statuses: dict[int, StatusList] = {}
        self.policy: PolicyBundle | None = None
        self.roster: Roster | None = None
        self.commands: list[bytes] = []
        self._taken = 0
        self._root = root
        self._trust: TrustBundle | None = None

    def trust(self) -> TrustBundle | None:
        return self._trust

    def versions(self) -> Versions:
        return Versions(
            0 if self._trust is None else self._trust.version,
            0 if self.policy is None else self.policy.version,
            {number: status.sequence for number, status in self.statuses.items()},
            self.roster_base(),
            self._taken,
        )

    async def accept_trust(self, data: bytes) -> None:
        try:
            self._trust = advance_trust(self._trust, data, self._root)
        except WireError:
            self.refused.append("trust")
            raise
        self.accepted.append(f"trust {self._trust.version}")

    async def accept_policy(self, data: bytes) -> None:
        try:
            header = parse_envelope(data, field="policy", max_bytes=MAX_POLICY_BYTES).protected
            self.policy = open_policy(data, self._key(parse_key_header(header, "policy")[1], KeyPurpose.POLICY))
        except WireError:
            self.refused.append("policy")
            raise
        self.accepted.append(f"policy {self.policy.version}")

    async def accept_status(self, data: bytes) -> None:
        try:
            status = open_status_list(data, self._key(status_key_id(data), KeyPurpose.STATUS))
        except WireError:
            self.refused.append("status")
            raise
        self.statuses[status.list_id] = status
        self.accepted.append(f"status {status.list_id}:{status.sequence}")

    async def accept_delta(self, data: bytes) -> None:
        try:
            header = parse_envelope(data, field="delta", max_bytes=MAX_DELTA_BYTES).protected
            delta = open_delta(data, self._key(parse_key_header(header, "delta")[1], KeyPurpose.STATUS))
            status = apply_delta(self.statuses[delta.list_id], delta)
        except WireError:
            self.refused.append("delta")
            raise
        self.statuses[status.list_id] = status
        self.accepted.append(f"delta {status.list_id}:{status.sequence}")

    def roster_base(self) -> int:
        return 0 if self.roster is None else self.roster.version

    async def accept_roster(self, data: bytes) -> None:
        try:
            header = parse_envelope(data, field="roster", max_bytes=MAX_ROSTER_BYTES).protected
            self.roster = open_roster(data, self._key(parse_key_header(header, "roster")[1], KeyPurpose.POLICY))
        except WireError:
            self.refused.append("roster")
            raise
        self.accepted.append(f"roster {self.roster.version}")

    async def accept_roster_delta(self, data: bytes) -> None:
        try:
            header = parse_envelope(data, field="delta", max_bytes=MAX_ROSTER_DELTA_BYTES).protected
            delta = open_roster_delta(data, self._key(parse_key_header(header, "delta")[1], KeyPurpose.POLICY))
            assert self.roster is not None
            self.roster = apply_roster_delta(self.roster, delta)
        except WireError:
            self.refused.append("roster delta")
            raise
        self.accepted.append(f"roster delta {self.roster.version}")

    async def accept_commands(self, data: bytes) -> None:
        found = parse_command_list(data)
        self.commands += found.commands
        self._taken = found.last
        self.accepted.append(f"commands {found.last}")

    def _key(self, key_id: KeyId, purpose: KeyPurpose) -> PublicKey:
        found = None if self._trust is None else self._trust.find(key_id, purpose)
        if found is None:
            raise WireError(WireReason.KEY_INVALID, "kid")
        return found.key
