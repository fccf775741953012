"""`doorward edge`: a configuration is checked completely, and the daemon does not need the cloud's code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from doorward.errors import ExitCode
from edge.alone import alone
from tests.support.commands import run_here

GOOD = """
[device]
id = "main-1"
tenant = "north-campus"
site = "main-campus"
door = "main-entrance"

[[reader]]
id = "camera"
url = "camera+files:///run/frames?fps=15"

[lock]
url = "simulated:///run/twin"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(GOOD)
    return path


def test_a_right_file_is_right(config: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "edge", "check-config", config)
    assert (ran.code, ran.out) == (ExitCode.OK, f"{config} is right: door main-entrance, 1 reader.\n")
    assert run_here(capsys, "edge", "check-config", "--config", config, "--json").record == {
        "ok": True,
        "file": str(config),
        "problems": [],
    }


def test_every_fault_has_its_line_its_key_and_what_was_expected(config: Path, capsys: pytest.CaptureFixture[str]):
    config.write_text(GOOD.replace('site = "main-campus"', 'site = "Main Campus"').replace("[lock]", "[lok]"))
    ran = run_here(capsys, "edge", "check-config", config, "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert ran.record["ok"] is False
    problems = {problem["key"]: problem for problem in ran.record["problems"]}
    assert problems["device.site"]["line"] == 5
    assert problems["device.site"]["got"] == '"Main Campus"'
    assert {"lok", "lock.url"} <= set(problems)
    text = run_here(capsys, "edge", "check-config", config).out
    assert "  line 5: device.site: expected" in text


def test_a_wrong_option_of_a_device_address_is_a_fault_of_the_file(config: Path, capsys: pytest.CaptureFixture[str]):
    config.write_text(GOOD.replace("fps=15", "fps=1000"))
    ran = run_here(capsys, "edge", "check-config", config, "--json")
    assert ran.code == ExitCode.UNUSABLE
    (problem,) = ran.record["problems"]
    assert problem["key"] == "reader camera: url"
    assert "fps" in problem["got"]


@pytest.mark.parametrize("command", ["check-config", "run", "new-journal"])
def test_a_missing_file_is_unusable(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "none.toml"
    arguments = (path,) if command == "check-config" else ("--config", path)
    assert run_here(capsys, "edge", command, *arguments).code == ExitCode.UNUSABLE


def test_the_advice_names_the_file_that_was_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for command in ("run", "new-journal", "devices"):
        assert (
            f"check-config --config {tmp_path}/x.toml"
            in run_here(capsys, "edge", command, "--config", tmp_path / "x.toml").err
        )


def test_a_door_that_was_not_enrolled_does_not_start(config: Path, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "edge", "run", "--config", config)
    assert ran.code in (ExitCode.FAILED, ExitCode.UNUSABLE)
    assert "Traceback" not in ran.err


def test_the_daemon_loads_none_of_the_clouds_code():
    code = "import sys, doorward.commands.edge_run; print([n for n in sys.modules if n.split('.')[0] == 'cloud'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_wire_at_two_addresses_of_inputs_is_a_fault_that_names_both(config: Path, capsys: pytest.CaptureFixture[str]):
    chip, board = "gpio:///dev/gpiochip0?contact=5&fire=6", "modbus+tcp://10.0.0.7?fire=0"
    config.write_text(f'{GOOD}[inputs]\nurl = ["{chip}", "{board}"]\n')
    ran = run_here(capsys, "edge", "check-config", config, "--json")
    assert ran.code == ExitCode.UNUSABLE
    (problem,) = ran.record["problems"]
    assert problem["key"] == "inputs.url"
    assert problem["expected"].startswith("each wire at one address")
    assert problem["got"] == f"two addresses of inputs tell of the wire fire: {chip!r} and {board!r}"
    config.write_text(f'{GOOD}[inputs]\nurl = ["{chip}", "{board.replace("fire", "tamper")}"]\n')
    assert run_here(capsys, "edge", "check-config", config).code == ExitCode.OK


def test_what_else_is_wrong_with_an_address_of_inputs_is_told_once(config: Path, capsys: pytest.CaptureFixture[str]):
    config.write_text(f'{GOOD}[inputs]\nurl = ["simulated:///run/twin", "modbus+tcp://10.0.0.7?bell=0"]\n')
    problems = run_here(capsys, "edge", "check-config", config, "--json").record["problems"]
    assert [problem["key"] for problem in problems] == ["inputs.url"]
    assert "'bell'" in problems[0]["got"]


@pytest.mark.parametrize("command", ["run", "new-journal"])
def test_what_to_do_about_a_second_daemon_is_told_apart(
    command: str, config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config.write_text(f'{GOOD}\n[paths]\nstate = "{tmp_path}"\n')
    with alone(tmp_path):
        ran = run_here(capsys, "edge", command, "--config", config)
    assert ran.code == ExitCode.FAILED
    what, remedy = ran.err.splitlines()
    assert what == f"doorward: another daemon runs in {tmp_path}"
    assert remedy.strip() == "stop it first (systemctl stop doorward-edge)"
