"""What all adapters under test share."""

from __future__ import annotations

import pytest

from firmware_adapters import camera_process
from tests.support.waiting import DEADLINE_S


@pytest.fixture(autouse=True)
def _patient_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up no frame because the machine pauses: what is lost with it is what the test waits for."""
    monkeypatch.setattr(camera_process, "FRAME_DEADLINE_S", DEADLINE_S)
