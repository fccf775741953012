"""The cloud's side of the device protocol in memory, with real wire messages: a peer for the tests of `sync/`.

It keeps the rules of docs/spec/sync.md (skip what is there, stop at a gap, check the chain, answer with what is
durable) and nothing else; the real service is tested in tests/cloud and, with doors, in tests/e2e.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.virtual_time import WALL_START_MS, VirtualSurroundings
from wire.batch import Acknowledgement, open_batch, seal_acknowledgement
from wire.command_list import MAX_COMMANDS, CommandList, encode_command_list
from wire.errors import WireError
from wire.event import CHAIN_START, HASH_BYTES, chain_hash, parse_event
from wire.keys import Ed25519Signer, P256Signer
from wire.messages import (
    MEDIA_COMMANDS,
    MEDIA_COSE,
    MEDIA_ROSTER,
    MEDIA_ROSTER_DELTA,
    MEDIA_STATUS_DELTA,
    MEDIA_STATUS_LIST,
)
from wire.names import DoorId, KeyPurpose, PassFlags, PassKind, Tenant
from wire.policy import PolicyBundle, seal_policy
from wire.roster import Roster, RosterEntry, make_roster, seal_roster
from wire.roster_delta import make_roster_delta, seal_roster_delta
from wire.status_delta import make_delta, seal_delta
from wire.status_list import StatusList, seal_status_list
from wire.trust import TrustBundle, TrustedKey, seal_trust
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sync.ports import Surroundings
    from wire.keys import PublicKey, Signer

TENANT = Tenant("oakfield")
NOW_S = WALL_START_MS // 1000
YEAR_S = 365 * 86_400
DEVICE_SIGNER = P256Signer(ec.derive_private_key(0xD00D, ec.SECP256R1()))


def signer(number: int) -> Ed25519Signer:
    """Make a key that is the same in every run."""
    return Ed25519Signer(number.to_bytes(32, "big"))


class Refusal(Exception):
    """A problem document.

    Args:
        status: of HTTP.
        reason: for programs.
        durable: with SEQUENCE_GAP.
    """

    def __init__(self, status: int, reason: str, *, durable: int | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.durable = durable


@dataclass(frozen=True, slots=True)
class Document:
    """What a GET answers."""

    data: bytes
    media_type: str
    etag: str


@dataclass(slots=True)
class _Journal:
    """One epoch of a device, as the cloud stores it."""

    events: list[bytes] = field(default_factory=list)
    backed_up: int = 0


class PeerCloud:
    """A cloud with one institution, one door and one device.

    Args:
        surroundings: its clock and its patience.
        device: the key that signs the device's batches.

    Attributes:
        journals: epoch -> what is stored.
        root, pass_key, status_key, policy_key, acknowledgement_key: the institution's.
        trust_signer: signs the trust bundle in place of the root, to lie.
        reports: of health, as they came.
        requests: every batch's (first, last) that verified, in order of arrival.
        commands: those that still hold, by their counters.
        asked: each question for changes: what was held, and how long it would wait.
    """

    def __init__(self, surroundings: Surroundings | None = None, device: PublicKey = DEVICE_SIGNER.public_key) -> None:
        self._surroundings = surroundings or VirtualSurroundings()
        self.device = device
        self.trust_signer: Signer | None = None
        self.root, self.pass_key, self.status_key = signer(1), signer(2), signer(3)
        self.policy_key, self.acknowledgement_key = signer(4), signer(5)
        self.journals: OrderedDict[bytes, _Journal] = OrderedDict()
        self.requests: list[tuple[int, int]] = []
        self.commands: dict[int, bytes] = {}
        self.asked: list[tuple[Versions, float]] = []
        self.reports: list[bytes] = []
        self.trust = self._first_trust()
        self.policy = self._first_policy()
        self.statuses = {0: self._first_list(0)}
        self.roster: Roster | None = None
        self._older_roster: Roster | None = None
        self._older: dict[int, StatusList] = {}
        self._changed = asyncio.Event()

    # --- events up -----------------------------------------------------------------------------------------

    def take_batch(self, data: bytes) -> bytes:
        """Store what is new of a batch and give the signed acknowledgement.

        Raises:
            Refusal: nothing was stored.
        """
        try:
            batch = open_batch(data, self.device)
        except WireError as error:
            raise Refusal(400, "BATCH_INVALID") from error
        self.requests.append((batch.first, batch.last))
        journal = self._journal(batch.epoch, batch.first)
        durable = len(journal.events)
        if batch.first > durable + 1:
            raise Refusal(409, "SEQUENCE_GAP", durable=durable)
        skip = durable + 1 - batch.first
        if list(batch.events[:skip]) != journal.events[batch.first - 1 : batch.last]:
            raise Refusal(409, "CHAIN_BROKEN")
        for event in batch.events[skip:]:
            # An event ends with the hash of the one before (docs/spec/event.md).
            if event[-HASH_BYTES:] != (chain_hash(journal.events[-1]) if journal.events else CHAIN_START):
                del journal.events[durable:]
                raise Refusal(409, "CHAIN_BROKEN")
            journal.events.append(event)
        return self.acknowledgement(batch.epoch)

    def _journal(self, epoch: bytes, first: int) -> _Journal:
        if epoch in self.journals:
            if epoch != next(reversed(self.journals)):
                raise Refusal(409, "EPOCH_CLOSED")
        elif first != 1:
            raise Refusal(409, "SEQUENCE_GAP", durable=0)
        return self.journals.setdefault(epoch, _Journal())

    def acknowledgement(self, of: bytes, **changes: object) -> bytes:
        """Sign what is stored of an epoch; `changes` replace fields, to lie."""
        journal = self.journals.get(of, _Journal())
        fields: dict[str, object] = {
            "device": parse_event(journal.events[0]).device if journal.events else "main-entrance-k3v9",
            "epoch": of,
            "durable": len(journal.events),
            "head": chain_hash(journal.events[-1]) if journal.events else CHAIN_START,
            "backed_up": journal.backed_up,
            "issued_at_ms": self._surroundings.wall_ms(),
        }
        signing = changes.pop("signer", self.acknowledgement_key)
        assert isinstance(signing, Ed25519Signer)
        return seal_acknowledgement(Acknowledgement(**{**fields, **changes}), signing)  # type: ignore[arg-type]

    def back_up(self) -> None:
        """Make a backup of everything that is stored."""
        for journal in self.journals.values():
            journal.backed_up = len(journal.events)

    def restore(self) -> None:
        """Lose what is not in the backup."""
        for journal in self.journals.values():
            del journal.events[journal.backed_up :]

    # --- documents down ------------------------------------------------------------------------------------

    def versions(self) -> Versions:
        """Tell which documents there are."""
        lists = {number: status.sequence for number, status in self.statuses.items()}
        roster = 0 if self.roster is None else self.roster.version
        return Versions(self.trust.version, self.policy.version, lists, roster, max(self.commands, default=0))

    async def changes(self, held: Versions, *, wait_s: float) -> Versions:
        """Answer at once when anything differs, else once it does or `wait_s` is over."""
        self.asked.append((held, wait_s))
        self._changed.clear()
        if self._known(held) == held and wait_s > 0:
            await self._surroundings.wait_for(self._changed, wait_s)
        return self._known(held)

    def _known(self, held: Versions) -> Versions:
        """Commands that were taken are no news, whether or not they still hold."""
        found = self.versions()
        return replace(found, commands=max(found.commands, held.commands))

    def document(self, kind: str, query: Mapping[str, str]) -> Document:
        """Give "trust", "policy", "roster", "commands" or "status/N".

        Raises:
            Refusal: there is none.
        """
        if kind == "trust":
            return Document(
                seal_trust(self.trust, self.trust_signer or self.root), MEDIA_COSE, f'"{self.trust.version}"'
            )
        if kind == "policy":
            return Document(seal_policy(self.policy, self.policy_key), MEDIA_COSE, f'"{self.policy.version}"')
        if kind == "roster":
            return self._roster_document(query)
        if kind == "commands":
            return self._command_list(int(query["after"]))
        number = int(kind.removeprefix("status/"))
        if number not in self.statuses:
            raise Refusal(404, "STATUS_LIST_UNKNOWN")
        status, older = self.statuses[number], self._older.get(number)
        etag = f'"{status.sequence}"'
        if older is not None and query.get("since") == str(older.sequence):
            delta = seal_delta(make_delta(older, status), self.status_key)
            return Document(delta, MEDIA_STATUS_DELTA, etag)
        return Document(seal_status_list(status, self.status_key), MEDIA_STATUS_LIST, etag)

    def _roster_document(self, query: Mapping[str, str]) -> Document:
        roster, older = self.roster, self._older_roster
        if roster is None:
            raise Refusal(404, "ROSTER_UNKNOWN")
        etag = f'"{roster.version}"'
        if older is not None and query.get("since") == str(older.version):
            delta = seal_roster_delta(make_roster_delta(older, roster), self.policy_key)
            return Document(delta, MEDIA_ROSTER_DELTA, etag)
        return Document(seal_roster(roster, self.policy_key), MEDIA_ROSTER, etag)

    def _command_list(self, after: int) -> Document:
        found = sorted(counter for counter in self.commands if counter > after)[:MAX_COMMANDS]
        listed = CommandList(found[-1] if found else after, tuple(self.commands[each] for each in found))
        return Document(encode_command_list(listed), MEDIA_COMMANDS, "")

    def order(self, *counters: int) -> None:
        """Have commands with these counters wait for the door; nobody here reads them."""
        self.commands |= {counter: b"command %d" % counter for counter in counters}
        self._changed.set()

    def enrol(self, *numbers: int) -> None:
        """Have these credentials enrolled and no others."""
        old = self._older_roster = self.roster
        entries = {number.to_bytes(16, "big"): _entry(number) for number in numbers}
        self.roster = make_roster(
            entries,
            tenant=TENANT,
            site="campus",
            version=1 if old is None else old.version + 1,
            issued_at_s=NOW_S,
            pepper=bytes(32),
            level_sets=() if old is None else old.level_sets,
        )
        self._changed.set()

    def revoke(self, number: int, index: int) -> None:
        """Set a bit of a status list."""
        old = self.statuses[number]
        bits = bytearray(old.bits)
        bits[index >> 3] |= 1 << (index & 7)
        self._older[number] = old
        self.statuses[number] = _renumbered(old, old.sequence + 1, bytes(bits))
        self._changed.set()

    def add_list(self, number: int) -> None:
        """Begin one more status list."""
        self.statuses[number] = self._first_list(number)
        self._changed.set()

    def publish_policy(self) -> None:
        """Give the door a new policy, with the same content."""
        self.policy = _reissued(self.policy)
        self._changed.set()

    def publish_trust(self, *more: TrustedKey) -> None:
        """Give the institution a new trust bundle, with more keys."""
        old = self.trust
        self.trust = TrustBundle(
            tenant=old.tenant, version=old.version + 1, issued_at_s=old.issued_at_s, keys=(*old.keys, *more)
        )
        self._changed.set()

    def _first_trust(self) -> TrustBundle:
        purposes = {
            KeyPurpose.PASS: self.pass_key,
            KeyPurpose.STATUS: self.status_key,
            KeyPurpose.POLICY: self.policy_key,
            KeyPurpose.ACKNOWLEDGEMENT: self.acknowledgement_key,
        }
        keys = tuple(trusted(key, purpose) for purpose, key in purposes.items())
        return TrustBundle(tenant=TENANT, version=1, issued_at_s=NOW_S, keys=keys)

    def _first_policy(self) -> PolicyBundle:
        return PolicyBundle(
            tenant=TENANT,
            door=DoorId("main-entrance"),
            version=1,
            issued_at_s=NOW_S,
            timezone="UTC",
            levels={7: (0,)},
            schedules={},
        )

    def _first_list(self, number: int) -> StatusList:
        return StatusList(
            tenant=TENANT,
            list_id=number,
            sequence=1,
            issued_at_s=NOW_S,
            expires_at_s=NOW_S + 7 * 86_400,
            ttl_s=3_600,
            bits=bytes(128),
        )


def trusted(
    key: Ed25519Signer, purpose: KeyPurpose, *, starts_s: int = NOW_S - YEAR_S, ends_s: int = NOW_S + YEAR_S
) -> TrustedKey:
    """Make an entry of a trust bundle."""
    return TrustedKey(key=key.public_key, purpose=purpose, not_before_s=starts_s, expires_at_s=ends_s)


def _entry(number: int) -> RosterEntry:
    return RosterEntry(
        roster_id=number.to_bytes(8, "big"),
        kind=PassKind.STANDARD,
        flags=PassFlags.NONE,
        access_levels=(number % 3,),
        pin=None,
    )


def _renumbered(old: StatusList, sequence: int, bits: bytes) -> StatusList:
    return StatusList(
        tenant=old.tenant,
        list_id=old.list_id,
        sequence=sequence,
        issued_at_s=old.issued_at_s + 1,
        expires_at_s=old.expires_at_s + 1,
        ttl_s=old.ttl_s,
        bits=bits,
    )


def _reissued(old: PolicyBundle) -> PolicyBundle:
    return replace(old, version=old.version + 1, issued_at_s=old.issued_at_s + 1)
