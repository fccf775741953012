"""The gate through which rosters come: verified, committed, then in force; loaded again at the next start.

Invariant: what is in force is the kept snapshot with the kept deltas; a refused one leaves both as they were.
Must not: open a large roster on the event loop, or keep more deltas than it takes a moment to load.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edge.core.verify import Place
from edge.store import Store
from wire.envelope import parse_envelope, parse_key_header
from wire.errors import WireError, WireReason
from wire.keys import PublicKey
from wire.names import EventKind, KeyId
from wire.roster import MAX_ROSTER_BYTES, Roster, content_hash, open_roster
from wire.roster_delta import (
    MAX_ROSTER_DELTA_BYTES,
    RosterDelta,
    apply_roster_delta,
    apply_roster_deltas,
    open_roster_delta,
)

DELTAS_KEPT: Final = 64
"""After so many the next is asked for from the snapshot on, and takes their place; about a second to load on a small
computer."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What the store has: the snapshot's version and size, and the number and size of the deltas after it."""

    version: int = 0
    size_bytes: int = 0
    deltas: int = 0
    deltas_bytes: int = 0


class RosterGate:
    """Takes rosters over.

    Args:
        store: where they are kept.
        place: this door; a roster of another site is refused.
        find_key: gives the key that may sign rosters under this id, or raises WireError; the second is the field.
    """

    def __init__(self, store: Store, place: Place, find_key: Callable[[KeyId, str], PublicKey]) -> None:
        self._store = store
        self._place = place
        self._find_key = find_key
        self._kept: _Kept | None = _Kept()
        self._hash = b""
        self.held: Roster | None = None

    @property
    def base_version(self) -> int:
        """The version from which a delta is wanted; 0 when the whole roster is.

        That in force; that of the snapshot once many deltas follow it; and none once they are half as large as it, or
        when the store failed, which may have kept what it was given all the same.
        """
        kept = self._kept
        if self.held is None or kept is None or 2 * kept.deltas_bytes > kept.size_bytes:
            return 0
        return self.held.version if kept.deltas < DELTAS_KEPT else kept.version

    async def load(self) -> None:
        """Take over what the store keeps.

        Raises:
            WireError: it is refused; the door then has no roster, rather than one from which somebody was removed.
        """
        snapshot = await self._store.roster_snapshot()
        if snapshot is None:
            return
        stored = await self._store.roster_deltas()
        first = roster = await self._open(snapshot)
        deltas = [await self._open_delta(data) for data in stored]
        if deltas:
            roster = await asyncio.to_thread(apply_roster_deltas, first, deltas)
        await self._hold(roster)
        self._kept = _Kept(first.version, len(snapshot), len(deltas), sum(map(len, stored)))

    async def accept(self, data: bytes) -> EventKind | None:
        """Take over a whole roster; gives what to journal, None when nothing but its age changed.

        Raises:
            WireError: it is refused.
            StoreError: it could not be kept.
        """
        roster, held = await self._open(data), self.held
        if held is not None and roster.version <= held.version:
            if roster == held:
                return None
            raise WireError(WireReason.ROLLBACK, "roster.version")
        self._kept = None
        await self._store.put_roster(data)
        self._kept = _Kept(roster.version, len(data))
        return await self._hold(roster)

    async def accept_delta(self, data: bytes) -> EventKind | None:
        """Apply a delta to what is in force, or to the snapshot when it was made from that; otherwise as `accept`."""
        delta, held, kept = await self._open_delta(data), self.held, self._kept
        if held is None or kept is None or delta.version <= held.version:
            raise WireError(WireReason.ROLLBACK, "roster_delta.version")
        alone = delta.base_version < held.version
        base = await self._snapshot(delta, kept) if alone else held
        roster = await asyncio.to_thread(apply_roster_delta, base, delta)
        changed = delta.before != delta.after
        self._kept = None
        deltas = await self._store.put_roster_delta(delta.version, data, changed=changed, alone=alone)
        self._kept = _Kept(kept.version, kept.size_bytes, *deltas)
        return await self._hold(roster)

    async def _hold(self, roster: Roster) -> EventKind | None:
        before, self._hash = self._hash, await asyncio.to_thread(content_hash, roster)
        self.held = roster
        return None if self._hash == before else EventKind.ROSTER_UPDATED

    async def _snapshot(self, delta: RosterDelta, kept: _Kept) -> Roster:
        """Open the kept snapshot again, from which a delta was made."""
        snapshot = await self._store.roster_snapshot()
        if snapshot is None or delta.base_version != kept.version:
            raise WireError(WireReason.ROLLBACK, "roster_delta.base_version")
        return await self._open(snapshot)

    async def _open(self, data: bytes) -> Roster:
        key = self._find_key(await asyncio.to_thread(_key_id, data, "roster", MAX_ROSTER_BYTES), "roster.kid")
        roster = await asyncio.to_thread(open_roster, data, key)
        if (roster.tenant, roster.site) != (self._place.tenant, self._place.site):
            raise WireError(WireReason.OUT_OF_RANGE, "roster.site")
        return roster

    async def _open_delta(self, data: bytes) -> RosterDelta:
        key_id = await asyncio.to_thread(_key_id, data, "roster_delta", MAX_ROSTER_DELTA_BYTES)
        return await asyncio.to_thread(open_roster_delta, data, self._find_key(key_id, "roster_delta.kid"))


def _key_id(data: bytes, field: str, max_bytes: int) -> KeyId:
    return parse_key_header(parse_envelope(data, field=field, max_bytes=max_bytes).protected, field)[1]
