"""`doorward cloud command`."""

import time
from enum import Enum
from typing import Annotated, Any, Final

import typer

from doorward.api import CloudApi, CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output

EXAMPLES: Final = """
Examples:
  doorward cloud command --tenant north-campus main unlock --wait
  doorward cloud command --tenant north-campus main reset-fire --expires 300 --json

With --wait it exits with 0 when the door did it, and with 1 when the door refused or did not answer in time.
"""

_ASK_AGAIN_S: Final = 0.25
_ANSWER_S: Final = 10.0
"""How long after its end a command may still be answered: the door's event is under way."""


class Action(Enum):
    """What a door is to do."""

    UNLOCK = "unlock"
    RESET_FIRE = "reset-fire"


def run(
    door: Annotated[str, typer.Argument(metavar="DOOR", help="The door's short name.")],
    action: Annotated[Action, typer.Argument(metavar="ACTION", help="unlock or reset-fire.")],
    *,
    tenant: Institution,
    expires_s: Annotated[
        int, typer.Option("--expires", metavar="SECONDS", min=1, max=3600, help="How long the order holds.")
    ] = 30,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until the door has answered.")] = False,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Order a door to do something now.

    The order is signed and expires; the door does it at most once and answers with an event of its journal. An unlock
    holds for at most 60 s.
    """
    body = {"action": action.value, "expiresInS": expires_s}
    with connect(url=cloud, token_file=token_file, state=state) as api:
        given = api.post("institutions", tenant, "doors", door, "commands", body=body)
        if wait:
            given = _follow(api, tenant, given, time.monotonic() + expires_s + _ANSWER_S)
    Output(json_lines=json_lines).result(_record(given), _sentence(given))
    if wait and given["state"] != "executed":
        raise CliError(
            ExitCode.FAILED,
            what=f"door {door} did not do it ({given['reason'] or 'it has not answered'})",
            remedy="see its events: doorward cloud call GET 'institutions/TENANT/events?door=DOOR'",
        )


def _follow(api: CloudApi, tenant: str, given: Any, until_s: float) -> Any:  # noqa: ANN401 - JSON of the cloud
    """Ask until the door has answered."""
    while given["state"] in {"pending", "expired"} and time.monotonic() < until_s:
        time.sleep(_ASK_AGAIN_S)
        given = api.get("institutions", tenant, "doors", given["door"], "commands", given["id"])
    return given


def _record(given: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON of the cloud
    return {
        "id": given["id"],
        "door": given["door"],
        "action": given["action"],
        "expires_at": given["expiresAt"],
        "state": given["state"],
        "device": given["device"],
        "event": given["event"],
        "reason": given["reason"],
    }


def _sentence(given: Any) -> str:  # noqa: ANN401 - JSON of the cloud
    order = f"{given['action']} at door {given['door']}"
    if given["state"] == "pending":
        return f"Ordered {order} (command {given['id']}); it holds until {given['expiresAt']}."
    said = {"executed": "done", "refused": f"refused ({given['reason']})"}.get(given["state"], "not answered in time")
    event = "" if given["event"] is None else f", event {given['event']} of {given['device']}"
    return f"Ordered {order}: {said}{event}."
