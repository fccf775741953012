"""The list of mutants that may live: each names a line that its function still has."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.project

_ROOT = Path(__file__).parents[2]
_LIST = tomllib.loads((_ROOT / "tests" / "support" / "accepted_mutants.toml").read_text())


def _source(function: str) -> str:
    parts = function.split(".")
    file = next(
        file
        for count in range(len(parts), 0, -1)
        if (file := _ROOT.joinpath(*parts[:count]).with_suffix(".py")).is_file()
    )
    return file.read_text()


@pytest.mark.parametrize("entry", _LIST["mutant"], ids=lambda entry: str(entry["function"]))
def test_an_entry_changes_a_line_that_there_is_and_says_why(entry: dict[str, str]):
    removed = [line[1:] for line in entry["change"].strip().splitlines() if line.startswith("-")]
    assert removed
    lines = {line.strip() for line in _source(entry["function"]).splitlines()}
    assert [line for line in removed if line not in lines] == []
    assert len(entry["why"].split()) >= 4


@pytest.mark.parametrize("entry", _LIST["alike"], ids=lambda entry: str(entry["text"]))
def test_what_reads_alike_says_why(entry: dict[str, str]):
    assert entry["text"] != entry["becomes"]
    assert len(entry["why"].split()) >= 4
