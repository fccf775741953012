"""An installer at a door: describes it, runs provisioning, hears what went wrong."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from provisioning.enrol import Provisioned, provision_door
from provisioning.errors import ProvisioningError
from provisioning.plan import DesiredDoor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.peer_listener import PeerListener


def door(listener: PeerListener, folder: Path, claim: str | None = None) -> DesiredDoor:
    """Describe a simulated door."""
    return DesiredDoor(
        cloud_url=listener.url,
        claim_code=claim if claim is not None else listener.claim(),
        folder=folder,
        readers={"outside": f"camera+files://{folder}/frames"},
        lock=f"simulated://{folder}/twin",
        inputs=(f"simulated://{folder}/twin",),
    )


def today() -> datetime:
    """Read the machine's clock."""
    return datetime.now(UTC)


async def provision(desired: DesiredDoor, *, now: Callable[[], datetime] = today) -> Provisioned:
    """Provision as the command line does, beside the listener's event loop."""
    done = await asyncio.to_thread(provision_door, desired, now=now)
    assert isinstance(done, Provisioned)
    return done


async def failure(desired: DesiredDoor, *, now: Callable[[], datetime] = today) -> ProvisioningError:
    """Provision in vain; no configuration may appear."""
    with pytest.raises(ProvisioningError) as caught:
        await provision(desired, now=now)
    assert not (desired.folder / "edge.toml").exists()
    return caught.value
