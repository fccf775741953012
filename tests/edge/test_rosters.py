"""Rosters at the door's gate: taken over, changed, refused, kept, and loaded again after any interruption."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from edge.core.effects import EventDraft
from edge.core.instant import Instant
from edge.core.tap import Input, RosterReplaced, State
from edge.core.verify import Place
from edge.database import Database, Entry, Identity
from edge.materials import Materials
from edge.report import plain_state, rfc3339
from edge.roster_gate import DELTAS_KEPT
from edge.store import PART_BYTES, Store, StoreError
from tests.support.tenant import TenantKeys
from tests.support.waiting import DEADLINE_S
from wire.errors import WireError, WireReason
from wire.names import ClockState, DeviceId, DoorId, EventKind, KeyPurpose, PassFlags, PassKind
from wire.roster import Roster, RosterEntry, seal_roster
from wire.roster_delta import make_roster_delta, seal_roster_delta

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine
    from pathlib import Path

PLACE = Place(tenant="north", site="hq", door="main")
NOW_S = int(time.time())
KEYS = TenantKeys("north", NOW_S)
_IDENTITY = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def entries(*numbers: int, level: int = 1) -> dict[bytes, RosterEntry]:
    return {
        key(number): RosterEntry(
            roster_id=number.to_bytes(8, "big"),
            kind=PassKind.STANDARD,
            flags=PassFlags.NONE,
            access_levels=(level,),
            pin=None,
        )
        for number in numbers
    }


def rosters(*numbers: tuple[int, ...]) -> list[Roster]:
    """Versions 1, 2 … of a roster with these entries."""
    return [KEYS.roster(entries(*each), version=version) for version, each in enumerate(numbers, 1)]


def refreshed(roster: Roster) -> Roster:
    return replace(roster, version=roster.version + 1, issued_at_s=roster.issued_at_s + 300)


class Gate:
    """A door's materials and what its controller was told of rosters."""

    def __init__(self, store: Store, keys: TenantKeys = KEYS) -> None:
        self.told: list[Input] = []
        self.materials = Materials(store, PLACE, keys.root.public_key, self.told.append, lambda: NOW_S)

    async def trusting(self, keys: TenantKeys = KEYS) -> Gate:
        await self.materials.accept_trust(keys.trust())
        return self

    async def change(self, old: Roster, new: Roster) -> None:
        await self.materials.accept_roster_delta(KEYS.sign_roster_delta(old, new))

    async def refused(self, data: bytes, *, delta: bool = False) -> tuple[WireReason, str]:
        before = self.materials.held
        accept = self.materials.accept_roster_delta if delta else self.materials.accept_roster
        with pytest.raises(WireError) as caught:
            await accept(data)
        assert self.materials.held == before
        return caught.value.reason, caught.value.field

    @property
    def held(self) -> Roster | None:
        return self.materials.held.roster

    @property
    def kinds(self) -> list[EventKind | None]:
        return [each.kind for each in self.told if isinstance(each, RosterReplaced)]


def opened(folder: Path) -> Store:
    return Store(Database(folder / "journal.db", _IDENTITY, new_epoch=bytes(8)), max_events=10)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = opened(tmp_path)
    yield store
    await store.aclose()


@pytest.fixture
async def gate(store: Store) -> Gate:
    return await Gate(store).trusting()


async def restarted(gate: Gate, folder: Path, store: Store) -> Gate:
    """Load what the store keeps into another gate."""
    again = Gate(store)
    assert await again.materials.load(folder) == []
    assert again.held == gate.held
    assert again.kinds == [None]
    return again


# --- a store that fails -------------------------------------------------------------------------------------


async def late(monkeypatch: pytest.MonkeyPatch, step: str, accepting: Coroutine[object, object, None]) -> None:
    """Have the store give up a step that is done all the same a moment later, as a slow card has it."""
    begun, usual = threading.Event(), getattr(Database, step)

    def slow(database: Database, *arguments: object, **more: object) -> object:
        assert begun.wait(DEADLINE_S)
        return usual(database, *arguments, **more)

    monkeypatch.setattr(Database, step, slow)
    monkeypatch.setattr("edge.store.CALL_DEADLINE_S", 0.05)
    with pytest.raises(StoreError):
        await accepting
    monkeypatch.undo()
    begun.set()


@pytest.mark.parametrize("step", ["put_roster_part", "settle_roster", "drop_roster_parts"])
async def test_a_roster_that_was_kept_too_late_is_asked_for_whole(
    gate: Gate, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
):
    """What the store has is not known then: a delta could follow a snapshot that it was not made from."""
    first, second, third = rosters((1, 2), (2, 3), (2, 3, 4))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    await late(monkeypatch, step, gate.materials.accept_roster(KEYS.sign_roster(second)))
    assert (gate.held, gate.materials.roster_base) == (first, 0)
    assert await gate.refused(KEYS.sign_roster_delta(first, third), delta=True) == (
        WireReason.ROLLBACK,
        "roster_delta.version",
    )
    await gate.materials.accept_roster(KEYS.sign_roster(third))
    assert gate.materials.roster_base == third.version
    assert (await restarted(gate, tmp_path, store)).held == third


async def test_a_delta_that_was_kept_too_late_is_not_kept_twice(
    gate: Gate, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first, second, third = rosters((1, 2), (2, 3), (2, 3, 4))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    await late(monkeypatch, "put_roster_delta", gate.change(first, second))
    assert (gate.held, gate.materials.roster_base) == (first, 0)
    await gate.materials.accept_roster(KEYS.sign_roster(second))
    await gate.change(second, third)
    assert (await restarted(gate, tmp_path, store)).held == third


# --- taken over and refused --------------------------------------------------------------------------------


async def test_a_roster_and_its_changes_take_effect_and_are_journaled(gate: Gate):
    first, second = rosters((1, 2), (2, 3))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    await gate.change(first, second)
    assert gate.held == second
    assert gate.kinds == [EventKind.ROSTER_UPDATED] * 2
    told = gate.told[-1]
    assert isinstance(told, RosterReplaced)
    assert told.roster.find(key(3)) == entries(3)[key(3)]
    assert told.roster.find(key(1)) is None


async def test_a_refresh_changes_the_age_and_nothing_is_journaled(gate: Gate):
    (first,) = rosters((1,))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    second = refreshed(first)
    await gate.change(first, second)
    assert gate.held == second
    await gate.materials.accept_roster(KEYS.sign_roster(refreshed(second)))
    assert gate.held == refreshed(second)
    assert gate.kinds == [EventKind.ROSTER_UPDATED, None, None]


async def test_a_roster_never_goes_back(gate: Gate):
    first, second = rosters((1, 2), (2,))
    await gate.materials.accept_roster(KEYS.sign_roster(second))
    await gate.materials.accept_roster(KEYS.sign_roster(second))
    assert gate.kinds == [EventKind.ROSTER_UPDATED]
    rollback = (WireReason.ROLLBACK, "roster.version")
    assert await gate.refused(KEYS.sign_roster(first)) == rollback
    assert await gate.refused(KEYS.sign_roster(replace(first, version=2))) == rollback
    delta = (WireReason.ROLLBACK, "roster_delta.version")
    assert await gate.refused(KEYS.sign_roster_delta(first, second), delta=True) == delta


async def test_a_delta_needs_the_roster_that_it_was_made_from(gate: Gate):
    first, second, third = rosters((1,), (1, 2), (1, 2, 3))
    delta = KEYS.sign_roster_delta(second, third)
    assert await gate.refused(delta, delta=True) == (WireReason.ROLLBACK, "roster_delta.version")
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    assert await gate.refused(delta, delta=True) == (WireReason.HASH_MISMATCH, "roster_delta.before")


@pytest.mark.parametrize(
    "roster", [KEYS.roster({}, site="lab"), TenantKeys("south", NOW_S).roster({})], ids=["site", "tenant"]
)
async def test_a_roster_of_another_site_is_refused(gate: Gate, roster: Roster):
    assert await gate.refused(KEYS.sign_roster(roster)) == (WireReason.OUT_OF_RANGE, "roster.site")


async def test_only_a_policy_key_of_the_trust_bundle_may_sign(store: Store, gate: Gate):
    first, second = rosters((1,), (1, 2))
    status, stranger = KEYS.signers[KeyPurpose.STATUS], TenantKeys("south", NOW_S).signers[KeyPurpose.POLICY]
    for signer in (status, stranger):
        assert await gate.refused(seal_roster(first, signer)) == (WireReason.KEY_INVALID, "roster.kid")
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    forged = seal_roster_delta(make_roster_delta(first, second), status)
    assert await gate.refused(forged, delta=True) == (WireReason.KEY_INVALID, "roster_delta.kid")
    distrusting = Gate(store)
    assert await distrusting.refused(KEYS.sign_roster(first)) == (WireReason.KEY_INVALID, "roster.kid")


@pytest.mark.parametrize("delta", [False, True])
@pytest.mark.parametrize("data", [b"", b"\x00", b"\xd2garbage"])
async def test_garbage_is_refused_as_any_document(gate: Gate, data: bytes, *, delta: bool):
    assert isinstance((await gate.refused(data, delta=delta))[0], WireReason)


def test_what_is_in_force_is_told_with_its_age():
    roster = KEYS.roster(entries(1, 2), version=9)
    told = plain_state(State(place=PLACE, roster=roster), roster.issued_at_s + 60)["roster"]
    as_of = rfc3339(roster.issued_at_s * 1000)
    assert told == {"version": 9, "entries": 2, "as_of": as_of, "age_s": 60}
    assert plain_state(State(place=PLACE), NOW_S)["roster"] is None


# --- kept and loaded ---------------------------------------------------------------------------------------


async def test_a_door_starts_with_the_snapshot_and_the_changes_after_it(tmp_path: Path, store: Store, gate: Gate):
    first, second, third = rosters((1, 2), (2, 3), (3,))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    await restarted(gate, tmp_path, store)
    await gate.change(first, second)
    again = await restarted(gate, tmp_path, store)
    await again.change(second, third)
    await restarted(again, tmp_path, store)
    assert again.kinds == [None, EventKind.ROSTER_UPDATED]


async def test_a_door_without_a_roster_starts_without_one(tmp_path: Path, store: Store, gate: Gate):
    again = Gate(store)
    assert await again.materials.load(tmp_path) == []
    assert (again.held, again.kinds, again.materials.roster_base) == (None, [], 0)
    assert gate.held is None


async def test_of_refreshes_the_newest_is_kept(tmp_path: Path, store: Store, gate: Gate):
    first, _, third = rosters((1,), (), (1, 2))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    roster = first
    for _ in range(3):
        await gate.change(roster, refreshed(roster))
        roster = refreshed(roster)
        assert len(await store.roster_deltas()) == 1
        await restarted(gate, tmp_path, store)
    third = replace(third, version=roster.version + 1)
    await gate.change(roster, third)
    assert len(await store.roster_deltas()) == 1
    await gate.change(third, refreshed(third))
    assert len(await store.roster_deltas()) == 2
    await restarted(gate, tmp_path, store)


async def test_many_changes_are_replaced_by_one_from_the_snapshot(tmp_path: Path, store: Store, gate: Gate):
    versions = rosters(*(tuple(range(1_000 - count)) for count in range(DELTAS_KEPT + 2)))
    await gate.materials.accept_roster(KEYS.sign_roster(versions[0]))
    for old, new in pairwise(versions[: DELTAS_KEPT + 1]):
        assert gate.materials.roster_base == old.version
        await gate.change(old, new)
    assert gate.materials.roster_base == 1
    assert (await restarted(gate, tmp_path, store)).materials.roster_base == 1
    between = KEYS.sign_roster_delta(versions[5], versions[-1])
    assert await gate.refused(between, delta=True) == (WireReason.ROLLBACK, "roster_delta.base_version")
    assert len(await store.roster_deltas()) == DELTAS_KEPT
    await gate.change(versions[0], versions[-1])
    assert gate.held == versions[-1]
    assert len(await store.roster_deltas()) == 1
    assert gate.materials.roster_base == DELTAS_KEPT + 2
    await restarted(gate, tmp_path, store)


async def test_changes_half_as_large_as_the_snapshot_ask_for_a_whole_one(gate: Gate):
    first = KEYS.roster(entries(*range(100)))
    snapshot = KEYS.sign_roster(first)
    await gate.materials.accept_roster(snapshot)
    roster, size = first, 0
    while 2 * size <= len(snapshot):
        assert gate.materials.roster_base == roster.version
        changed = KEYS.roster(
            entries(*range(100), level=roster.version + 1), version=roster.version + 1, level_sets=roster.level_sets
        )
        delta = KEYS.sign_roster_delta(roster, changed)
        await gate.materials.accept_roster_delta(delta)
        roster, size = changed, size + len(delta)
    assert gate.materials.roster_base == 0
    await gate.materials.accept_roster(KEYS.sign_roster(refreshed(roster)))
    assert gate.materials.roster_base == roster.version + 1


async def test_a_new_snapshot_takes_the_place_of_everything_kept(tmp_path: Path, store: Store, gate: Gate):
    first, second, third = (KEYS.roster(entries(*range(count)), version=count) for count in (9_000, 9_001, 9_002))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    await gate.change(first, second)
    data = KEYS.sign_roster(third)
    await gate.materials.accept_roster(data)
    assert await store.roster_deltas() == []
    assert await store.roster_snapshot() == data
    await restarted(gate, tmp_path, store)
    raw = sqlite3.connect(tmp_path / "journal.db")
    (parts,) = raw.execute("SELECT count(*) FROM roster_part").fetchone()
    raw.close()
    assert parts == -(-len(data) // PART_BYTES)
    assert parts > 1


async def test_a_snapshot_whose_writing_was_interrupted_leaves_the_old_in_force(tmp_path: Path):
    first, second = rosters((1,), (1, 2))
    store = opened(tmp_path)
    gate = await Gate(store).trusting()
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    await gate.change(first, second)
    await store.aclose()
    database = Database(tmp_path / "journal.db", _IDENTITY, new_epoch=bytes(8))
    for number in range(20):
        database.put_roster_part(number, b"part of a snapshot that was never complete")
    database.close()
    store = opened(tmp_path)
    again = await restarted(gate, tmp_path, store)
    await again.materials.accept_roster(KEYS.sign_roster(refreshed(second)))
    assert await store.roster_snapshot() == KEYS.sign_roster(refreshed(second))
    await store.aclose()


async def test_taps_are_journaled_while_a_snapshot_is_written(store: Store):
    now = Instant(wall_ms=NOW_S * 1000, monotonic_ms=1_000, clock=ClockState.TRUSTED)
    writing = asyncio.create_task(store.put_roster(bytes(20 * PART_BYTES)))
    for _ in range(3):
        await store.append(Entry(draft=EventDraft(kind=EventKind.STARTED, at=now)))
        assert not writing.done()
    await writing
    assert await store.roster_snapshot() == bytes(20 * PART_BYTES)


async def test_a_kept_roster_that_is_not_believed_any_more_is_named_and_the_door_starts_without(
    tmp_path: Path, store: Store, gate: Gate
):
    first, second = rosters((1,), (1, 2))
    await gate.materials.accept_roster(KEYS.sign_roster(first))
    await gate.change(first, second)
    other = TenantKeys("north", NOW_S)
    other.signers = TenantKeys("south", NOW_S).signers
    await gate.materials.accept_trust(other.trust(2))
    again = Gate(store)
    assert [fault.field for fault in await again.materials.load(tmp_path)] == ["roster.kid"]
    assert (again.held, again.materials.roster_base, again.kinds) == (None, 0, [])
    await again.materials.accept_roster(other.sign_roster(second))
    assert again.held == second
