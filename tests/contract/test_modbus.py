"""Modbus boards that lose their supply, and one serial port for the lock and the inputs of a door."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.ports import InputLine, InputsError, LineState, LockError, Reason
from firmware_adapters import modbus_bus
from firmware_adapters.catalogue import open_inputs, open_lock
from tests.support.modbus_bench import INPUTS, Board
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(name="board")
def _board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path, serial=False)
    yield board
    board.dispose()


@pytest.fixture(name="serial_board")
def _serial_board(tmp_path: Path) -> Iterator[Board]:
    board = Board(tmp_path, serial=True)
    yield board
    board.dispose()


async def test_a_lock_and_inputs_share_one_serial_port(serial_board: Board):
    lock = open_lock(f"{serial_board.base}coil=0")
    inputs = open_inputs(f"{serial_board.base}{INPUTS}")
    changes = inputs.changes()
    for _ in range(3):
        await anext(changes)
    for number in range(5):
        await lock.energise(hold_ms=60_000, cause_seq=number)
        assert serial_board.relay()
        await lock.release()
        assert not serial_board.relay()
    serial_board.set(0, 0)
    async with asyncio.timeout(DEADLINE_S):
        change = await anext(changes)
    assert (change.line, change.state) == (InputLine.CONTACT, LineState.ACTIVE)
    await inputs.aclose()
    await lock.aclose()


async def test_a_relay_that_does_not_answer_is_told_and_secured_when_it_does(board: Board):
    lock = open_lock(f"{board.base}coil=3")
    await lock.energise(hold_ms=600_000, cause_seq=1)
    assert board.relay(3)
    board.stop()
    with pytest.raises(LockError) as caught:
        await lock.release()
    assert caught.value.reason is Reason.LOST
    assert board.relay(3)  # its contacts stay as they were
    board.start()
    await until(lambda: not board.relay(3))
    await lock.aclose()


async def test_a_lock_that_is_closed_while_its_board_is_busy_is_secured_all_the_same(board: Board):
    lock = open_lock(f"{board.base}coil=0")
    await lock.energise(hold_ms=60_000, cause_seq=7)
    # Longer than the worker asks twice, shorter than it goes on for.
    board.pause()
    closing = asyncio.create_task(lock.aclose())
    await asyncio.sleep(0.9)
    assert board.relay()
    board.resume()
    async with asyncio.timeout(DEADLINE_S):
        await closing
    assert not board.relay()


async def test_inputs_that_do_not_answer_are_told_and_watched_again(board: Board):
    inputs = open_inputs(f"{board.base}{INPUTS}")
    changes = inputs.changes()
    for _ in range(3):
        await anext(changes)
    board.stop()
    with pytest.raises(InputsError) as caught:
        await anext(changes)
    assert caught.value.reason is Reason.LOST
    board.start()
    states = {change.line: change.state for change in [await anext(again) for again in [inputs.changes()] * 3]}
    assert states[InputLine.CONTACT] is LineState.INACTIVE
    await inputs.aclose()


def test_a_board_that_was_left_is_not_asked_again(board: Board):
    """A question may still wait in its thread when the inputs are closed."""
    bus = modbus_bus.Board(f"127.0.0.1:{board.port}", unit=1, baud=0)
    assert len(bus.read(0, 3)) == 3
    bus.close()
    with pytest.raises(modbus_bus.BoardError):
        bus.read(0, 3)


def test_a_board_that_is_not_there_is_told(tmp_path: Path):
    for url in (f"modbus://{tmp_path}/nowhere?coil=0", "modbus+tcp://127.0.0.1:1?coil=0"):
        with pytest.raises(LockError) as caught:
            open_lock(url)
        assert caught.value.reason is Reason.LOST
        assert "address" in caught.value.remedy


async def test_a_coil_that_the_board_lacks_is_told(board: Board):
    with pytest.raises(LockError) as caught:
        open_lock(f"{board.base}coil=900")
    assert "refuses" in caught.value.what
