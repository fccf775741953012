"""What a configuration says of a door's displays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.config import ConfigError, DisplayConfig, EdgeConfig, KnownSchemes, Problem, load_config, render_config

if TYPE_CHECKING:
    from pathlib import Path

KNOWN = KnownSchemes(
    readers=("serial", "camera"),
    locks=("simulated", "relay"),
    inputs=(),
    displays=("display", "display+simulated"),
)
GOOD = """\
[device]
id = "main-entrance-k3v9"
tenant = "oakfield"
site = "campus"
door = "main-entrance"

[[reader]]
id = "outside"
url = "serial:///dev/ttyDW0"

[[reader]]
id = "inside"
url = "camera:0"

[lock]
url = "simulated:///tmp/twin"

"""
DISPLAY = '[[display]]\nid = "above"\nurl = "display:///dev/ttyUSB1"\n'


def load(folder: Path, text: str) -> EdgeConfig:
    (folder / "edge.toml").write_text(text)
    return load_config(folder / "edge.toml", KNOWN)


def problems(folder: Path, text: str) -> tuple[Problem, ...]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return caught.value.problems


def test_a_display_shows_the_feedback_of_some_readers_or_of_all(tmp_path: Path):
    every = load(tmp_path, GOOD + DISPLAY)
    assert every.displays == (DisplayConfig(id="above", url="display:///dev/ttyUSB1"),)
    some = load(tmp_path, GOOD + DISPLAY + 'readers = ["inside", "outside"]\n')
    assert some.displays[0].readers == ("inside", "outside")
    assert load(tmp_path, GOOD + DISPLAY + 'readers = "inside"\n').displays[0].readers == ("inside",)
    assert load(tmp_path, GOOD).displays == ()


def test_displays_are_written_as_they_are_read(tmp_path: Path):
    config = load(tmp_path, GOOD + DISPLAY + 'readers = ["inside"]\n')
    assert load(tmp_path, render_config(config)).displays == config.displays
    assert "readers = " not in render_config(load(tmp_path, GOOD + DISPLAY))


@pytest.mark.parametrize(
    ("text", "key", "got"),
    [
        (DISPLAY.replace("above", "inside"), "display.id", '"inside"'),
        (DISPLAY + DISPLAY, "display.id", '"above"'),
        (DISPLAY.replace("above", "Above"), "display.id", '"Above"'),
        (DISPLAY.replace("display://", "serial://"), "display.url", '"serial:///dev/ttyUSB1"'),
        (DISPLAY + 'readers = ["nobody"]\n', "display.readers", '"nobody"'),
        (DISPLAY + "readers = []\n", "display.readers", "0"),
        (DISPLAY + 'text = "hello"\n', "display.text", "a key that nobody reads"),
        ("".join(DISPLAY.replace("above", f"d{number}") for number in range(9)), "display", "9 of them"),
        ("display = 1\n", "display", "1"),
    ],
)
def test_a_display_that_is_wrong_is_refused(tmp_path: Path, text: str, key: str, got: str):
    (problem,) = problems(tmp_path, text + GOOD if text.startswith("display =") else GOOD + text)
    assert (problem.key, problem.got) == (key, got)


def test_a_door_may_have_eight_displays(tmp_path: Path):
    assert (
        len(load(tmp_path, GOOD + "".join(DISPLAY.replace("above", f"d{number}") for number in range(8))).displays) == 8
    )


def test_a_simulated_display_goes_with_a_simulated_lock_only(tmp_path: Path):
    real = GOOD.replace("simulated:///tmp/twin", "relay:17")
    real += DISPLAY.replace("display:///", "display+simulated:///")
    (problem,) = problems(tmp_path, real)
    assert problem.key == "display.url"
    assert "a real display's address" in problem.expected
