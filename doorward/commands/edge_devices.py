"""`doorward edge devices`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.devices import Device, Health, as_the_daemon_says, configured, unconfigured, unwell
from doorward.diag import Diagnostics
from doorward.edgeconfig import USUAL_CONFIG, ConfigOption, read_config
from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output, Style, table
from edge.config import ConfigError
from provisioning.detect import detect

EXAMPLES: Final = """
Examples:
  doorward edge devices
  doorward edge devices --probe --json
  doorward edge devices --config ./twin/edge.toml

Health: well (the note counts what was wrong with what a reader read since the daemon's start); opening (not open yet);
lost; fault (a reader is there and cannot be used, or a wire is broken or shorted: see the note); other address (the
daemon runs with another configuration); not installed (a package is missing); unknown (the daemon does not answer).

Exit codes: 0 none is unwell, 1 one is, 2 the configuration cannot be used, 3 the daemon does not answer.
"""


def run(
    *,
    config: ConfigOption = USUAL_CONFIG,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Also show what is plugged in and not in the configuration."),
    ] = False,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Show this door's devices, and how each is.

    Lists every reader, the lock, each address of inputs and every display in the configuration: what it can do, or
    which wires are taken from it, and its health, which the running daemon tells. No device is opened.
    """
    out = Output(json_lines=json_lines)
    devices, silent = _asked(config)
    shown = devices + (unconfigured(detect(), devices) if probe else [])
    for each in shown if json_lines else ():
        out.result(
            {
                "kind": each.kind,
                "id": each.id,
                "address": each.url,
                "can": each.can,
                "health": each.health.value,
                "note": each.note,
            }
        )
    out.say(*table(("DEVICE", "HEALTH", "ADDRESS", "CAN", "NOTE"), [_row(each) for each in shown]))
    if silent is not None:
        out.say("", out.paint("The health is unknown, the daemon is not running or cannot be asked:", Style.CAUTION))
        out.say(f"  {silent}")
    return _exit_code(devices, silent)


def _asked(path: Path) -> tuple[list[Device], CliError | None]:
    """Give the devices with their health, and why the daemon did not tell it."""
    try:
        config = read_config(path)
    except ConfigError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=str(error),
            remedy=f"correct that; check it with: doorward edge check-config --config {path}",
        ) from error
    devices = configured(config)
    try:
        return as_the_daemon_says(devices, Diagnostics(config.diagnostics.socket).status()), None
    except CliError as error:
        if error.code is not ExitCode.UNREACHABLE:
            raise
        return [_unasked(each, error.what) for each in devices], error


def _unasked(device: Device, why: str) -> Device:
    if device.health is Health.NOT_INSTALLED:
        return device
    return Device(device.kind, device.id, device.url, device.can, note=f"daemon not running: {why}")


def _row(device: Device) -> tuple[str, ...]:
    name = device.kind if device.id is None else f"{device.kind} {device.id}"
    note = "" if device.health is Health.UNKNOWN else device.note  # the same for all of them: it is told once, below
    return (name, device.health.value, device.url or "no adapter", ", ".join(device.can) or "-", note)


def _exit_code(devices: list[Device], silent: CliError | None) -> ExitCode:
    if unwell(devices):
        return ExitCode.FAILED
    return ExitCode.OK if silent is None else ExitCode.UNREACHABLE
