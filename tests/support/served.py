"""A cloud as `doorward cloud serve` runs it, with one institution and one door."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doorward.errors import ExitCode
from tests.support.clouds import reachable_folder
from tests.support.commands import DEADLINE_S, PROGRAM, run_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TENANT = "north-campus"
SITE = "main-campus"
DOOR = "main"


@dataclass(frozen=True, slots=True)
class Served:
    """A running `doorward cloud serve`, and what its ready line says."""

    state: Path
    api_url: str
    device_url: str


@contextmanager
def served_cloud() -> Iterator[Served]:
    """Serve until the block ends, then see that it ends well."""
    state = reachable_folder()
    arguments: list[str | Path] = [PROGRAM, "cloud", "serve", "--state", state, "--json"]
    arguments += ["--api", "127.0.0.1:0", "--devices", "127.0.0.1:0"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as served:
        assert served.stdout is not None
        lines = (json.loads(line) for line in served.stdout)
        ready = next(line for line in lines if line["event"] == "ready")
        assert ready["pid"] == served.pid
        for place, body in (
            ("institutions", {"id": TENANT, "name": "North Campus"}),
            (f"institutions/{TENANT}/doors", {"id": DOOR, "site": SITE}),
        ):
            assert run_program("cloud", "call", "post", place, json.dumps(body), "--state", state).code == ExitCode.OK
        yield Served(state, ready["api_url"], ready["device_url"])
        served.send_signal(signal.SIGTERM)
        assert served.wait(DEADLINE_S) == ExitCode.OK
    assert not (state / "cloud.json").exists()
    shutil.rmtree(state)
