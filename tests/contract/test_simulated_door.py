"""What the simulated door shows in its folder, and how its inputs are driven from outside."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from edge.ports import InputLine, InputsError, LineState, LockError, Reason
from firmware_adapters import simulated
from firmware_adapters.simulated import COMMANDS, MAX_COMMAND_BYTES, SimulatedInputs, SimulatedLock, send_control
from tests.support.simulated import door, relay, relay_steps
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture(name="lock")
async def _lock(tmp_path: Path) -> AsyncIterator[SimulatedLock]:
    lock = SimulatedLock(str(tmp_path))
    yield lock
    await lock.aclose()


@pytest.fixture(name="inputs")
async def _inputs(tmp_path: Path) -> AsyncIterator[SimulatedInputs]:
    """Inputs that are being watched."""
    inputs = SimulatedInputs(str(tmp_path))

    async def watch() -> None:
        async for _ in inputs.changes():
            pass

    watching = asyncio.create_task(watch())
    await until((tmp_path / "control.sock").exists)
    yield inputs
    await inputs.aclose()
    async with asyncio.timeout(DEADLINE_S):
        await watching


async def test_an_untouched_door_is_locked_closed_and_says_that_it_is_simulated(tmp_path: Path, lock: SimulatedLock):
    members = door(tmp_path)
    assert (members["simulated"], members["lock"], members["lock_until_wall_ms"]) == (True, "locked", None)
    assert (members["contact"], members["rex"], members["fire"]) == ("closed", "released", "off")
    assert "simulated" in lock.info.id


async def test_each_energise_and_release_is_one_line_with_its_cause(tmp_path: Path, lock: SimulatedLock):
    before_ms = time.time_ns() // 1_000_000
    await lock.energise(hold_ms=5000, cause_seq=41)
    started, energised = relay(tmp_path)
    assert started["action"] == "release"
    assert energised["action"] == "energise"
    assert (energised["hold_ms"], energised["cause_seq"], energised["by"]) == (5000, 41, "command")
    assert before_ms <= energised["t_wall_ms"] <= time.time_ns() // 1_000_000
    assert energised["t_mono_ms"] <= time.monotonic_ns() // 1_000_000
    members = door(tmp_path)
    assert members["lock"] == "unlocked"
    assert members["since"]["lock"] <= members["lock_until_wall_ms"] - 4000
    await lock.release()
    await lock.release()
    assert relay_steps(tmp_path) == [("release", "start"), ("energise", "command"), ("release", "command")]
    assert relay(tmp_path)[-1]["cause_seq"] == 41


async def test_a_release_by_the_deadline_and_by_closing_say_so(tmp_path: Path, lock: SimulatedLock):
    await lock.energise(hold_ms=50, cause_seq=1)
    await until(lambda: relay_steps(tmp_path)[-1] == ("release", "deadline"))
    assert relay(tmp_path)[-1]["hold_ms"] >= 49
    await lock.energise(hold_ms=60_000, cause_seq=2)
    await lock.aclose()
    assert relay_steps(tmp_path)[-1] == ("release", "close")


async def test_a_lock_whose_process_is_killed_shows_until_when_it_held_and_starts_released(tmp_path: Path):
    code = f"""
import asyncio
from firmware_adapters.simulated import SimulatedLock
async def main():
    lock = SimulatedLock({str(tmp_path)!r})
    await lock.energise(hold_ms=60_000, cause_seq=9)
    print("energised", flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_S):
        assert await process.stdout.readline() == b"energised\n"
        process.kill()
        await process.wait()
    members = door(tmp_path)
    assert members["lock"] == "unlocked"
    assert members["lock_until_wall_ms"] == pytest.approx(time.time_ns() // 1_000_000 + 60_000, abs=30_000)
    lock = SimulatedLock(str(tmp_path))
    assert door(tmp_path)["lock"] == "locked"
    assert relay_steps(tmp_path)[-1] == ("release", "start")
    await lock.aclose()


async def test_an_energise_that_cannot_be_put_on_record_is_refused(tmp_path: Path, lock: SimulatedLock):
    (tmp_path / "relay.jsonl").unlink()
    (tmp_path / "relay.jsonl").mkdir()
    with pytest.raises(LockError) as caught:
        await lock.energise(hold_ms=1000, cause_seq=1)
    assert caught.value.reason is Reason.FAULT
    assert door(tmp_path)["lock"] == "locked"
    (tmp_path / "relay.jsonl").rmdir()


async def test_a_release_at_the_deadline_that_cannot_be_put_on_record_is_tried_again(
    tmp_path: Path, lock: SimulatedLock
):
    await lock.energise(hold_ms=50, cause_seq=1)
    (tmp_path / "relay.jsonl").rename(tmp_path / "kept")
    (tmp_path / "relay.jsonl").mkdir()
    await until(lambda: door(tmp_path)["lock"] == "locked")
    (tmp_path / "relay.jsonl").rmdir()
    (tmp_path / "kept").rename(tmp_path / "relay.jsonl")
    await until(lambda: relay_steps(tmp_path)[-1] == ("release", "deadline"))


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b'{"since": 3}', b'{"contact": []}'])
async def test_a_damaged_state_file_is_replaced(tmp_path: Path, damage: bytes):
    (tmp_path / "door.json").write_bytes(damage)
    lock, inputs = SimulatedLock(str(tmp_path)), SimulatedInputs(str(tmp_path))
    assert door(tmp_path)["lock"] == "locked"
    assert door(tmp_path)["contact"] == "closed"
    await lock.aclose()
    await inputs.aclose()


async def test_inputs_show_in_the_folder_beside_the_lock(tmp_path: Path, lock: SimulatedLock, inputs: SimulatedInputs):
    assert inputs is not None
    await send_control(tmp_path, "contact open")
    await send_control(tmp_path, "fire on")
    await lock.energise(hold_ms=60_000, cause_seq=1)
    members = door(tmp_path)
    assert (members["contact"], members["fire"], members["lock"]) == ("open", "on", "unlocked")
    assert {"contact", "fire", "lock"} <= members["since"].keys()


async def test_a_pressed_button_shows_until_it_is_let_go(
    tmp_path: Path, inputs: SimulatedInputs, monkeypatch: pytest.MonkeyPatch
):
    assert inputs is not None
    monkeypatch.setattr(simulated, "REX_PULSE_S", 2.0)  # longer than this process may be kept from looking
    await send_control(tmp_path, "rex press")
    await send_control(tmp_path, "rex press")
    assert door(tmp_path)["rex"] == "pressed"
    await until(lambda: door(tmp_path)["rex"] == "released")


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_is_taken_however_spaced(tmp_path: Path, inputs: SimulatedInputs, command: str):
    assert inputs is not None
    await send_control(tmp_path, "  " + command.replace(" ", "   ") + " \r")


@pytest.mark.parametrize("line", [b"open sesame\n", b" \n", b"contact\n", b"\xff\x00\n", b"CONTACT OPEN\n"])
async def test_an_unknown_command_is_told_the_known_ones_and_the_next_is_taken(
    tmp_path: Path, inputs: SimulatedInputs, line: bytes
):
    assert inputs is not None
    reader, writer = await _connect(tmp_path)
    writer.write(line + b"contact open\n")
    assert (await reader.readline()).startswith(b"error: unknown command; use one of: contact open, ")
    assert await reader.readline() == b"ok\n"
    writer.close()


async def test_send_control_raises_what_was_refused(tmp_path: Path, inputs: SimulatedInputs):
    assert inputs is not None
    with pytest.raises(InputsError, match="use one of: contact open"):
        await send_control(tmp_path, "contact ajar")


async def test_send_control_to_a_door_that_nobody_watches_says_so(tmp_path: Path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputsError, match="start the daemon") as caught:
            await send_control(folder, "contact open")
        assert caught.value.reason is Reason.LOST


async def test_an_endless_line_is_refused_once_and_the_next_command_is_taken(tmp_path: Path, inputs: SimulatedInputs):
    assert inputs is not None
    reader, writer = await _connect(tmp_path)
    writer.write(b"x" * MAX_COMMAND_BYTES * 100 + b"\ncontact open\n")
    assert (await reader.readline()).startswith(b"error: unknown command")
    assert await reader.readline() == b"ok\n"
    writer.close()


async def test_a_client_over_the_limit_is_told_so(tmp_path: Path, inputs: SimulatedInputs):
    assert inputs is not None
    clients = [await _connect(tmp_path) for _ in range(17)]
    for _, writer in clients:
        writer.write(b"contact closed\n")
    answers = [await reader.readline() for reader, _ in clients]
    assert b"error: too many clients\n" in answers
    for _, writer in clients:
        writer.close()


async def test_changes_that_the_daemon_does_not_take_are_bounded_and_the_client_is_told(tmp_path: Path):
    inputs = SimulatedInputs(str(tmp_path))
    changes = inputs.changes()
    await anext(changes)
    reader, writer = await _connect(tmp_path)
    answers: list[bytes] = []
    for _ in range(150):
        writer.write(b"fire on\nfire off\n")
        answers += [await reader.readline(), await reader.readline()]
    assert answers[:200] == [b"ok\n"] * 200
    assert answers[-1].startswith(b"error: the daemon does not take the changes")
    writer.close()
    await changes.aclose()  # type: ignore[attr-defined]
    await inputs.aclose()


async def test_a_change_reaches_the_daemon_although_the_folder_cannot_be_written(tmp_path: Path):
    """A request to exit never waits for storage."""
    folder = tmp_path / "door"
    inputs = SimulatedInputs(str(folder))
    changes = inputs.changes()
    for _ in range(3):
        await anext(changes)
    _, writer = await _connect(folder)
    (folder / "door.json").unlink()
    (folder / "door.json").mkdir()
    (folder / "door.json" / "in the way").touch()
    writer.write(b"fire on\n")
    async with asyncio.timeout(DEADLINE_S):
        change = await anext(changes)
    assert (change.line, change.state) == (InputLine.FIRE, LineState.ACTIVE)
    writer.close()
    await inputs.aclose()


async def test_the_socket_of_a_killed_process_is_replaced(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as left_behind:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        left_behind.bind(f"/proc/self/fd/{descriptor}/control.sock")
        os.close(descriptor)
    inputs = SimulatedInputs(str(tmp_path))
    changes = inputs.changes()
    await anext(changes)
    await send_control(tmp_path, "contact open")
    await inputs.aclose()


async def test_something_else_in_place_of_the_socket_is_an_error(tmp_path: Path):
    (tmp_path / "control.sock").mkdir()
    inputs = SimulatedInputs(str(tmp_path))
    with pytest.raises(InputsError) as caught:
        await anext(inputs.changes())
    assert caught.value.reason is Reason.FAULT
    await inputs.aclose()


async def test_clients_still_connected_do_not_hold_up_the_closing(tmp_path: Path):
    inputs = SimulatedInputs(str(tmp_path))
    changes = inputs.changes()
    for _ in range(3):
        await anext(changes)
    reader, writer = await _connect(tmp_path)
    await inputs.aclose()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        assert await reader.read() == b""
    writer.close()
    assert not (tmp_path / "control.sock").exists()


def test_a_line_of_the_relay_is_whole_json(tmp_path: Path):
    async def use() -> None:
        lock = SimulatedLock(str(tmp_path))
        await lock.energise(hold_ms=1000, cause_seq=2**53)
        await lock.aclose()

    asyncio.run(use())
    lines = (tmp_path / "relay.jsonl").read_bytes().splitlines(keepends=True)
    assert all(line.endswith(b"\n") and isinstance(json.loads(line), dict) for line in lines)


async def _connect(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/control.sock")
    finally:
        os.close(descriptor)
