"""The lock files hold what pyproject.toml asks for, by hash, and say nothing about where a machine gets it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.project

_ROOT = Path(__file__).parents[2]
_LOCKS = sorted((_ROOT / "requirements").glob("*.txt"))
_EXTRAS = {
    "cloud.txt": ["cloud", "wallet", "postgres"],
    "dev.txt": ["dev"],
    "edge.txt": ["edge", "camera", "osdp", "gpio", "modbus", "mqtt"],
    "hardware.txt": ["nfc", "osdp", "pcsc"],
}
# Packages without wheels: they are in no other lock, so that a set-up may refuse to build anything but these.
_SOURCE = _ROOT / "requirements/source.txt"
_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>\S+)")
_HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def _pins(lock: Path) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for line in lock.read_text().splitlines():
        if match := _PIN.match(line):
            pins.setdefault(canonicalize_name(match["name"]), set()).add(match["version"])
    return pins


def _source_group() -> list[Requirement]:
    groups = tomllib.loads((_ROOT / "pyproject.toml").read_text())["dependency-groups"]
    return [Requirement(text) for text in groups["source"]]


def _asked_for(extras: list[str]) -> list[Requirement]:
    """Return what the project and these extras require, with extras of our own followed."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    found = [Requirement(text) for text in project["dependencies"]]
    waiting = list(extras)
    while waiting:
        for text in project["optional-dependencies"][waiting.pop()]:
            requirement = Requirement(text)
            if requirement.name == "doorward":
                waiting.extend(requirement.extras)
            else:
                found.append(requirement)
    return found


@pytest.mark.parametrize("lock", [lock for lock in _LOCKS if lock != _SOURCE], ids=lambda lock: lock.name)
def test_lock_satisfies_the_project(lock: Path):
    pins = _pins(_SOURCE) | _pins(lock)
    unmet = [
        str(requirement)
        for requirement in _asked_for(_EXTRAS[lock.name])
        if not any(requirement.specifier.contains(v) for v in pins.get(canonicalize_name(requirement.name), set()))
    ]
    assert unmet == [], "run script/lock"


def test_what_is_built_from_source_is_what_the_group_names_and_in_no_other_lock():
    built = _pins(_SOURCE)
    assert built.keys() == {canonicalize_name(each.name) for each in _source_group()}
    assert all(each.specifier.contains(v) for each in _source_group() for v in built[canonicalize_name(each.name)])
    assert [lock.name for lock in _LOCKS if lock != _SOURCE and built.keys() & _pins(lock).keys()] == []


@pytest.mark.parametrize("lock", _LOCKS, ids=lambda lock: lock.name)
def test_every_pin_has_hashes_and_every_line_is_a_pin_a_hash_or_a_comment(lock: Path):
    lines = lock.read_text().splitlines()
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if _PIN.match(line):
            assert _HASH.match(following), f"{lock.name}: {line} has no hash"
        else:
            assert not line.strip() or line.lstrip().startswith("#") or _HASH.match(line), f"{lock.name}: {line}"


@pytest.mark.parametrize("lock", _LOCKS, ids=lambda lock: lock.name)
def test_lock_names_no_address(lock: Path):
    assert not re.search(r"\w+://|--(index|extra-index|find-links|trusted-host)", lock.read_text())


def test_a_door_and_a_cloud_run_the_versions_that_were_tested():
    tested = _pins(_ROOT / "requirements/dev.txt")
    differing = {
        (lock.name, name)
        for lock in _LOCKS
        for name, versions in _pins(lock).items()
        if name in tested and tested[name] != versions
    }
    assert differing == set()
