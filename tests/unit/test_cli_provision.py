"""`doorward provision detect`; provisioning itself: tests/e2e."""

from __future__ import annotations

import json

import pytest

from doorward.errors import ExitCode
from firmware_adapters.catalogue import describe
from tests.support.commands import run_here


def test_what_is_plugged_in_is_one_object_a_line(capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "provision", "detect", "--json")
    assert ran.code == ExitCode.OK
    for line in ran.out.splitlines():
        assert set(json.loads(line)) == {"found", "path", "name", "address"}


def test_people_are_told_which_addresses_there_can_be(capsys: pytest.CaptureFixture[str]):
    out = run_here(capsys, "provision", "detect").out
    assert [known.example for known in describe() if known.example not in out] == []
