"""The benchmarks: each by its name, each explained, each saying what its floor is."""

from __future__ import annotations

from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import pytest
from benchmarks.measure import Times, compared, compared_p99, in_turn
from benchmarks.registry import BENCHMARKS

_PAGE = Path(__file__).parents[2] / "docs" / "performance.md"


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_benchmark_is_explained_on_its_page(name: str):
    assert f"| `{name}` |" in _PAGE.read_text()


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_every_benchmark_can_be_found(name: str):
    module, function = getattr(BENCHMARKS[name], "args")  # noqa: B009 - a partial's, which its type does not tell
    assert callable(getattr(import_module(f"benchmarks.{module}"), function))


def test_subject_and_floor_take_turns_and_the_order_rotates():
    seen: list[tuple[str, int]] = []
    floor, subject = in_turn(
        lambda turn: seen.append(("floor", turn)), lambda turn: seen.append(("subject", turn)), rounds=3, warm_up=1
    )
    assert seen == [
        ("floor", 0),
        ("subject", 0),
        ("subject", 1),
        ("floor", 1),
        ("floor", 2),
        ("subject", 2),
        ("subject", 3),
        ("floor", 3),
    ]
    assert (len(floor.ns), len(subject.ns)) == (3, 3)


def test_a_figure_is_told_against_its_floor():
    subject, floor = Times([2_000] * 99 + [9_000_000]), Times([1_000] * 100)
    told = asdict(compared("name", subject, floor, must="<= 3 of the floor", note="what the floor is"))
    assert (told["value"], told["unit"], told["floor"], told["ratio"], told["n"]) == (2.0, "us", 1.0, 2.0, 100)
    assert (told["p50"], told["p95"]) == (0.002, 0.002)
    worst = compared_p99("name", subject, floor, must="", note="")
    assert worst.floor == 1.0
    assert worst.ratio == worst.value
    assert worst.value > 2.0
