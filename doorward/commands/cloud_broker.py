"""`doorward cloud broker`."""

import asyncio
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from cloud.broker.server import BrokerServer, BrokerSettings, serve_broker
from cloud.errors import CloudError
from cloud.settings import BROKER_PORT, parse_address, read_names
from cloud.signals import stopped_by_signals
from doorward.cloudfault import as_cli_error
from doorward.output import Json, JsonOption, Output, pairs
from doorward.places import cloud_state
from edge.logs import log_as_json

EXAMPLES: Final = """
Examples:
  doorward cloud broker
  doorward cloud broker --state /var/lib/doorward-cloud --listen 0.0.0.0:8883 --name cloud.example

Environment:
  DOORWARD_CLOUD_NAMES  further names and addresses for the certificate, separated by commas

Then have the cloud follow it: doorward cloud serve --broker mqtts://127.0.0.1:8883
"""


def run(
    *,
    state: Annotated[
        Path | None,
        typer.Option(
            "--state",
            metavar="DIR",
            envvar="DOORWARD_CLOUD_STATE",
            help="The cloud's state folder.  [default: ~/.local/share/doorward/cloud]",
        ),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(
            "--listen", metavar="HOST:PORT", help="Where doors and cloud connect (TLS); port 0: any free one."
        ),
    ] = f"127.0.0.1:{BROKER_PORT}",
    name: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="A host name or address for its certificate; may be repeated."),
    ] = None,
    json_lines: JsonOption = False,
) -> None:
    """Run an MQTT broker for doors and cloud.

    Runs until Ctrl-C or SIGTERM. It is Debian's mosquitto, started with configuration, certificate and access list
    made from the cloud's device CA, under an unprivileged user when started by root; watched, started again when it
    dies or does not answer, and given a fresh certificate in time. Only doors with a certificate of this cloud are let
    in, each to its own topics. What the broker loses is sent again: nothing relies on it. Logs are JSON lines on
    standard error.
    """
    out = Output(json_lines=json_lines)
    log_as_json()
    folder = (cloud_state() if state is None else state).absolute()

    def ready(server: BrokerServer) -> None:
        url = server.address.url("mqtts")
        record: dict[str, Json] = {
            "event": "ready",
            "url": url,
            "state": str(folder),
            "pid": os.getpid(),
            "broker_pid": server.pid,
        }
        out.result(record, "The broker is ready; stop it with Ctrl-C.", *pairs([("URL", url), ("state", str(folder))]))

    try:
        names = (*(name or ()), *read_names(os.environ))
        settings = BrokerSettings(state=folder, listen=parse_address(listen, setting="--listen"), names=names)
        asyncio.run(_serve(settings, ready))
    except CloudError as error:
        raise as_cli_error(error) from error


async def _serve(settings: BrokerSettings, ready: Callable[[BrokerServer], None]) -> None:
    stop = asyncio.Event()
    with stopped_by_signals(stop):
        await serve_broker(settings, ready=ready, now=_now, stop=stop)


def _now() -> datetime:
    return datetime.now(UTC)
