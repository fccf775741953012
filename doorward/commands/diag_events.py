"""`doorward diag events`."""

from typing import Annotated, Final

import typer

from doorward.diag import SocketOption, at_socket
from doorward.eventlines import event_line
from doorward.output import JsonOption, Output

EXAMPLES: Final = """
Examples:
  doorward diag events
  doorward diag events --after 1200 --limit 500 --json
  doorward diag events --json | jq 'select(.granted == false) | .reason'
"""


def run(
    *,
    after: Annotated[
        int | None, typer.Option("--after", metavar="SEQ", min=0, help="Those after this number; else the newest.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=500, help="How many at most.")] = 50,
    socket: SocketOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Show events of this door's journal.

    The oldest come first. Every denial has its step and its reason. Asked at the local socket; no network and no cloud
    is needed.
    """
    out = Output(json_lines=json_lines)
    events = at_socket(socket).events(after=after, limit=limit)
    if not events:
        out.say("No events.")
    for event in events:
        out.result(event, event_line(out, event))
