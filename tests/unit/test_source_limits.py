"""Files and functions stay short enough to read in one go (docs/contributing.md)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.project

_ROOT = Path(__file__).parents[2]
_TABLES = _ROOT / "tests" / "vectors" / "parts"
"""Tables of vectors, one function a format: data that is written as code."""
_MOST_FILE_LINES = 500
_MOST_FUNCTION_LINES = 60
_PACKAGES = ["cloud", "doorward", "edge", "firmware_adapters", "provisioning", "sync", "tests", "wire"]


def _sources() -> list[Path]:
    return sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", _PACKAGES)
def test_every_package_is_looked_at(package: str):
    assert any(path.is_relative_to(_ROOT / package) for path in _sources())


def test_no_file_is_longer_than_the_limit():
    long = {
        str(path.relative_to(_ROOT)): lines
        for path in _sources()
        if (lines := len(path.read_text().splitlines())) > _MOST_FILE_LINES
    }
    assert long == {}


def test_no_function_is_longer_than_the_limit():
    long = {
        f"{path.relative_to(_ROOT)}:{node.lineno} {node.name}": lines
        for path in _sources()
        if not path.is_relative_to(_TABLES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > _MOST_FUNCTION_LINES
    }
    assert long == {}
