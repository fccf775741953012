"""The pages of docs/spec show what the code does, and are short enough to be read."""

from __future__ import annotations

import re

import pytest
import segno

from firmware_adapters.cards.errors import CardFault
from tests.vectors import make
from tests.wire.spec_pages import BLOCKS, FOLDER, marks, path, shown
from wire.errors import WireReason
from wire.names import ExternalAad

_PAGES = sorted(page.stem for page in FOLDER.glob("*.md"))
_MOST_LINES = 175
_CARD_PAGES = {"cards", "phone-exchange"}
"""Commands to cards, which are no CBOR; `firmware_adapters/cards` speaks them."""


@pytest.mark.parametrize(("page", "name"), BLOCKS)
def test_block_is_current(page: str, name: str):
    assert shown(page, name) == BLOCKS[page, name](), "run: .venv/bin/python -m tests.wire.spec_pages"


@pytest.mark.parametrize("page", _PAGES)
def test_page_has_no_block_that_nobody_writes(page: str):
    found = set(re.findall(r"<!-- (.*), written by tests/wire/spec_pages.py -->", path(page).read_text()))
    assert found == {name for owner, name in BLOCKS if owner == page}
    assert all(path(page).read_text().count(mark) == 1 for name in found for mark in marks(name))


@pytest.mark.parametrize("page", _PAGES)
def test_page_can_be_read_in_one_go(page: str):
    assert len(path(page).read_text().splitlines()) <= _MOST_LINES


@pytest.mark.parametrize("page", [page for page in _PAGES if page != "index"])
def test_page_has_every_part_of_a_specification(page: str):
    text = path(page).read_text()
    for part in (
        "## Example",
        "## Grammar",
        "```abnf" if page in _CARD_PAGES else "```cddl",
        "## Rules",
        "MUST",
        "## Limits",
        "## Refusals",
        "tests/vectors/",
    ):
        assert part in text, part


@pytest.mark.parametrize("page", [page for page in _PAGES if page != "index"])
def test_reasons_of_a_page_are_reasons(page: str):
    table = path(page).read_text().partition("## Refusals")[2].partition("\n## ")[0]
    named = set(re.findall(r"^\| `([a-z_]+)`", table, re.MULTILINE))
    assert named
    reasons = CardFault if page in _CARD_PAGES else WireReason
    assert named <= {reason.value for reason in reasons}


def test_every_file_of_vectors_is_named_by_a_page():
    text = "".join(path(page).read_text() for page in _PAGES)
    missing = [name for name in make.FILES if f"tests/vectors/{name}.json" not in text]
    assert missing == []


def test_every_external_aad_is_named_by_the_page_of_its_message():
    text = "".join(path(page).read_text() for page in _PAGES if page != "index")
    assert [aad.name for aad in ExternalAad if aad and f"`{aad.decode()}`" not in text] == []


@pytest.mark.parametrize(
    ("characters", "level", "version"),
    [(395, "l", 10), (396, "l", 11), (411, "l", 11), (579, "l", 13), (640, "l", 14), (193, "q", 10), (193, "m", 8)],
)
def test_sizes_of_codes_are_what_the_page_says(characters: int, level: str, version: int):
    code = segno.make("A" * characters, error=level, mode="alphanumeric", boost_error=False, micro=False)
    assert code.version == version
