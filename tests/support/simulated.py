"""Looking at a simulated door from outside, as a person or another process would."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def door(folder: Path) -> dict[str, Any]:
    """Return the members of door.json."""
    members: dict[str, Any] = json.loads((folder / "door.json").read_text())
    return members


def relay(folder: Path) -> list[dict[str, Any]]:
    """Return the records of relay.jsonl."""
    return [json.loads(line) for line in (folder / "relay.jsonl").read_text().splitlines()]


def relay_steps(folder: Path) -> list[tuple[str, str]]:
    """Return each record's action and who caused it."""
    return [(record["action"], record["by"]) for record in relay(folder)]
