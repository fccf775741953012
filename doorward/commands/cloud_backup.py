"""`doorward cloud backup`."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from cloud.backups.run import back_up
from cloud.errors import CloudError
from cloud.signals import sigterm_as_ctrl_c
from doorward.api import StateFolder
from doorward.cloudfault import as_cli_error
from doorward.output import JsonOption, Output
from doorward.places import cloud_state
from edge.logs import log_as_json

EXAMPLES: Final = """
Examples:
  doorward cloud backup --to /mnt/backups
  doorward cloud backup --state /var/lib/doorward-cloud --to /mnt/backups --json

Run it as the cloud's user, while the cloud serves or not. Put the folder on another disk, and keep it secret: it holds
every key. docs/operations.md tells how to restore, and how to use a backup engine of your own.

Environment:
  DATABASE_URL  the PostgreSQL that the cloud uses, when it is not the private one
"""


def run(
    *,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Each backup gets a folder of its own in here.")],
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Back up the cloud's database and keys.

    Writes a snapshot with pg_dump, reads it through with pg_restore, copies the keys, has all of it on the disk; only
    then doors are told that the events in it are backed up.
    """
    out = Output(json_lines=json_lines)
    log_as_json()
    folder = cloud_state() if state is None else state
    try:
        with sigterm_as_ctrl_c():
            made = asyncio.run(
                back_up(
                    folder,
                    to,
                    database_url=os.environ.get("DATABASE_URL") or None,
                    now=lambda: datetime.now(UTC),
                    progress=out.say,
                )
            )
    except CloudError as error:
        raise as_cli_error(error) from error
    out.result(
        {"id": made.backup.id, "folder": str(made.folder), "devices": made.backup.devices},
        f"The backup is complete: {made.folder}",
        f"Devices that may forget more events: {made.backup.devices}",
    )
