"""Read TOML strictly: every key is asked for, what is left is refused, each fault knows its line.

Invariant: all faults of a text are collected before any is raised.
Must not: know what the keys mean, or repeat the value of a key that it does not know (it may be a misplaced secret).
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

Place: TypeAlias = tuple[str | int, ...]
"""The way to a value: ("reader", 1, "url") is the key `url` of the second [[reader]]."""

_SHOWN_CHARACTERS: Final = 64


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a file.

    Attributes:
        line: counted from 1; of the key, else of its section, None when there is neither.
        key: "lock.url".
        expected: what would be right, in words.
        got: what stands there, never a secret.
        example: a line that would be right, empty when there is none to give.
    """

    line: int | None
    key: str
    expected: str
    got: str
    example: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        place = "" if self.line is None else f"line {self.line}: "
        example = f"; for example: {self.example}" if self.example else ""
        return f"{place}{self.key}: expected {self.expected}, got {self.got}{example}"


class TomlText:
    """A text that is TOML, and what is wrong with its content.

    Args:
        text: the content of a file.

    Raises:
        tomllib.TOMLDecodeError, RecursionError: it is not TOML.
    """

    def __init__(self, text: str) -> None:
        self.values: Mapping[str, object] = tomllib.loads(text)
        self.problems: list[Problem] = []
        self._text = text
        self._lines: dict[Place, int] | None = None

    def wrong(self, place: Place, *, expected: str, got: str, example: str = "") -> None:
        """Note a fault."""
        key = ".".join(part for part in place if isinstance(part, str))
        self.problems.append(Problem(self._line(place), key, expected, got, example))

    def _line(self, place: Place) -> int | None:
        if self._lines is None:
            self._lines = _find_lines(self._text)
        for end in range(len(place), 0, -1):
            if place[:end] in self._lines:
                return self._lines[place[:end]]
        return None


class Table:
    """One table: keys are taken one by one; `close` refuses what is left.

    Args:
        toml: where faults are noted.
        place: of the table.
        values: what stands there; anything but a table is a fault.
    """

    def __init__(self, toml: TomlText, place: Place, values: object) -> None:
        self._toml = toml
        self._place = place
        self._known: list[str] = []
        self._left: dict[str, object] = {}
        if isinstance(values, Mapping):
            self._left.update(values)
        else:
            toml.wrong(place, expected="a section", got=shown(values), example=f"[{place[0]}]")

    def wrong(self, key: str, *, expected: str, got: str, example: str = "") -> None:
        """Note a fault of a key."""
        self._toml.wrong((*self._place, key), expected=expected, got=got, example=example)

    def has(self, key: str) -> bool:
        """Tell whether a key stands there and was not taken yet."""
        return key in self._left

    def _take(self, key: str) -> object:
        self._known.append(key)
        return self._left.pop(key, None)

    def text(
        self, key: str, check: Callable[[str], bool], *, expected: str, example: str, default: str | None = None
    ) -> str | None:
        """Take a text that `check` accepts; None when it is at fault."""
        value = self._take(key)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value.isprintable() and check(value):
            return value
        self.wrong(key, expected=expected, got=shown(value), example=f'{key} = "{example}"')
        return None

    def texts(
        self,
        key: str,
        check: Callable[[str], bool],
        *,
        expected: str,
        example: str,
        most: int,
        default: tuple[str, ...] | None = None,
    ) -> tuple[str, ...]:
        """Take one text, or a list of 1 to `most` different ones, that `check` accepts; those at fault are left out."""
        value = self._left.get(key)
        if value is None and default is not None:
            self._take(key)
            return default
        if not isinstance(value, list):
            text = self.text(key, check, expected=expected, example=example)
            return () if text is None else (text,)
        self._take(key)
        if not 1 <= len(value) <= most:
            self.wrong(key, expected=f"1 to {most} of them", got=str(len(value)), example=f'{key} = ["{example}"]')
            return ()
        taken: list[str] = []
        for number, each in enumerate(value):
            right = isinstance(each, str) and each.isprintable() and check(each)
            if not right or each in taken:
                wanted = "one that no other place of the list has" if right else expected
                self._toml.wrong((*self._place, key, number), expected=wanted, got=shown(each))
            else:
                taken.append(each)
        return tuple(taken)

    def path(self, key: str, folder: Path, *, example: str, default: str | None = None) -> Path | None:
        """Take a path, relative to `folder`; None when it is at fault."""
        value = self.text(key, bool, expected="a path", example=example, default=default)
        return None if value is None else folder / value

    def flag(self, key: str, *, default: bool) -> bool:
        """Take true or false."""
        value = self._take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, expected="true or false", got=shown(value), example=f"{key} = {str(default).lower()}")
        return default

    def number(self, key: str, *, minimum: int, maximum: int, default: int) -> int:
        """Take a whole number."""
        value = self._take(key)
        if value is None:
            return default
        if type(value) is int and minimum <= value <= maximum:
            return value
        expected = f"a whole number from {minimum} to {maximum}"
        self.wrong(key, expected=expected, got=shown(value), example=f"{key} = {default}")
        return default

    def close(self) -> None:
        """Refuse what nobody took; its value is not shown."""
        for key in self._left:
            self.wrong(key, expected=f"one of the keys {', '.join(self._known)}", got="a key that nobody reads")


def shown(value: object) -> str:
    """Show a value in an error, cut to a reasonable length."""
    if value is None:
        return "nothing"
    text = f'"{value}"' if isinstance(value, str) and value.isprintable() else repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def _find_lines(text: str) -> dict[Place, int]:
    """Find on which line each key, section and element begins; `text` is known to be TOML.

    tomllib does not tell, so the text is fed to it statement by statement: lines are added until they parse.
    """
    lines: dict[Place, int] = {}
    counts: dict[Place, int] = {}
    section: Place = ()
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), start=1):
        statement += line + "\n"
        try:
            found = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if statement.lstrip().startswith("["):
            section = _section(found, counts)
            _note(lines, section, {}, start)
        else:
            _note(lines, section, found, start)
        statement, start = "", number + 1
    return lines


def _section(found: Mapping[str, object], counts: dict[Place, int]) -> Place:
    """Give the place that a header such as [a.b] or [[a]] opens; each [[a]] counts one up."""
    place: Place = ()
    value: object = found
    while isinstance(value, dict) and value:
        (key,) = value
        value = value[key]
        place = (*place, key)
        if isinstance(value, list):
            counts[place] = counts.get(place, -1) + 1
            value = value[0]
        if place in counts:
            place = (*place, counts[place])
    return place


def _note(lines: dict[Place, int], place: Place, value: object, line: int) -> None:
    """Note a place and what stands in it: a dotted key or an inline table holds further ones."""
    if place:
        lines.setdefault(place, line)
    entries: Sequence[tuple[str | int, object]] = ()
    if isinstance(value, Mapping):
        entries = list(value.items())
    elif isinstance(value, list):
        entries = list(enumerate(value))
    for key, inner in entries:
        _note(lines, (*place, key), inner, line)
