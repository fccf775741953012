"""`doorward provision card-key`."""

import getpass
import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output
from firmware_adapters.cards.aes import KEY_BYTES, key_check_value
from firmware_adapters.cards.keys import CardKey
from firmware_adapters.sealed_store import SealedStore, SealedStoreError

EXAMPLES: Final = """
Examples:
  sudo doorward provision card-key ntag424 < ntag424.hex
  sudo doorward provision card-key sun-file --folder ./twin
"""

FOLDER: Final = Path("/var/lib/doorward")
_DIGITS: Final = 2 * KEY_BYTES


class Purpose(Enum):
    """The keys there are, as the command line names them."""

    SUN_META = CardKey.SUN_META.value
    SUN_FILE = CardKey.SUN_FILE.value
    NTAG424 = CardKey.NTAG424.value
    DESFIRE = CardKey.DESFIRE.value


def run(
    purpose: Annotated[Purpose, typer.Argument(metavar="KEY", help="sun-meta, sun-file, ntag424 or desfire.")],
    *,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where the door keeps its state.")] = FOLDER,
    json_lines: JsonOption = False,
) -> None:
    """Put a site's key for cards into this door's sealed store.

    The key comes from standard input, as 32 hexadecimal digits; at a terminal it is asked for and not shown. It is
    never an argument, so that no list of processes and no history of a shell has it. What is printed is its check value
    (the first six digits of an encrypted block of zeroes), to compare with the station that personalises the cards.

    A running daemon uses the key from the next card on.
    """
    key = _read_key()
    store = SealedStore(folder.absolute())
    try:
        store.write(purpose.value, key)
    except SealedStoreError as error:
        raise CliError(ExitCode.UNUSABLE, what=error.what, remedy=error.remedy) from error
    check = key_check_value(key)
    Output(json_lines=json_lines).result(
        {"key": purpose.value, "check_value": check, "file": str(store.folder / purpose.value)},
        f"{purpose.value} is sealed; its check value is {check}.",
    )


def _read_key() -> bytes:
    """Read the key where it leaves no trace; what was read is in no error."""
    if sys.stdin.isatty():
        text = getpass.getpass("Key (32 hexadecimal digits, not shown): ")
    else:
        text = sys.stdin.buffer.read(_DIGITS + 3).decode("latin-1")
    digits = text.strip()
    if len(digits) == _DIGITS:
        try:
            return bytes.fromhex(digits)
        except ValueError:
            pass  # told below, without what was read
    raise CliError(
        ExitCode.UNUSABLE,
        what="standard input is not a key",
        remedy=f"give its {_DIGITS} hexadecimal digits and nothing else",
    )
