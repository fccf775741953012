"""`doorward cloud lockdown`."""

from enum import Enum
from typing import Annotated, Final

import typer

from doorward.api import CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.output import JsonOption, Output

EXAMPLES: Final = """
Examples:
  doorward cloud lockdown --tenant north-campus main-campus on
  doorward cloud lockdown --tenant north-campus --door main off --json
"""


class Switch(Enum):
    """Whether doors are locked down."""

    ON = "on"
    OFF = "off"


def run(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="The site's short name; with --door, the door's.")],
    switch: Annotated[Switch, typer.Argument(metavar="on|off", help="Lock down, or end that.")],
    *,
    tenant: Institution,
    door: Annotated[bool, typer.Option("--door", help="PLACE is one door, not a site.")] = False,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Lock doors down, or end that.

    A locked-down door lets nobody in but holders of an emergency pass, and everybody out. It is a state in the door's
    signed policy: a door that is offline obeys on its return, and no restart ends it.
    """
    kind = "doors" if door else "sites"
    on = switch is Switch.ON
    with connect(url=cloud, token_file=token_file, state=state) as api:
        answer = api.put("institutions", tenant, kind, place, "lockdown", body={"on": on})
    doors = [
        {"door": each["door"], "on": each["on"], "policy_version": each["policyVersion"]} for each in answer["data"]
    ]
    said = "locked down" if on else "no longer locked down"
    lines = [
        f"Door {each['door']} is {said} with version {each['policy_version']} of its policy."
        if each["policy_version"]
        else f"Door {each['door']} has no policy yet and admits nobody; with its first one it is {said}."
        for each in doors
    ]
    Output(json_lines=json_lines).result({"place": place, "on": on, "doors": doors}, *lines)
