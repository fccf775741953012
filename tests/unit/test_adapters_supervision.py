"""Supervised circuits: what the resistors make is a state, anything else a fault, at both sides of each limit."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ports import InputLine, InputsError, LineState, Reason
from firmware_adapters.catalogue import open_inputs
from firmware_adapters.supervision import circuit_state
from tests.support.adc_bench import CLOSED, CUT, OPEN, SHORT, AdcInputsBench

ACTIVE, INACTIVE, FAULT = LineState.ACTIVE, LineState.INACTIVE, LineState.FAULT


def state(share: float, *, closed_at_rest: bool = True) -> LineState:
    return circuit_state(share * 3300, reference_mv=3300, closed_at_rest=closed_at_rest)


@pytest.mark.parametrize(
    ("share", "at_rest_closed", "at_rest_open"),
    [(SHORT, FAULT, FAULT), (CLOSED, INACTIVE, ACTIVE), (OPEN, ACTIVE, INACTIVE), (CUT, FAULT, FAULT)],
)
def test_the_four_circuits(share: float, at_rest_closed: LineState, at_rest_open: LineState):
    assert state(share) is at_rest_closed
    assert state(share, closed_at_rest=False) is at_rest_open


@pytest.mark.parametrize(
    ("limit", "below", "above"), [(1 / 4, FAULT, INACTIVE), (7 / 12, INACTIVE, ACTIVE), (5 / 6, ACTIVE, FAULT)]
)
def test_both_sides_of_each_limit(limit: float, below: LineState, above: LineState):
    assert state(limit - 0.001) is below
    assert state(limit + 0.001) is above


@given(pull=st.floats(0.95, 1.05), series=st.floats(0.95, 1.05), across=st.floats(0.95, 1.05))
def test_resistors_of_five_percent_are_told_apart(pull: float, series: float, across: float):
    assert state(series / (pull + series)) is INACTIVE
    assert state((series + across) / (pull + series + across)) is ACTIVE


async def test_a_cut_and_a_shorted_wire_are_faults_of_their_line(tmp_path: Path):
    bench = AdcInputsBench(tmp_path)
    inputs = bench.open()
    changes = inputs.changes()
    for _ in range(3):
        await anext(changes)
    bench.set(0, CUT)
    change = await anext(changes)
    assert (change.line, change.state) == (InputLine.CONTACT, FAULT)
    bench.set(2, SHORT)
    change = await anext(changes)
    assert (change.line, change.state) == (InputLine.FIRE, FAULT)
    await inputs.aclose()


@pytest.mark.parametrize(("text", "reason"), [(None, Reason.LOST), ("no number\n", Reason.FAULT)])
async def test_a_converter_that_cannot_be_read_is_told(tmp_path: Path, text: str | None, reason: Reason):
    bench = AdcInputsBench(tmp_path)
    raw = bench.folder / "in_voltage1_raw"
    raw.unlink() if text is None else raw.write_text(text)
    inputs = open_inputs(bench.url)
    with pytest.raises(InputsError) as caught:
        await anext(inputs.changes())
    assert caught.value.reason is reason
    await inputs.aclose()
