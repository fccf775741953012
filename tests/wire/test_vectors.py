"""Every vector is read as it says, and the files are what `tests.vectors.make` writes."""

from __future__ import annotations

import json
from typing import cast

import pytest

from tests.vectors import make
from tests.vectors.parts.kit import Case
from tests.wire.readers import READERS
from wire.errors import WireError, WireReason


def all_cases(name: str) -> list[Case]:
    """The cases of a file."""
    return cast("list[Case]", json.loads(make.path(name).read_text())["vectors"])


def accepted_cases(name: str) -> list[Case]:
    """The cases of a file that are read."""
    return [case for case in all_cases(name) if "expect" in case]


_ALL = [
    pytest.param(name, case, id=f"{name}: {case['name']}")
    for name in make.FILES
    if name in READERS
    for case in all_cases(name)
]


@pytest.mark.parametrize(("name", "case"), _ALL)
def test_vector_is_read_as_it_says(name: str, case: Case):
    try:
        found: Case = {"expect": READERS[name](case)}
    except WireError as error:
        found = {"expect_error": {"reason": error.reason.value, "field": error.field}}
    assert found == {part: case[part] for part in ("expect", "expect_error") if part in case}


@pytest.mark.parametrize("name", make.FILES)
def test_file_is_what_the_generator_writes(name: str):
    assert make.path(name).read_text() == make.render(name), "run: .venv/bin/python -m tests.vectors.make"


def test_no_file_of_vectors_is_left_over():
    assert {found.stem for found in make.FOLDER.glob("*.json")} == set(make.FILES) | make.WRITTEN_BY_HAND


@pytest.mark.parametrize("name", make.FILES)
def test_file_names_its_source_and_each_case_once(name: str):
    document = json.loads(make.path(name).read_text())
    assert document["description"]
    assert document["source"]
    names = [case["name"] for case in document["vectors"]]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("name", READERS)
def test_file_holds_accepted_and_refusedall_cases(name: str):
    cases = all_cases(name)
    assert any("expect" in case for case in cases)
    assert any("expect_error" in case for case in cases)
    assert all(("expect" in case) is not ("expect_error" in case) for case in cases)


def test_every_reason_has_a_vector():
    shown = {
        cast("dict[str, str]", case["expect_error"])["reason"]
        for name in READERS
        for case in all_cases(name)
        if "expect_error" in case
    }
    assert {reason.value for reason in WireReason} == shown
