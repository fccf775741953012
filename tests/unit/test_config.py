"""A door's configuration is read strictly, and every fault is told with its line, its key and a cure."""

from __future__ import annotations

import json
import os
import string
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import (
    AddressConfig,
    ClockConfig,
    CloudConfig,
    ConfigError,
    DeviceConfig,
    DiagnosticsConfig,
    EdgeConfig,
    KnownSchemes,
    LimitsConfig,
    Problem,
    ReaderConfig,
    SnapshotsConfig,
    load_config,
    render_config,
)
from wire.event import MAX_NAME_CHARACTERS
from wire.passes import slug

if TYPE_CHECKING:
    from collections.abc import Callable

KNOWN = KnownSchemes(
    readers=("serial", "camera", "simulated"),
    locks=("simulated", "relay"),
    inputs=("simulated",),
    displays=("display", "display+simulated"),
)

GOOD = """\
[device]
id = "main-entrance-k3v9"
tenant = "oakfield"
site = "campus"
door = "main-entrance"

[cloud]
url = "https://cloud.example:8443"

[[reader]]
id = "outside"
url = "serial:///dev/ttyDW0"

[[reader]]
id = "inside"
url = "camera:0"

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


@pytest.fixture
def load(folder: Path) -> Callable[[str], EdgeConfig]:
    """Load a text as edge.toml."""

    def loaded(text: str) -> EdgeConfig:
        (folder / "edge.toml").write_text(text)
        return load_config(folder / "edge.toml", KNOWN)

    return loaded


@pytest.fixture
def problems(load: Callable[[str], EdgeConfig]) -> Callable[[str], tuple[Problem, ...]]:
    """Give what is wrong with a text."""

    def found(text: str) -> tuple[Problem, ...]:
        with pytest.raises(ConfigError) as caught:
            load(text)
        return caught.value.problems

    return found


# --- what is right -----------------------------------------------------------------------------------------


def test_a_short_file_has_the_usual_values_for_the_rest(load: Callable[[str], EdgeConfig], folder: Path):
    assert load(GOOD) == EdgeConfig(
        state_folder=folder,
        device=DeviceConfig(id="main-entrance-k3v9", tenant="oakfield", site="campus", door="main-entrance"),
        lock=AddressConfig(url="simulated:///tmp/twin"),
        diagnostics=DiagnosticsConfig(socket=folder / "diag.sock"),
        readers=(ReaderConfig(id="outside", url="serial:///dev/ttyDW0"), ReaderConfig(id="inside", url="camera:0")),
        cloud=CloudConfig(
            url="https://cloud.example:8443",
            certificate=folder / "device.crt",
            key=folder / "device.key",
            ca=folder / "ca.crt",
        ),
    )


def test_a_door_may_have_no_cloud_no_inputs_and_no_reader(load: Callable[[str], EdgeConfig]):
    text = GOOD[: GOOD.index("[cloud]")] + GOOD[GOOD.index("[lock]") :]
    config = load(text)
    assert (config.cloud, config.inputs, config.readers) == (None, (), ())


def test_the_sockets_usual_place_is_the_state_folder(load: Callable[[str], EdgeConfig], folder: Path):
    config = load(GOOD + '[paths]\nstate = "state"\n')
    assert (config.state_folder, config.diagnostics.socket) == (folder / "state", folder / "state" / "diag.sock")


def test_a_twins_clock_is_read(load: Callable[[str], EdgeConfig], folder: Path):
    config = load(GOOD + '[clock]\nsource = "simulated"\noffset_file = "offset"\n')
    assert config.clock == ClockConfig(offset_file=folder / "offset")


def test_addresses_are_not_checked_when_nobody_says_which_exist(folder: Path):
    (folder / "edge.toml").write_text(GOOD.replace("serial:", "carrier-pigeon:"))
    assert load_config(folder / "edge.toml").readers[0].url == "carrier-pigeon:///dev/ttyDW0"


_slugs = st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=32)
_printable = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20)
_paths = _printable.map(lambda name: Path("/somewhere") / name.replace("/", "_"))
_urls = _printable.map(lambda rest: f"serial:{rest}")


@st.composite
def _configs(draw: st.DrawFn) -> EdgeConfig:
    simulated = draw(st.booleans())
    lock = draw(_printable.map(lambda rest: f"simulated:{rest}")) if simulated else draw(_urls)
    ids = draw(st.lists(_slugs, unique=True, max_size=8))
    return EdgeConfig(
        state_folder=draw(_paths),
        device=DeviceConfig(**{name: draw(_slugs) for name in ("id", "tenant", "site", "door", "access_point")}),
        lock=AddressConfig(url=lock),
        diagnostics=DiagnosticsConfig(socket=draw(_paths.filter(lambda path: len(os.fsencode(path)) <= 107))),
        readers=tuple(ReaderConfig(id=name, url=draw(_urls)) for name in ids),
        inputs=tuple(AddressConfig(url=url) for url in draw(st.lists(_urls, unique=True, max_size=7))),
        clock=ClockConfig(rtc=draw(st.booleans()), offset_file=draw(st.none() | _paths) if simulated else None),
        limits=LimitsConfig(journal_max_events=draw(st.integers(1_000, 10_000_000))),
        snapshots=SnapshotsConfig(keep_hours=draw(st.integers(1, 720)), most_mb=draw(st.integers(1, 10_000)))
        if draw(st.booleans())
        else SnapshotsConfig(),
    )


@given(config=_configs())
def test_what_is_written_loads_back_equal(config: EdgeConfig, tmp_path_factory: pytest.TempPathFactory):
    file = tmp_path_factory.getbasetemp() / "written.toml"
    file.write_text(render_config(config), encoding="utf-8")
    assert load_config(file) == config


def test_a_cloud_is_written_and_loads_back_equal(load: Callable[[str], EdgeConfig]):
    config = load(GOOD)
    assert load(render_config(config)) == config


# --- where it is wrong -------------------------------------------------------------------------------------


def test_every_fault_is_told_at_once_in_the_files_order(problems: Callable[[str], tuple[Problem, ...]]):
    text = GOOD.replace("oakfield", "Oak Field").replace("camera:0", "pigeon:0").replace("https", "http")
    assert [(problem.line, problem.key) for problem in problems(text)] == [
        (3, "device.tenant"),
        (8, "cloud.url"),
        (16, "reader.url"),
    ]


def test_the_error_shows_file_line_key_expectation_and_example(load: Callable[[str], EdgeConfig], folder: Path):
    with pytest.raises(ConfigError) as caught:
        load(GOOD.replace("oakfield", "Oak Field"))
    assert str(caught.value) == (
        f"{folder / 'edge.toml'} cannot be used:\n"
        '  line 3: device.tenant: expected 1 to 32 of a-z, 0-9 and -, got "Oak Field"; for example: tenant = "oakfield"'
    )


@pytest.mark.parametrize(
    ("change", "line", "key"),
    [
        (("[lock]", "surprise = 1\n[lock]"), 18, "reader.surprise"),
        (("[lock]", "[surprise]\nx = 1\n[lock]"), 18, "surprise"),
        (("[device]", "surprise = 1\n[device]"), 1, "surprise"),
        (('id = "inside"', 'id = "outside"'), 15, "reader.id"),
        (('door = "main-entrance"\n', ""), 1, "device.door"),
        (('[lock]\nurl = "simulated:///tmp/twin"', "[lock] # here\n# and\n\nurl = 1"), 21, "lock.url"),
        (('tenant = "oakfield"', "tenant = 7"), 3, "device.tenant"),
        (('tenant = "oakfield"', 'tenant = ""'), 3, "device.tenant"),
        (('tenant = "oakfield"', 'tenant = "a\\u0000b"'), 3, "device.tenant"),
        (('tenant = "oakfield"', f'tenant = "{"a" * 33}"'), 3, "device.tenant"),
        (('url = "simulated:///tmp/twin"', "url = '''\nsimulated:///tmp\n/twin'''"), 19, "lock.url"),
        (('url = "simulated:///tmp/twin"', 'url = "pigeon:///tmp/twin"'), 19, "lock.url"),
        (('url = "simulated:///tmp/twin"', 'url = "simulated"'), 19, "lock.url"),
        (("[lock]\nurl", "[lock]\nurl.x"), 19, "lock.url"),
        (('[lock]\nurl = "simulated:///tmp/twin"', ""), None, "lock.url"),
    ],
)
def test_a_fault_is_told_with_its_place(
    problems: Callable[[str], tuple[Problem, ...]], change: tuple[str, str], line: int | None, key: str
):
    found = problems(GOOD.replace(*change))
    assert [(problem.line, problem.key) for problem in found] == [(line, key)]


@pytest.mark.parametrize(
    ("addition", "line", "key"),
    [
        ('[clock]\nsource = "sundial"', 21, "clock.source"),
        ("[clock]\nrtc = 1", 21, "clock.rtc"),
        ('[clock]\noffset_file = "offset"', 21, "clock.offset_file"),
        ("[snapshots]\nkeep_hours = -1", 21, "snapshots.keep_hours"),
        ("[snapshots]\nkeep_hours = 721", 21, "snapshots.keep_hours"),
        ("[snapshots]\nmost_mb = 0", 21, "snapshots.most_mb"),
        ("[snapshots]\nmost_mb = 10_001", 21, "snapshots.most_mb"),
        ("[snapshots]\nhours = 1", 21, "snapshots.hours"),
        ("[limits]\njournal_max_events = 999", 21, "limits.journal_max_events"),
        ("[limits]\njournal_max_events = 10_000_001", 21, "limits.journal_max_events"),
        ("[limits]\njournal_max_events = true", 21, "limits.journal_max_events"),
        ("[limits]\njournal_max_events = 5000.0", 21, "limits.journal_max_events"),
        ('[paths]\nstate = ""', 21, "paths.state"),
        (f'[diagnostics]\nsocket = "/{"x" * 107}"', 21, "diagnostics.socket"),
        ('[inputs]\nurl = "serial:///dev/ttyDW0"', 21, "inputs.url"),
        ("inputs = 1", 20, "lock.inputs"),
        ("[inputs]\nurl = []", 21, "inputs.url"),
        ('[inputs]\nurl = ["simulated:a", 1]', 21, "inputs.url"),
        ('[inputs]\nurl = [\n  "simulated:a",\n  "pigeon:b",\n]', 21, "inputs.url"),
        ('[inputs]\nurl = ["simulated:a", "simulated:a\\u0000"]', 21, "inputs.url"),
        ('[inputs]\nurl = ["simulated:a"]\nurls = []', 22, "inputs.urls"),
    ],
)
def test_a_fault_in_a_further_section_is_told_with_its_place(
    problems: Callable[[str], tuple[Problem, ...]], addition: str, line: int, key: str
):
    assert [(problem.line, problem.key) for problem in problems(GOOD + addition + "\n")] == [(line, key)]


@pytest.mark.parametrize("value", ["1_000", "10_000_000"])
def test_the_limits_themselves_are_allowed(load: Callable[[str], EdgeConfig], value: str):
    assert load(f"{GOOD}[limits]\njournal_max_events = {value}\n").limits.journal_max_events == int(value)


def test_a_socket_of_the_longest_path_is_allowed(load: Callable[[str], EdgeConfig]):
    path = "/" + "x" * 106
    assert load(f'{GOOD}[diagnostics]\nsocket = "{path}"\n').diagnostics.socket == Path(path)


@pytest.mark.parametrize(("hours", "most_mb"), [(0, 1), (720, 10_000)])
def test_the_limits_of_snapshots_are_allowed(load: Callable[[str], EdgeConfig], hours: int, most_mb: int):
    config = load(f"{GOOD}[snapshots]\nkeep_hours = {hours}\nmost_mb = {most_mb}\n")
    assert config.snapshots == SnapshotsConfig(keep_hours=hours, most_mb=most_mb)


def test_no_pictures_are_kept_unless_the_configuration_says_so(load: Callable[[str], EdgeConfig]):
    assert load(GOOD).snapshots.keep_hours == 0


@pytest.mark.parametrize("section", ["device", "lock", "cloud", "clock", "limits", "diagnostics", "paths", "reader"])
def test_a_section_that_is_a_value_is_refused(problems: Callable[[str], tuple[Problem, ...]], section: str):
    found = problems(f"{section} = 1\n")
    assert (1, section) in {(problem.line, problem.key) for problem in found}


def test_a_reader_that_is_no_section_is_refused(problems: Callable[[str], tuple[Problem, ...]]):
    assert any(problem.key == "reader" for problem in problems("reader = [1]\n"))


@pytest.mark.parametrize(("count", "accepted"), [(8, True), (9, False)])
def test_the_number_of_readers_is_bounded(
    load: Callable[[str], EdgeConfig], problems: Callable[[str], tuple[Problem, ...]], count: int, *, accepted: bool
):
    readers = "".join(f'[[reader]]\nid = "r{n}"\nurl = "camera:{n}"\n' for n in range(count))
    text = GOOD[: GOOD.index("[[reader]]")] + readers + GOOD[GOOD.index("[lock]") :]
    if accepted:
        assert len(load(text).readers) == count
    else:
        assert [problem.key for problem in problems(text)] == ["reader"]


# --- several addresses of inputs ---------------------------------------------------------------------------


def _inputs(*urls: str) -> str:
    return f"{GOOD}[inputs]\nurl = [{', '.join(json.dumps(url) for url in urls)}]\n"


def test_inputs_stand_at_one_address_or_at_several(load: Callable[[str], EdgeConfig]):
    one = load(GOOD + '[inputs]\nurl = "simulated:a"\n')
    assert one.inputs == load(_inputs("simulated:a")).inputs == (AddressConfig(url="simulated:a"),)
    several = load(_inputs("simulated:a", "simulated:b"))
    assert [each.url for each in several.inputs] == ["simulated:a", "simulated:b"]


def test_one_address_is_written_as_before_and_several_one_a_line(load: Callable[[str], EdgeConfig]):
    assert '\nurl = "simulated:a"\n' in render_config(load(_inputs("simulated:a")))
    written = render_config(load(_inputs("simulated:a", "simulated:b")))
    assert '\nurl = [\n  "simulated:a",\n  "simulated:b",\n]\n' in written


def test_the_journal_calls_inputs_by_scheme_and_place(load: Callable[[str], EdgeConfig], folder: Path):
    assert load(GOOD).inputs_by_id == {}
    assert load(GOOD + '[inputs]\nurl = "simulated:a"\n').inputs_by_id == {"simulated-1": "simulated:a"}
    (folder / "edge.toml").write_text(_inputs("Modbus+TCP://h", "gpio+files:b", "+:c", f"{'x' * 40}:d"))
    names = list(load_config(folder / "edge.toml").inputs_by_id)
    assert names == ["modbus-tcp-1", "gpio-files-2", "inputs-3", f"{'x' * 24}-4"]
    assert all(slug(name, "name", MAX_NAME_CHARACTERS) == name for name in names)


def test_an_address_of_inputs_stands_there_once(problems: Callable[[str], tuple[Problem, ...]]):
    (problem,) = problems(_inputs("simulated:a", "simulated:b", "simulated:a"))
    assert (problem.line, problem.key, problem.got) == (21, "inputs.url", '"simulated:a"')
    assert problem.expected == "one that no other place of the list has"


@pytest.mark.parametrize(("count", "accepted"), [(7, True), (8, False)])
def test_there_are_no_more_addresses_of_inputs_than_wires(
    load: Callable[[str], EdgeConfig], problems: Callable[[str], tuple[Problem, ...]], count: int, *, accepted: bool
):
    text = _inputs(*(f"simulated:{n}" for n in range(count)))
    if accepted:
        assert len(load(text).inputs) == count
    else:
        (problem,) = problems(text)
        assert (problem.key, problem.expected, problem.got) == ("inputs.url", "1 to 7 of them", "8")


# --- twins -------------------------------------------------------------------------------------------------


def test_a_twins_clock_needs_a_twins_lock(problems: Callable[[str], tuple[Problem, ...]]):
    text = GOOD.replace("simulated:///tmp/twin", "relay:1") + '[clock]\nsource = "simulated"\n'
    (problem,) = problems(text)
    assert (problem.line, problem.key) == (21, "clock.source")
    assert "simulated lock only" in problem.expected


def test_a_twins_reader_needs_a_twins_lock(
    load: Callable[[str], EdgeConfig], problems: Callable[[str], tuple[Problem, ...]]
):
    text = GOOD.replace("camera:0", "Simulated:///tmp/twin")
    assert load(text).readers[1].url == "Simulated:///tmp/twin"
    (problem,) = problems(text.replace('url = "simulated:///tmp/twin"', 'url = "relay:1"'))
    assert (problem.line, problem.key) == (16, "reader.url")
    assert "simulated lock only" in problem.expected


@pytest.mark.parametrize(
    "url",
    [
        "http://cloud.example",
        "cloud.example:8443",
        "https://",
        "https://h/x",
        "https://u:p@h",
        "https://h?x",
        "https://h:0",
        "https://h:x",
        "https://[",
    ],
)
def test_a_cloud_address_that_is_none_is_refused(problems: Callable[[str], tuple[Problem, ...]], url: str):
    (problem,) = problems(GOOD.replace("https://cloud.example:8443", url))
    assert problem.key == "cloud.url"
    assert problem.example == 'url = "https://cloud.example:8443"'


# --- secrets and files -------------------------------------------------------------------------------------


def test_the_value_of_an_unknown_key_is_not_shown(load: Callable[[str], EdgeConfig]):
    with pytest.raises(ConfigError) as caught:
        load(GOOD.replace("[cloud]", '[cloud]\npassword = "hunter2"'))
    assert "cloud.password" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o777])
def test_a_key_that_others_may_read_is_refused_with_the_command_that_helps(
    problems: Callable[[str], tuple[Problem, ...]], folder: Path, mode: int
):
    (folder / "device.key").chmod(mode)
    (problem,) = problems(GOOD)
    assert problem.key == "cloud.key"
    assert f"chmod 600 {folder / 'device.key'}" in problem.expected
    assert problem.got == f"mode {mode:04o}"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_key_that_only_its_owner_may_read_is_accepted(load: Callable[[str], EdgeConfig], folder: Path, mode: int):
    (folder / "device.key").chmod(mode)
    assert load(GOOD).cloud is not None


@pytest.mark.parametrize("name", ["device.key", "device.crt", "ca.crt"])
def test_a_file_that_is_missing_is_told(problems: Callable[[str], tuple[Problem, ...]], folder: Path, name: str):
    (folder / name).unlink()
    (problem,) = problems(GOOD)
    assert problem.line == 7
    assert f"{folder / name}: No such file or directory" in problem.got


def test_a_folder_in_place_of_a_file_is_told(problems: Callable[[str], tuple[Problem, ...]], folder: Path):
    (folder / "ca.crt").unlink()
    (folder / "ca.crt").mkdir()
    (problem,) = problems(GOOD)
    assert "Is a directory" in problem.got


# --- not even TOML -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[device\n", 1),
        ("[device]\nid = \n", 2),
        ('[device]\nid = "a"\nid = "b"\n', 3),
        ("[device]\n[device]\n", 2),
        ("[device]\nid = '''\n", 3),
        ("x = " + "[" * 5_000, None),
    ],
)
def test_a_text_that_is_no_toml_is_told_with_its_line(
    problems: Callable[[str], tuple[Problem, ...]], text: str, line: int | None
):
    (problem,) = problems(text)
    assert (problem.line, problem.key) == (line, "text")


def test_a_text_that_is_no_utf8_is_told_with_its_line(folder: Path):
    (folder / "edge.toml").write_bytes(b"[device]\nid = '\xff'\n")
    with pytest.raises(ConfigError) as caught:
        load_config(folder / "edge.toml")
    assert caught.value.problems[0].line == 2


def test_a_file_that_is_too_large_is_not_read(folder: Path):
    with pytest.raises(ConfigError) as caught:
        load_config(Path("/dev/zero"))
    assert "at most" in str(caught.value)
    (folder / "edge.toml").write_text(GOOD + "#" * (65_536 - len(GOOD)))
    load_config(folder / "edge.toml", KNOWN)


def test_a_file_that_is_missing_is_no_configuration(tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "edge.toml")
    assert "No such file" in str(caught.value)
