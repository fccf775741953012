"""What stands on a display: feedback by its class, for a while, then the door's name; one that hangs delays nobody."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from edge.core.effects import Feedback
from edge.ports import DisplayError, DisplayInfo, Reason
from edge.screens import MOST_WAITING, TEXTS, Rows, Screen, Times
from firmware_adapters.osdp_signals import SIGNALS
from tests.support.rig import READER, running_rig
from tests.support.waiting import DEADLINE_S, until
from wire.names import EventKind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

REST = ("main",)


class ShownDisplay:
    """A display whose rows a test reads; it can be made to hang or to fail."""

    def __init__(self) -> None:
        self.info = DisplayInfo(id="display-1", columns=20, rows=2, simulated=True)
        self.shown: asyncio.Queue[Rows] = asyncio.Queue()
        self.asked = 0
        self.held: asyncio.Event | None = None
        self.broken = False

    async def hold(self) -> None:
        """Held by nobody."""

    async def opened(self) -> None:
        """Always open."""

    async def show(self, rows: Sequence[str]) -> None:
        self.asked += 1
        if self.broken:
            raise DisplayError(Reason.LOST, what="the display is gone", remedy="plug it in")
        if self.held is not None:
            await self.held.wait()
        self.shown.put_nowait(tuple(rows))

    async def aclose(self) -> None:
        """Nothing to release."""

    async def next(self) -> Rows:
        async with asyncio.timeout(DEADLINE_S):
            return await self.shown.get()


@contextlib.asynccontextmanager
async def driven(screen: Screen) -> AsyncIterator[None]:
    driving = asyncio.create_task(screen.drive())
    try:
        yield
    finally:
        driving.cancel()
        await asyncio.wait({driving})


@pytest.fixture(name="display")
async def _display() -> ShownDisplay:
    return ShownDisplay()


@pytest.mark.parametrize("feedback", Feedback)
async def test_each_class_of_reason_has_its_text(display: ShownDisplay, feedback: Feedback):
    async with driven(screen := Screen(display, rest=REST)):
        screen.tell(READER, feedback)
        assert await display.next() == TEXTS[feedback]


def test_texts_fit_two_rows_of_20_and_begin_as_an_osdp_readers_text():
    assert set(TEXTS) == set(Feedback)
    assert all(len(rows) == 2 and all(len(row) <= 20 and row.isascii() for row in rows) for rows in TEXTS.values())
    assert {feedback: rows[0] for feedback, rows in TEXTS.items()} == {
        feedback: signal.text for feedback, signal in SIGNALS.items()
    }


async def test_feedback_goes_after_a_while_and_the_rest_is_written_again(display: ShownDisplay):
    async with driven(screen := Screen(display, rest=REST, times=Times(shown_s=0.02, renewed_s=0.02))):
        screen.tell(READER, Feedback.GRANTED)
        assert await display.next() == TEXTS[Feedback.GRANTED]
        assert [await display.next() for _ in range(3)] == [REST, REST, REST]


async def test_feedback_stands_until_its_time_is_over(display: ShownDisplay):
    async with driven(screen := Screen(display, rest=REST, times=Times(renewed_s=0.0))):
        screen.tell(READER, Feedback.GRANTED)
        await display.next()
        with pytest.raises(TimeoutError):  # three seconds, whatever the rest does
            await asyncio.wait_for(display.shown.get(), 0.05)


async def test_only_its_readers_are_shown_or_all_of_them(display: ShownDisplay):
    screen = Screen(display, rest=REST, readers=frozenset({"in"}))
    async with driven(screen):
        screen.tell("out", Feedback.GRANTED)
        screen.tell("in", Feedback.TRY_AGAIN)
        assert await display.next() == TEXTS[Feedback.TRY_AGAIN]


async def test_of_what_waits_for_a_slow_display_the_newest_is_kept(display: ShownDisplay):
    display.held = asyncio.Event()
    async with driven(screen := Screen(display, rest=REST)):
        screen.tell(READER, Feedback.WAIT)
        await until(lambda: display.asked == 1)
        for _ in range(100):
            screen.tell(READER, Feedback.DENIED_NOT_NOW)
        screen.tell(READER, Feedback.GRANTED)
        display.held.set()
        shown = [await display.next() for _ in range(MOST_WAITING + 1)]
    assert shown == [
        TEXTS[Feedback.WAIT],
        *[TEXTS[Feedback.DENIED_NOT_NOW]] * (MOST_WAITING - 1),
        TEXTS[Feedback.GRANTED],
    ]


async def test_a_display_that_was_opened_begins_with_the_rest_and_not_with_what_is_old(display: ShownDisplay):
    screen = Screen(display, rest=REST)
    screen.tell(READER, Feedback.GRANTED)
    screen.renew()
    async with driven(screen):
        assert await display.next() == REST


async def test_a_display_that_fails_is_tried_again_with_the_next_feedback(display: ShownDisplay):
    display.broken = True
    async with driven(screen := Screen(display, rest=REST)):
        screen.tell(READER, Feedback.GRANTED)
        await until(lambda: display.asked == 1)
        display.broken = False
        screen.tell(READER, Feedback.TRY_AGAIN)
        assert await display.next() == TEXTS[Feedback.TRY_AGAIN]


async def test_a_display_that_keeps_no_deadline_is_given_up(display: ShownDisplay):
    display.held = asyncio.Event()
    async with driven(screen := Screen(display, rest=REST, times=Times(deadline_s=0.02))):
        screen.tell(READER, Feedback.GRANTED)
        await until(lambda: display.asked == 1)
        screen.tell(READER, Feedback.TRY_AGAIN)
        await until(lambda: display.asked == 2)


async def test_a_hung_display_delays_neither_the_door_nor_the_reader(display: ShownDisplay, tmp_path: Path):
    display.held = asyncio.Event()
    screen = Screen(display, rest=REST)
    async with running_rig(tmp_path, screens=(screen,)) as rig, driven(screen):
        for index in range(MOST_WAITING * 3):
            rig.tap(index + 20)
            await rig.next_event(EventKind.ACCESS_GRANTED)
            assert await rig.next_feedback() is Feedback.GRANTED
        assert display.shown.empty()
        assert len(rig.relay()) > 1
