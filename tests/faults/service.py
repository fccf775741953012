"""The cloud as a process: `doorward cloud serve`, on the same ports at every start."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cloud.broker.programs import left_behind
from cloud.cluster import PrivateCluster, postmaster
from cloud.cluster.layout import Layout
from doorward.api import CloudApi
from tests.support.ports import kept_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AsyncExitStack

HOST: Final = "127.0.0.1"
START_S: Final = 120.0
END_S: Final = 60.0
_DOORWARD: Final = Path(sys.executable).with_name("doorward")
_ROOT: Final = Path(__file__).parents[2]
_TAIL: Final = 3_000


@dataclass
class Service:
    """A cloud on a state folder.

    Attributes:
        log: what it writes on standard error.
        api_port, device_port, broker_port: kept for it, also while it does not run.
        odd: arguments of `tests.faults.odd_cloud`, which then runs in its place; empty for the real command.
    """

    state: Path
    log: Path
    api_port: int
    device_port: int
    broker_port: int
    odd: tuple[str, ...] = ()
    process: asyncio.subprocess.Process | None = None
    broker: asyncio.subprocess.Process | None = None

    @classmethod
    def on_kept_ports(cls, stack: AsyncExitStack, state: Path, log: Path, *, odd: tuple[str, ...] = ()) -> Service:
        """Make one whose ports nobody else is given until the stack is closed."""
        api, device, broker = (stack.enter_context(kept_port()) for _ in range(3))
        return cls(state, log, api, device, broker, odd)

    @property
    def device_url(self) -> str:
        """Where doors connect."""
        return f"https://{HOST}:{self.device_port}"

    @property
    def data(self) -> Path:
        """PostgreSQL's data folder."""
        return Layout(self.state).data

    def api(self) -> CloudApi:
        """Connect as the first operator."""
        token = (self.state / "operator.token").read_text().strip()
        return CloudApi(f"http://{HOST}:{self.api_port}", token)

    def database_url(self) -> str:
        """Give the address of its database, over the socket of the running server."""
        lines = postmaster.pid_file_lines(self.data)
        cluster = PrivateCluster(self.state)
        usual = cluster.url()
        # The socket may lie elsewhere when the state folder's path is too long for one (cloud.cluster.sockets).
        return f"{usual.partition('?')[0]}?host={lines[4].strip()}&port=5432" if len(lines) > 4 else usual

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.process = await self._ready(self._command(), self.log)

    async def start_broker(self) -> None:
        """Start its broker and wait until that answers; the cloud must have started once."""
        listen = ("--listen", f"{HOST}:{self.broker_port}", "--json")
        command = (str(_DOORWARD), "cloud", "broker", "--state", str(self.state), *listen)
        self.broker = await self._ready(command, self.broker_log)

    async def stop_broker(self) -> None:
        """End its broker, if it runs."""
        if self.broker is not None and self.broker.returncode is None:
            self.broker.send_signal(signal.SIGTERM)
            async with asyncio.timeout(END_S):
                await self.broker.wait()

    async def kill_broker(self, server: int) -> None:
        """End mosquitto and whoever watches it, as a crash of both does."""
        assert self.broker is not None
        self.broker.kill()
        os.kill(server, signal.SIGKILL)
        async with asyncio.timeout(END_S):
            await self.broker.wait()

    @property
    def broker_log(self) -> Path:
        """What the broker writes on standard error."""
        return self.log.with_name("broker.log")

    def mosquitto_pid(self) -> int | None:
        """Give the process id of its mosquitto, None while none runs."""
        return left_behind(self.state / "broker")

    async def _ready(self, command: Sequence[str], log: Path) -> asyncio.subprocess.Process:
        with log.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=file, cwd=_ROOT, start_new_session=True
            )
        assert process.stdout is not None
        async with asyncio.timeout(START_S):
            while line := await process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                if said["event"] == "ready":
                    return process
        message = f"{' '.join(command[1:3])} does not start: {_end_of(log)}"
        raise AssertionError(message)

    def words(self) -> str:
        """Give the end of its log."""
        return _end_of(self.log)

    async def stop(self) -> None:
        """End it cleanly, if it runs; its broker goes on."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """End it as a crash does; its PostgreSQL and its broker go on."""
        await self._end(signal.SIGKILL)

    def suspend(self) -> None:
        """Let it hang."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """End `suspend`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def kill_database(self) -> None:
        """End every process of its PostgreSQL, as a power cut does."""
        while pids := self.database_pids():
            for pid in pids:
                postmaster.signal_server(pid, self.data, signal.SIGKILL)
            await asyncio.sleep(0.02)

    def database_pids(self) -> list[int]:
        """Give the processes that work in the data folder, the postmaster among them."""
        numbers = (int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit())
        return [pid for pid in numbers if postmaster.serves(pid, self.data)]

    def postmaster_pid(self) -> int | None:
        """Give the postmaster's process id, None while none runs."""
        return postmaster.running_pid(self.data)

    async def _end(self, number: signal.Signals) -> None:
        if self.process is None or self.process.returncode is not None:
            return
        self.process.send_signal(number)
        async with asyncio.timeout(END_S):
            await self.process.wait()

    def _command(self) -> Sequence[str]:
        listen: tuple[str, ...] = (
            "--api",
            f"{HOST}:{self.api_port}",
            "--devices",
            f"{HOST}:{self.device_port}",
            "--json",
        )
        listen = (*listen, "--broker", f"mqtts://{HOST}:{self.broker_port}")
        if self.odd:
            return (
                sys.executable,
                "-m",
                "tests.faults.odd_cloud",
                *self.odd,
                "--",
                "--state",
                str(self.state),
                *listen,
            )
        return (str(_DOORWARD), "cloud", "serve", "--state", str(self.state), *listen)


def _end_of(log: Path) -> str:
    return log.read_text(errors="replace")[-_TAIL:]
