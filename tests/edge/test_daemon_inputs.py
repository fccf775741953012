"""A running door whose wires end at several devices: each is watched, lost, told and restored by itself."""

from __future__ import annotations

import asyncio
import fcntl
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from doorward.errors import ExitCode
from edge.config import AddressConfig, render_config
from edge.daemon import serve
from edge.ports import InputsError, Reason
from firmware_adapters.catalogue import AdapterError, AddressFault
from tests.support.daemon_door import DOORWARD, Door, make_door, running
from tests.support.gpio_bench import FilesInputsBench
from tests.support.modbus_bench import Board
from tests.support.osdp_bench import OsdpBench
from tests.support.waiting import DEADLINE_S
from wire.settings import DoorSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BOARD = "modbus-tcp-2"


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return make_door(tmp_path, settings=DoorSettings(release_time_ms=80, open_time_ms=60_000))


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    made = Board(tmp_path, serial=False)
    made.set(3, 1)
    yield made
    made.dispose()


def wired(door: Door, *urls: str) -> None:
    """Give the door its inputs at these addresses, before its start."""
    door.config = replace(door.config, inputs=tuple(AddressConfig(url=url) for url in urls))
    (door.folder / "edge.toml").write_text(render_config(door.config))


def twin_and_board(door: Door, board: Board) -> None:
    """Contact and button at the twin; fire and tamper at the board."""
    wired(door, f"simulated://{door.folder / 'door'}?wires=contact,rex", f"{board.base}fire=2&tamper=3")


async def states(door: Door) -> dict[str, str]:
    return {each["id"]: each["state"] for each in (await door.status())["inputs"]}


async def line_states(door: Door) -> dict[str, str]:
    return {each["line"]: each["state"] for each in (await door.status())["lines"]}


async def line_is(door: Door, line: str, state: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while (await line_states(door))[line] != state:  # noqa: ASYNC110 - asked of the daemon
            await asyncio.sleep(0.02)


async def told(*command: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(DOORWARD, *command, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(DEADLINE_S):
        out, _ = await process.communicate()
    return process.returncode, out.decode()


async def devices(door: Door) -> tuple[int | None, dict[str, dict[str, Any]]]:
    """Ask `doorward edge devices`; gives its exit code and the inputs by their names."""
    code, out = await told("edge", "devices", "--config", str(door.folder / "edge.toml"), "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    return code, {row["id"]: row for row in rows if row["kind"] == "inputs"}


async def test_a_board_dies_and_comes_back_while_the_other_wires_go_on(door: Door, board: Board):
    twin_and_board(door, board)
    async with running(door):
        await line_is(door, "fire", "inactive")
        await door.wire("contact open")
        await door.seen(kind="DOOR_OPENED")
        board.stop()
        lost = await door.seen(kind="INPUTS_LOST")
        assert lost["reader"] == BOARD
        lines = await line_states(door)
        assert (lines["fire"], lines["tamper"], lines["contact"]) == ("unknown", "unknown", "active")
        assert await states(door) == {"simulated-1": "open", BOARD: "lost"}
        await door.wire("rex press")
        await door.seen(kind="EGRESS", after=lost["seq"])
        await door.wire("contact closed")
        await door.seen(kind="DOOR_CLOSED", after=lost["seq"])
        board.start()
        await door.seen(kind="INPUTS_RESTORED", reader=BOARD)
        await line_is(door, "fire", "inactive")
        assert await states(door) == {"simulated-1": "open", BOARD: "open"}
        board.set(2, 0)
        await door.seen(kind="FIRE")
        events = [(row["kind"], row["reader"]) for row in await door.events() if row["kind"].startswith("INPUTS")]
    assert sorted(events) == [("INPUTS_LOST", BOARD), ("INPUTS_RESTORED", BOARD)]


async def test_the_health_of_each_address_is_told_by_name(door: Door, board: Board):
    twin_and_board(door, board)
    async with running(door):
        await line_is(door, "tamper", "inactive")
        code, inputs = await devices(door)
        assert code == ExitCode.OK
        assert {name: each["health"] for name, each in inputs.items()} == {"simulated-1": "well", BOARD: "well"}
        assert inputs[BOARD]["note"] == "fire inactive, tamper inactive"
        board.stop()
        await door.seen(kind="INPUTS_LOST")
        code, inputs = await devices(door)
        assert code == ExitCode.FAILED
        assert {name: each["health"] for name, each in inputs.items()} == {"simulated-1": "well", BOARD: "lost"}
        assert f"127.0.0.1:{board.port}" in inputs[BOARD]["note"]
        _, text = await told("diag", "status", "--socket", str(door.folder / "diag.sock"))
    rows = [line for line in text.splitlines() if line.startswith("inputs ")]
    assert [
        ("wires contact rex, state open, reason none, sentence none" in row, "state lost" in row) for row in rows
    ] == [
        (True, False),
        (False, True),
    ]


async def test_a_board_that_is_not_there_at_the_start_keeps_no_door_from_working(door: Door, board: Board):
    twin_and_board(door, board)
    board.stop()
    async with running(door):
        await door.seen(kind="INPUTS_LOST", reader=BOARD)
        await door.wire("rex press")
        await door.seen(kind="EGRESS")
        board.start()
        await door.seen(kind="INPUTS_RESTORED", reader=BOARD)


async def test_a_chip_that_is_not_there_at_the_start_is_used_once_it_is(door: Door):
    chip = door.folder / "chip"
    wired(door, f"simulated://{door.folder / 'door'}?wires=contact,rex", f"gpio+files://{chip}?fire=13,no,down")
    async with running(door):
        await door.seen(kind="INPUTS_LOST", reader="gpio-files-2")
        assert str(chip) in (await door.status())["inputs"][1]["sentence"]
        chip.mkdir()
        await door.seen(kind="INPUTS_RESTORED", reader="gpio-files-2")
        await line_is(door, "fire", "inactive")


async def test_a_chip_that_another_program_holds_is_at_fault_until_it_lets_go(door: Door):
    chip = door.folder / "chip"
    chip.mkdir()
    wired(door, f"simulated://{door.folder / 'door'}?wires=contact,rex", f"gpio+files://{chip}?fire=13,no,down")
    with (chip / ".inputs.claim").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        async with running(door):
            await door.seen(kind="INPUTS_LOST", reader="gpio-files-2")
            code, inputs = await devices(door)
            assert (code, inputs["gpio-files-2"]["health"]) == (ExitCode.FAILED, "fault")
            assert inputs["gpio-files-2"]["note"].endswith("end it, or give this door a folder of its own")
            assert (await door.status())["inputs"][1]["reason"] == Reason.BUSY.value
            fcntl.flock(held, fcntl.LOCK_UN)
            await door.seen(kind="INPUTS_RESTORED", reader="gpio-files-2")
            code, inputs = await devices(door)
            assert (code, inputs["gpio-files-2"]["health"]) == (ExitCode.OK, "well")


async def test_contact_fire_and_tamper_come_from_a_chip_a_board_and_a_reader(door: Door, board: Board, tmp_path: Path):
    chip, osdp = FilesInputsBench(tmp_path), OsdpBench(tmp_path)
    wired(
        door,
        f"gpio+files://{chip.folder}?contact=5&rex=6",
        f"{board.base}fire=2&power=3",
        f"{osdp.url()}&wires=tamper",
    )
    try:
        async with running(door):
            for line in ("contact", "fire", "power", "tamper"):
                await line_is(door, line, "inactive")
            osdp.peripheral.local(tamper=True, power=True)
            await door.seen(kind="TAMPER")
            chip.set("5", 1)
            await door.seen(kind="FORCED_OPEN")
            board.set(2, 0)
            await door.seen(kind="FIRE")
            # The reader's supply failed too, and nobody took that wire from it.
            assert (await line_states(door))["power"] == "inactive"
    finally:
        await osdp.reader.aclose()
        osdp.dispose()


async def test_a_door_with_one_wire_at_two_addresses_does_not_start(door: Door, board: Board):
    wired(door, f"simulated://{door.folder / 'door'}", f"{board.base}fire=2")
    with pytest.raises(AdapterError) as caught:
        await serve(door.config, asyncio.Event())
    assert caught.value.fault is AddressFault.SHARED_WIRE


async def test_a_door_with_inputs_that_can_never_work_does_not_start(door: Door, board: Board):
    wired(door, f"simulated://{door.folder / 'door'}", board.base.rstrip("?"))
    with pytest.raises(InputsError) as caught:
        await serve(door.config, asyncio.Event())
    assert caught.value.reason is Reason.UNSUPPORTED
