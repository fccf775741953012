"""Find mosquitto, and one that an earlier run left behind.

Invariant: a process is ours only when it works in our folder.
Must not: install or start anything.
"""

import os
import shutil
from pathlib import Path
from typing import Final

from cloud.cluster.postmaster import process_ids, serves
from cloud.errors import CloudError, Reason

SERVER_PATH: Final = "/usr/sbin:/usr/local/sbin"
"""Where distributions install servers; on no ordinary user's PATH."""


def find_mosquitto(search_path: str | None = None) -> str:
    """Give the server program.

    Args:
        search_path: where to look, as PATH; None for that and the distributions' own places.

    Raises:
        CloudError: BROKER_MISSING, with the command that installs it.
    """
    places = f"{os.environ.get('PATH', os.defpath)}:{SERVER_PATH}" if search_path is None else search_path
    found = shutil.which("mosquitto", path=places)
    if found is None:
        remedy = (
            "Run: sudo apt-get install --yes --no-install-recommends mosquitto"
            "  (its own service is not needed: sudo systemctl disable --now mosquitto)"
        )
        raise CloudError(Reason.BROKER_MISSING, "The MQTT broker mosquitto is not installed.", remedy=remedy)
    return found


def left_behind(folder: Path) -> int | None:
    """Give the process id of a mosquitto that works in our folder, None when there is none."""
    return next((pid for pid in process_ids() if serves(pid, folder) and _is_mosquitto(pid)), None)


def _is_mosquitto(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "mosquitto"
    except OSError:
        return False
