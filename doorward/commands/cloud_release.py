"""`doorward cloud release`."""

import re
from typing import Annotated, Any, Final

import typer

from doorward.api import CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.output import JsonOption, Output

EXAMPLES: Final = """
Examples:
  doorward cloud release --tenant north-campus main-entrance-7f3a9c2k
  doorward cloud release --tenant north-campus main-entrance-7f3a9c2k --accept-epoch 1d0c5a9e77b24f31

Before you release: find out who else writes under this device's name (docs/operations.md). Without --accept-epoch
the stored journal goes on; whoever wrote the other one alarms again when it comes back. With it, exactly that journal
begins and the stored one is closed for good.
"""

_EPOCH: Final = re.compile(r"[0-9a-f]{16}")


def _epoch(text: str) -> str:
    """Read an epoch.

    Raises:
        typer.BadParameter: when it is none.
    """
    if not _EPOCH.fullmatch(text.lower()):
        raise typer.BadParameter(f"{text!r} is not an epoch: 16 hexadecimal digits, as `doorward diag status` shows it")
    return text.lower()


def run(
    device: Annotated[str, typer.Argument(metavar="DEVICE", help="The device's id.")],
    *,
    tenant: Institution,
    accept_epoch: Annotated[
        str | None,
        typer.Option("--accept-epoch", metavar="HEX", parser=_epoch, help="The journal that may begin anew, once."),
    ] = None,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Let a device in quarantine send its events again.

    A door asks again within five minutes by itself. Accepting a journal works before the door has sent anything of it
    too, so that a journal that is started on purpose causes no alarm.
    """
    with connect(url=cloud, token_file=token_file, state=state) as api:
        place = ("institutions", tenant, "devices", device, "quarantine", "release")
        answer = api.post(*place, body={"acceptEpoch": accept_epoch})
    Output(json_lines=json_lines).result(
        {"id": answer["id"], "epoch": answer["epoch"], "accepted_epoch": answer["acceptedEpoch"]}, _sentence(answer)
    )


def _sentence(device: Any) -> str:  # noqa: ANN401 - JSON of the cloud
    if device["acceptedEpoch"] is not None:
        return f"Device {device['id']} may begin journal {device['acceptedEpoch']}; {device['epoch']} closes then."
    return f"Device {device['id']} goes on with journal {device['epoch']} after event {device['mark']}."
