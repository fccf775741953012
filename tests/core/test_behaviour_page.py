"""The page for installers and admins says what the core does."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from edge.core.door_state import Mode
from tests.core.denials import refusals
from tests.support import behaviour_page as page
from wire.names import Step
from wire.settings import DoorSettings


@pytest.mark.parametrize("name", list(page.sections()))
def test_each_generated_part_of_the_page_is_what_the_core_does(name: str):
    shown = page.shown_in(page.PAGE.read_text(), name)
    assert shown == page.sections()[name], "run: .venv/bin/python -m tests.support.behaviour_page"


def test_every_step_and_every_reason_that_is_given_stands_on_the_page():
    text = page.PAGE.read_text()
    assert [int(number) for number in re.findall(r"^\| (\d+) [a-z ]+ \|", page.steps(), re.MULTILINE)] == list(Step)
    for reasons in refusals().values():
        for reason in reasons:
            assert f"| {reason.name} |" in text


def test_no_remedy_is_kept_for_a_reason_that_is_never_given():
    assert set(page.REMEDIES) == {reason for reasons in refusals().values() for reason in reasons}


def test_every_setting_is_explained_and_no_other():
    assert set(page.MEANINGS) == {field.name for field in fields(DoorSettings)}


def test_the_diagram_shows_every_mode_and_that_fire_reaches_it_from_all():
    diagram = page.diagram()
    assert all(mode.value in diagram for mode in Mode)
    assert "at_rest --> locked_open: fire" in diagram
    assert "accessed --> locked_open: fire" in diagram
