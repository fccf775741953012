"""Where things stand in a TOML text: for every way to write a key."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from edge.toml_tables import Problem, TomlText, shown


def line_of(text: str, *place: str | int) -> int | None:
    toml = TomlText(text)
    toml.wrong(place, expected="this", got="that")
    return toml.problems[0].line


def test_a_key_a_quoted_key_and_a_dotted_key():
    text = "a = 1\n\n# comment\n\"b\" = 2\nc.d = 3\n'e f' = 4\n"
    assert [line_of(text, *place) for place in (("a",), ("b",), ("c", "d"), ("e f",))] == [1, 4, 5, 6]


def test_a_key_that_stands_in_a_string_is_not_found_there():
    text = "a = '''\nb = 1\n[c]\n'''\nb = 2\n[c]\nd = 1\n"
    assert [line_of(text, *place) for place in (("a",), ("b",), ("c",), ("c", "d"))] == [1, 5, 6, 7]


def test_a_value_over_several_lines_stands_where_it_begins():
    text = "\na = [\n 1, # one\n\n 2,\n]\nb = 1\n"
    assert (line_of(text, "a"), line_of(text, "b")) == (2, 7)


def test_sections_sections_in_sections_and_repeated_sections():
    text = "[a]\nx = 1\n[[b]]\nx = 1\n[b.c]\nx = 1\n[[b]]\nx = 1\n[b.c]\nx = 1\n[d.e]\nx = 1\n"
    places: list[tuple[str | int, ...]] = [
        ("a", "x"),
        ("b", 0, "x"),
        ("b", 0, "c", "x"),
        ("b", 1, "x"),
        ("b", 1, "c", "x"),
        ("d", "e", "x"),
    ]
    assert [line_of(text, *place) for place in places] == [2, 4, 6, 8, 10, 12]


def test_tables_within_a_line():
    text = "a = {b = 1, c = {d = 2}}\ne = [{f = 1}, {f = 2}]\n"
    assert [line_of(text, *place) for place in (("a", "c", "d"), ("e", 1, "f"))] == [1, 2]


def test_a_missing_key_stands_where_its_section_begins():
    assert line_of("[a]\nx = 1\n", "a", "y") == 1


def test_what_has_no_section_stands_nowhere():
    assert line_of("[a]\nx = 1\n", "b", "y") is None


def test_windows_line_ends_count_as_one():
    assert line_of("[a]\r\nx = 1\r\n\r\ny = 2\r\n", "a", "y") == 4


_values = st.sampled_from(
    ["1", "true", '"[x]"', "'''\n[y]\nk0 = 1\n'''", "[\n1, # ]\n2\n]", "{z = 1}", '"""a\\\n  b"""']
)
_gaps = st.sampled_from(["", "\n", "# [s0]\n", "  \n# k1 = 2\n"])


@given(
    sections=st.lists(st.lists(st.tuples(_gaps, _values), max_size=4), max_size=4), start=_gaps, repeated=st.booleans()
)
def test_every_key_of_any_text_is_found(sections: list[list[tuple[str, str]]], start: str, *, repeated: bool):
    text, wanted = start, {}
    for number, entries in enumerate(sections):
        place: tuple[str | int, ...] = ("s", number) if repeated else (f"s{number}",)
        wanted[place] = text.count("\n") + 1
        text += "[[s]]\n" if repeated else f"[s{number}]\n"
        for key, (gap, value) in enumerate(entries):
            text += gap
            wanted[(*place, f"k{key}")] = text.count("\n") + 1
            text += f"k{key} = {value}\n"
    tomllib.loads(text)
    assert {place: line_of(text, *place) for place in wanted} == wanted


def test_a_long_value_is_cut():
    assert shown("x" * 1_000) == '"' + "x" * 63 + "…"


def test_a_value_with_control_characters_is_escaped():
    assert shown("\x1b[2J") == "'\\x1b[2J'"


def test_a_problem_without_line_and_example_is_one_clause():
    assert str(Problem(None, "lock.url", "a", "b")) == "lock.url: expected a, got b"
