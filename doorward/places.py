"""Where a user's own data lives unless an option says otherwise (XDG base directories).

Invariant: nothing is created here.
"""

import os
from pathlib import Path


def data_home() -> Path:
    """Give the folder of the user's data: $XDG_DATA_HOME/doorward, else ~/.local/share/doorward."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".local/share") / "doorward"


def wallets_folder() -> Path:
    """Give the folder that holds one folder a wallet."""
    return data_home() / "wallets"


def cloud_state() -> Path:
    """Give the default state folder of the cloud."""
    return data_home() / "cloud"
