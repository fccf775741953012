"""The parts of a simulated fleet, each by itself: journals, documents, people, figures."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pytest

from doorward.errors import CliError, ExitCode
from doorward.fleet.campus import Campus, Enrolled, open_campus
from doorward.fleet.crew import Orders
from doorward.fleet.figures import Figures, Waits
from doorward.fleet.journal import FleetJournal
from doorward.fleet.materials import FleetMaterials, Shared
from doorward.fleet.people import Granted, draw_pause_s, draw_visit
from doorward.fleet.run import share_out
from doorward.fleet.uplink import Line, Way, open_uplink
from doorward.fleet.worker import Shift
from sync.ports import JournalMismatch, Marks
from tests.support.tenant import TenantKeys
from tests.support.waiting import DEADLINE_S
from wire.batch import Acknowledgement
from wire.command import Command, seal_command
from wire.command_list import CommandList, encode_command_list
from wire.errors import WireError, WireReason
from wire.event import Event, chain_hash
from wire.keys import PublicKey
from wire.names import Action, ClockState, DeviceId, DoorId, EventKind, KeyPurpose, PassFlags, PassKind, Tenant
from wire.roster import RosterEntry
from wire.status_delta import make_delta, seal_delta
from wire.status_list import open_status_list
from wire.trust import TrustedKey

if TYPE_CHECKING:
    from pathlib import Path

NOW_S = 1_760_000_000
DEVICE = DeviceId("main-1")
EPOCH = b"12345678"
KEYS = TenantKeys("north", NOW_S)


def event(seq: int, prev: bytes) -> Event:
    return Event(
        device=DEVICE,
        boot=1,
        seq=seq,
        wall_ms=NOW_S * 1000 + seq,
        monotonic_ms=seq,
        clock=ClockState.TRUSTED,
        door=DoorId("main"),
        access_point="in",
        kind=EventKind.EGRESS,
        prev=prev,
    )


class Clock:
    """A monotonic clock that stands still until it is moved."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def journal(count: int, clock: Clock | None = None) -> FleetJournal:
    made = FleetJournal(DEVICE, EPOCH, grown=lambda: None, monotonic_s=clock or Clock())
    for _ in range(count):
        made.write(event)
    return made


def acknowledgement(of: FleetJournal, durable: int, backed_up: int = 0, head: bytes | None = None) -> Acknowledgement:
    return Acknowledgement(
        device=of.device,
        epoch=of.epoch,
        durable=durable,
        head=of.head(durable) if head is None else head,
        backed_up=backed_up,
        issued_at_ms=NOW_S * 1000,
    )


# --- journal -----------------------------------------------------------------------------------------------------


async def test_events_are_numbered_and_chained():
    found = await journal(3).events_after(0, 10)
    assert [seq for seq, _ in found] == [1, 2, 3]
    own = journal(3)
    assert own.head(2) == chain_hash(found[1][1])
    assert own.head(0) == bytes(32)


async def test_a_run_begins_after_a_number_and_ends_at_its_limit():
    found = await journal(5).events_after(1, 2)
    assert [seq for seq, _ in found] == [2, 3]


async def test_an_acknowledgement_moves_the_mark_and_gives_up_nothing():
    own = journal(4)
    await own.acknowledge(acknowledgement(own, 3))
    assert await own.marks() == Marks(durable=3, backed_up=0, last=4)
    assert len(await own.events_after(0, 10)) == 4


async def test_what_is_backed_up_is_given_up_and_no_more():
    own = journal(4)
    await own.acknowledge(acknowledgement(own, 3, backed_up=2))
    assert [seq for seq, _ in await own.events_after(0, 10)] == [3, 4]


async def test_a_cloud_that_was_restored_lowers_the_mark_but_not_below_what_was_given_up():
    own = journal(6)
    await own.acknowledge(acknowledgement(own, 5, backed_up=2))
    await own.acknowledge(acknowledgement(own, 3))
    assert (await own.marks()).durable == 3
    await own.acknowledge(acknowledgement(own, 1))
    assert (await own.marks()).durable == 2


@pytest.mark.parametrize(("durable", "head"), [(2, bytes(32)), (9, b"x" * 32)])
async def test_another_head_than_its_own_is_refused_and_changes_nothing(durable: int, head: bytes):
    own = journal(4)
    with pytest.raises(JournalMismatch):
        await own.acknowledge(acknowledgement(own, durable, head=head))
    assert (await own.marks()).durable == 0


async def test_the_wait_of_each_event_is_kept_once():
    clock = Clock()
    own = journal(2, clock)
    clock.now_s += 0.5
    own.write(event)
    await own.acknowledge(acknowledgement(own, 2))
    clock.now_s += 1.0
    await own.acknowledge(acknowledgement(own, 1))
    await own.acknowledge(acknowledgement(own, 3))
    assert list(own.waits_ms) == [500.0, 500.0, 1000.0]


async def test_a_copy_shares_the_past_and_goes_its_own_way():
    own = journal(2)
    copy = own.copy(grown=lambda: None)
    own.write(event)
    assert (copy.last, copy.epoch, copy.head(2)) == (2, own.epoch, own.head(2))


async def test_a_journal_in_a_file_goes_on_where_it_ended(tmp_path: Path):
    file = tmp_path / "journal"
    first = FleetJournal(DEVICE, EPOCH, grown=lambda: None, file=file)
    for _ in range(3):
        first.write(event)
    again = FleetJournal(DEVICE, b"another1", grown=lambda: None, file=file)
    assert (again.epoch, again.hashes) == (EPOCH, first.hashes)
    again.write(event)
    third = FleetJournal(DEVICE, EPOCH, grown=lambda: None, file=file)
    assert third.hashes == again.hashes
    assert await third.events_after(0, 10) == await again.events_after(0, 10)


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_an_event_that_was_not_written_whole_is_left_out(tmp_path: Path, cut: int):
    file = tmp_path / "journal"
    first = FleetJournal(DEVICE, EPOCH, grown=lambda: None, file=file)
    for _ in range(2):
        first.write(event)
    size = file.stat().st_size
    first.write(event)
    whole = file.read_bytes()
    file.write_bytes(whole[: size + cut])
    again = FleetJournal(DEVICE, EPOCH, grown=lambda: None, file=file)
    assert again.hashes == first.hashes[: 2 * 32]
    again.write(event)
    assert FleetJournal(DEVICE, EPOCH, grown=lambda: None, file=file).last == 3


# --- documents ---------------------------------------------------------------------------------------------------


class Door:
    """Documents of one door, and what they had told."""

    def __init__(self, shared: Shared, name: str = "main", root: PublicKey = KEYS.root.public_key) -> None:
        self.told: list[EventKind] = []
        self.orders: list[tuple[bytes, TrustedKey | None, int]] = []
        self.held = FleetMaterials(
            shared, tenant=Tenant("north"), door=DoorId(name), tell=self.told.append, obey=self._obey
        )
        self.held.root = root

    def _obey(self, data: bytes, key: TrustedKey | None, taken: int) -> int:
        self.orders.append((data, key, taken))
        return taken


async def test_documents_come_into_force_and_are_told():
    door = Door(Shared())
    await door.held.accept_trust(KEYS.trust())
    await door.held.accept_policy(KEYS.policy())
    await door.held.accept_status(KEYS.status(sequence=4))
    versions = door.held.versions()
    assert (versions.trust, versions.policy, versions.status, versions.roster) == (1, 1, {0: 4}, 0)
    assert door.told == [EventKind.TRUST_UPDATED, EventKind.POLICY_UPDATED, EventKind.STATUS_UPDATED]


async def test_doors_of_one_process_share_what_the_same_bytes_came_to():
    shared = Shared()
    doors = [Door(shared), Door(shared, "side")]
    trust, status = KEYS.trust(), KEYS.status()
    for door in doors:
        await door.held.accept_trust(trust)
        await door.held.accept_status(status)
    first, second = doors
    assert first.held.trust() is second.held.trust()
    assert first.held.statuses[0] is second.held.statuses[0]


async def test_what_another_door_has_verified_is_refused_under_another_root():
    shared = Shared()
    await Door(shared).held.accept_trust(trust := KEYS.trust())
    stranger = Door(shared, root=TenantKeys("south", NOW_S).root.public_key)
    with pytest.raises(WireError):
        await stranger.held.accept_trust(trust)


async def test_without_a_pinned_root_nothing_is_believed():
    door = Door(Shared())
    door.held.root = None
    with pytest.raises(WireError):
        await door.held.accept_trust(KEYS.trust())
    with pytest.raises(WireError):
        await door.held.accept_status(KEYS.status())


async def test_a_delta_changes_the_list_that_is_held():
    old = open_status_list(KEYS.status(sequence=1), KEYS.signers[KeyPurpose.STATUS].public_key)
    new = open_status_list(KEYS.status(sequence=2, revoked=[7]), KEYS.signers[KeyPurpose.STATUS].public_key)
    delta = seal_delta(make_delta(old, new), KEYS.signers[KeyPurpose.STATUS])
    door = Door(Shared())
    await door.held.accept_trust(KEYS.trust())
    with pytest.raises(WireError):
        await door.held.accept_delta(delta)  # of a list that is not there
    await door.held.accept_status(KEYS.status(sequence=1))
    await door.held.accept_delta(delta)
    assert door.held.statuses[0].is_set(7)


@pytest.mark.parametrize(
    ("document", "reason"),
    [("policy", WireReason.ROLLBACK), ("status", WireReason.ROLLBACK), ("foreign policy", WireReason.OUT_OF_RANGE)],
)
async def test_what_goes_back_or_is_anothers_is_refused(document: str, reason: WireReason):
    door = Door(Shared())
    await door.held.accept_trust(KEYS.trust())
    await door.held.accept_policy(KEYS.policy(version=2))
    await door.held.accept_status(KEYS.status(sequence=5))
    accept = {
        "policy": partial(door.held.accept_policy, KEYS.policy(version=1)),
        "status": partial(door.held.accept_status, KEYS.status(sequence=4)),
        "foreign policy": partial(door.held.accept_policy, KEYS.policy("side", version=3)),
    }[document]
    with pytest.raises(WireError) as caught:
        await accept()
    assert caught.value.reason is reason


async def test_a_roster_and_its_delta_come_into_force():
    entry = RosterEntry(
        roster_id=b"roster-1", kind=PassKind.STANDARD, flags=PassFlags.NONE, access_levels=(1,), pin=None
    )
    old = KEYS.roster({b"k" * 16: entry}, version=1)
    new = KEYS.roster({b"k" * 16: entry, b"l" * 16: entry}, version=2)
    door = Door(Shared())
    await door.held.accept_trust(KEYS.trust())
    with pytest.raises(WireError):
        await door.held.accept_roster_delta(KEYS.sign_roster_delta(old, new))
    await door.held.accept_roster(KEYS.sign_roster(old))
    await door.held.accept_roster_delta(KEYS.sign_roster_delta(old, new))
    assert door.held.roster_base() == 2
    assert door.told.count(EventKind.ROSTER_UPDATED) == 2


async def test_commands_reach_the_door_with_the_key_that_may_have_signed_them():
    command = Command(
        command_id=bytes(16),
        target=DoorId("main"),
        action=Action.UNLOCK,
        issued_at_s=NOW_S,
        expires_at_s=NOW_S + 30,
        counter=5,
    )
    good = seal_command(command, KEYS.signers[KeyPurpose.COMMAND])
    foreign = seal_command(command, TenantKeys("south", NOW_S).signers[KeyPurpose.COMMAND])
    door = Door(Shared())
    await door.held.accept_trust(KEYS.trust())
    await door.held.accept_commands(encode_command_list(CommandList(5, (good, foreign, b"rubbish"))))
    keys = [key for _, key, _ in door.orders]
    assert keys[0] is not None
    assert keys[1:] == [None, None]
    assert door.held.versions().commands == 5


# --- people ------------------------------------------------------------------------------------------------------


def test_people_come_in_believable_parts():
    chance = random.Random(1)
    visits = [draw_visit(chance) for _ in range(10_000)]
    granted = [visit for visit in visits if isinstance(visit, Granted)]
    assert 0.90 < len(granted) / len(visits) < 0.94
    kinds = Counter(kind for visit in granted for _, kind in visit.ending.events)
    assert 0.04 < kinds[EventKind.ACCESS_NOT_TAKEN] / len(granted) < 0.08
    assert kinds[EventKind.DOOR_OPENED] == kinds[EventKind.DOOR_CLOSED]
    assert kinds[EventKind.DOOR_RELOCKED] == len(granted)


def test_pauses_come_to_the_rate_that_was_asked_for():
    chance = random.Random(2)
    assert 0.0095 < sum(draw_pause_s(chance, 100.0) for _ in range(10_000)) / 10_000 < 0.0105


def test_at_no_taps_a_second_nobody_comes():
    assert draw_pause_s(random.Random(3), 0.0) == float("inf")


# --- figures and shares ------------------------------------------------------------------------------------------


def test_a_quantile_is_right_within_a_step():
    waits = Waits()
    waits.add(float(wait_ms) for wait_ms in range(1, 1_001))
    for part in (0.5, 0.95, 0.99):
        found = waits.quantile_ms(part)
        assert found is not None
        assert 1000 * part <= found <= 1000 * part * 1.05


def test_no_waits_have_no_quantile():
    assert Waits().quantile_ms(0.5) is None


def test_figures_of_processes_add_up_and_survive_the_way_between_them():
    one, two = Figures(doors=2, events=10, acknowledged=9), Figures(doors=1, events=5, acknowledged=5)
    one.waits.add([10.0, 20.0])
    two.waits.add([30.0])
    one.traffic.batches, two.traffic.batches = 4, 3
    one.traffic.by_broker, two.traffic.by_broker = 2, 1
    two.traffic.refusals["deadline"] = 2
    total = Figures.from_json(one.to_json())
    total.add(Figures.from_json(two.to_json()))
    assert (total.doors, total.events, total.acknowledged, total.traffic.batches) == (3, 15, 14, 7)
    assert total.traffic.by_broker == 3
    assert sum(total.waits.counts) == 3
    assert total.traffic.refusals == {"deadline": 2}


def test_doors_and_people_are_shared_out_among_processes(tmp_path: Path):
    campus = Campus(tmp_path, "north", tuple(Enrolled(f"d{n}", f"d{n}-x") for n in range(5)))
    orders = Orders(url="https://cloud:8443", seed=3, starts_per_s=10)
    shifts = share_out(campus, orders, processes=2, taps_per_s=10, seconds=None, drain_s=5)
    assert [len(shift.campus.doors) for shift in shifts] == [3, 2]
    assert [shift.taps_per_s for shift in shifts] == [6, 4]
    assert [shift.orders.starts_per_s for shift in shifts] == [5, 5]
    assert {each.door for shift in shifts for each in shift.campus.doors} == {each.door for each in campus.doors}
    assert Shift.from_json(shifts[1].to_json()) == shifts[1]


def test_no_more_processes_than_doors_are_started(tmp_path: Path):
    campus = Campus(tmp_path, "north", (Enrolled("d", "d-x"),))
    shifts = share_out(campus, Orders(url="https://c"), processes=8, taps_per_s=1, seconds=1, drain_s=1)
    assert len(shifts) == 1


# --- the folder --------------------------------------------------------------------------------------------------


def test_a_fleet_is_found_again_in_its_folder(tmp_path: Path):
    made = open_campus(tmp_path / "fleet")
    kept = Campus(made.folder, made.tenant, (Enrolled("door-1", "door-1-x"),))
    kept.save()
    assert open_campus(tmp_path / "fleet") == kept


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path):
    (tmp_path / "fleet.json").write_text('{"name": "armada"}')
    with pytest.raises(CliError) as caught:
        open_campus(tmp_path)
    assert caught.value.code is ExitCode.UNUSABLE


def test_a_folder_that_was_there_stays_open_to_whom_it_was_and_keys_to_nobody(tmp_path: Path):
    tmp_path.chmod(0o755)
    open_campus(tmp_path)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path, tmp_path / "devices")] == [0o755, 0o700]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(CliError) as caught:
        open_campus(tmp_path / "file" / "fleet")
    assert caught.value.code is ExitCode.UNUSABLE


def test_mqtt_without_a_broker_is_refused(tmp_path: Path):
    line = Line(
        url="https://cloud:8443",
        broker=None,
        tenant=Tenant("north"),
        device=DEVICE,
        certificate=tmp_path,
        key=tmp_path,
        ca=tmp_path,
    )
    with pytest.raises(CliError) as caught:
        open_uplink(line, Way.MQTT)
    assert caught.value.code is ExitCode.UNUSABLE


def test_a_process_ends_when_whoever_started_it_is_gone(tmp_path: Path):
    campus, orders = Campus(tmp_path, "north", ()), Orders(url="https://127.0.0.1:1")
    shift = Shift(campus=campus, orders=orders, taps_per_s=0.0, seconds=None, drain_s=0.0)
    with subprocess.Popen(
        [sys.executable, "-m", "doorward.fleet.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(shift.to_json()) + "\n")
        process.stdin.close()
        assert json.loads(process.stdout.readline()) == {"at": "ready"}
        process.stdout.close()
        try:
            process.wait(DEADLINE_S)
        finally:
            process.kill()
