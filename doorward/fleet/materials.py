"""The signed documents of many simulated doors: verified as a door verifies them, parsed once for all that share them.

Invariant: a document is in force at a door only if its signature holds under that door's pinned root; the same bytes
under the same keys are verified once in a process.
Must not: be used by a real door, which keeps its documents (edge/materials.py).
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, TypeVar

from wire.command import MAX_COMMAND_BYTES
from wire.command_list import parse_command_list
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError, WireReason
from wire.keys import PublicKey
from wire.names import DoorId, EventKind, KeyId, KeyPurpose, Tenant
from wire.policy import MAX_POLICY_BYTES, PolicyBundle, open_policy
from wire.roster import MAX_ROSTER_BYTES, Roster, open_roster
from wire.roster_delta import MAX_ROSTER_DELTA_BYTES, apply_roster_delta, open_roster_delta
from wire.status_delta import MAX_DELTA_BYTES, apply_delta, open_delta
from wire.status_list import StatusList, open_status_list, status_key_id
from wire.trust import TrustBundle, TrustedKey, advance_trust
from wire.versions import Versions

_SHARED: Final = 256
"""Parsed documents kept for doors that ask later: lists, rosters and their deltas of some versions."""

T = TypeVar("T")


class Shared:
    """What doors of one process have verified and parsed, by the bytes and everything else that decides."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[object, ...], tuple[object, tuple[object, ...]]] = OrderedDict()

    def once(self, work: Callable[..., T], *given: Any) -> T:  # noqa: ANN401 - what the work takes
        """Do some work, or give what it gave for the very same arguments; only the least recently used is forgotten."""
        # Bytes count by their content; objects by identity, which holds while they are kept here.
        key = (work, *(item if isinstance(item, bytes) else id(item) for item in given))
        known = self._found.get(key)
        if known is not None:
            self._found.move_to_end(key)
            return known[0]  # type: ignore[return-value] # what `work` gave
        made = work(*given)
        self._found[key] = (made, given)
        if len(self._found) > _SHARED:
            self._found.popitem(last=False)
        return made


class FleetMaterials:
    """`sync.ports.Materials` of one simulated door.

    Args:
        shared: of the process.
        tenant, door: what the documents must be for.
        tell: journals that something came into force.
        obey: is given each command with the counter of the one before; judges and journals it, and gives the counter
            that was taken.
    """

    def __init__(
        self,
        shared: Shared,
        *,
        tenant: Tenant,
        door: DoorId,
        tell: Callable[[EventKind], None],
        obey: Callable[[bytes, TrustedKey | None, int], int],
    ) -> None:
        self._shared = shared
        self._tenant = tenant
        self._door = door
        self._tell = tell
        self._obey = obey
        self._trust: TrustBundle | None = None
        self._taken = 0
        self.root: PublicKey | None = None
        """Pinned at bootstrap; without it nothing is accepted."""
        self.policy: PolicyBundle | None = None
        self.statuses: dict[int, StatusList] = {}
        self.roster: Roster | None = None

    def trust(self) -> TrustBundle | None:
        """Give the bundle in force."""
        return self._trust

    def versions(self) -> Versions:
        """Give what is in force."""
        return Versions(
            trust=0 if self._trust is None else self._trust.version,
            policy=0 if self.policy is None else self.policy.version,
            status={number: status.sequence for number, status in self.statuses.items()},
            roster=self.roster_base(),
            commands=self._taken,
        )

    async def accept_trust(self, data: bytes) -> None:
        """Take over a trust bundle."""
        if self.root is None:
            raise WireError(WireReason.KEY_INVALID, "trust.root")
        bundle = self._shared.once(advance_trust, self._trust, data, self.root)
        _require(bundle.tenant == self._tenant, "trust.tenant")
        if bundle is not self._trust:
            self._trust = bundle
            self._tell(EventKind.TRUST_UPDATED)

    async def accept_policy(self, data: bytes) -> None:
        """Take over a policy bundle."""
        bundle = open_policy(data, self._signer(data, MAX_POLICY_BYTES, KeyPurpose.POLICY, "policy"))
        _require((bundle.tenant, bundle.door) == (self._tenant, self._door), "policy.door")
        if self.policy is not None and bundle.version <= self.policy.version:
            raise WireError(WireReason.ROLLBACK, "policy.version")
        self.policy = bundle
        self._tell(EventKind.POLICY_UPDATED)

    async def accept_status(self, data: bytes) -> None:
        """Take over a whole status list."""
        key = self._key(status_key_id(data), KeyPurpose.STATUS, "status.kid").key
        self._replace(self._shared.once(open_status_list, data, key))

    async def accept_delta(self, data: bytes) -> None:
        """Apply the delta of a status list."""
        key = self._signer(data, MAX_DELTA_BYTES, KeyPurpose.STATUS, "delta")
        delta = self._shared.once(open_delta, data, key)
        current = self.statuses.get(delta.list_id)
        if current is None:
            raise WireError(WireReason.ROLLBACK, "delta.base_sequence")
        self._replace(self._shared.once(apply_delta, current, delta))

    def roster_base(self) -> int:
        """Give the version from which a delta of the roster is wanted."""
        return 0 if self.roster is None else self.roster.version

    async def accept_roster(self, data: bytes) -> None:
        """Take over a whole roster."""
        key = self._signer(data, MAX_ROSTER_BYTES, KeyPurpose.POLICY, "roster")
        self._enrol(self._shared.once(open_roster, data, key))

    async def accept_roster_delta(self, data: bytes) -> None:
        """Apply the delta of the roster."""
        if self.roster is None:
            raise WireError(WireReason.ROLLBACK, "delta.base_version")
        key = self._signer(data, MAX_ROSTER_DELTA_BYTES, KeyPurpose.POLICY, "delta")
        delta = self._shared.once(open_roster_delta, data, key)
        self._enrol(self._shared.once(apply_roster_delta, self.roster, delta))

    async def accept_commands(self, data: bytes) -> None:
        """Give a list of commands to the door, one after another."""
        found = parse_command_list(data)
        for command in found.commands:
            self._taken = max(self._taken, self._obey(command, self._command_key(command), self._taken))
        self._taken = max(self._taken, found.last)

    def _command_key(self, data: bytes) -> TrustedKey | None:
        try:
            envelope = parse_envelope(data, field="command", max_bytes=MAX_COMMAND_BYTES)
            return self._key(parse_key_header(envelope.protected, "command")[1], KeyPurpose.COMMAND, "command.kid")
        except WireError:
            return None

    def _replace(self, status: StatusList) -> None:
        _require(status.tenant == self._tenant, "status.sub")
        current = self.statuses.get(status.list_id)
        if current is not None and status.sequence < current.sequence:
            raise WireError(WireReason.ROLLBACK, "status.sequence")
        self.statuses[status.list_id] = status
        if current is None or status.sequence != current.sequence:
            self._tell(EventKind.STATUS_UPDATED)

    def _enrol(self, roster: Roster) -> None:
        _require(roster.tenant == self._tenant, "roster.tenant")
        if self.roster is not None and roster.version < self.roster.version:
            raise WireError(WireReason.ROLLBACK, "roster.version")
        if roster is not self.roster:
            self.roster = roster
            self._tell(EventKind.ROSTER_UPDATED)

    def _signer(self, data: bytes, max_bytes: int, purpose: KeyPurpose, field: str) -> PublicKey:
        envelope = parse_envelope(data, field=field, max_bytes=max_bytes)
        return self._key(parse_key_header(envelope.protected, field)[1], purpose, f"{field}.kid").key

    def _key(self, key_id: KeyId, purpose: KeyPurpose, field: str) -> TrustedKey:
        found = None if self._trust is None else self._trust.find(key_id, purpose)
        if found is None:
            raise WireError(WireReason.KEY_INVALID, field)
        return found


def _require(holds: object, field: str) -> None:
    if not holds:
        raise WireError(WireReason.OUT_OF_RANGE, field)
