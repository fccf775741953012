"""`doorward diag why`."""

from typing import Annotated, Final

import typer

from doorward.diag import SocketOption, at_socket
from doorward.errors import ExitCode
from doorward.explanations import explanation_lines
from doorward.options import AtInstant
from doorward.output import JsonOption, Output
from doorward.tokens import argument_bytes

EXAMPLES: Final = """
Examples:
  doorward diag why - < code.txt
  doorward diag why --at 2026-11-22T08:00:00+01:00 --json < code.txt
  doorward diag why card:04a1b2c3d4e5f6 --reader in
  doorward diag why barcode:123456

It exits with 0 when the door would open, with 1 when it would not, or not before somebody keys in a PIN or comes along.
"""


def run(
    *,
    credential: Annotated[
        str,
        typer.Argument(
            metavar="[CREDENTIAL|-]",
            show_default=False,
            help="What a reader reads (DW1:…), card:HEX or barcode:TEXT; or - for standard input.",
        ),
    ] = "-",
    at: AtInstant = None,
    reader: Annotated[
        str | None,
        typer.Option("--reader", metavar="ID", help="Where it would be shown; the first reader when absent."),
    ] = None,
    socket: SocketOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Ask a door: would this open, and why (not)?

    The door decides as it would at a reader, with its own keys, lists and rules. Nothing moves, nothing is journaled.

    A card is asked about by its number in hexadecimal digits: card:04a1b2c3d4e5f6 as it says itself; message:…,
    secret:… or key:… as its reader has proven it by a rising counter, a shared secret or a key of its own.
    """
    text = argument_bytes(credential).decode("utf-8", "replace").strip("\r\n")
    answer = at_socket(socket).why(text, at_ms=at, reader=reader)
    out = Output(json_lines=json_lines)
    out.result(answer, *explanation_lines(out, answer))
    if not answer["granted"]:
        raise typer.Exit(ExitCode.FAILED)
