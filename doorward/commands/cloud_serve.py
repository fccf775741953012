"""`doorward cloud serve`."""

import os
from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from cloud.errors import CloudError
from cloud.server import Addresses
from cloud.server import run as serve
from cloud.settings import BrokerChoice, read_settings
from doorward.cloudfault import as_cli_error
from doorward.output import Json, JsonOption, Output, pairs
from doorward.places import cloud_state
from edge.logs import log_as_json

EXAMPLES: Final = """
Examples:
  doorward cloud serve
  doorward cloud serve --state /var/lib/doorward-cloud --api 127.0.0.1:8080 --devices 0.0.0.0:8443
  doorward cloud serve --devices 0.0.0.0:8443 --broker mqtts://127.0.0.1:8883 --broker-for-doors mqtts://cloud.example
  doorward cloud serve --state /tmp/try --api 127.0.0.1:0 --devices 127.0.0.1:0 --json

Environment:
  DATABASE_URL          use this PostgreSQL instead of a private one in the state folder
  DOORWARD_CLOUD_NAMES  further names and addresses of the device listener, separated by commas
"""


BrokerOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--broker", metavar="URL", envvar="DOORWARD_CLOUD_BROKER", help="MQTT broker, as mqtts://HOST:PORT."),
]
BrokerForDoorsOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--broker-for-doors",
        metavar="URL",
        envvar="DOORWARD_CLOUD_BROKER_FOR_DOORS",
        help="The broker's URL as doors are told it.  [default: that of --broker]",
    ),
]


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
    broker: BrokerOption = None,
    broker_for_doors: BrokerForDoorsOption = None,
    json_lines: JsonOption = False,
) -> None:
    """Serve the cloud: keys, passes, policies, events.

    Runs until Ctrl-C or SIGTERM. Without DATABASE_URL it runs a private PostgreSQL in the state folder. The operator
    token is made at the first start, in STATE/operator.token; the addresses in use are in STATE/cloud.json. With
    --broker it also answers doors over MQTT (see doorward cloud broker) and tells them there at once what is new. Logs
    are JSON lines on standard error.
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
            read_settings(
                state=folder,
                api=api,
                devices=devices,
                environment=os.environ,
                broker=BrokerChoice(broker, broker_for_doors),
            ),
            ready=ready,
            progress=progress,
        )
    except CloudError as error:
        raise as_cli_error(error) from error
