"""`doorward wallet add`."""

from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from doorward.options import WalletFolder, wallet_folder
from doorward.output import JsonOption, Output, local_time
from doorward.records import claims_record
from doorward.tokens import argument_bytes, pass_from_base64
from doorward.wallet import open_wallet
from wire.errors import WireError

EXAMPLES: Final = """
Examples:
  doorward wallet add 0oRDoQ…
  ssh campus doorward pass issue … | doorward wallet add --name anna
"""


def run(
    issued: Annotated[str, typer.Argument(metavar="[PASS|-]", help="The pass in base64url, or - for input.")] = "-",
    *,
    name: Annotated[str, typer.Option("--name", help="The wallet's name.")] = "default",
    folder: WalletFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Keep a pass that was issued for a wallet's key."""
    wallet = open_wallet(wallet_folder(name, folder))
    try:
        data = pass_from_base64(argument_bytes(issued))
    except WireError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"this is not base64url ({error})",
            remedy="give the pass exactly as `doorward pass issue` printed it",
        ) from error
    claims = wallet.keep(data).parsed.unverified
    until = local_time(claims.expires_at_s * 1000)
    Output(json_lines=json_lines).result(
        {"wallet": wallet.folder.name, **claims_record(claims)},
        f"Kept the {claims.kind.name.lower()} pass {claims.pass_id.hex()} of {claims.issuer}, valid until {until}.",
    )
