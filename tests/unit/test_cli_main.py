"""The command line as a whole: its table, its help, its faults, what it loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from inspect import getdoc, signature

import pytest

from doorward.errors import ExitCode
from doorward.main import TREE
from doorward.tree import Group, Leaf
from tests.support.commands import PROGRAM, run_here, run_program


def leaves(group: Group = TREE, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Leaf]]:
    for name, node in group.members.items():
        if isinstance(node, Leaf):
            yield (*path, name), node
        else:
            yield from leaves(node, (*path, name))


LEAVES = [pytest.param(path, leaf, id=" ".join(path)) for path, leaf in leaves()]


@pytest.mark.parametrize(("path", "leaf"), LEAVES)
def test_the_tables_summary_is_the_first_line_of_the_commands_help(path: tuple[str, ...], leaf: Leaf):
    run = import_module(leaf.module).run
    assert (getdoc(run) or "").splitlines()[0] == leaf.summary, path


@pytest.mark.parametrize(("path", "leaf"), LEAVES)
def test_every_command_shows_examples_of_itself(path: tuple[str, ...], leaf: Leaf, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, *path, "--help")
    assert ran.code == ExitCode.OK
    assert leaf.summary.rstrip(".") in " ".join(ran.out.split())
    assert f"doorward {' '.join(path)}" in ran.out.partition("Examples:")[2]


PRINT_NO_RESULTS = {("completion",): "a shell's script", ("edge", "run"): "logs, which are JSON lines"}


@pytest.mark.parametrize(("path", "leaf"), LEAVES)
def test_every_command_that_prints_results_can_print_json(path: tuple[str, ...], leaf: Leaf):
    has_json = "json_lines" in signature(import_module(leaf.module).run).parameters
    assert has_json or path in PRINT_NO_RESULTS


@pytest.mark.parametrize("group", [(), *((name,) for name, node in TREE.members.items() if isinstance(node, Group))])
def test_a_group_without_a_command_shows_its_help(group: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, *group)
    assert ran.code == ExitCode.OK
    commands = ran.out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert commands
    assert "..." not in commands, "a summary is too long for its line"


def test_an_unknown_command_names_the_nearest_one(capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "walett")
    assert ran.code == ExitCode.UNUSABLE
    assert "Did you mean 'wallet'?" in ran.err
    assert "see: doorward --help" in ran.err
    assert ran.out == ""


def test_a_wrong_option_points_to_the_help_of_its_command(capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "wallet", "show", "--audiense", "x")
    assert ran.code == ExitCode.UNUSABLE
    assert "see: doorward wallet show --help" in ran.err


def test_with_json_a_fault_is_one_json_object_on_stderr(capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "wallet", "show", "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert ran.out == ""
    assert set(ran.complaint) == {"error", "message", "remedy", "exit_code"}
    assert ran.complaint["exit_code"] == ExitCode.UNUSABLE
    assert ran.complaint["error"] == "unusable"


def test_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]):
    text, record = run_here(capsys, "version"), run_here(capsys, "version", "--json").record
    assert text.out.startswith(f"doorward {record['version']} ")
    assert record["python"] == sys.version.split()[0]


HEAVY = {"cloud", "cryptography", "cv2", "edge", "httpx", "nacl", "numpy", "rich", "segno", "sync", "wire"}


def test_version_and_help_load_nothing_heavy():
    probe = (
        "import sys, doorward.main as m; m.app({}); print(sorted({} & {{n.partition('.')[0] for n in sys.modules}}))"
    )
    for arguments in (["version"], ["--help"], ["pass", "--help"]):
        code = probe.format(arguments, HEAVY)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout.splitlines()[-1] == "[]", arguments


def test_the_program_gives_its_exit_code_to_the_shell():
    assert run_program("version").code == ExitCode.OK
    assert run_program("nonsense").code == ExitCode.UNUSABLE


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef doorward"), ("fish", "complete")]
)
def test_completion_scripts_are_printed(shell: str, mark: str, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "completion", shell)
    assert ran.code == ExitCode.OK
    assert mark in ran.out
    assert "_DOORWARD_COMPLETE" in ran.out


def test_the_shell_completes_commands_of_a_group():
    asked = {"_DOORWARD_COMPLETE": "complete_bash", "COMP_WORDS": "doorward wallet s", "COMP_CWORD": "2"}
    assert run_program(environment=asked).out.split() == ["show"]


def test_a_missing_part_says_how_to_install_it():
    # The interpreter is told that segno is not there, as in an installation for doors alone.
    code = (
        "import sys; sys.modules['segno'] = None\n"
        "from doorward.main import app; sys.exit(app(['wallet', 'show', '--json', '--audience', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == ExitCode.MISSING_PART
    assert json.loads(done.stderr)["remedy"] == "install it with: pip install 'doorward[wallet]'"


def test_a_defect_is_told_as_one_with_its_traceback():
    code = (
        "import sys; from doorward import main\n"
        "from doorward.tree import Leaf\n"
        "import types; broken = types.ModuleType('broken'); broken.EXAMPLES = ''\n"
        "def run(): 'Break.'; raise ZeroDivisionError\n"
        "broken.run = run; sys.modules['broken'] = broken\n"
        "main.TREE.members['broken'] = Leaf('broken', 'Break.')\n"
        "sys.exit(main.app(['broken']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == ExitCode.INTERNAL
    assert "ZeroDivisionError" in done.stderr
    assert "please report it" in done.stderr


def test_a_reader_that_leaves_is_no_defect():
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [PROGRAM, "version"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    finally:
        os.close(writer)
    assert done.returncode == ExitCode.FAILED
    assert done.stderr == ""
