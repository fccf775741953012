"""`doorward diag why`."""

from typing import Final

import typer

from doorward.diag import SocketOption, at_socket
from doorward.errors import ExitCode
from doorward.explanations import explanation_lines
from doorward.options import AtInstant, TokenArgument
from doorward.output import JsonOption, Output
from doorward.tokens import argument_bytes

EXAMPLES: Final = """
Examples:
  doorward diag why - < code.txt
  doorward diag why --at 2026-11-22T08:00:00+01:00 --json < code.txt

It exits with 0 when the door would open, with 1 when it would not.
"""


def run(
    *,
    credential: TokenArgument = "-",
    at: AtInstant = None,
    socket: SocketOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Ask a door: would this open, and why (not)?

    The door decides as it would at a reader, with its own keys, lists and rules. Nothing moves, nothing is journaled.
    """
    text = argument_bytes(credential).decode("ascii", "replace").strip("\r\n")
    answer = at_socket(socket).why(text, at)
    out = Output(json_lines=json_lines)
    out.result(answer, *explanation_lines(out, answer))
    if not answer["granted"]:
        raise typer.Exit(ExitCode.FAILED)
