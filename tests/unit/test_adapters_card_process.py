"""A card reader's worker that misbehaves is ended, and what it says late is taken for nothing else."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from edge.ports import ReaderError, ReaderLost, Reason
from firmware_adapters.card_process import QUIET_DEADLINE_S, CardProcess
from firmware_adapters.card_records import RECORDS, Arrived, Departed, Ready, Record, Settings
from firmware_adapters.worker_process import Worker, WorkerEndedError, WorkerStuckError, start_worker


@contextlib.asynccontextmanager
async def _started(kind: str) -> AsyncIterator[CardProcess]:
    process = CardProcess(await _start("tests.support.odd_worker", kind))
    try:
        assert process.pid > 0
        assert await process.next_happening() == Ready()
        yield process
    finally:
        await process.stop()
        await process.stop()


@pytest.mark.parametrize("kind", ["garbage", "orders", "asks", "endless"])
async def test_a_worker_that_says_what_no_worker_says_is_ended(kind: str):
    async with _started(kind) as process:
        with pytest.raises(WorkerEndedError):
            await process.next_happening()


async def test_the_code_of_a_worker_that_ends_is_told():
    async with _started("ends") as process:
        with pytest.raises(WorkerEndedError, match=r"the odd worker ended \(code 7\)"):
            await process.next_happening()
        with pytest.raises(WorkerEndedError):
            await process.signal("granted")


async def test_a_worker_that_falls_silent_is_a_reader_that_hangs():
    async with _started("silent") as process:
        with pytest.raises(ReaderLost) as caught:
            await process.transmit(1, b"\x00")
    assert caught.value.reason is Reason.DEADLINE


async def test_a_worker_that_takes_no_orders_is_killed():
    async with _started("deaf") as process:
        # The socket holds some 200 KiB, and asyncio 64 more before it waits.
        with pytest.raises(WorkerStuckError):
            await process.signal("x" * 1_000_000)


async def test_an_answer_is_told_from_those_to_other_commands_and_a_card_that_came_meanwhile_is_kept():
    async with _started("late") as process:
        assert await process.transmit(1, b"\x00") == b"\x90\x00"
        assert await process.next_happening() == Departed(1)
        assert await process.next_happening() == Arrived(2, b"\x04", speaks=True)


async def test_a_process_that_cannot_be_started_is_a_fault():
    # Linux takes no single argument of more than 128 KiB (execve(2), MAX_ARG_STRLEN).
    with pytest.raises(ReaderError) as caught:
        await _start("x" * 200_000, "silent")
    assert caught.value.reason is Reason.FAULT
    assert "cannot be started" in caught.value.what


async def _start(module: str, kind: str) -> Worker[Record]:
    settings = Settings(stack=kind, device="")
    return await start_worker("the odd worker", module, settings, records=RECORDS, quiet_s=QUIET_DEADLINE_S)
