"""tests/vectors/verify.json, put to the command line, which runs the door's own steps 1 to 8."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from doorward.errors import ExitCode
from tests.support.commands import run_here
from tests.vectors import make
from wire.names import Reason, Step

if TYPE_CHECKING:
    from pathlib import Path

_CASES: list[dict[str, Any]] = json.loads(make.path("verify").read_text())["vectors"]
_OF_A_DOOR = {Step.CLOCK}
"""Steps before 9 that only a door can fail: its clock."""


@pytest.mark.parametrize("case", _CASES, ids=[case["name"] for case in _CASES])
def test_command_answers_as_the_vector_says(case: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trust = tmp_path / "trust.cbor"
    trust.write_bytes(bytes.fromhex(case["trust"]))
    options: list[str | Path] = ["--trust", trust, "--at", case["at"], "--audience", case["audience"]]
    for number, status in enumerate(case["statuses"]):
        path = tmp_path / f"status-{number}.cwt"
        path.write_bytes(bytes.fromhex(status))
        options += ["--status", path]
    ran = run_here(capsys, "pass", "verify", *options, case["token"])
    expect = case["expect"]
    assert {name: ran.record[name] for name in expect} == expect
    assert ran.code == (ExitCode.OK if expect["granted"] else ExitCode.FAILED)


def test_every_step_before_replay_refuses_something():
    shown = {case["expect"]["step"] for case in _CASES if not case["expect"]["granted"]}
    assert shown == {int(step) for step in Step if step < Step.REPLAY and step not in _OF_A_DOOR}


def test_every_reason_of_those_steps_has_a_vector():
    shown = {case["expect"]["reason"] for case in _CASES if not case["expect"]["granted"]}
    assert shown == {
        reason.name for reason in Reason if reason < Reason.REPLAYED and reason is not Reason.CLOCK_SUSPECT
    }
