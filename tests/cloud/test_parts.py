"""The small parts: settings, files, limits, addresses, sockets, users."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import resource
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cloud.cluster.layout import MAX_LOG_BYTES, Layout, failure
from cloud.cluster.owner import Owner, choose_owner
from cloud.cluster.postmaster import forget_stale, running_pid, serves, signal_server
from cloud.cluster.sockets import close_socket_folder, open_socket_folder
from cloud.errors import CloudError, Reason
from cloud.files import make_folder, read_secret, write_file
from cloud.limits import ATTEMPTS, WINDOW_S, AttemptLimiter
from cloud.settings import Address, BrokerChoice, parse_address, parse_broker, read_settings
from cloud.tasks import first_of

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        ("[::1]:0", "::1", 0),
        ("doors.example.org:65535", "doors.example.org", 65535),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int):
    assert parse_address(text, setting="--api") == Address(host, port)


@pytest.mark.parametrize("text", ["", "8080", ":8080", "host:", "host:x", "host:-1", "host:65536", "host:²"])
def test_a_malformed_address_names_its_setting(text: str):
    with pytest.raises(CloudError) as caught:
        parse_address(text, setting="--devices")
    assert caught.value.reason is Reason.SETTING_INVALID
    assert caught.value.detail.startswith("--devices: expected HOST:PORT")


def test_an_address_is_written_as_a_url():
    assert Address("127.0.0.1", 1).url("http") == "http://127.0.0.1:1"
    assert Address("::1", 1).url("https") == "https://[::1]:1"


def test_settings_come_from_the_command_line_and_the_environment():
    environment = {"DATABASE_URL": "postgresql://a@b/c", "DOORWARD_CLOUD_NAMES": " one , 192.0.2.1,,"}
    settings = read_settings(state=Path("here"), api="[::1]:1", devices="0.0.0.0:2", environment=environment)
    assert settings.state.is_absolute()
    assert settings.database_url == "postgresql://a@b/c"
    assert settings.names == ("one", "192.0.2.1")
    plain = read_settings(state=Path("/x"), api="a:1", devices="b:2", environment={"DATABASE_URL": ""})
    assert (plain.database_url, plain.names) == (None, ())


def test_a_database_of_another_kind_is_refused():
    with pytest.raises(CloudError) as caught:
        read_settings(state=Path("/x"), api="a:1", devices="b:2", environment={"DATABASE_URL": "mysql://x"})
    assert caught.value.detail.startswith("DATABASE_URL: expected postgresql://")


def test_a_written_secret_is_private_and_replaces_the_old_one_whole(tmp_path: Path):
    path = tmp_path / "secret"
    write_file(path, b"old and longer")
    write_file(path, b"new")
    assert read_secret(path) == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_secret_is_none_and_an_unreadable_one_a_sentence(tmp_path: Path):
    assert read_secret(tmp_path / "absent") is None
    with pytest.raises(CloudError) as caught:
        read_secret(tmp_path / ("x" * 300))
    assert caught.value.reason is Reason.STATE_UNUSABLE


def test_what_cannot_be_written_is_a_sentence(tmp_path: Path):
    with pytest.raises(CloudError) as caught:
        write_file(tmp_path / "absent" / "file", b"")
    assert caught.value.reason is Reason.STATE_UNUSABLE
    (tmp_path / "file").touch()
    with pytest.raises(CloudError):
        make_folder(tmp_path / "file" / "folder")


@contextmanager
def _no_room_for(size_bytes: int) -> Iterator[None]:
    """Let this process write no file beyond a size, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def test_a_write_that_fails_half_way_keeps_the_old_content(tmp_path: Path):
    path = tmp_path / "secret"
    write_file(path, b"old")
    with _no_room_for(10), pytest.raises(CloudError):
        write_file(path, bytes(100))
    assert read_secret(path) == b"old"


def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CloudError) as caught:
        write_file(tmp_path / "secret", b"new")
    assert caught.value.reason is Reason.NO_SPACE
    assert caught.value.detail.endswith("No space left on device. Free some space on that disk.")


def test_five_failures_in_a_minute_are_allowed_and_then_the_address_waits():
    limiter = AttemptLimiter()
    for second in range(ATTEMPTS):
        limiter.check("192.0.2.1", now_s=second)
        limiter.failed("192.0.2.1", now_s=second)
    with pytest.raises(CloudError) as caught:
        limiter.check("192.0.2.1", now_s=WINDOW_S - 0.1)
    assert caught.value.reason is Reason.TOO_MANY_ATTEMPTS
    assert caught.value.retry_after_s == 1
    limiter.check("192.0.2.2", now_s=WINDOW_S - 0.1)
    limiter.check("192.0.2.1", now_s=WINDOW_S)


def test_an_address_that_has_been_quiet_is_forgotten():
    limiter = AttemptLimiter(attempts=1)
    limiter.failed("192.0.2.1", now_s=0)
    limiter.check("192.0.2.1", now_s=WINDOW_S)
    limiter.failed("192.0.2.1", now_s=WINDOW_S)
    with pytest.raises(CloudError):
        limiter.check("192.0.2.1", now_s=WINDOW_S)


def test_only_so_many_addresses_are_remembered():
    limiter = AttemptLimiter(attempts=1)
    for number in range(10_001):
        limiter.failed(str(number), now_s=0)
    limiter.check("0", now_s=0)
    with pytest.raises(CloudError):
        limiter.check("1", now_s=0)


def test_every_reason_has_an_http_status_of_an_error():
    assert all(400 <= reason.status < 600 for reason in Reason)
    assert all(reason.value[0] == reason.name for reason in Reason)


def test_the_log_is_cut_when_it_grows_too_long_and_its_last_part_is_kept_once(tmp_path: Path):
    layout = Layout(tmp_path)
    layout.trim_log()
    layout.log.write_bytes(b"x" * MAX_LOG_BYTES)
    layout.trim_log()
    assert layout.log_size() == MAX_LOG_BYTES
    with layout.log.open("ab") as log:
        log.write(b"last words\n")
    layout.trim_log()
    assert layout.log_size() == 0
    assert (tmp_path / "pg.log.1").read_bytes().endswith(b"last words\n")


def test_a_full_disk_is_recognised_in_the_server_s_words(tmp_path: Path):
    layout = Layout(tmp_path)
    more = "LOG:  and what follows\n" * 20
    layout.log.write_text(f"old\nFATAL:  could not write: No space left on device\n{more}")
    assert failure(layout, since=4).reason is Reason.NO_SPACE
    layout.log.write_text("No space left on device\nFATAL:  other\n")
    assert failure(layout, since=24).reason is Reason.POSTGRES_FAILED


def test_a_failure_is_told_by_the_lines_that_matter(tmp_path: Path):
    layout = Layout(tmp_path)
    layout.log.write_text("LOG:  starting\nFATAL:  the one thing to know\nHINT:  x\nLOG:  a\nLOG:  b\nLOG:  c\n")
    assert "the one thing to know" in failure(layout, since=0).detail
    layout.log.write_text("killed\n")
    assert "killed" in failure(layout, since=0).detail


def test_an_ordinary_user_runs_the_server_himself():
    entry = next(user for user in pwd.getpwall() if user.pw_uid != 0)
    me = choose_owner(entry.pw_uid)
    assert (me.uid, me.gid, me.switch) == (entry.pw_uid, entry.pw_gid, False)


def test_root_lets_somebody_else_run_the_server():
    stand_in = choose_owner(0)
    assert stand_in.switch
    assert stand_in.uid != 0


def test_a_user_without_a_name_is_told_what_to_do():
    nameless = max(user.pw_uid for user in pwd.getpwall()) - 1
    with pytest.raises(CloudError) as caught:
        choose_owner(nameless)
    assert caught.value.reason is Reason.STATE_UNUSABLE
    assert "adduser --system" in caught.value.detail


def test_programs_that_the_server_s_user_cannot_reach_are_passed_over(tmp_path: Path):
    closed = tmp_path / "closed" / "bin"
    closed.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o600)
    uid = closed.stat().st_uid
    assert not Owner("else", uid + 1, 0, (), switch=True).may_reach(closed)
    assert Owner("else", uid + 1, 0, (), switch=False).may_reach(closed)
    assert Owner("else", uid + 1, 0, (), switch=True).may_reach(Path("/usr/bin"))


def test_a_folder_of_another_user_is_not_taken_over(tmp_path: Path):
    folder = tmp_path / "pg"
    folder.mkdir()
    stranger = Owner("stranger", folder.stat().st_uid + 1, 0, (), switch=False)
    with pytest.raises(CloudError) as caught:
        stranger.make_folder(folder)
    assert caught.value.reason is Reason.CLUSTER_FOREIGN


@pytest.mark.parametrize(
    ("mode", "mine", "group", "others"),
    [(0o700, True, False, False), (0o710, True, True, False), (0o711, True, True, True), (0o077, False, True, True)],
)
def test_permission_bits_decide_who_may_enter(tmp_path: Path, mode: int, *, mine: bool, group: bool, others: bool):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(mode)
    uid, gid = folder.stat().st_uid, folder.stat().st_gid
    assert Owner("me", uid, gid, (), switch=False).may_enter(folder) is mine
    assert Owner("mate", uid + 1, gid + 1, (gid,), switch=False).may_enter(folder) is group
    assert Owner("else", uid + 1, gid + 1, (), switch=False).may_enter(folder) is others


def test_a_socket_folder_of_somebody_else_is_never_removed(tmp_path: Path):
    run, stranger = tmp_path / "run", tmp_path / "doorward-stranger"
    run.mkdir()
    stranger.mkdir()
    (run / "socket-folder").write_text(str(stranger))
    nobody = Owner("nobody", stranger.stat().st_uid + 1, 0, (), switch=False)
    close_socket_folder(run, nobody)
    assert stranger.exists()
    (run / "socket-folder").write_text("/usr")
    close_socket_folder(run, choose_owner())
    assert not (run / "socket-folder").exists()


def test_the_socket_s_path_decides_at_its_last_byte(tmp_path: Path):
    me = Owner("me", os.geteuid(), os.getegid(), (), switch=False)
    fits = tmp_path / ("x" * (107 - len("/.s.PGSQL.5432") - len(str(tmp_path)) - 1))
    assert open_socket_folder(fits, me) == fits
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    short = open_socket_folder(fits.with_name(fits.name + "x"), me, runtime=(Path("/nonexistent"), runtime))
    assert short.parent == runtime
    close_socket_folder(fits.with_name(fits.name + "x"), me)
    assert not short.exists()


def test_no_stranger_is_taken_for_the_server(tmp_path: Path):
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    assert not serves(os.getpid(), tmp_path)
    assert running_pid(tmp_path) is None
    signal_server(os.getpid(), tmp_path, signal.SIGKILL)
    assert forget_stale(tmp_path)
    assert not forget_stale(tmp_path)


@pytest.mark.parametrize("content", ["", "not a number\n", "-1\n"])
def test_a_damaged_pid_file_names_nobody(tmp_path: Path, content: str):
    (tmp_path / "postmaster.pid").write_text(content)
    assert running_pid(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mqtts://broker.example", Address("broker.example", 8883)),
        ("mqtts://10.0.0.1:1234/", Address("10.0.0.1", 1234)),
        ("mqtts://[::1]:65535", Address("::1", 65535)),
    ],
)
def test_a_broker_is_read_from_its_url(text: str, address: Address):
    assert parse_broker(text, setting="--broker") == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "broker:8883",
        "mqtt://broker:8883",
        "mqtts://",
        "mqtts://broker:0",
        "mqtts://broker:65536",
        "mqtts://user@broker",
        "mqtts://broker/topic",
        "mqtts://broker?x",
        "mqtts://::1",
    ],
)
def test_a_broker_of_another_form_is_refused_with_an_example(text: str):
    with pytest.raises(CloudError) as caught:
        parse_broker(text, setting="--broker")
    assert caught.value.reason is Reason.SETTING_INVALID
    assert caught.value.detail.startswith("--broker: expected mqtts://HOST:PORT")


def broker_settings(*choice: str | None, **environment: str) -> tuple[Address | None, str | None]:
    found = read_settings(
        state=Path("/x"), api="a:1", devices="b:2", environment=environment, broker=BrokerChoice(*choice)
    )
    return found.broker, found.broker_for_doors


def test_doors_are_told_the_cloud_s_broker_or_another_name_of_it():
    near, far = "mqtts://10.0.0.1:1", "mqtts://far:2"
    place = Address("10.0.0.1", 1)
    assert broker_settings() == (None, None)
    assert broker_settings(near) == (place, near)
    assert broker_settings(near, far) == (place, far)
    assert broker_settings(DOORWARD_CLOUD_BROKER=near, DOORWARD_CLOUD_BROKER_FOR_DOORS="mqtts://far") == (
        place,
        "mqtts://far:8883",
    )
    assert broker_settings(near, DOORWARD_CLOUD_BROKER=far) == (place, near)
    with pytest.raises(CloudError):
        broker_settings(None, far)


async def test_the_first_to_end_ends_the_others():
    ended: list[str] = []

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    async def failing() -> None:
        await asyncio.sleep(0)
        raise CloudError(Reason.INTERNAL, "It failed.")

    await first_of(asyncio.sleep(0), endless())
    assert ended == ["endless"]
    with pytest.raises(CloudError):
        await first_of(failing(), endless())
    assert ended == ["endless", "endless"]
