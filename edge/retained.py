"""What a door's recordings name, found again in its own database, beside a daemon that goes on.

Invariant: nothing is written, and a document counts only once its signature was checked under the pinned root.
Must not: keep a transaction open for longer than one look-up: the daemon's log could not be folded meanwhile.
"""

import sqlite3
from pathlib import Path
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge.core.policy import PolicyState
from edge.core.trust import HeldStatus, PassMemo, TrustState
from edge.recording import Kept, PolicyReference, StatusReference, TrustReference
from edge.recording_forms import RecordingError, RecordingReason, unreadable
from edge.recording_tables import reading
from edge.schema import MIGRATIONS
from edge.status_tables import DamagedError, bits_at
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError
from wire.keys import PublicKey
from wire.names import KeyId, KeyPurpose
from wire.policy import MAX_POLICY_BYTES, PolicyBundle, open_policy
from wire.trust import TrustBundle, open_trust

READ_DEADLINE_S = 5.0


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
            envelope = parse_envelope(data, field="policy", max_bytes=MAX_POLICY_BYTES)
            bundle = open_policy(data, self._policy_key(parse_key_header(envelope.protected, "policy")[1]))
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

    def _document(self, kind: Kept, version: int) -> bytes:
        row = self._connection.execute(
            "SELECT bytes FROM document WHERE kind = ? AND version = ?", (kind.value, version)
        ).fetchone()
        if row is None:
            raise RecordingError(RecordingReason.NOT_KEPT, f"{kind.value} {version}")
        return bytes(row[0])
