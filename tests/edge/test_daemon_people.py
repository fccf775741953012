"""The daemon and people: PINs, companions, areas, schedules, fire and commands, also over kill -9."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from edge.config import load_config
from edge.core.tap import RosterReplaced
from edge.daemon import serving
from tests.support.daemon_door import Door, killed, make_door, running
from tests.support.enrolled import Card, roster_of
from tests.support.tenant import TenantKeys
from tests.support.waiting import until
from wire.names import Action, AntiPassbackRule, Assurance, EventKind, PassKind
from wire.policy import ALL_DAYS, Area, Passage, Schedule, Window
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = DoorSettings(release_time_ms=20_000, open_time_ms=60_000)
HURRIED = replace(SETTINGS, release_time_ms=300)
CARDS = replace(SETTINGS, minimum_assurance=Assurance.IDENTIFIER, pin_below=Assurance.PRINTED)
CARD = Card(number=b"\x04\xa1\xb2\xc3", pin=b"1234", duress=b"4321")
HALL = {"in": Passage(0, 5), "out": Passage(5, 0)}


@pytest.fixture
def door(tmp_path: Path) -> Door:
    made = make_door(tmp_path, settings=SETTINGS)
    made.simulate("in", "out")
    return made


# --- cards and PINs ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("digits", "duress"), [("1234", False), ("4321", True)])
async def test_a_card_opens_with_its_pin_and_under_duress_calls_for_help(door: Door, digits: str, *, duress: bool):
    door.rule(door.keys.policy_bundle(settings=CARDS))
    async with serving(load_config(door.folder / "edge.toml")) as controller:
        controller.feed(RosterReplaced(roster_of(CARD, issued_at_s=int(time.time())), EventKind.ROSTER_UPDATED))
        await door.read("card 04a1b2c3")
        await until(lambda: door.shown() == ["enter_pin"])
        assert (await door.status())["waiting"] == {"pin": 1, "second_person": 0, "host": 0}
        await door.read(f"pin {digits}")
        await door.seen(kind="ACCESS_GRANTED", credential=CARD.roster_id.hex())
        # A disk that takes its time has the door say "wait" in between.
        await until(lambda: [each for each in door.shown() if each != "wait"] == ["enter_pin", "granted"])
        kinds = [row["kind"] for row in await door.events()]
        assert ("DURESS" in kinds) is duress
    assert door.energised() == 1


async def test_a_wrong_pin_opens_nothing_and_blocks_over_a_restart(door: Door):
    door.rule(door.keys.policy_bundle(settings=replace(CARDS, pin_attempts=1)))
    roster = roster_of(CARD, issued_at_s=int(time.time()))
    async with serving(load_config(door.folder / "edge.toml")) as controller:
        controller.feed(RosterReplaced(roster, None))
        await door.read("card 04a1b2c3")
        await door.read("pin 1111")
        await door.seen(kind="ACCESS_DENIED", reason="SECOND_FACTOR_WRONG", step=14)
    async with serving(load_config(door.folder / "edge.toml")) as controller:
        controller.feed(RosterReplaced(roster, None))
        await door.read("card 04a1b2c3")
        await door.seen(kind="ACCESS_DENIED", reason="SECOND_FACTOR_BLOCKED", step=14)
    assert door.energised() == 0


async def test_a_card_and_a_barcode_are_asked_about_by_what_is_printed_on_them(door: Door):
    door.rule(door.keys.policy_bundle(settings=CARDS))
    async with serving(load_config(door.folder / "edge.toml")) as controller:
        controller.feed(RosterReplaced(roster_of(CARD, issued_at_s=int(time.time()), version=7), None))
        status = await door.status()
        assert (status["roster"]["version"], status["roster"]["entries"]) == (7, 1)
        waits = (await door.ask(ask="why", credential="card:04:a1:b2:c3"))["why"]
        assert (waits["granted"], waits["waits_for"], waits["reader"]) == (False, "pin", "in")
        stranger = (await door.ask(ask="why", credential="barcode:4006381333931", reader="out"))["why"]
        assert stranger["reason"] == "CREDENTIAL_NOT_FOUND"
        assert "hexadecimal" in str((await door.ask(ask="why", credential="card:12x"))["error"])
        assert "in, out" in str((await door.ask(ask="why", credential="card:12", reader="roof"))["error"])
        assert not [row for row in await door.events() if row["kind"].startswith("ACCESS")]


async def test_two_people_open_what_one_does_not(door: Door):
    door.rule(door.keys.policy_bundle(settings=replace(SETTINGS, two_person=True)))
    async with running(door):
        await door.show(1)
        await until(lambda: door.shown() == ["next_person"])
        assert (await door.status())["waiting"]["second_person"] == 1
        assert door.energised() == 0
        await door.show(2)
        for index in (1, 2):
            await door.seen(kind="ACCESS_GRANTED", credential=f"{index:012x}")
        await until(lambda: door.energised() >= 1)
        assert (await door.status())["waiting"]["second_person"] == 0


async def test_a_visitor_comes_in_with_a_host(door: Door):
    async with running(door):
        await door.show(1, kind=PassKind.VISITOR)
        await until(lambda: door.shown() == ["next_person"])
        await door.show(2, kind=PassKind.STAFF)
        await door.seen(kind="ACCESS_GRANTED", credential=f"{1:012x}")


# --- areas -------------------------------------------------------------------------------------------------------


async def enter(door: Door, index: int, reader: str = "in") -> None:
    """Go through the door with a fresh code."""
    before = await door.last_seq()
    await door.show(index, reader)
    await door.seen(after=before, kind="ACCESS_GRANTED", credential=f"{index:012x}", reader=reader)
    await door.walk_through()
    await door.seen(after=before, kind="DOOR_RELOCKED")


async def test_who_is_in_stays_in_over_a_power_cut(door: Door):
    settings = replace(SETTINGS, anti_passback=AntiPassbackRule.ENFORCE)
    door.rule(replace(door.keys.policy_bundle(settings=settings), passages=HALL))
    async with killed(door):
        await enter(door, 1)
    async with killed(door):
        assert (await door.status())["areas"] == [{"area": 5, "present": 1, "limit": None, "warning": None}]
        await door.show(1)
        await door.seen(kind="ACCESS_DENIED", reason="ANTIPASSBACK_VIOLATION", step=13, boot=2)
        await enter(door, 1, "out")
        await enter(door, 1)


async def test_somebody_who_was_let_in_and_did_not_go_is_not_in(door: Door):
    door.rule(replace(door.keys.policy_bundle(settings=HURRIED), passages=HALL))
    async with running(door):
        await door.wire("contact closed")
        await door.show(1)
        await door.seen(kind="ACCESS_NOT_TAKEN", credential=f"{1:012x}")
        assert (await door.status())["areas"] == []


async def test_a_full_area_takes_nobody_until_somebody_leaves(door: Door):
    rules = replace(door.keys.policy_bundle(settings=SETTINGS), passages=HALL, areas={5: Area(1, 1)})
    door.rule(rules)
    async with running(door):
        await enter(door, 1)
        await door.seen(kind="OCCUPANCY_WARNING")
        assert (await door.status())["areas"] == [{"area": 5, "present": 1, "limit": 1, "warning": 1}]
        await door.show(2)
        await door.seen(kind="ACCESS_DENIED", reason="OCCUPANCY_LIMIT", step=13)
        await until(lambda: door.shown()[-1] == "denied_not_now")
        await enter(door, 1, "out")
        await door.seen(kind="OCCUPANCY_NORMAL")
        await enter(door, 2)


# --- schedules ---------------------------------------------------------------------------------------------------

MORNING = datetime(2026, 6, 3, 7, 59, 58, tzinfo=UTC)


async def test_a_door_is_unlocked_by_its_schedule_from_the_first_person_on(tmp_path: Path):
    morning_s = int(MORNING.timestamp())
    door = make_door(tmp_path, settings=SETTINGS, keys=TenantKeys("north", morning_s - 3_600))
    door.simulate("in")
    settings = replace(HURRIED, unlock_schedule=1, first_person_in=True)
    schedule = Schedule((Window(ALL_DAYS, 8 * 60, 18 * 60),))
    door.rule(replace(door.keys.policy_bundle(settings=settings), schedules={1: schedule}))
    door.set_clock(morning_s)
    async with running(door):
        await door.show(1)
        await door.seen(kind="ACCESS_GRANTED")
        await door.seen(kind="DOOR_RELOCKED")
        await until(lambda: door.now_s() > morning_s + 2)
        assert (await door.status())["rests"] == "locked"
        await door.show(2)
        opened = await door.seen(kind="MODE_CHANGED", rule="schedule-1")
        await door.stands(rests="unlocked", rests_by="schedule-1", mode="unlocked")
        door.set_clock(morning_s + 10 * 3_600)
        await door.wire("rex press")
        await door.seen(after=opened["seq"], kind="MODE_CHANGED", rule="policy")
        await door.stands(rests="locked", rests_by="policy", mode="locked")


# --- fire and commands -------------------------------------------------------------------------------------------


async def test_fire_lasts_over_power_cuts_until_a_signed_command_ends_it(door: Door):
    async with killed(door):
        await door.wire("fire on")
        await door.seen(kind="FIRE")
        await until(lambda: door.energised() == 1)
        burning = await door.deliver(door.command(counter=1, action=Action.RESET_FIRE))
        assert (burning["carried_out"], burning["reason"], burning["mode"]) == (
            False,
            "FIRE_INPUT_ACTIVE",
            "locked_open",
        )
        await door.wire("fire off")
    async with killed(door):
        await until(lambda: door.energised() == 2)
        assert (await door.status())["fire"] is True
        await door.show()
        await door.seen(kind="ACCESS_GRANTED", boot=2)
    async with killed(door):
        reset = await door.deliver(door.command(counter=2, action=Action.RESET_FIRE))
        assert (reset["carried_out"], reset["mode"]) == (True, "locked")
        assert [row["kind"] for row in reset["events"]] == ["COMMAND_EXECUTED", "FIRE_RESET"]
        await until(lambda: door.relay()[-1]["action"] == "release")
    async with killed(door):
        await door.seen(kind="STARTED", boot=4)
        status = await door.status()
        assert (status["fire"], status["mode"]) == (False, "locked")


async def test_a_command_that_is_brought_is_carried_out_at_most_once(door: Door):
    command = door.command(counter=8)
    async with killed(door):
        done = await door.deliver(command)
        assert (done["carried_out"], done["reason"]) == (True, None)
        seq = done["events"][0]["seq"]
        await until(lambda: door.energised() == 1)
        again = await door.deliver(command)
        assert (again["carried_out"], again["reason"]) == (False, "COMMAND_REPLAYED")
    async with killed(door):
        again = await door.deliver(command)
        assert (again["carried_out"], again["reason"]) == (False, "COMMAND_REPLAYED")
        assert "carried out before" in again["sentence"]
        older = await door.deliver(door.command(counter=7))
        assert older["reason"] == "COMMAND_REPLAYED"
        stranger = TenantKeys("south", int(time.time()))
        forged = await door.deliver(replace(door, keys=stranger).command(counter=9))
        assert forged["reason"] == "UNKNOWN_ISSUER_KEY"
        assert (await door.deliver(b"\xd2garbage"))["reason"] == "MALFORMED"
    assert door.causes() == [seq]


async def test_a_flood_of_commands_is_told_to_be_one(door: Door):
    async with running(door):
        for _ in range(6):
            assert (await door.deliver(b"garbage"))["reason"] == "MALFORMED"
        flooded = await door.deliver(b"garbage")
        assert (flooded["carried_out"], flooded["reason"], flooded["events"]) == (False, None, [])


# --- wires -------------------------------------------------------------------------------------------------------


async def test_every_wire_is_shown_as_it_is(door: Door):
    async with running(door):
        await door.wire("case open")
        await door.seen(kind="TAMPER")
        await door.wire("mains fault")
        await door.seen(kind="POWER_LOST")
        status = await door.status()
        assert status["alarms"] == ["POWER_LOST", "TAMPER"] or status["alarms"] == ["TAMPER", "POWER_LOST"]
        lines = {each["line"]: each for each in status["lines"]}
        assert (lines["tamper"]["state"], lines["tamper"]["means"]) == ("active", "the case is open")
        assert (lines["power"]["state"], lines["power"]["means"]) == ("fault", "the wire is broken")
        assert (lines["interlock"]["state"], lines["interlock"]["since"]) == ("unknown", None)
        assert lines["contact"]["since"] <= status["as_of"]
        await door.wire("case closed")
        await door.seen(kind="TAMPER_RESTORED")


async def test_an_interlocked_door_waits_for_the_other_one(door: Door):
    door.rule(door.keys.policy_bundle(settings=replace(SETTINGS, interlock=True)))
    async with running(door):
        await door.show()
        await door.seen(kind="ACCESS_DENIED", reason="DOOR_INTERLOCKED", step=10)
        await door.wire("other-door closed")
        await door.show()
        await door.seen(kind="ACCESS_GRANTED")
