"""What every display promises (edge/ports.py), tried on each of them; the serial ones with a peer that obeys bytes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from edge.ports import DisplayError, Reason
from firmware_adapters.catalogue import Kind, open_display, schemes
from tests.support.display_bench import DisplayBench, SerialDisplayBench, SimulatedDisplayBench
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

_BENCHES: dict[str, Callable[[Path], DisplayBench]] = {
    "display": SerialDisplayBench,
    "display escpos": partial(SerialDisplayBench, commands="escpos"),
    "display+simulated": SimulatedDisplayBench,
}
BLANK = ["", ""]


@pytest.fixture(params=_BENCHES, name="bench")
def _bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DisplayBench]:
    bench = _BENCHES[request.param](tmp_path)
    yield bench
    bench.dispose()


@contextlib.asynccontextmanager
async def held(bench: DisplayBench) -> AsyncIterator[asyncio.Task[None]]:
    """Hold the display, and go on once it is open."""
    hold = asyncio.create_task(bench.display.hold())
    opening = asyncio.create_task(bench.display.opened())
    try:
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({hold, opening}, return_when=asyncio.FIRST_COMPLETED)
        if hold.done():
            await hold
        yield hold
    finally:
        for task in (hold, opening):
            task.cancel()
        await asyncio.wait({hold, opening}, timeout=DEADLINE_S)


async def failure(hold: asyncio.Task[None]) -> DisplayError:
    """Wait for a hold to fail, and give its error."""
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait({hold})
    error = hold.exception()
    assert isinstance(error, DisplayError), f"ended with {error!r}"
    return error


async def refusal(bench: DisplayBench) -> DisplayError:
    """Hold a display that cannot be held, and give its error."""
    return await failure(asyncio.create_task(bench.display.hold()))


def test_every_scheme_of_the_catalogue_stands_here():
    assert {name.partition(" ")[0] for name in _BENCHES} == set(schemes()[Kind.DISPLAY])


async def test_info_is_known_before_the_device_is_opened(bench: DisplayBench):
    info = bench.display.info
    assert (info.id, info.columns, info.rows) == ("display-1", 20, 2)
    assert info.simulated is isinstance(bench, SimulatedDisplayBench)


async def test_nothing_stands_there_once_it_is_open(bench: DisplayBench):
    async with held(bench):
        await until(lambda: bench.rows() == BLANK)


async def test_what_is_shown_stands_in_place_of_all_that_stood_there(bench: DisplayBench):
    async with held(bench):
        await bench.display.show(["NOT AT THIS TIME", "Please come later"])
        await until(lambda: bench.rows() == ["NOT AT THIS TIME", "Please come later"])
        await bench.display.show(["main"])
        await until(lambda: bench.rows() == ["main", ""])


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (["A" * 20, "B" * 20], ["A" * 20, "B" * 20]),
        (["A" * 21, "B" * 100], ["A" * 20, "B" * 20]),
        (["one", "two", "three"], ["one", "two"]),
        ([], BLANK),
        (["Tür 3\x1b\x0c", "\n\x7f€"], ["T?r 3??", "???"]),
    ],
)
async def test_rows_are_cut_and_what_cannot_be_shown_is_a_question_mark(
    bench: DisplayBench, rows: list[str], shown: list[str]
):
    async with held(bench):
        await bench.display.show(["before", "before"])
        await bench.display.show(rows)
        await until(lambda: bench.rows() == shown)


async def test_nothing_can_be_shown_before_it_is_open(bench: DisplayBench):
    with pytest.raises(DisplayError) as caught:
        await bench.display.show(["x"])
    assert caught.value.reason is Reason.LOST


async def test_a_lost_device_raises_and_shows_again_after_its_return(bench: DisplayBench):
    async with held(bench) as hold:
        await bench.display.show(["BEFORE"])
        await until(lambda: bench.rows() == ["BEFORE", ""])
        bench.lose()
        error = await failure(hold)
    assert error.reason is Reason.LOST
    assert str(error) == f"{error.what}; {error.remedy}"
    with pytest.raises(DisplayError):
        await bench.display.show(["BETWEEN"])
    bench.restore()
    async with held(bench):
        await bench.display.show(["AFTER"])
        await until(lambda: bench.rows() == ["AFTER", ""])


async def test_a_device_that_is_missing_at_first_is_used_once_it_is_there(bench: DisplayBench):
    bench.lose()
    for _ in range(2):
        assert (await refusal(bench)).reason is Reason.LOST
    bench.restore()
    async with held(bench):
        await bench.display.show(["THERE"])
        await until(lambda: bench.rows() == ["THERE", ""])


async def test_a_missing_device_is_not_tried_in_a_busy_loop(bench: DisplayBench):
    bench.lose()
    began_s = time.monotonic()
    for _ in range(4):
        await refusal(bench)
    # Pauses of 0, 0.1, 0.2 and 0.4 s.
    assert time.monotonic() - began_s >= 0.7


async def test_closing_clears_it_and_ends_the_hold_without_an_error(bench: DisplayBench):
    async with held(bench) as hold:
        await bench.display.show(["STILL HERE"])
        await bench.display.aclose()
        await bench.display.aclose()
        async with asyncio.timeout(DEADLINE_S):
            await hold
    await until(lambda: bench.rows() == BLANK)
    await bench.display.hold()  # ends at once


async def test_closing_ends_a_wait_for_a_missing_device(bench: DisplayBench):
    bench.lose()
    for _ in range(3):
        await refusal(bench)
    waiting = asyncio.create_task(bench.display.hold())
    await asyncio.sleep(0)
    await bench.display.aclose()
    async with asyncio.timeout(DEADLINE_S):
        await waiting


async def test_a_second_hold_at_the_same_time_is_refused(bench: DisplayBench):
    async with held(bench):
        assert (await refusal(bench)).reason is Reason.BUSY
        await bench.display.show(["STILL SHOWN"])
        await until(lambda: bench.rows() == ["STILL SHOWN", ""])


async def test_a_cancelled_hold_clears_the_device_and_frees_it_for_the_next(bench: DisplayBench):
    async with held(bench):
        await bench.display.show(["LEFT STANDING"])
    await until(lambda: bench.rows() == BLANK)
    async with held(bench):
        await bench.display.show(["AGAIN"])
        await until(lambda: bench.rows() == ["AGAIN", ""])


async def test_a_device_in_use_is_busy(bench: DisplayBench):
    async with held(bench):
        second = asyncio.create_task(open_display(bench.url, bench.display.info.id).hold())
        assert (await failure(second)).reason is Reason.BUSY
