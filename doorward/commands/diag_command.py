"""`doorward diag command`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.diag import SocketOption, at_socket
from doorward.errors import CliError, ExitCode
from doorward.eventlines import event_line
from doorward.output import JsonOption, Output, Style
from doorward.tokens import command_bytes, input_bytes

EXAMPLES: Final = """
Examples:
  doorward diag command reset-fire.cose
  ssh office cat unlock.cose | doorward diag command - --json

It exits with 0 when the command was carried out, with 1 when it was refused.
"""


def run(
    file: Annotated[
        str, typer.Argument(metavar="[FILE|-]", help="The signed command, as it is or in base64url or hexadecimal.")
    ] = "-",
    *,
    socket: SocketOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Bring a signed command to a door without network.

    Opens it once, or ends the state of fire. The door judges the command as if it had come by the network: signed by
    its institution, for this door, in time, and never carried out before. What it did is in its journal either way.
    """
    answer = at_socket(socket).command(command_bytes(_read(file)))
    out = Output(json_lines=json_lines)
    style = Style.GOOD if answer["carried_out"] else Style.BAD
    events = [event_line(out, event) for event in answer["events"]]
    out.result(answer, out.paint(answer["sentence"], style), f"The door is {answer['mode']}.", "", *events)
    if not answer["carried_out"]:
        raise typer.Exit(ExitCode.FAILED)


def _read(file: str) -> bytes:
    if file == "-":
        return input_bytes("one signed command")
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise CliError(
            ExitCode.UNUSABLE, what=f"{file} cannot be read ({error.strerror})", remedy="name the file of the command"
        ) from error
