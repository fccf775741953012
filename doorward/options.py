"""Options that several commands share, and how their values are read.

Invariant: an instant on the command line says its zone; nothing is assumed.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from doorward.places import wallets_folder
from wire.codec import MAX_TIME_MS

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def parse_instant(text: str) -> int:
    """Read an RFC 3339 instant as Unix milliseconds.

    Raises:
        typer.BadParameter: when it is none, has no zone, or lies before 1970 or after what the formats hold.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an instant such as 2026-03-01T12:00:00Z") from error
    if moment.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no zone; add Z for UTC, or an offset such as +01:00")
    instant_ms = round(moment.timestamp() * 1000)
    if not 0 <= instant_ms <= MAX_TIME_MS:
        raise typer.BadParameter(f"{text!r} is not between the years 1970 and 9999")
    return instant_ms


def parse_duration(text: str) -> int:
    """Read a duration such as 90s, 30m, 12h or 7d as seconds; a bare number is seconds.

    Raises:
        typer.BadParameter: when it is none.
    """
    number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
    if not (number.isascii() and number.isdigit()) or int(number) == 0:
        raise typer.BadParameter(f"{text!r} is not a duration such as 90s, 30m, 12h or 7d")
    return int(number) * _UNITS[unit]


WalletName = Annotated[str, typer.Argument(metavar="[NAME]", help="The wallet's name.")]
WalletFolder = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Use the wallet in this folder, whatever its name.")
]
AtInstant = Annotated[
    int | None,
    typer.Option("--at", metavar="RFC3339", parser=parse_instant, help="Take this instant for now."),
]
TokenArgument = Annotated[
    str,
    typer.Argument(
        metavar="[TOKEN|-]", show_default=False, help="What a reader reads (DW1:…), or - for standard input."
    ),
]


def wallet_folder(name: str, folder: Path | None) -> Path:
    """Give the folder of a wallet named on the command line.

    Raises:
        typer.BadParameter: for a name that is not of [a-z0-9-].
    """
    if folder is not None:
        return folder
    if not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
        raise typer.BadParameter(f"{name!r} is not a name of small letters, digits and hyphens")
    return wallets_folder() / name
