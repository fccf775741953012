"""`doorward cloud command`."""

import time
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, Final

import typer

from doorward.api import CloudApi, CloudUrl, Institution, StateFolder, TokenFile, connect
from doorward.errors import CliError, ExitCode
from doorward.options import parse_duration
from doorward.output import Json, JsonOption, Output, duration, local_instant, rfc3339
from wire.command import MAX_HOLD_S, MAX_LIFETIME_S, MAX_UNLOCK_LIFETIME_S

EXAMPLES: Final = """
Examples:
  doorward cloud command --tenant north-campus main unlock --wait
  doorward cloud command --tenant north-campus main mode --mode unlocked --hold 2h
  doorward cloud command --tenant north-campus main release --wait
  doorward cloud command --tenant north-campus --site main-campus mode --mode locked --hold 30m --wait --json
  doorward cloud command --tenant north-campus main reset-fire --expires 300 --json

With --wait it exits with 0 when every door did it, and with 1 when one refused or did not answer in time.
"""

_ASK_AGAIN_S: Final = 0.25
_ANSWER_S: Final = 10.0
"""How long after its end a command may still be answered: the door's event is under way."""


class Action(Enum):
    """What a door is to do."""

    UNLOCK = "unlock"
    RESET_FIRE = "reset-fire"
    MODE = "mode"
    RELEASE = "release"
    REBOOT = "reboot"
    REFRESH = "refresh"
    SNAPSHOT = "snapshot"


class Mode(Enum):
    """How a door is to rest; a lockdown has a command of its own, `doorward cloud lockdown`."""

    LOCKED = "locked"
    UNLOCKED = "unlocked"
    BLOCKED = "blocked"


def run(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="The door's short name; with --site, the site's.")],
    action: Annotated[
        Action,
        typer.Argument(metavar="ACTION", help="unlock, reset-fire, mode, release, reboot, refresh or snapshot."),
    ],
    *,
    tenant: Institution,
    site: Annotated[bool, typer.Option("--site", help="PLACE is a site: order all its doors.")] = False,
    mode: Annotated[
        Mode | None,
        typer.Option("--mode", metavar="MODE", help="With mode: how to rest, locked, unlocked or blocked."),
    ] = None,
    hold_s: Annotated[
        int | None,
        typer.Option(
            "--hold",
            metavar="DURATION",
            parser=parse_duration,
            help="With mode: for how long, at most 12h; else until the order's end.",
        ),
    ] = None,
    expires_s: Annotated[
        int,
        typer.Option(
            "--expires",
            metavar="SECONDS",
            min=1,
            max=MAX_LIFETIME_S,
            help="How long the order may take to reach the door; an unlock at most 60.",
        ),
    ] = 30,
    wait: Annotated[bool, typer.Option("--wait", help="Follow until every door has answered.")] = False,
    cloud: CloudUrl = None,
    token_file: TokenFile = None,
    state: StateFolder = None,
    json_lines: JsonOption = False,
) -> None:
    """Order a door, or a whole site, to do something now.

    The order is signed and expires; a door does it at most once and answers with an event of its journal. An unlock
    holds for at most 60 s. A mode lasts for its time, over a restart too, and `release` ends it; a lockdown is
    stronger, and is ordered with `doorward cloud lockdown`. `reboot` starts the door's software again, `refresh` has it
    ask the cloud at once, `snapshot` has its cameras keep pictures.
    """
    _check(action, mode, hold_s, expires_s)
    body: dict[str, Json] = {"action": action.value, "expiresInS": expires_s}
    body |= {} if mode is None else {"mode": mode.value}
    body |= {} if hold_s is None else {"holdS": hold_s}
    with connect(url=cloud, token_file=token_file, state=state) as api:
        answer = api.post("institutions", tenant, "sites" if site else "doors", place, "commands", body=body)
        given = answer["data"] if site else [answer]
        if wait:
            given = _follow(api, tenant, given, time.monotonic() + expires_s + _ANSWER_S)
    output = Output(json_lines=json_lines)
    for each in given:
        output.result(_record(each), _sentence(each))
    _complain([each for each in given if wait and each["state"] != "executed"])


def _check(action: Action, mode: Mode | None, hold_s: int | None, expires_s: int) -> None:
    """Refuse an order that no door could take, by the names of its options."""
    if action is Action.MODE and mode is None:
        what, remedy = "the action mode needs --mode", "say how to rest: --mode locked, unlocked or blocked"
    elif action is not Action.MODE and (mode, hold_s) != (None, None):
        what, remedy = f"{action.value} takes neither --mode nor --hold", "only the action mode does"
    elif hold_s is not None and hold_s > MAX_HOLD_S:
        what = f"--hold is {duration(hold_s)}, and a mode lasts at most {duration(MAX_HOLD_S)}"
        remedy = "for longer, change the door's policy"
    elif action is Action.UNLOCK and expires_s > MAX_UNLOCK_LIFETIME_S:
        what = f"--expires is {expires_s}, and an unlock holds for at most {MAX_UNLOCK_LIFETIME_S} s"
        remedy = f"name 1 to {MAX_UNLOCK_LIFETIME_S}"
    else:
        return
    raise CliError(ExitCode.UNUSABLE, what=what, remedy=remedy)


def _follow(api: CloudApi, tenant: str, given: list[Any], until_s: float) -> list[Any]:
    """Ask until every door has answered."""
    while any(each["state"] in {"pending", "expired"} for each in given) and time.monotonic() < until_s:
        time.sleep(_ASK_AGAIN_S)
        given = [
            api.get("institutions", tenant, "doors", each["door"], "commands", each["id"])
            if each["state"] in {"pending", "expired"}
            else each
            for each in given
        ]
    return given


def _complain(undone: list[Any]) -> None:
    if not undone:
        return
    told = ", ".join(f"{each['door']} ({each['reason'] or 'it has not answered'})" for each in undone)
    raise CliError(
        ExitCode.FAILED,
        what=f"not done at {told}",
        remedy="see the doors' events: doorward cloud call GET 'institutions/TENANT/events?door=DOOR'",
    )


def _record(given: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON of the cloud
    return {
        "id": given["id"],
        "door": given["door"],
        "action": given["action"],
        "mode": given["mode"],
        "hold_s": given["holdS"],
        "mode_until": _mode_until(given),
        "expires_at": given["expiresAt"],
        "state": given["state"],
        "device": given["device"],
        "event": given["event"],
        "reason": given["reason"],
    }


def _mode_until(given: Any) -> str | None:  # noqa: ANN401 - JSON of the cloud
    """Give until when an ordered mode lasts, None for another order."""
    if given["mode"] is None or given["holdS"] is None:
        return None if given["mode"] is None else str(given["expiresAt"])
    ends = datetime.fromisoformat(given["issuedAt"]) + timedelta(seconds=given["holdS"])
    return rfc3339(round(ends.timestamp() * 1000))


def _sentence(given: Any) -> str:  # noqa: ANN401 - JSON of the cloud
    what = given["action"] if given["mode"] is None else f"{given['action']} {given['mode']}"
    order = f"{what} at door {given['door']}"
    until = _mode_until(given)
    lasts = "" if until is None else f" The mode lasts until {local_instant(until)}."
    if given["state"] == "pending":
        reach = f"it may reach the door until {local_instant(given['expiresAt'])}"
        return f"Ordered {order} (command {given['id']}); {reach}.{lasts}"
    said = {"executed": "done", "refused": f"refused ({given['reason']})"}.get(given["state"], "not answered in time")
    event = "" if given["event"] is None else f", event {given['event']} of {given['device']}"
    return f"Ordered {order}: {said}{event}." + (lasts if given["state"] == "executed" else "")
