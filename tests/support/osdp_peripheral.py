"""An OSDP reader in a process of its own: `python tests/support/osdp_peripheral.py PORT ADDRESS KEY`.

KEY is hexadecimal, or "install" for a reader in install mode. One JSON object a line: what to do comes in on stdin (an
event of the library, bytes as hexadecimal), each command that the panel sends goes out on stdout.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import osdp
import serial

TURN_S = 0.002

_CAPABILITIES = osdp.PDCapabilities(
    [
        (osdp.Capability.CommunicationSecurity, 1, 1),
        (osdp.Capability.CardDataFormat, 1, 1),
        (osdp.Capability.LEDControl, 1, 1),
        (osdp.Capability.AudibleControl, 1, 1),
        (osdp.Capability.TextOutput, 1, 1),
    ]
)


class _Port(osdp.Channel):  # type: ignore[misc]  # the library has no type information
    def __init__(self, path: str) -> None:
        super().__init__()
        self._serial = serial.Serial(path, 115_200, timeout=0)

    def read(self, max_bytes: int) -> bytes:
        data: bytes = self._serial.read(max_bytes)
        return data

    def write(self, buf: bytes) -> int:
        return self._serial.write(buf) or 0

    def flush(self) -> None:
        self._serial.reset_input_buffer()


def _tell(told: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(told, default=bytes.hex) + "\n")
    sys.stdout.flush()


def _local(report: bytes) -> dict[str, Any]:
    local = osdp.StatusReportType.Local
    return {"command": osdp.Command.Status, "event": osdp.Event.Status, "type": local, "report": report}


class _Peripheral:
    def __init__(self, path: str, address: int, key: str) -> None:
        install = key == "install"
        flags = [osdp.LibFlag.InstallMode] if install else [osdp.LibFlag.EnforceSecure]
        info = osdp.PDInfo(address, _Port(path), scbk=None if install else bytes.fromhex(key), flags=flags)
        self.local = bytes(2)
        self.device = osdp.PeripheralDevice(
            info, _CAPABILITIES, log_level=osdp.LogLevel.Emergency, command_handler=self._take
        )

    def _take(self, command: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        _tell(command)
        return 0, _local(self.local) if command["command"] == osdp.Command.Status else None

    def obey(self, order: dict[str, Any]) -> None:
        for name in ("data", "report"):
            if name in order:
                order[name] = bytes.fromhex(order[name])
        if order["event"] == osdp.Event.Status:
            self.local = order["report"]
        self.device.ctx.submit_event(order)
        _tell({"obeyed": order["event"]})


def main(path: str, address: str, key: str) -> None:
    peripheral = _Peripheral(path, int(address), key)
    _tell({"started": True})
    held = b""
    while True:
        # Often enough to see what others on the line say apart from what is said to this one, as hardware does.
        peripheral.device.ctx.refresh()
        if select.select([0], [], [], TURN_S)[0]:
            data = os.read(0, 4096)
            if not data:
                return
            *lines, held = (held + data).split(b"\n")
            for line in lines:
                peripheral.obey(json.loads(line))


if __name__ == "__main__":
    main(*sys.argv[1:])
