"""`doorward diag explain`."""

from typing import Annotated, Final

import typer

from doorward.diag import SocketOption, at_socket
from doorward.errors import CliError, ExitCode
from doorward.eventlines import event_line
from doorward.explanations import explanation_lines
from doorward.output import JsonOption, Output

EXAMPLES: Final = """
Examples:
  doorward diag explain
  doorward diag explain last
  doorward diag explain 1207 --json
"""

_LAST: Final = "last"


def run(
    *,
    number: Annotated[
        str, typer.Argument(metavar="[SEQ|last]", help="The event's number in the journal, or the newest decision.")
    ] = _LAST,
    socket: SocketOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Say why a decision was made.

    One sentence, and the chain of checks. Everything comes from the event itself: the check that decided, and the
    versions and ages it was decided under.
    """
    if number != _LAST and not (number.isascii() and number.isdecimal()):
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"{number!r} is no event's number",
            remedy="name a number that `doorward diag events` shows, or: last",
        )
    answer = at_socket(socket).explain(None if number == _LAST else int(number))
    out = Output(json_lines=json_lines)
    out.result(answer, event_line(out, answer["event"]), "", *explanation_lines(out, answer))
