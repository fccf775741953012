"""A recorded door, lived once for all tests of this folder; and patience with cameras."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest

from firmware_adapters import camera_process
from tests.support.recorded_life import record
from tests.support.waiting import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.tenant import TenantKeys


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TenantKeys]:
    """Record a door's life once."""
    folder = tmp_path_factory.mktemp("recorded") / "state"
    return folder, asyncio.run(record(folder))


@pytest.fixture
def recorded_folder(recorded: tuple[Path, TenantKeys], tmp_path: Path) -> Path:
    """Give a copy that a test may change."""
    return shutil.copytree(recorded[0], tmp_path / "copy")


@pytest.fixture
def recorded_keys(recorded: tuple[Path, TenantKeys]) -> TenantKeys:
    """Give the keys of that door's institution."""
    return recorded[1]


@pytest.fixture(autouse=True)
def _patient_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up no frame because the machine pauses, as in `tests/contract`."""
    monkeypatch.setattr(camera_process, "FRAME_DEADLINE_S", DEADLINE_S)
