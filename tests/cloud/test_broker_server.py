"""The broker as the product runs it: one command from the first check to the clean stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiomqtt
import pytest
from cryptography import x509
from structlog.testing import capture_logs

from cloud.broker.client import connect, make_context
from cloud.broker.names import cloud_name
from cloud.broker.programs import find_mosquitto, left_behind
from cloud.broker.server import MISSES, RENEW_BEFORE, BrokerServer, BrokerSettings, serve_broker
from cloud.devices.authority import LISTENER_LIFETIME, open_authority
from cloud.errors import CloudError, Reason
from cloud.settings import Address
from doorward.errors import ExitCode
from tests.support.clouds import LOOPBACK
from tests.support.commands import DEADLINE_S, PROGRAM, run_program
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloud.devices.authority import DeviceAuthority


_EVERYWHERE = Address("0.0.0.0", 0)  # noqa: S104 - to see that no certificate names it


class Wall:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture(name="authority")
def _authority(state: Path) -> DeviceAuthority:
    """Make the CA, as a cloud has done that was started once."""
    return open_authority(state / "ca", now=datetime.now(UTC))


@asynccontextmanager
async def serving(settings: BrokerSettings, wall: Wall | None = None) -> AsyncIterator[BrokerServer]:
    """Serve until the block ends, then see that nothing is left."""
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    work = asyncio.create_task(serve_broker(settings, ready=ready.set_result, now=wall or Wall(), stop=stop))
    await asyncio.wait((work, ready), return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE_S)
    try:
        if work.done():
            await work
        yield await ready
    finally:
        stop.set()
        await work
    assert left_behind(settings.state / "broker") is None


async def refusal(settings: BrokerSettings) -> CloudError:
    with pytest.raises(CloudError) as caught:
        async with serving(settings):
            pass
    return caught.value


async def is_answering(server: BrokerServer, authority: DeviceAuthority, state: Path) -> bool:
    """Tell whether a process of the cloud is let in."""
    context = make_context(authority, cloud_name(63), state / "ca", now=datetime.now(UTC))
    async with connect(server.address, context, cloud_name(63)) as client:
        await client.subscribe("dw/1/+/+/up/#", qos=1)
    return True


async def comes_back(server: BrokerServer, authority: DeviceAuthority, state: Path) -> None:
    """Wait until a process of the cloud is let in again: a server that is started has an id before it listens."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                assert await is_answering(server, authority, state)
            except (aiomqtt.MqttError, OSError):
                await asyncio.sleep(0.05)
            else:
                return


def serial(server: BrokerServer) -> int:
    """Read the serial number of the certificate that the broker shows, whether or not it is valid yet."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    address = (server.address.host, server.address.port)
    with (
        socket.create_connection(address, timeout=DEADLINE_S) as raw,
        context.wrap_socket(raw, server_hostname=server.address.host) as tls,
    ):
        der = tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


async def test_it_serves_as_an_unprivileged_user_and_stops_cleanly(state: Path, authority: DeviceAuthority):
    async with serving(BrokerSettings(state=state, listen=LOOPBACK)) as server:
        assert await is_answering(server, authority, state)
        assert server.pid == left_behind(state / "broker")
        assert os.stat(f"/proc/{server.pid}").st_uid != 0  # noqa: PTH116 - the file system here is the kernel
    assert server.pid == 0
    assert [file for file in (state / "ca").iterdir() if "_" in file.name] == []


async def test_a_killed_broker_is_started_again_on_the_same_port(state: Path, authority: DeviceAuthority):
    async with serving(BrokerSettings(state=state, listen=LOOPBACK)) as server:
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        await until(lambda: server.pid not in (0, killed))
        await comes_back(server, authority, state)


async def test_a_broker_that_cannot_be_started_again_is_tried_until_it_can(state: Path, authority: DeviceAuthority):
    async with serving(BrokerSettings(state=state, listen=LOOPBACK)) as server:
        with capture_logs() as logs:
            os.kill(server.pid, signal.SIGKILL)
            await until(lambda: server.pid == 0)
            with socket.create_server((server.address.host, server.address.port)):
                await until(lambda: any(each["event"] == "broker_not_started" for each in logs))
        (first, *_) = (each for each in logs if each["event"] == "broker_not_started")
        assert "Address already in use" in first["detail"]
        await until(lambda: server.pid != 0)
        await comes_back(server, authority, state)


@pytest.mark.slow
async def test_a_broker_that_hangs_is_started_again(state: Path, authority: DeviceAuthority):
    """It is asked three times."""
    async with serving(BrokerSettings(state=state, listen=LOOPBACK, watch_s=0.2)) as server:
        hung = server.pid
        os.kill(hung, signal.SIGSTOP)
        await until(lambda: server.pid not in (0, hung), deadline_s=20.0 * MISSES)
        await comes_back(server, authority, state)


async def test_a_certificate_is_renewed_in_time_and_sessions_go_on(state: Path, authority: DeviceAuthority):
    wall = Wall()
    mine = make_context(authority, cloud_name(0), state / "ca", now=wall())
    async with (
        serving(BrokerSettings(state=state, listen=LOOPBACK), wall) as server,
        connect(server.address, mine, cloud_name(0)) as session,
    ):
        before = serial(server)
        wall.ahead = LISTENER_LIFETIME - RENEW_BEFORE - timedelta(minutes=1)
        assert not server.renew_if_due()
        wall.ahead += timedelta(minutes=2)
        in_the_way = state / "broker" / f".broker.pem.{os.getpid()}"
        in_the_way.mkdir()
        assert not server.renew_if_due()
        in_the_way.rmdir()
        assert server.renew_if_due()
        assert not server.renew_if_due()
        await until(lambda: serial(server) != before)
        await session.subscribe("dw/1/+/+/up/#", qos=1)


async def test_without_mosquitto_it_says_what_to_install(tmp_path: Path):
    with pytest.raises(CloudError) as caught:
        find_mosquitto(str(tmp_path))
    assert caught.value.reason is Reason.BROKER_MISSING
    assert "apt-get install --yes --no-install-recommends mosquitto" in caught.value.detail


async def test_without_a_device_ca_it_says_to_start_the_cloud_first(state: Path):
    error = await refusal(BrokerSettings(state=state, listen=LOOPBACK))
    assert error.reason is Reason.STATE_UNUSABLE
    assert f"doorward cloud serve --state {state}" in error.detail
    assert not (state / "ca").exists()


@pytest.mark.usefixtures("authority")
async def test_a_busy_port_is_named_with_the_remedy(state: Path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = BrokerSettings(state=state, listen=Address("127.0.0.1", other.getsockname()[1]))
        error = await refusal(settings)
    assert error.reason is Reason.PORT_IN_USE
    assert "--listen" in error.detail


@pytest.mark.usefixtures("authority")
async def test_a_second_broker_of_one_state_folder_is_refused(state: Path):
    settings = BrokerSettings(state=state, listen=LOOPBACK)
    async with serving(settings):
        with pytest.raises(CloudError) as caught:
            await serve_broker(settings, ready=lambda _: None, now=Wall(), stop=asyncio.Event())
    assert caught.value.reason is Reason.STATE_IN_USE


@pytest.mark.usefixtures("authority")
@pytest.mark.parametrize(("program", "said"), [("/bin/false", "ended at once"), ("/nonexistent", "cannot be run")])
async def test_a_program_that_is_no_broker_is_told_in_words(state: Path, program: str, said: str):
    error = await refusal(BrokerSettings(state=state, listen=LOOPBACK, program=program))
    assert error.reason is Reason.BROKER_FAILED
    assert said in error.detail


async def test_a_broker_that_an_earlier_run_left_behind_is_ended(state: Path, authority: DeviceAuthority):
    async with serving(BrokerSettings(state=state, listen=LOOPBACK)) as server:
        port = server.address.port
    orphan = await asyncio.create_subprocess_exec(
        *(find_mosquitto(), "-c", state / "broker" / "mosquitto.conf"),
        cwd=state / "broker",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await until(lambda: left_behind(state / "broker") == orphan.pid)
        async with serving(BrokerSettings(state=state, listen=Address("127.0.0.1", port))) as again:
            assert await orphan.wait() is not None
            assert await is_answering(again, authority, state)
    finally:
        if orphan.returncode is None:
            orphan.kill()
            await orphan.wait()


@pytest.mark.usefixtures("authority")
async def test_its_certificate_has_the_names_that_doors_know_it_by(state: Path):
    settings = BrokerSettings(state=state, listen=_EVERYWHERE, names=("broker.example", "192.0.2.7"))
    async with serving(settings):
        pem = (state / "broker" / "broker.pem").read_bytes()
    names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert set(names.value.get_values_for_type(x509.DNSName)) == {"localhost", "broker.example"}
    assert set(map(str, names.value.get_values_for_type(x509.IPAddress))) == {"127.0.0.1", "::1", "192.0.2.7"}


@pytest.mark.e2e
@pytest.mark.slow
@pytest.mark.usefixtures("authority")
async def test_the_command_runs_restarts_and_stops_it(state: Path):
    arguments = ("cloud", "broker", "--state", state, "--listen", "127.0.0.1:0", "--name", "gate.example", "--json")
    process = await asyncio.create_subprocess_exec(
        PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_S):
        ready = json.loads(await process.stdout.readline())
        assert (ready["event"], ready["pid"], ready["state"]) == ("ready", process.pid, str(state))
        assert ready["url"].startswith("mqtts://127.0.0.1:")
        os.kill(ready["broker_pid"], signal.SIGKILL)
        while json.loads(await process.stderr.readline())["event"] != "broker_started_again":
            pass
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == ExitCode.OK
    assert left_behind(state / "broker") is None


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--listen", "nonsense"), ExitCode.UNUSABLE), ((), ExitCode.UNUSABLE)],
)
def test_the_command_says_in_its_exit_code_what_is_wrong(state: Path, arguments: tuple[str, ...], code: ExitCode):
    ran = run_program("cloud", "broker", "--state", state, *arguments, "--json")
    assert (ran.code, ran.out) == (code, "")
    assert ran.complaint["message"]
