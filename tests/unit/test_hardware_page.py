"""The table of bad input in docs/hardware.md names tests, reasons, events and health states that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from doorward.devices import Health
from edge.ports import Reason
from firmware_adapters.cards.errors import CardFault
from wire.names import EventKind

pytestmark = pytest.mark.project

_ROOT: Final = Path(__file__).parents[2]
_SECTION: Final = "## Bad input\n"
# What the issue that asked for the table lists; each has a row.
_ASKED: Final = (
    "truncated APDU",
    "wrong CMAC",
    "counter goes back",
    "taken away in the middle",
    "60 codes",
    "babbles",
    "one address",
    "line is in use",
    "SCBK",
    "unplugged at the start",
)


def _rows() -> list[list[str]]:
    text = (_ROOT / "docs" / "hardware.md").read_text().partition(_SECTION)[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]]


@cache
def _tests() -> frozenset[str]:
    """Give the name of every test, those for the hardware command included."""
    files = [*(_ROOT / "tests").rglob("test_*.py"), *(_ROOT / "tests" / "hardware").glob("check_*.py")]
    return frozenset(
        node.name
        for file in files
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


@pytest.mark.parametrize("asked", _ASKED)
def test_every_bad_input_has_a_row(asked: str):
    assert any(asked in row[0] for row in _rows())


@pytest.mark.parametrize("row", _rows(), ids=lambda row: str(row[0]))
def test_every_row_names_what_there_is(row: list[str]):
    _, reason, journal, health, tests = row
    assert set(reason.split(", ")) <= {each.value for each in (*Reason, *CardFault)} | {"none"}
    events = re.findall(r"[A-Z]+_[A-Z_]+", journal)
    assert set(events) <= set(EventKind.__members__)
    assert events or journal.startswith("none")
    assert health.partition(",")[0] in {each.value for each in Health}
    named = re.findall(r"`(\w+)`", tests)
    assert named
    assert [name for name in named if name not in _tests()] == []


def test_what_a_row_quotes_is_what_the_door_says():
    sources = [(_ROOT / "firmware_adapters" / name).read_text() for name in ("camera.py", "card_reader.py")]
    quoted = [words for row in _rows() for words in re.findall(r'"([^"]+)"', row[3])]
    assert quoted
    assert [words for words in quoted if not any(f'"{words}"' in source for source in sources)] == []
