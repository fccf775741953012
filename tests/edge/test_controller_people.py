"""What the controller does for PINs, commands and what is to be remembered, with the real core and store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from edge.core.companions import MAX_WAITING, Companions
from edge.core.door_state import InputLine, LineState
from edge.core.effects import CheckPin, Feedback
from edge.core.memory import MemoKind, Memory
from edge.core.policy import PolicyState
from edge.core.tap import LineChanged, PolicyReplaced
from edge.store import StoreError
from tests.support.enrolled import Card, verifiers
from tests.support.rig import CARDS, READER, SETTINGS, Rig, running_rig
from tests.support.waiting import until
from wire.names import DoorMode, EventKind, Step
from wire.names import Reason as Why
from wire.policy import Passage
from wire.roster import PinVerifiers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


# --- PINs --------------------------------------------------------------------------------------------------------

CARD = Card(number=b"\x04\xa1\xb2\xc3", pin=b"73519264", duress=b"73519265")


async def test_a_card_opens_with_its_pin_and_the_pin_is_nowhere_else(rig: Rig, capsys: pytest.CaptureFixture[str]):
    rig.take(CARD)
    assert await rig.next_feedback() is Feedback.ENTER_PIN
    rig.key_in(b"73519264")
    granted = await rig.next_event(EventKind.ACCESS_GRANTED)
    assert granted.event.credential == CARD.roster_id
    assert await rig.next_feedback() is Feedback.GRANTED
    assert [line["cause_seq"] for line in rig.relay() if line["action"] == "energise"] == [granted.seq]
    written = b"".join(file.read_bytes() for file in rig.folder.iterdir() if file.is_file())
    assert CARD.roster_id in written
    assert b"73519264" not in written
    logged = "".join(capsys.readouterr())
    assert "decision" in logged
    assert "73519264" not in logged


async def test_a_wrong_pin_is_refused_counted_over_a_restart_and_then_blocks(rig: Rig):
    rig.take(CARD)
    rig.key_in(b"0000")
    denied = await rig.next_event(EventKind.ACCESS_DENIED)
    assert (denied.event.step, denied.event.reason) == (Step.COMPANIONS, Why.SECOND_FACTOR_WRONG)
    assert rig.recalled().get(MemoKind.WRONG_PINS, CARD.roster_id) == (1, denied.event.wall_ms // 1000)
    rig.take(CARD)
    rig.key_in(b"0001")
    assert (await rig.next_event(EventKind.ACCESS_DENIED)).event.reason is Why.SECOND_FACTOR_WRONG
    rig.take(CARD)
    assert (await rig.next_event(EventKind.ACCESS_DENIED)).event.reason is Why.SECOND_FACTOR_BLOCKED
    assert all(line["action"] != "energise" for line in rig.relay())


async def test_a_right_pin_ends_the_count_of_wrong_ones(rig: Rig):
    for digits, kind in ((b"0000", EventKind.ACCESS_DENIED), (b"73519264", EventKind.ACCESS_GRANTED)):
        rig.take(CARD)
        rig.key_in(digits)
        await rig.next_event(kind)
    assert rig.recalled().get(MemoKind.WRONG_PINS, CARD.roster_id) is None


async def test_a_pin_under_duress_opens_as_a_right_one_and_calls_for_help(rig: Rig):
    rig.take(CARD)
    assert await rig.next_feedback() is Feedback.ENTER_PIN
    rig.key_in(b"73519265")
    duress = await rig.next_event(EventKind.DURESS)
    granted = await rig.next_event(EventKind.ACCESS_GRANTED)
    assert duress.event.credential == granted.event.credential == CARD.roster_id
    assert await rig.next_feedback() is Feedback.GRANTED


async def test_a_pin_that_nobody_waits_for_is_not_checked(rig: Rig):
    rig.key_in(b"73519264")
    assert await rig.next_feedback() is Feedback.TRY_AGAIN
    assert (await rig.store.marks()).last == 0


async def test_a_pin_that_cannot_be_checked_is_neither_right_nor_wrong(rig: Rig):
    damaged = PinVerifiers(salt=bytes(15), pin=bytes(16), duress=None)
    settings = replace(CARDS, companion_ms=300)
    rig.take(CARD, settings=settings)
    (each,) = rig.controller.state.companions.waiting
    rig.controller._check(CheckPin(0, damaged, b"73519264"))
    rig.controller.state = replace(rig.controller.state, companions=Companions((replace(each, check_id=0),), checks=1))
    assert await rig.next_feedback() is Feedback.ENTER_PIN
    assert await rig.next_feedback() is Feedback.TRY_AGAIN
    denied = await rig.next_event(EventKind.ACCESS_DENIED)
    assert denied.event.reason is Why.SECOND_FACTOR_REQUIRED
    assert rig.recalled() == Memory()


async def test_more_pins_than_people_are_not_kept_waiting(rig: Rig):
    rig.take(CARD)
    assert await rig.next_feedback() is Feedback.ENTER_PIN
    rig.key_in(b"0000")
    for _ in range(MAX_WAITING):
        rig.controller._check(CheckPin(99, verifiers(b"1"), b"0000"))
    assert await rig.next_feedback() is Feedback.TRY_AGAIN


# --- commands ----------------------------------------------------------------------------------------------------


async def test_a_signed_command_is_journaled_then_opens_and_never_again(rig: Rig):
    command = rig.command()
    written = await rig.controller.deliver(command)
    assert [(each.event.kind, each.event.rule) for each in written] == [(EventKind.COMMAND_EXECUTED, "unlock")]
    await until(lambda: any(line["action"] == "energise" for line in rig.relay()))
    assert [line["cause_seq"] for line in rig.relay() if line["action"] == "energise"] == [written[0].seq]
    (refused,) = await rig.controller.deliver(command)
    assert (refused.event.kind, refused.event.reason) == (EventKind.COMMAND_REFUSED, Why.COMMAND_REPLAYED)
    assert len([line for line in rig.relay() if line["action"] == "energise"]) == 1
    assert rig.recalled().get(MemoKind.COMMAND, b"") == (1, written[0].event.wall_ms // 1000)


async def test_what_follows_from_a_command_is_told_with_it(rig: Rig):
    blocked = rig.keys.policy_state(UTC, settings=replace(SETTINGS, mode=DoorMode.BLOCKED))
    delivering = asyncio.create_task(rig.controller.deliver(rig.command()))
    await asyncio.sleep(0)  # it was taken, and waits for the disk
    rig.controller.feed(PolicyReplaced(blocked, None))
    written = await delivering
    assert [each.event.kind for each in written] == [EventKind.COMMAND_EXECUTED, EventKind.COMMAND_REFUSED]
    assert written[-1].event.reason is Why.DOOR_BLOCKED
    assert all(line["action"] != "energise" for line in rig.relay())


async def test_a_command_that_cannot_be_journaled_is_not_carried_out(rig: Rig):
    rig.store._database._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreError):
        await rig.controller.deliver(rig.command())
    rig.store._database._connection.execute("PRAGMA query_only = OFF")
    rig.tap()
    granted = await rig.next_event(EventKind.ACCESS_GRANTED)
    await until(lambda: any(line["action"] == "energise" for line in rig.relay()))
    assert [line["cause_seq"] for line in rig.relay() if line["action"] == "energise"] == [granted.seq]


async def test_of_a_flood_of_commands_nothing_is_told_one_by_one(rig: Rig):
    answers = [await rig.controller.deliver(b"garbage") for _ in range(30)]
    assert [len(each) for each in answers] == [1] * 6 + [0] * 24


# --- memory ------------------------------------------------------------------------------------------------------


async def test_a_grant_that_is_not_used_puts_its_memo_back(rig: Rig):
    bundle = replace(rig.keys.policy_bundle(settings=SETTINGS), passages={READER: Passage(0, 5)})
    rig.controller.feed(PolicyReplaced(PolicyState(bundle, UTC), None))
    rig.controller.feed(LineChanged(InputLine.CONTACT, LineState.INACTIVE))
    rig.tap()
    await rig.next_event(EventKind.ACCESS_GRANTED)
    assert rig.recalled().present.get(5) == 1
    await rig.next_event(EventKind.ACCESS_NOT_TAKEN)
    assert rig.recalled() == Memory()
