"""A door's recorded life of two boots, and looking into its database and changing it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from edge.core.tap import TimeDue
from tests.support.commands import Ran, run_here
from tests.support.recorded_door import SETTINGS, RunningDoor, provisioned, running_door
from wire.event import Event, parse_event
from wire.names import DoorMode, EventKind, KeyPurpose, Reason
from wire.status_delta import make_delta, seal_delta
from wire.status_list import open_status_list

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.tenant import TenantKeys

LONG = 1_100
"""Inputs of the first boot: more than one segment holds."""


async def first_boot(door: RunningDoor) -> None:
    """Grant, deny, move, revoke, lock down."""
    keys = door.keys
    await door.tap(1)
    await door.noted(EventKind.DOOR_RELOCKED)
    door.show(b"hello")
    await door.decided()
    await door.tap(2)
    for number in range(LONG):
        door.controller.feed(TimeDue())
        if number % 500 == 0:
            await door.controller.keep_recording()
    await door.controller.keep_recording()
    await door.materials.accept_status(keys.status(sequence=2, revoked={2}))
    await door.tap(2)
    down = keys.policy_bundle(version=2, settings=replace(SETTINGS, mode=DoorMode.LOCKED_DOWN))
    await door.materials.accept_policy(keys.sign_policy(replace(down, locks_out=True)))
    await door.tap(3)
    await door.materials.accept_status(keys.status(sequence=3, revoked={2, 5}))


async def second_boot(door: RunningDoor) -> None:
    """Open again, pardon, grant, deny a copy."""
    await door.materials.accept_policy(door.keys.policy(version=3, settings=SETTINGS))
    signer = door.keys.signers[KeyPurpose.STATUS]
    old = open_status_list(door.keys.status(sequence=3, revoked={2, 5}), signer.public_key)
    new = replace(old, sequence=4, bits=bytes(len(old.bits)))
    await door.materials.accept_delta(seal_delta(make_delta(old, new), door.keys.signers[2]))  # type: ignore[index]
    await door.tap(2)
    text = door.code(6)
    door.show(text)
    await door.decided()
    door.show(text)
    await door.decided()


async def record(folder: Path) -> TenantKeys:
    """Live through both; gives the institution's keys. Between them the power is cut."""
    keys = provisioned(folder)
    async with running_door(folder, keys, stopped=False) as door:
        await first_boot(door)
    async with running_door(folder, keys) as door:
        await second_boot(door)
    return keys


def replay(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> tuple[Ran, dict, list[dict]]:  # type: ignore[type-arg]  # JSON
    """Run the command; gives also its summary and its differences."""
    ran = run_here(capsys, "diag", "replay", *arguments, "--state", folder, "--json")
    *found, summary = [json.loads(line) for line in ran.out.splitlines()] or [{}]
    return ran, summary, found


def change(folder: Path, statement: str, *values: object) -> None:
    """Tamper with a door's database."""
    with closing(sqlite3.connect(folder / "journal.db")) as database, database:
        database.execute(statement, values)


def ask(folder: Path, statement: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]  # a row
    """Look into a door's database."""
    with closing(sqlite3.connect(folder / "journal.db")) as database:
        return database.execute(statement, values).fetchall()


def journal(folder: Path) -> list[Event]:
    """Give the events."""
    return [parse_event(data) for (data,) in ask(folder, "SELECT bytes FROM journal ORDER BY seq")]


def seqs_of(folder: Path, kind: EventKind, reason: Reason | None = None) -> list[int]:
    """Give the numbers of the events of a kind."""
    return [event.seq for event in journal(folder) if event.kind is kind and event.reason is reason]
