"""What an input's address says, and when a change counts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ports import InputLine, LineState
from firmware_adapters.catalogue import AdapterError, Kind, check
from firmware_adapters.debounce import Debounce, debounce_ms
from firmware_adapters.line_spec import Bias, LineSpec, specs

ACTIVE, INACTIVE = LineState.ACTIVE, LineState.INACTIVE
CONTACT, REX = InputLine.CONTACT, InputLine.REX


def spec(text: str, line: InputLine = CONTACT) -> LineSpec:
    return specs(check(Kind.INPUTS, f"gpio:///dev/gpiochip0?{line.value}={text}"))[line]


@pytest.mark.parametrize("line", InputLine)
def test_an_input_may_be_cut_without_being_quiet_unless_it_is_the_exit_button(line: InputLine):
    assert spec("5", line) == LineSpec("5", closed_at_rest=line is not REX, bias=Bias.UP)
    # A cut wire: the resistor pulls the line up.
    assert spec("5", line).state(1) is (INACTIVE if line is REX else ACTIVE)


@pytest.mark.parametrize(
    ("text", "level", "state"),
    [
        ("5,nc", 0, INACTIVE),
        ("5,nc", 1, ACTIVE),
        ("5,no", 0, ACTIVE),
        ("5,no", 1, INACTIVE),
        ("5,nc,down", 1, INACTIVE),
        ("5,nc,down", 0, ACTIVE),
        ("5,no,down", 1, ACTIVE),
        ("5,no,down", 0, INACTIVE),
        ("5,nc,none", 0, INACTIVE),
        ("5,up", 0, INACTIVE),
    ],
)
def test_wiring_decides_what_a_level_means(text: str, level: int, state: LineState):
    assert spec(text).state(level) is state


def test_a_line_may_have_a_name():
    assert spec("DOOR_1.CONTACT,no,down") == LineSpec("DOOR_1.CONTACT", closed_at_rest=False, bias=Bias.DOWN)


@pytest.mark.parametrize("text", ["", ",nc", "5,up,nc", "5,closed", "5,nc,nc", "a b", "5,", "x" * 33])
def test_anything_else_is_refused_with_what_is_right(text: str):
    with pytest.raises(AdapterError) as caught:
        spec(text.replace(" ", "%20"))
    assert "nc or no" in caught.value.remedy


def test_inputs_come_in_one_order():
    address = check(
        Kind.INPUTS, "gpio:///dev/gpiochip0?power=1&rex=2&contact=3&tamper=4&fire=5&lock_monitor=6&interlock=7"
    )
    assert list(specs(address)) == list(InputLine)


def test_a_change_counts_once_it_has_lasted():
    debounce = Debounce({CONTACT: INACTIVE}, lasting_ms=50)
    assert debounce.look({CONTACT: ACTIVE}, at_ms=0) == []
    assert debounce.look({CONTACT: ACTIVE}, at_ms=49) == []
    (change,) = debounce.look({CONTACT: ACTIVE}, at_ms=50)
    assert (change.line, change.state, change.at_ms) == (CONTACT, ACTIVE, 50)
    assert debounce.look({CONTACT: ACTIVE}, at_ms=51) == []


def test_a_change_that_does_not_last_is_none():
    debounce = Debounce({CONTACT: INACTIVE}, lasting_ms=50)
    for at_ms in range(0, 1000, 40):
        assert debounce.look({CONTACT: ACTIVE if at_ms % 80 else INACTIVE}, at_ms=at_ms) == []


def test_another_change_in_between_begins_anew():
    debounce = Debounce({CONTACT: INACTIVE}, lasting_ms=50)
    debounce.look({CONTACT: ACTIVE}, at_ms=0)
    debounce.look({CONTACT: LineState.FAULT}, at_ms=30)
    assert debounce.look({CONTACT: LineState.FAULT}, at_ms=60) == []
    (change,) = debounce.look({CONTACT: LineState.FAULT}, at_ms=80)
    assert change.state is LineState.FAULT


def test_without_debouncing_every_look_counts():
    debounce = Debounce({CONTACT: INACTIVE}, lasting_ms=0)
    assert [change.state for change in debounce.look({CONTACT: ACTIVE}, at_ms=0)] == [ACTIVE]


@pytest.mark.parametrize("line", InputLine)
def test_the_way_out_is_never_delayed_for_more_than_50_ms(line: InputLine):
    egress = line in {InputLine.REX, InputLine.FIRE}
    assert debounce_ms(line, 1000) == (50 if egress else 1000)
    assert debounce_ms(line, 50) == 50
    assert debounce_ms(line, 20) == 20


@given(st.lists(st.tuples(st.integers(1, 60), st.sampled_from(list(LineState))), max_size=60))
def test_changes_alternate_and_each_had_lasted(looks: list[tuple[int, LineState]]):
    debounce = Debounce({CONTACT: INACTIVE}, lasting_ms=50)
    told, at_ms, since_ms, last = INACTIVE, 0, 0, INACTIVE
    for step_ms, state in looks:
        at_ms += step_ms
        if state is not last:
            last, since_ms = state, at_ms
        for change in debounce.look({CONTACT: state}, at_ms=at_ms):
            assert change.state is not told
            assert at_ms - since_ms >= 50
            told = change.state
