"""`doorward edge run`."""

from typing import Final

import typer

from doorward.edgeconfig import USUAL_CONFIG, ConfigOption, read_config
from doorward.errors import CliError, ExitCode
from edge.config import ConfigError
from edge.daemon import Ending
from edge.daemon import run as run_daemon
from edge.ports import PortError
from edge.store import StoreError
from firmware_adapters.catalogue import AdapterError
from wire.errors import WireError

EXAMPLES: Final = """
Examples:
  doorward edge run
  doorward edge run --config ./twin/edge.toml

The file is written by `doorward provision door`; systemd/doorward-edge.service runs this command.
"""


def run(*, config: ConfigOption = USUAL_CONFIG) -> None:
    """Run the daemon of one door.

    Reads credentials, decides, drives the lock, keeps the journal and synchronises it whenever there is a network.
    Ends on SIGTERM or Ctrl-C, and with exit code 10 when a signed command orders a restart, so that whoever supervises
    it starts it again. Logs are JSON lines on standard error; ask it with `doorward diag`.
    """
    try:
        ending = run_daemon(read_config(config))
    except ConfigError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=str(error),
            remedy=f"correct that; check it with: doorward edge check-config --config {config}",
        ) from error
    except (AdapterError, PortError) as error:
        raise CliError(ExitCode.FAILED, what=error.what, remedy=error.remedy) from error
    except StoreError as error:
        raise CliError(ExitCode.FAILED, what=error.what, remedy=error.remedy) from error
    except WireError as error:
        raise CliError(
            ExitCode.UNUSABLE,
            what=f"what provisioning left cannot be used ({error})",
            remedy="enrol this door again with: doorward provision door",
        ) from error
    except OSError as error:
        raise CliError(
            ExitCode.FAILED,
            what=f"{error.filename or 'the system'}: {error.strerror}",
            remedy="check that the folder is there and belongs to the daemon's user",
        ) from error
    if ending is Ending.RESTART:
        raise typer.Exit(ExitCode.RESTART)
