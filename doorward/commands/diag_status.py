"""`doorward diag status`."""

import re
from typing import Final

from doorward.diag import Answer, SocketOption, at_socket
from doorward.output import JsonOption, Output, local_instant, pairs

EXAMPLES: Final = """
Examples:
  doorward diag status
  doorward diag status --socket /tmp/twin/diag.sock --json
"""

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
"""Instants as the daemon writes them (`edge.report.rfc3339`)."""


def run(*, socket: SocketOption = None, json_lines: JsonOption = False) -> None:
    """Show this door: lock, contact, alarms, age of its data.

    Asked at the local socket; no network and no cloud is needed.
    """
    status = at_socket(socket).status()
    Output(json_lines=json_lines).result(status, *pairs(_facts(status)))


def _facts(status: Answer, prefix: str = "") -> list[tuple[str, str]]:
    """Lay nested members out as "outer inner" lines, in the daemon's order."""
    facts: list[tuple[str, str]] = []
    for name, value in status.items():
        label = (prefix + name).replace("_", " ")
        if isinstance(value, dict):
            facts += _facts(value, f"{label} ")
        elif isinstance(value, list):
            facts += [(label, _item(item)) for item in value] or [(label, "none")]
        else:
            facts.append((label, _plain(value)))
    return facts


def _item(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_plain(member)}" for name, member in value.items())
    return _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_plain, value)) or "none"
    if isinstance(value, str) and _INSTANT.fullmatch(value):
        return local_instant(value)
    return {None: "none", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)
