"""Rosters of the past, found again beside a door that goes on: by the snapshot and the deltas that lead from it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge.database import PAST_ROSTERS, Database, Document, Identity
from edge.recording import RosterReference
from edge.recording_forms import RecordingError, RecordingReason
from edge.retained import StoredDocuments, open_read_only
from tests.support.enrolled import Card
from tests.support.tenant import TenantKeys
from wire.names import DeviceId, DoorId, PassFlags, PassKind
from wire.roster import Roster, RosterEntry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS = TenantKeys("north", 1_800_000_000)
IDENTITY = Identity(device=DeviceId("dev-a"), door=DoorId("main"), access_point="in")
ANNA, BEN, CARLA = (bytes([number]) * 16 for number in (1, 2, 3))


def entry(number: int) -> RosterEntry:
    return RosterEntry(
        roster_id=Card(number=bytes([number])).roster_id,
        kind=PassKind.STANDARD,
        flags=PassFlags.NONE,
        access_levels=(1,),
        pin=None,
    )


FIRST = KEYS.roster({ANNA: entry(1)}, version=1)
SECOND = KEYS.roster({ANNA: entry(1), BEN: entry(2)}, version=2)
REFRESHED = replace(SECOND, version=3, issued_at_s=SECOND.issued_at_s + 60)
THIRD = KEYS.roster({BEN: entry(2), CARLA: entry(3)}, version=4)


class Door:
    """A door's database, and what a command finds in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.database = Database(path, IDENTITY, new_epoch=bytes(8))
        self.database.put_document(Document.TRUST, 1, KEYS.trust())
        self.take_whole(FIRST)

    def take_whole(self, roster: Roster) -> None:
        self.database.put_roster_part(0, KEYS.sign_roster(roster))
        self.database.settle_roster()

    def take(self, old: Roster, new: Roster, *, alone: bool = False) -> None:
        changed = old.records != new.records
        data = KEYS.sign_roster_delta(old, new)
        self.database.put_roster_delta(new.version, data, changed=changed, alone=alone)

    def found(self, version: int) -> Roster:
        connection = open_read_only(self.path)
        try:
            return StoredDocuments(connection, KEYS.root.public_key).roster(RosterReference(version))
        finally:
            connection.close()


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path / "journal.db")
    yield door
    door.database.close()


def test_every_roster_since_the_snapshot_is_found_again(door: Door):
    door.take(FIRST, SECOND)
    door.take(SECOND, REFRESHED)
    door.take(REFRESHED, THIRD)
    assert [door.found(version) for version in (1, 2, 3, 4)] == [FIRST, SECOND, REFRESHED, THIRD]


def test_a_roster_whose_delta_was_replaced_is_found_all_the_same(door: Door):
    door.take(FIRST, SECOND)
    door.take(FIRST, THIRD, alone=True)
    assert [door.found(version) for version in (2, 4)] == [SECOND, THIRD]


def test_a_roster_before_the_snapshot_is_not_kept(door: Door):
    door.take(FIRST, SECOND)
    door.take_whole(THIRD)
    assert door.found(4) == THIRD
    for version in (1, 2, 9):
        with pytest.raises(RecordingError) as caught:
            door.found(version)
        assert caught.value.reason is RecordingReason.NOT_KEPT


def test_a_door_without_a_roster_has_kept_none(tmp_path: Path):
    Database(tmp_path / "journal.db", IDENTITY, new_epoch=bytes(8)).close()
    connection = open_read_only(tmp_path / "journal.db")
    with pytest.raises(RecordingError) as caught:
        StoredDocuments(connection, KEYS.root.public_key).roster(RosterReference(1))
    connection.close()
    assert caught.value.reason is RecordingReason.NOT_KEPT


def test_a_roster_of_a_stranger_is_not_believed(door: Door):
    stranger = TenantKeys("south", 1_800_000_000)
    door.database.put_roster_part(0, stranger.sign_roster(FIRST))
    door.database.settle_roster()
    with pytest.raises(RecordingError) as caught:
        door.found(1)
    assert caught.value.reason is RecordingReason.UNREADABLE


def test_replaced_deltas_are_kept_up_to_a_number(door: Door):
    last = FIRST
    for _ in range(PAST_ROSTERS + 2):
        newer = replace(last, version=last.version + 1, issued_at_s=last.issued_at_s + 60)
        door.take(last, newer)
        last = newer
    assert door.found(last.version - PAST_ROSTERS).version == last.version - PAST_ROSTERS
    with pytest.raises(RecordingError) as caught:
        door.found(last.version - PAST_ROSTERS - 1)
    assert caught.value.reason is RecordingReason.NOT_KEPT
