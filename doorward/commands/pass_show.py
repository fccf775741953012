"""`doorward pass show`."""

import time
from typing import Final

from doorward.errors import CliError, ExitCode
from doorward.options import AtInstant, TokenArgument
from doorward.output import JsonOption, Output, Style
from doorward.records import token_lines, token_record
from doorward.tokens import argument_bytes, decode_token
from wire.errors import WireError

EXAMPLES: Final = """
Examples:
  doorward wallet show --once --audience main-campus | doorward pass show
  doorward pass show "$(cat printed-pass.txt)" --json
"""


def run(presented: TokenArgument = "-", *, at: AtInstant = None, json_lines: JsonOption = False) -> None:
    """Decode a pass or presentation without verifying it.

    Nothing is checked but the form: not the signatures, not the times, not the revocation. Whether a door would let
    its holder in is answered by `doorward pass verify`.

    TOKEN is what a reader reads (DW1:…) or a pass as `doorward pass issue` prints it; standard input when absent.
    """
    data = argument_bytes(presented)
    try:
        found = decode_token(data)
    except WireError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"this is neither a presentation nor a pass ({error})",
            remedy="give exactly what a reader reads, beginning with DW1:, or what `doorward pass issue` printed",
        ) from error
    now_s = (time.time_ns() // 1_000_000 if at is None else at) // 1000
    out = Output(json_lines=json_lines)
    warning = out.paint("Not verified: anyone can write these claims.", Style.CAUTION)
    out.result({**token_record(found), "bytes": len(data)}, warning, *token_lines(found, now_s))
