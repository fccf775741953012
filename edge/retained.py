"""What a door's recordings name, found again in its own database, beside a daemon that goes on.

Invariant: nothing is written, and a document counts only once its signature was checked under the pinned root.
Must not: keep a transaction open for longer than one look-up: the daemon's log could not be folded meanwhile.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.core.policy import PolicyState
from edge.core.trust import HeldStatus, PassMemo, TrustState
from edge.recording import Kept, PolicyReference, RosterReference, StatusReference, TrustReference
from edge.recording_forms import RecordingError, RecordingReason, unreadable
from edge.recording_tables import reading
from edge.schema import MIGRATIONS
from edge.status_tables import DamagedError, bits_at
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError
from wire.keys import PublicKey
from wire.names import KeyId, KeyPurpose
from wire.policy import MAX_POLICY_BYTES, PolicyBundle, open_policy
from wire.roster import MAX_ROSTER_BYTES, Roster, content_hash, open_roster
from wire.roster_delta import MAX_ROSTER_DELTA_BYTES, RosterDelta, apply_roster_deltas, open_roster_delta
from wire.trust import TrustBundle, open_trust

READ_DEADLINE_S = 5.0
_SNAPSHOT = (
    "SELECT bytes FROM roster_part WHERE snapshot ="
    " coalesce((SELECT value FROM fact_number WHERE name = 'roster_snapshot'), 0) ORDER BY number"
)
_DELTAS = "SELECT bytes FROM roster_delta UNION ALL SELECT bytes FROM roster_past"


class OtherSchemaError(Exception):
    """Another release wrote the database; its tables are not these."""


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a door's database without being able to change it.

    Raises:
        sqlite3.Error: it is missing, unreadable, or no database.
        OtherSchemaError: it is of another release.
    """
    address = f"file:{quote(str(path))}?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, timeout=READ_DEADLINE_S)
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except BaseException:
        connection.close()
        raise
    if version != len(MIGRATIONS):
        connection.close()
        raise OtherSchemaError
    return connection


class StoredDocuments:
    """The documents and lists that a database keeps.

    Args:
        connection: see `open_read_only`.
        root: the door's pinned root.
    """

    def __init__(self, connection: sqlite3.Connection, root: PublicKey) -> None:
        self._connection = connection
        self._root = root
        self._memo = PassMemo()
        self._bundles: dict[int, TrustBundle] = {}
        self._policies: dict[int, PolicyState] = {}
        self._roster: Roster | None = None
        self._newest: tuple[TrustReference, TrustState] | None = None

    def policy(self, reference: PolicyReference) -> PolicyState:
        """Find rules.

        Raises:
            RecordingError: NOT_KEPT, or UNREADABLE when the institution did not sign what is kept.
        """
        version = reference.version
        if version not in self._policies:
            bundle = self._policy_bundle(version)
            try:
                self._policies[version] = PolicyState(bundle, ZoneInfo(bundle.timezone))
            except (ZoneInfoNotFoundError, ValueError) as error:
                raise unreadable(f"time zone {bundle.timezone}") from error
        return self._policies[version]

    def _policy_bundle(self, version: int) -> PolicyBundle:
        data = self._document(Kept.POLICY, version)
        try:
            bundle = open_policy(data, self._signer(data, "policy", MAX_POLICY_BYTES))
        except WireError as error:
            raise unreadable(f"policy {version}") from error
        if bundle.version != version:
            raise unreadable(f"policy {version}")
        return bundle

    def _policy_key(self, key_id: KeyId) -> PublicKey:
        """Find the key under any trust bundle that is kept: the one of then may have been replaced since."""
        rows = self._connection.execute(
            "SELECT version FROM document WHERE kind = ? ORDER BY version DESC", (Kept.TRUST.value,)
        )
        found = (self._bundle(version).find(key_id, KeyPurpose.POLICY) for (version,) in rows.fetchall())
        key = next((each for each in found if each is not None), None)
        if key is None:
            raise unreadable(f"policy key {key_id.hex()}")
        return key.key

    def trust(self, reference: TrustReference) -> TrustState:
        """Find keys and lists; raises as `policy`."""
        if self._newest is None or self._newest[0] != reference:
            statuses = {each.list_id: self._status(each) for each in reference.statuses}
            # What was verified before needs no second look: the memory is by the exact bytes and key.
            self._newest = (reference, TrustState(self._bundle(reference.version), statuses, self._memo))
        return self._newest[1]

    def _bundle(self, version: int) -> TrustBundle:
        if version not in self._bundles:
            try:
                bundle = open_trust(self._document(Kept.TRUST, version), self._root)
            except WireError as error:
                raise unreadable(f"trust {version}") from error
            if bundle.version != version:
                raise unreadable(f"trust {version}")
            self._bundles[version] = bundle
        return self._bundles[version]

    def _status(self, reference: StatusReference) -> HeldStatus:
        place = f"status list {reference.list_id} at {reference.sequence}"
        try:
            with reading(self._connection):
                bits = bits_at(self._connection, reference.list_id, reference.sequence)
        except DamagedError as error:
            raise unreadable(place) from error
        if bits is None:
            raise RecordingError(RecordingReason.NOT_KEPT, place)
        return HeldStatus(
            sequence=reference.sequence,
            issued_at_s=reference.issued_at_s,
            expires_at_s=reference.expires_at_s,
            bits=bits,
        )

    def roster(self, reference: RosterReference) -> Roster:
        """Find enrolled credentials, by the snapshot and the deltas that lead from it; raises as `policy`."""
        version = reference.version
        if self._roster is None or self._roster.version != version:
            try:
                self._roster = self._roster_at(version)
            except WireError as error:
                raise unreadable(f"roster {version}") from error
        return self._roster

    def _roster_at(self, version: int) -> Roster:
        with reading(self._connection):
            snapshot = b"".join(row[0] for row in self._connection.execute(_SNAPSHOT).fetchall())
            stored = [row[0] for row in self._connection.execute(_DELTAS).fetchall()]
        if not snapshot:
            raise RecordingError(RecordingReason.NOT_KEPT, f"roster {version}")
        first = open_roster(snapshot, self._signer(snapshot, "roster", MAX_ROSTER_BYTES))
        if version == first.version:
            return first
        found = [open_roster_delta(data, self._signer(data, "delta", MAX_ROSTER_DELTA_BYTES)) for data in stored]
        return apply_roster_deltas(first, _path_to(version, content_hash(first), found))

    def _signer(self, data: bytes, field: str, max_bytes: int) -> PublicKey:
        envelope = parse_envelope(data, field=field, max_bytes=max_bytes)
        return self._policy_key(parse_key_header(envelope.protected, field)[1])

    def _document(self, kind: Kept, version: int) -> bytes:
        row = self._connection.execute(
            "SELECT bytes FROM document WHERE kind = ? AND version = ?", (kind.value, version)
        ).fetchone()
        if row is None:
            raise RecordingError(RecordingReason.NOT_KEPT, f"{kind.value} {version}")
        return bytes(row[0])


def _path_to(version: int, content: bytes, deltas: Sequence[RosterDelta]) -> list[RosterDelta]:
    """Find the deltas that lead from a content to a version; those that only refresh need not be among them."""
    path = [delta for delta in deltas if delta.version == version]
    while path and path[0].before != content:
        before = [
            delta
            for delta in deltas
            if delta.after == path[0].before != delta.before and delta.version < path[0].version
        ]
        path = [max(before, key=lambda delta: delta.version), *path] if before else []
    if not path:
        raise RecordingError(RecordingReason.NOT_KEPT, f"roster {version}")
    return path
