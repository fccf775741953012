"""Inputs from several places: a line is as bad as the worst says, and a place that fails takes no other with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from edge.ports import InputLine, Inputs, LineState
from firmware_adapters.catalogue import open_all_inputs
from firmware_adapters.merged_inputs import MergedInputs, worst
from tests.support.adc_bench import AdcInputsBench
from tests.support.gpio_bench import FilesInputsBench
from tests.support.osdp_bench import OsdpBench
from tests.support.waiting import DEADLINE_S, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge.ports import InputChange

ACTIVE, INACTIVE, FAULT, UNKNOWN = LineState.ACTIVE, LineState.INACTIVE, LineState.FAULT, LineState.UNKNOWN


async def _until(changes: AsyncIterator[InputChange], line: InputLine, state: LineState) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while True:
            change = await anext(changes)
            if (change.line, change.state) == (line, state):
                return


def test_the_worst_state_counts():
    assert worst([INACTIVE, UNKNOWN]) is UNKNOWN
    assert worst([FAULT, UNKNOWN, INACTIVE]) is FAULT
    assert worst([FAULT, ACTIVE]) is ACTIVE
    assert worst([INACTIVE, INACTIVE]) is INACTIVE


def test_one_place_stays_itself(tmp_path: Path):
    bench = FilesInputsBench(tmp_path)
    assert not isinstance(open_all_inputs([bench.url]), MergedInputs)


async def test_the_case_of_a_reader_joins_the_contact_of_the_door(tmp_path: Path):
    osdp, chip = OsdpBench(tmp_path), FilesInputsBench(tmp_path, "&tamper=20")
    chip.set("20", 0)
    inputs = open_all_inputs([chip.url, osdp.url()])
    changes = inputs.changes()
    # UNKNOWN until the reader has told how its case stands.
    await _until(changes, InputLine.TAMPER, INACTIVE)
    osdp.peripheral.local(tamper=True, power=False)
    await _until(changes, InputLine.TAMPER, ACTIVE)
    chip.set("5", 1)
    await _until(changes, InputLine.CONTACT, ACTIVE)
    osdp.peripheral.local(tamper=False, power=False)
    await _until(changes, InputLine.TAMPER, INACTIVE)
    chip.set("20", 1)
    await _until(changes, InputLine.TAMPER, ACTIVE)
    await inputs.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(changes)
    await osdp.reader.aclose()
    osdp.dispose()


async def test_a_place_that_fails_takes_no_other_with_it_and_comes_back(tmp_path: Path):
    chip, converter = FilesInputsBench(tmp_path), AdcInputsBench(tmp_path)
    inputs: Inputs = open_all_inputs([chip.url.replace("&fire=13", ""), converter.url.partition("?")[0] + "?fire=2"])
    assert isinstance(inputs, MergedInputs)
    changes = inputs.changes()
    await _until(changes, InputLine.FIRE, INACTIVE)
    raw = converter.folder / "in_voltage2_raw"
    raw.rename(raw.with_suffix(".away"))
    await _until(changes, InputLine.FIRE, UNKNOWN)
    assert inputs.faults[1] is not None
    chip.set("6", 0)
    await _until(changes, InputLine.REX, ACTIVE)
    raw.with_suffix(".away").rename(raw)
    await _until(changes, InputLine.FIRE, INACTIVE)
    await until(lambda: inputs.faults == [None, None])
    await inputs.aclose()
