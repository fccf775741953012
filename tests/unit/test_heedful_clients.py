"""A wait for a broker that is cancelled ends, even when what it waited for comes at the same instant."""

from __future__ import annotations

import asyncio

import aiomqtt
import pytest

from cloud.broker.client import HeedfulClient as CloudClient
from sync.mqtt_session import HeedfulClient as DoorClient
from tests.support.waiting import DEADLINE_S


@pytest.mark.parametrize("kind", [CloudClient, DoorClient])
async def test_a_wait_that_is_cancelled_as_its_result_comes_is_cancelled(kind: type[aiomqtt.Client]):
    client = kind("broker.invalid")
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(client._wait_for(result, DEADLINE_S))
    await asyncio.sleep(0)
    result.set_result(1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


@pytest.mark.parametrize("kind", [CloudClient, DoorClient])
async def test_a_wait_that_nobody_ends_gives_its_result(kind: type[aiomqtt.Client]):
    client = kind("broker.invalid")
    result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    result.set_result(1)
    assert await client._wait_for(result, DEADLINE_S) == 1
