"""`doorward edge osdp-key`."""

import asyncio
from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output, Style
from edge.ports import PortError
from firmware_adapters.catalogue import AdapterError, Kind, check
from firmware_adapters.osdp_install import INSTALL_DEADLINE_S, install_key

EXAMPLES: Final = """
Examples:
  doorward edge osdp-key 'osdp:///dev/ttyUSB0?address=1&key=/var/lib/doorward/osdp/1.key'

Stop the daemon first: systemctl stop doorward-edge. Run it as the daemon's user, who owns the key file.
"""


def run(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The reader's address, as in the configuration.")],
    *,
    wait_s: Annotated[
        float, typer.Option("--wait", metavar="SECONDS", min=1, max=600, help="How long to wait for the reader.")
    ] = INSTALL_DEADLINE_S,
    json_lines: JsonOption = False,
) -> None:
    """Give an OSDP reader a key of its own.

    Waits for the reader in its install mode, gives it a new random key, proves that it answers under that key, and
    keeps the key in the file that the address names, for the daemon's user alone. The key is shown nowhere.
    """
    out = Output(json_lines=json_lines)
    try:
        checked = check(Kind.READER, address)
        if checked.scheme != "osdp":
            raise CliError(
                ExitCode.UNUSABLE, what=f"{address!r} is no OSDP reader", remedy="give an address like osdp:///dev/…"
            )
        path = asyncio.run(install_key(checked, deadline_s=wait_s))
    except AdapterError as error:
        raise CliError(ExitCode.UNUSABLE, what=error.what, remedy=error.remedy) from error
    except PortError as error:
        raise CliError(ExitCode.FAILED, what=error.what, remedy=error.remedy) from error
    out.result({"ok": True, "key_file": str(path)}, out.paint(f"The reader has its key; it is in {path}.", Style.GOOD))
