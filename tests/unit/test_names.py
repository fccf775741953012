"""Our package names are common words, so no dependency may bring a package of the same name (docs/adr/0001)."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.project

_ROOT = Path(__file__).parents[2]
_OURS = ["cloud", "doorward", "edge", "firmware_adapters", "provisioning", "sync", "wire"]


@pytest.mark.parametrize("name", _OURS)
def test_no_dependency_owns_our_name(name: str):
    owners = set(packages_distributions().get(name, [])) - {"doorward"}
    assert owners == set()


@pytest.mark.parametrize("name", _OURS)
def test_name_resolves_to_this_project(name: str):
    file = import_module(name).__file__
    assert file is not None
    assert Path(file).parent == _ROOT / name


def test_wheel_holds_exactly_our_packages():
    folders = {path.parent.name for path in _ROOT.glob("*/__init__.py")}
    assert folders == set(_OURS)
