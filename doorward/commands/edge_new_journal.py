"""`doorward edge new-journal`."""

import secrets
from typing import Final

from doorward.edgeconfig import USUAL_CONFIG, ConfigOption, read_config
from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output
from edge.config import ConfigError, DeviceConfig
from edge.database import Identity
from edge.new_journal import NewJournal, begin_new_journal
from edge.store import StoreError
from wire.names import DeviceId, DoorId

EXAMPLES: Final = """
Examples:
  systemctl stop doorward-edge
  doorward edge new-journal
  systemctl start doorward-edge

Before the start, the cloud's operator accepts the new journal with the command that this one prints; otherwise the
cloud quarantines this device when it first sends. Needed when the cloud says CHAIN_BROKEN or EPOCH_CLOSED
(docs/operations.md).
"""

_EPOCH_BYTES: Final = 8


def run(*, config: ConfigOption = USUAL_CONFIG, json_lines: JsonOption = False) -> None:
    """Begin a new journal at this door, and keep the old one.

    The daemon must be stopped. The old journal stays beside the new one under another name and is never deleted. Rules,
    lists and what the door remembers of codes, people and commands stay in force; recordings stay with the old journal.
    """
    try:
        read = read_config(config)
        device = read.device
        identity = Identity(device=DeviceId(device.id), door=DoorId(device.door), access_point=device.access_point)
        done = begin_new_journal(read.state_folder, identity, new_epoch=secrets.token_bytes(_EPOCH_BYTES))
    except ConfigError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=str(error),
            remedy=f"correct that; check it with: doorward edge check-config --config {config}",
        ) from error
    except StoreError as error:
        raise CliError(ExitCode.FAILED, what=error.what, remedy=error.remedy) from error
    except OSError as error:
        raise CliError(
            ExitCode.FAILED,
            what=f"{error.filename or 'the system'}: {error.strerror}",
            remedy="run this as the daemon's user or as root",
        ) from error
    Output(json_lines=json_lines).result(
        {
            "epoch": done.epoch.hex(),
            "kept": str(done.kept),
            "damaged": done.damaged,
            "old_epoch": None if done.old_epoch is None else done.old_epoch.hex(),
            "events": done.events,
            "unsent": done.unsent,
        },
        *_lines(done, device),
    )


def _lines(done: NewJournal, device: DeviceConfig) -> list[str]:
    if done.damaged:
        old = f"The old one is damaged; it is kept in {done.kept}. Send that file to support."
    else:
        counted = f"{done.events} events, of which {done.unsent} had not reached the cloud"
        old = f"The old one is kept in {done.kept}: {counted}."
    accept = f"doorward cloud release --tenant {device.tenant} {device.id} --accept-epoch {done.epoch.hex()}"
    return [
        f"This door has a new journal, {done.epoch.hex()}.",
        old,
        "Before you start the daemon, have the cloud's operator accept it:",
        f"  {accept}",
    ]
