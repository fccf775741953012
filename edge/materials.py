"""What a door decides by: root, trust bundle, revocation lists, policy, roster. Verified, committed, then in force.

Invariant: a document is in force only after its signature was checked under the pinned root and it was committed;
a refused one leaves the old in force, and so does one that would shut everybody out unless a person ordered that.
Must not: fetch anything; synchronisation brings the bytes.
"""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.core.policy import PolicyState
from edge.core.tap import Input, Noted, PolicyReplaced, RosterReplaced, TrustReplaced
from edge.core.trust import HeldStatus, TrustState
from edge.core.verify import Place
from edge.database import Document
from edge.roster_gate import RosterGate
from edge.store import Store, StoreReason
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError, WireReason
from wire.keys import PublicKey
from wire.names import EventKind, KeyId, KeyPurpose, Reason
from wire.policy import MAX_POLICY_BYTES, PolicyBundle, open_policy, refuse_lockout
from wire.roster import Roster
from wire.status_delta import MAX_DELTA_BYTES, apply_delta, open_delta
from wire.status_list import StatusList, open_status_list, status_key_id
from wire.trust import TrustBundle, advance_trust, parse_pinned

ROOT_FILE: Final = "root.cbor"
TRUST_FILE: Final = "trust.cose"
POLICY_FILE: Final = "policy.cose"
STATUS_GLOB: Final = "status-*.cose"
REFUSED_POLICY: Final = "refused_policy"
"""The version that was last refused for locking everybody out: it is offered again and again, and journaled once."""


@dataclass(frozen=True, slots=True)
class Held:
    """What is in force; versions are 0 where there is none."""

    trust: TrustBundle | None
    policy: PolicyBundle | None
    statuses: Mapping[int, StatusList]
    roster: Roster | None = None


class Origin(Enum):
    """Where a document comes from: kept here, left by provisioning, or offered by the cloud now."""

    STORE = "store"
    PROVISIONING = "provisioning"
    CLOUD = "cloud"


@dataclass(frozen=True, slots=True)
class Fault:
    """A document that was not taken over at start, and why."""

    field: str
    reason: WireReason | StoreReason


class Materials:
    """The documents in force, and the gate through which newer ones come.

    Args:
        store: where they are kept.
        place: this door; a policy for another is refused.
        root: the pinned root key.
        feed: the controller's inlet; told after each commit.
        now_s: Unix seconds, None while the clock is suspect (then a signing key's validity cannot be judged).

    Attributes:
        faults: of the documents that were refused at start.
    """

    def __init__(
        self,
        store: Store,
        place: Place,
        root: PublicKey,
        feed: Callable[[Input], None],
        now_s: Callable[[], int | None],
    ) -> None:
        self._store = store
        self._place = place
        self._root = root
        self._feed = feed
        self._now_s = now_s
        self._one_at_a_time = asyncio.Lock()
        self._rosters = RosterGate(store, place, lambda key_id, field: self._key(key_id, KeyPurpose.POLICY, field))
        self.held = Held(None, None, {})
        self.faults: list[Fault] = []
        self._damaged: Mapping[int, int] = {}

    # --- at start ------------------------------------------------------------------------------------------

    async def load(self, folder: Path) -> list[Fault]:
        """Take over what the store keeps, else what provisioning left in the folder.

        Of what the store keeps the newest that can be opened counts: the last good rules keep working.

        Returns:
            The faults of documents that were refused; the door starts with older ones, or without any and denies
            accordingly.
        """
        faults = self.faults = []
        await self._load(Document.TRUST, folder / TRUST_FILE, self._take_trust, faults)
        kept = await self._store.statuses()
        self._hold(statuses={status.list_id: status for status in kept.lists})
        self._damaged = kept.damaged
        if kept.damaged:
            faults += [Fault(f"status-{number}", StoreReason.DAMAGED) for number in sorted(kept.damaged)]
            self._feed(Noted(EventKind.STORAGE_FAULT))
        self._announce(None)
        for file in await asyncio.to_thread(lambda: sorted(folder.glob(STATUS_GLOB))):
            if _list_number(file) not in self.held.statuses:
                await _noting(faults, self.accept_status(await asyncio.to_thread(file.read_bytes)))
        await self._load(Document.POLICY, folder / POLICY_FILE, self._take_policy, faults)
        await _noting(faults, self._load_roster())
        return faults

    async def _load(
        self,
        kind: Document,
        file: Path,
        take: Callable[[bytes, Origin], Coroutine[None, None, None]],
        faults: list[Fault],
    ) -> None:
        """Take over the newest document of the store that can be opened, else provisioning's file."""
        for kept in await self._store.documents(kind):
            if await _noting(faults, take(kept, Origin.STORE)):
                return
        provisioned = await _read(file)
        if provisioned is not None:
            await _noting(faults, take(provisioned, Origin.PROVISIONING))

    # --- the gate ------------------------------------------------------------------------------------------

    async def accept_trust(self, data: bytes) -> None:
        """Take over a trust bundle.

        Raises:
            WireError: it is not the root's, goes back, or is another tenant's.
            StoreError: it could not be kept.
        """
        await self._take_trust(data, Origin.CLOUD)

    async def _take_trust(self, data: bytes, origin: Origin) -> None:
        async with self._one_at_a_time:
            bundle = advance_trust(self.held.trust, data, self._root)
            if bundle.tenant != self._place.tenant:
                raise WireError(WireReason.OUT_OF_RANGE, "trust.tenant")
            if bundle == self.held.trust:
                return
            await self._keep(Document.TRUST, bundle.version, data, origin)
            self._hold(trust=bundle)
            self._announce(None if origin is Origin.STORE else EventKind.TRUST_UPDATED)

    async def accept_policy(self, data: bytes) -> None:
        """Take over a policy bundle; raises as `accept_trust`, also when it would shut everybody out."""
        await self._take_policy(data, Origin.CLOUD)

    async def _take_policy(self, data: bytes, origin: Origin) -> None:
        async with self._one_at_a_time:
            envelope = parse_envelope(data, field="policy", max_bytes=MAX_POLICY_BYTES)
            key_id = parse_key_header(envelope.protected, "policy")[1]
            key = self._key(key_id, KeyPurpose.POLICY, "policy.kid", fresh=origin is not Origin.STORE)
            bundle = open_policy(data, key)
            if (bundle.tenant, bundle.door) != (self._place.tenant, self._place.door):
                raise WireError(WireReason.OUT_OF_RANGE, "policy.door")
            held = self.held.policy
            if held is not None and bundle.version <= held.version:
                if bundle == held:
                    return
                raise WireError(WireReason.ROLLBACK, "policy.version")
            zone = _zone(bundle.timezone)
            if origin is not Origin.STORE:
                await self._refuse_lockout(bundle)
            await self._keep(Document.POLICY, bundle.version, data, origin)
            self._hold(policy=bundle)
            kind = None if origin is Origin.STORE else EventKind.POLICY_UPDATED
            self._feed(PolicyReplaced(PolicyState(bundle, zone), kind))

    async def _keep(self, kind: Document, version: int, data: bytes, origin: Origin) -> None:
        """Commit a document that the store does not have; the cloud's not, if a newer one was ever in force here.

        Raises:
            WireError: ROLLBACK, a newer one was, be it unreadable now.
        """
        if origin is Origin.STORE:
            return
        newest = f"newest_{kind.value}"
        before = await self._store.number(newest)
        if origin is Origin.CLOUD and version < before:
            raise WireError(WireReason.ROLLBACK, f"{kind.value}.version")
        await self._store.put_document(kind, version, data)
        if version > before:
            await self._store.set_numbers({newest: version})

    async def _refuse_lockout(self, bundle: PolicyBundle) -> None:
        try:
            refuse_lockout(bundle, self.held.policy)
        except WireError:
            if await self._store.number(REFUSED_POLICY) != bundle.version:
                self._feed(Noted(EventKind.POLICY_REFUSED, reason=Reason.LOCKS_EVERYONE_OUT))
                await self._store.set_numbers({REFUSED_POLICY: bundle.version})
            raise

    async def accept_status(self, data: bytes) -> None:
        """Take over a whole status list; raises as `accept_trust`."""
        async with self._one_at_a_time:
            status = open_status_list(data, self._key(status_key_id(data), KeyPurpose.STATUS, "status.kid"))
            await self._replace_status(status)

    async def accept_delta(self, data: bytes) -> None:
        """Apply the delta of a status list; raises as `accept_trust`."""
        async with self._one_at_a_time:
            envelope = parse_envelope(data, field="delta", max_bytes=MAX_DELTA_BYTES)
            key = self._key(parse_key_header(envelope.protected, "delta")[1], KeyPurpose.STATUS, "delta.kid")
            delta = open_delta(data, key)
            current = self.held.statuses.get(delta.list_id)
            if current is None:
                raise WireError(WireReason.ROLLBACK, "delta.base_sequence")
            await self._replace_status(apply_delta(current, delta))

    @property
    def roster_base(self) -> int:
        """The version from which a roster's delta is wanted, 0 when the whole is."""
        return self._rosters.base_version

    async def accept_roster(self, data: bytes) -> None:
        """Take over a whole roster; raises as `accept_trust`."""
        async with self._one_at_a_time:
            self._enrol(await self._rosters.accept(data))

    async def accept_roster_delta(self, data: bytes) -> None:
        """Apply the delta of the roster; raises as `accept_trust`."""
        async with self._one_at_a_time:
            self._enrol(await self._rosters.accept_delta(data))

    async def _load_roster(self) -> None:
        await self._rosters.load()
        self._enrol(None)

    def _enrol(self, kind: EventKind | None) -> None:
        roster = self._rosters.held
        if roster is not None and roster is not self.held.roster:
            self._hold(roster=roster)
            self._feed(RosterReplaced(roster, kind))

    async def _replace_status(self, status: StatusList) -> None:
        if status.tenant != self._place.tenant:
            raise WireError(WireReason.OUT_OF_RANGE, "status.sub")
        current = self.held.statuses.get(status.list_id)
        older = status.sequence < self._damaged.get(status.list_id, 0)
        if older or (current is not None and _goes_back(current, status)):
            raise WireError(WireReason.ROLLBACK, "status.sequence")
        if status == current:
            return
        await self._store.put_status(status)
        self._hold(statuses={**self.held.statuses, status.list_id: status})
        changed = current is None or current.sequence != status.sequence
        self._announce(EventKind.STATUS_UPDATED if changed else None)

    def _hold(
        self,
        *,
        trust: TrustBundle | None = None,
        policy: PolicyBundle | None = None,
        statuses: Mapping[int, StatusList] | None = None,
        roster: Roster | None = None,
    ) -> None:
        held = self.held
        lists = held.statuses if statuses is None else statuses
        self.held = Held(trust or held.trust, policy or held.policy, lists, roster or held.roster)

    def _key(self, key_id: KeyId, purpose: KeyPurpose, field: str, *, fresh: bool = True) -> PublicKey:
        """Find who signed; in its time is asked of what comes fresh, what was kept came in time."""
        found = None if self.held.trust is None else self.held.trust.find(key_id, purpose)
        if found is None:
            raise WireError(WireReason.KEY_INVALID, field)
        now_s = self._now_s() if fresh else None
        if now_s is not None and not found.not_before_s <= now_s < found.expires_at_s:
            raise WireError(WireReason.OUT_OF_RANGE, field)
        return found.key

    def _announce(self, kind: EventKind | None) -> None:
        if self.held.trust is not None:
            self._feed(TrustReplaced(TrustState(self.held.trust, _as_held(self.held.statuses)), kind))


def _as_held(statuses: Mapping[int, StatusList]) -> dict[int, HeldStatus]:
    return {
        number: HeldStatus(
            sequence=status.sequence,
            issued_at_s=status.issued_at_s,
            expires_at_s=status.expires_at_s,
            bits=status.bits,
        )
        for number, status in statuses.items()
    }


def _goes_back(current: StatusList, status: StatusList) -> bool:
    """A list may be signed anew under the same number, with the same bits and a later time; never go back."""
    same = status.sequence == current.sequence
    changed = hashlib.sha256(status.bits).digest() != hashlib.sha256(current.bits).digest()
    return status.sequence < current.sequence or (same and (changed or status.issued_at_s < current.issued_at_s))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise WireError(WireReason.UNKNOWN_VALUE, "policy.timezone") from error


def _list_number(file: Path) -> int:
    digits = file.stem.removeprefix("status-")
    return int(digits) if digits.isdecimal() else -1


async def _read(file: Path) -> bytes | None:
    try:
        return await asyncio.to_thread(file.read_bytes)
    except FileNotFoundError:
        return None


async def _noting(faults: list[Fault], taking: Coroutine[None, None, None]) -> bool:
    """Tell whether it was taken over."""
    try:
        await taking
    except WireError as error:
        faults.append(Fault(error.field, error.reason))
        return False
    return True


def read_root(folder: Path) -> PublicKey:
    """Read the pinned root key that provisioning left.

    Raises:
        OSError: the file is missing or unreadable.
        WireError: it is no pinned trust file.
    """
    return parse_pinned((folder / ROOT_FILE).read_bytes()).root
