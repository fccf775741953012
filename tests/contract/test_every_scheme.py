"""Every device address that there is keeps its port's contract: in the suites here, or where a table says, and why."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

from firmware_adapters.catalogue import Kind, schemes
from tests.contract import test_displays, test_inputs, test_locks, test_readers

_TESTS: Final = Path(__file__).parents[1]
_SUITES: Final = {
    Kind.READER: test_readers,
    Kind.LOCK: test_locks,
    Kind.INPUTS: test_inputs,
    Kind.DISPLAY: test_displays,
}
_NEEDS_A_CHIP: Final = "needs the kernel's gpio-sim, which script/test-hardware brings in an emulated machine"
_ELSEWHERE: Final = {
    (Kind.LOCK, "gpio"): ("hardware/check_gpio_locks.py", _NEEDS_A_CHIP),
    (Kind.INPUTS, "gpio"): ("hardware/check_gpio_inputs.py", _NEEDS_A_CHIP),
}
_PAIRS: Final = [(kind, scheme) for kind in Kind for scheme in schemes()[kind]]


def _benched(kind: Kind) -> set[str]:
    """Give the schemes of a suite's benches; what stands behind a space tells several of one apart."""
    return {bench.partition(" ")[0] for bench in _SUITES[kind]._BENCHES}


def _name(pair: tuple[Kind, str]) -> str:
    return f"{pair[0].value} {pair[1]}"


@pytest.mark.parametrize("pair", _PAIRS, ids=_name)
def test_every_scheme_is_in_its_contract_suite_or_runs_it_elsewhere(pair: tuple[Kind, str]):
    kind, scheme = pair
    assert (scheme in _benched(kind)) != (pair in _ELSEWHERE)


@pytest.mark.parametrize("kind", Kind)
def test_no_suite_has_a_bench_of_a_scheme_that_there_is_not(kind: Kind):
    assert _benched(kind) <= set(schemes()[kind])


@pytest.mark.parametrize("pair", _ELSEWHERE, ids=_name)
def test_what_runs_elsewhere_takes_over_every_test_of_its_suite(pair: tuple[Kind, str]):
    """Read, not imported: those modules need what this machine has not."""
    kind, scheme = pair
    assert pair in _PAIRS
    place, reason = _ELSEWHERE[pair]
    source = (_TESTS / place).read_text()
    suite = _SUITES[kind].__name__.rpartition(".")[2]
    imported = [
        name.name
        for each in ast.walk(ast.parse(source))
        if isinstance(each, ast.ImportFrom) and each.module == "tests.contract"
        for name in each.names
        if name.asname == "suite"
    ]
    assert imported == [suite]
    assert 'globals().update({name: each for name, each in vars(suite).items() if name.startswith("test_")})' in source
    assert f'f"{scheme}://' in source
    assert "script/test-hardware" in reason


def test_the_command_for_hardware_runs_what_runs_elsewhere():
    command = (_TESTS.parent / "script" / "test-hardware").read_text()
    assert 'python_files="check_*.py" tests/hardware' in command
    for place, _ in _ELSEWHERE.values():
        folder, _, file = place.partition("/")
        assert folder == "hardware"
        assert Path(file).match("check_*.py")
