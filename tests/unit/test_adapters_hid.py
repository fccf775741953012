"""Keys to codes: every character that a code may have, and what is no character."""

from __future__ import annotations

import os
import string
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ports import Reason
from firmware_adapters.catalogue import open_reader
from firmware_adapters.hid_keys import EVENT, PLAIN, SHIFTED, Keys
from tests.support.hid_bench import key, typed
from tests.support.readers import Listener

if TYPE_CHECKING:
    from pathlib import Path

PRINTABLE = "".join(sorted(set(string.printable) - set("\t\n\r\x0b\x0c")))
A, LEFT_SHIFT, RIGHT_SHIFT, ENTER, KEYPAD_ENTER, TAB, ESCAPE = 30, 42, 54, 28, 96, 15, 1


def test_every_printable_character_has_its_key():
    assert Keys().feed(typed(PRINTABLE)) == PRINTABLE.encode()


@pytest.mark.parametrize(
    ("code", "plain", "shifted"),
    [(2, "1", "!"), (11, "0", ")"), (13, "=", "+"), (26, "[", "{"), (39, ";", ":"), (43, "\\", "|"), (44, "z", "Z")],
)
def test_keys_are_where_the_kernel_has_them(code: int, plain: str, shifted: str):
    assert (PLAIN[code], SHIFTED[code]) == (plain, shifted)


@pytest.mark.parametrize("code", [ENTER, KEYPAD_ENTER, TAB])
def test_enter_and_tab_end_a_line(code: int):
    assert Keys().feed(key(A, 1) + key(A, 0) + key(code, 1)) == b"a\n"


@pytest.mark.parametrize("shift", [LEFT_SHIFT, RIGHT_SHIFT])
def test_either_shift_holds_until_it_is_let_go(shift: int):
    assert Keys().feed(key(shift, 1) + key(A, 1) + key(A, 0) + key(shift, 0) + key(A, 1)) == b"Aa"


def test_both_shifts_hold_until_both_are_let_go():
    events = key(LEFT_SHIFT, 1) + key(RIGHT_SHIFT, 1) + key(LEFT_SHIFT, 0) + key(A, 1)
    assert Keys().feed(events) == b"A"


def test_a_held_key_counts_once_and_other_keys_and_events_for_nothing():
    repeated = key(A, 1) + key(A, 2) * 20 + key(A, 0)
    assert Keys().feed(repeated + key(ESCAPE, 1) + key(700, 1) + EVENT.pack(0, 0, 4, A, 1)) == b"a"


def test_a_code_of_which_the_kernel_has_forgotten_a_part_is_no_other_code():
    dropped = EVENT.pack(0, 0, 0, 3, 0)
    assert Keys().feed(typed("12") + key(LEFT_SHIFT, 1) + dropped + typed("34\n")) == b"12\x0034\n"


@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(0, 400)))
def test_any_bytes_type_ascii_however_they_are_cut(data: bytes, cuts: list[int]):
    keys = Keys()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [keys.feed(data[start:end]) for start, end in pairwise(edges)]
    assert b"".join(pieces) == Keys().feed(data)
    assert b"".join(pieces).isascii()


async def test_what_is_no_input_device_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("a\n")
    _, slave = os.openpty()
    for path in (tmp_path / "file", tmp_path, os.ttyname(slave)):
        assert (await Listener(open_reader(f"hid://{path}", "r")).failure()).reason is Reason.UNSUPPORTED
    assert (await Listener(open_reader(f"hid://{tmp_path}/missing", "r")).failure()).reason is Reason.LOST
