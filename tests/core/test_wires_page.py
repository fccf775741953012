"""The page for installers says what each wire and each command does."""

from __future__ import annotations

import pytest

from tests.support import wires_page as page


@pytest.mark.parametrize("name", list(page.sections()))
def test_each_generated_part_of_the_page_is_what_the_core_does(name: str):
    shown = page.shown_in(page.PAGE.read_text(), name)
    assert shown == page.sections()[name], "run: .venv/bin/python -m tests.support.wires_page"


def test_every_refusal_of_a_command_is_found_by_running_one():
    assert {"NO_TRUST", "COMMAND_FOREIGN", "COMMAND_REPLAYED", "COMMAND_EXPIRED"} <= set(page.reasons())
    assert len(page.reasons()) >= 11
