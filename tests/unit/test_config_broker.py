"""What a configuration says of the broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edge.config import CloudConfig, ConfigError, load_config, render_config

if TYPE_CHECKING:
    from pathlib import Path

    from edge.config import EdgeConfig

GOOD = """\
[device]
id = "main-entrance-k3v9"
tenant = "oakfield"
site = "campus"
door = "main-entrance"

[cloud]
url = "https://cloud.example:8443"

[lock]
url = "simulated:///tmp/twin"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the configuration names."""
    for name in ("device.crt", "ca.crt", "device.key"):
        (tmp_path / name).write_text("pem")
    (tmp_path / "device.key").chmod(0o600)
    return tmp_path


def load(folder: Path, text: str) -> EdgeConfig:
    (folder / "edge.toml").write_text(text)
    return load_config(folder / "edge.toml")


def cloud(config: EdgeConfig) -> CloudConfig:
    assert config.cloud is not None
    return config.cloud


@pytest.mark.parametrize("url", ["mqtts://broker.example:8883", "mqtts://broker.example", "mqtts://[::1]:8883"])
def test_a_broker_is_read_written_and_loads_back_equal(folder: Path, url: str):
    config = load(folder, GOOD.replace("[cloud]", f'[cloud]\nbroker = "{url}"'))
    assert cloud(config).broker == url
    assert load(folder, render_config(config)) == config


def test_a_door_without_a_broker_names_none(folder: Path):
    config = load(folder, GOOD)
    assert cloud(config).broker is None
    assert "\nbroker" not in render_config(config)


@pytest.mark.parametrize(
    "value",
    [
        '"mqtt://broker.example:8883"',
        '"https://broker.example"',
        '"broker.example:8883"',
        '""',
        '"mqtts://"',
        '"mqtts://broker.example:0"',
        '"mqtts://broker.example:x"',
        '"mqtts://broker.example/topic"',
        '"mqtts://door:secret@broker.example"',
        "8883",
    ],
)
def test_a_broker_address_that_is_none_is_refused(folder: Path, value: str):
    with pytest.raises(ConfigError) as caught:
        load(folder, GOOD.replace("[cloud]", f"[cloud]\nbroker = {value}"))
    (problem,) = caught.value.problems
    assert problem.key == "cloud.broker"
    assert "leave the key out for HTTPS alone" in problem.expected
    assert problem.example == 'broker = "mqtts://cloud.example:8883"'
