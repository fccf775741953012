"""Tasks are ended even when one of them loses the order to end."""

from __future__ import annotations

import asyncio

import pytest

from sync import tasks


async def test_a_task_that_loses_its_first_cancellation_ends_with_the_second(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tasks, "_AGAIN_S", 0.01)
    lost = 0

    async def forgetful() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                lost += 1
        await asyncio.sleep(60)

    async def obedient() -> None:
        await asyncio.sleep(60)

    running = [asyncio.create_task(forgetful()), asyncio.create_task(obedient())]
    await asyncio.sleep(0)
    await tasks.end(running)
    assert all(task.cancelled() for task in running)
    assert lost == 2


async def test_tasks_that_have_ended_are_left_alone():
    done = asyncio.create_task(asyncio.sleep(0, "well"))
    await asyncio.wait((done,))
    await tasks.end([done])
    assert done.result() == "well"
