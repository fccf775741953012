"""`doorward demo`."""

import sys
from typing import Annotated, Final

import typer

from doorward.demo.show import show
from doorward.errors import ExitCode
from doorward.output import JsonOption

EXAMPLES: Final = """
Examples:
  doorward demo
  doorward demo --once
  doorward demo --once --json
"""


def run(
    *,
    once: Annotated[bool, typer.Option("--once", help="End after the last step.")] = False,
    json_lines: JsonOption = False,
) -> ExitCode:
    """Show one door from claim to chain check.

    A cloud, a door and three holders: who gets in, what is refused and why, and what happens without a network.

    Everything is real but the hardware: the cloud with its PostgreSQL, the door's daemon, enrolment, keys, the camera's
    decoder. The lock and the door leaf are simulated, the camera's frames are drawn, and the network between door and
    cloud is a forwarder on this machine that can be cut. All files are in a temporary folder that is removed.

    Without --once, cloud and door go on after the last step until Ctrl-C, on a terminal. With --json the narration goes
    to standard error, and standard output ends with one JSON object. Exit code 0 means that every step was really seen.
    """
    return show(once=once or json_lines or not sys.stdout.isatty(), json_lines=json_lines)
