"""Rules that would lock everybody out come signed from the cloud: the door keeps those it has, and says so once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from doorward.diag import Diagnostics
from edge.config import load_config
from edge.daemon import serving
from sync.surroundings import SystemSurroundings
from tests.support.installer import door, provision
from tests.support.peer_cloud import PeerCloud
from tests.support.peer_listener import PeerListener, listening
from tests.support.waiting import DEADLINE_S
from wire.messages import DEVICE_POLICY

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.e2e


async def refusals(diagnostics: Diagnostics) -> list[dict[str, Any]]:
    events = await asyncio.to_thread(lambda: diagnostics.events(after=0, limit=500))
    return [event for event in events if event["kind"] == "POLICY_REFUSED"]


async def until_status(diagnostics: Diagnostics, holds: Callable[[dict[str, Any]], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if holds(await asyncio.to_thread(diagnostics.status)):
                return
            await asyncio.sleep(0.05)


async def test_rules_that_would_lock_everybody_out_are_refused_until_a_person_orders_that(tmp_path: Path):
    peer = PeerListener(PeerCloud(SystemSurroundings()), tmp_path / "cloud")
    async with listening(peer) as listener:
        done = await provision(door(listener, tmp_path / "door"))
        config = replace(load_config(done.config), readers=())
        diagnostics = Diagnostics(config.diagnostics.socket)
        async with serving(config):
            await until_status(diagnostics, lambda status: bool(status["sync"]["connected"]))
            listener.cloud.policy = replace(listener.cloud.policy, levels={})
            listener.cloud.publish_policy()
            await until_status(diagnostics, lambda _: listener.requests.count(f"GET {DEVICE_POLICY}") >= 4)
            (refused,) = await refusals(diagnostics)
            assert refused["reason"] == "LOCKS_EVERYONE_OUT"
            status = await asyncio.to_thread(diagnostics.status)
            assert status["policy_version"] == 1
            assert "locks_out" in status["sync"]["pull_error"]
            listener.cloud.policy = replace(listener.cloud.policy, locks_out=True)
            listener.cloud.publish_policy()
            await until_status(diagnostics, lambda status: status["policy_version"] == 3)
            assert len(await refusals(diagnostics)) == 1
