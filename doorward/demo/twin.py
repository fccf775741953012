"""The simulated door as its surroundings see it: a camera's folder, a relay's history, a contact, a clock.

Invariant: what happened is read from what the door's own process wrote; nothing is inferred.
Must not: reach into the daemon; the folder, the sockets and the clock's file are all there is.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Final

from doorward.files import write_whole
from doorward.qr import frame_png, make_matrix
from firmware_adapters.simulated import send_control

RELAY_FILE: Final = "relay.jsonl"


class Twin:
    """The surroundings of one simulated door.

    Args:
        folder: is filled with `frames/` (the camera's), `door/` (the relay and the contact) and the clock's file.
    """

    def __init__(self, folder: Path) -> None:
        self.frames = folder / "frames"
        self.door = folder / "door"
        self.clock_file = folder / "clock-offset-ms"
        self._shown = 0
        for each in (self.frames, self.door):
            each.mkdir(parents=True)
        self.set_clock_offset(0)
        self.show(None)

    def show(self, text: bytes | None) -> int:
        """Hold a code before the camera, or take it away (None).

        Returns:
            The monotonic millisecond at which the frame was there.
        """
        self._shown += 1
        picture = frame_png(None if text is None else make_matrix(text))
        write_whole(self.frames / f"{self._shown:06}.png", picture)
        return time.monotonic_ns() // 1_000_000

    def relay(self, action: str) -> list[dict[str, Any]]:
        """Give what the relay did, of one kind ("energise", "release"), oldest first."""
        path = self.door / RELAY_FILE
        lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
        return [record for record in map(json.loads, lines) if record["action"] == action]

    def set_contact(self, state: str) -> None:
        """Open or close the door leaf ("open", "closed")."""
        asyncio.run(send_control(self.door, f"contact {state}"))

    def set_clock_offset(self, milliseconds: int) -> None:
        """Move the door's clock."""
        write_whole(self.clock_file, str(milliseconds).encode("ascii"))
