"""What the core's source itself must look like: who makes a verified credential, and who may decide on one."""

from __future__ import annotations

import ast
import typing
from pathlib import Path

import pytest

from edge.core import policy, verify
from edge.core.policy import decide
from edge.core.verify import VerifiedCredential

pytestmark = pytest.mark.project

_ROOT = Path(verify.__file__).parents[2]
_PACKAGES = ["cloud", "doorward", "edge", "firmware_adapters", "provisioning", "sync", "wire"]
_MAKER = Path(verify.__file__)
_WHAT_IF = _ROOT / "doorward" / "whatif.py"
"""Asks the core about taps that a door verified; it opens nothing."""


def _sources() -> list[Path]:
    return sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))


def _calls(path: Path, name: str) -> list[int]:
    """Lines that call something of this name, or copy an object and could change one."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and (
            (isinstance(node.func, ast.Name) and node.func.id == name)
            or (isinstance(node.func, ast.Attribute) and node.func.attr == name)
        )
    ]


def test_only_verify_makes_a_verified_credential():
    makers = {path for path in _sources() if _calls(path, VerifiedCredential.__name__)}
    assert makers == {_MAKER, _WHAT_IF}
    makes = [
        function.name
        for function in ast.parse(_MAKER.read_text()).body
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == VerifiedCredential.__name__
    ]
    assert makes == ["verify", "verify_identifier"]


def test_no_door_runs_the_what_if():
    users = {path for path in _sources() if "whatif" in path.read_text()} - {_WHAT_IF}
    assert {path.relative_to(_ROOT).as_posix() for path in users} == {"doorward/commands/policy_diff.py"}


def test_nothing_renames_or_extends_the_verified_credential():
    name = VerifiedCredential.__name__
    found = [
        f"{path.relative_to(_ROOT)}:{node.lineno}"
        for path in _sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ImportFrom) and any(each.name == name and each.asname for each in node.names))
        or (isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == name for b in node.bases))
        or (isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id == name)
    ]
    assert found == []


def test_verified_credentials_are_never_copied_with_changes():
    copied = [path.name for path in (_ROOT / "edge" / "core").glob("*.py") if "replace(verified" in path.read_text()]
    assert copied == []


def test_decide_takes_only_what_verify_made():
    hints = typing.get_type_hints(decide, vars(policy))
    assert next(iter(hints.items())) == ("credential", VerifiedCredential)


@pytest.mark.parametrize("name", ["energise", "Energise"])
def test_only_the_door_asks_for_a_release(name: str):
    """In the core, `Energise` is made by the door's table alone."""
    makers = {path.name for path in (_ROOT / "edge" / "core").glob("*.py") if _calls(path, name)}
    assert makers == ({"door.py"} if name == "Energise" else set())
