"""`doorward cloud restore`."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from cloud.backups.run import restore
from cloud.errors import CloudError
from cloud.signals import sigterm_as_ctrl_c
from doorward.cloudfault import as_cli_error
from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output, local_time, rfc3339
from edge.logs import log_as_json

EXAMPLES: Final = """
Examples:
  doorward cloud restore --from /mnt/backups/doorward-20261126T180000Z-1d0c5a9e77b24f31 --state /var/lib/doorward-new

Restore the newest backup: what an older one lacks, doors may have forgotten. Read docs/operations.md before: what was
revoked or ordered since the backup must be done again before doors reach the new cloud.
"""


def run(
    *,
    source: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="The folder that a backup has made.")],
    state: Annotated[Path, typer.Option("--state", metavar="DIR", help="A new folder for the cloud's state.")],
    json_lines: JsonOption = False,
) -> None:
    """Make a cloud with a private PostgreSQL from a backup.

    Every file is checked before anything is made. Doors send again what the backup lacks, by themselves.
    """
    out = Output(json_lines=json_lines)
    log_as_json()
    if os.environ.get("DATABASE_URL"):
        raise CliError(
            ExitCode.UNUSABLE,
            what="DATABASE_URL names a PostgreSQL of yours, and this makes a private one",
            remedy="unset it, or load the dump with pg_restore yourself (docs/operations.md)",
        )
    try:
        with sigterm_as_ctrl_c():
            done = asyncio.run(restore(source, state, now=lambda: datetime.now(UTC), progress=out.say))
    except CloudError as error:
        raise as_cli_error(error) from error
    begun_ms = int(done.begun_at.timestamp() * 1000)  # rounded down: nothing later is in it
    out.result(
        {"id": done.id, "begun_at": rfc3339(begun_ms), "state": str(state.absolute())},
        f"The cloud is as it was at {local_time(begun_ms)}.",
        "What was done since is gone. Before doors reach it, revoke again what was revoked: serve it first with",
        f"  doorward cloud serve --state {state.absolute()} --devices 127.0.0.1:0",
    )
