"""`doorward cloud serve`."""

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from cloud.errors import CloudError, Reason
from cloud.server import Addresses
from cloud.server import run as serve
from cloud.settings import read_settings
from doorward.errors import CliError, ExitCode
from doorward.output import Json, JsonOption, Output, pairs
from doorward.places import cloud_state
from edge.logs import log_as_json

EXAMPLES: Final = """
Examples:
  doorward cloud serve
  doorward cloud serve --state /var/lib/doorward-cloud --api 127.0.0.1:8080 --devices 0.0.0.0:8443
  doorward cloud serve --state /tmp/try --api 127.0.0.1:0 --devices 127.0.0.1:0 --json

Environment:
  DATABASE_URL          use this PostgreSQL instead of a private one in the state folder
  DOORWARD_CLOUD_NAMES  further names and addresses of the device listener, separated by commas
"""

_UNUSABLE: Final = frozenset({Reason.SETTING_INVALID, Reason.PORT_IN_USE, Reason.STATE_IN_USE, Reason.STATE_UNUSABLE})


def run(
    *,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            envvar="DOORWARD_CLOUD_STATE",
            help="Keys, certificates and database live here.  [default: ~/.local/share/doorward/cloud]",
        ),
    ] = None,
    api: Annotated[
        str, typer.Option("--api", metavar="HOST:PORT", help="Where operators connect; port 0: any free one.")
    ] = "127.0.0.1:8080",
    devices: Annotated[
        str, typer.Option("--devices", metavar="HOST:PORT", help="Where doors connect (TLS); port 0: any free one.")
    ] = "127.0.0.1:8443",
    json_lines: JsonOption = False,
) -> None:
    """Serve the cloud: keys, passes, policies, events.

    Runs until Ctrl-C or SIGTERM. Without DATABASE_URL it runs a private PostgreSQL in the state folder. The operator
    token is made at the first start, in STATE/operator.token; the addresses in use are in STATE/cloud.json. Logs are
    JSON lines on standard error.
    """
    out = Output(json_lines=json_lines)
    log_as_json()
    folder = cloud_state() if state is None else state

    def ready(addresses: Addresses) -> None:
        record: dict[str, Json] = {
            "event": "ready",
            "api_url": addresses.api_url,
            "device_url": addresses.device_url,
            "state": str(folder.absolute()),
            "pid": os.getpid(),
        }
        facts = [("API", addresses.api_url), ("doors", addresses.device_url), ("state", str(folder.absolute()))]
        out.result(record, "The cloud is ready; stop it with Ctrl-C.", *pairs(facts))

    def progress(sentence: str) -> None:
        out.result({"event": "progress", "message": sentence}, sentence)

    try:
        serve(
            read_settings(state=folder, api=api, devices=devices, environment=os.environ),
            ready=ready,
            progress=progress,
        )
    except CloudError as error:
        raise CliError(_code(error.reason), what=error.detail.rstrip("."), remedy="") from error


def _code(reason: Reason) -> ExitCode:
    if reason is Reason.POSTGRES_MISSING:
        return ExitCode.MISSING_PART
    return ExitCode.UNUSABLE if reason in _UNUSABLE else ExitCode.FAILED
