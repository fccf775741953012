"""`doorward diag watch`."""

import contextlib
from typing import Final

from doorward.diag import SocketOption, at_socket
from doorward.errors import CliError, ExitCode
from doorward.eventlines import event_line
from doorward.output import JsonOption, Output, Style

EXAMPLES: Final = """
Examples:
  doorward diag watch
  doorward diag watch --json | tee taps.jsonl
"""


def run(*, socket: SocketOption = None, json_lines: JsonOption = False) -> None:
    """Show each event of this door as it is journaled.

    Goes on until Ctrl-C. Asked at the local socket; no network and no cloud is needed.
    """
    out = Output(json_lines=json_lines)
    with contextlib.suppress(KeyboardInterrupt):
        for answer in at_socket(socket).watch():
            if "lost" in answer:
                sentence = f"{answer['lost']} events were left out here: this reader was too slow."
                out.result({"lost": answer["lost"]}, out.paint(sentence, Style.CAUTION))
            else:
                out.result(answer["event"], event_line(out, answer["event"]))
        raise CliError(
            ExitCode.UNREACHABLE,
            what="the daemon has ended the conversation",
            remedy="see why with: journalctl -u doorward-edge",
        )
