"""The stage of the demonstration: a cloud, its broker, a door, two holders, and what was seen of them.

Invariant: whatever the stage started, it stops, in the opposite order; its folder is removed.
Must not: fill in a result that was not read from the relay's history, the door's journal or the cloud's API.
"""

import json
import os
import shutil
import signal
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from cloud.broker.programs import left_behind
from cloud.cluster.postmaster import running_pid, signal_server
from doorward.api import CloudApi, connect
from doorward.demo.link import Link
from doorward.demo.processes import Program, undisturbed
from doorward.demo.twin import Twin
from doorward.demo.waiting import NotSeenError, must, wait_for
from doorward.diag import Diagnostics
from doorward.errors import CliError, ExitCode
from doorward.output import Json
from doorward.wallet import Wallet, create_wallet, encode_holder_key, open_wallet

TENANT: Final = "north-campus"
FOREIGN_TENANT: Final = "south-college"
SITE: Final = "main-campus"
DOOR: Final = "main-entrance"
LEVEL: Final = 1
RELEASE_MS: Final = 1_500
READER: Final = "camera"
FRAMES_PER_SECOND: Final = 30
OUT_OF_VIEW_S: Final = 2.2
"""A camera takes a code that stays in view once; after two seconds out of view it counts again."""

START_S: Final = 60.0
SEEN_S: Final = 10.0
SYNC_S: Final = 30.0
"""After an outage the door tries again with a growing pause; the first tries come within seconds."""
REMOVE_S: Final = 10.0
_EVENTS_PER_PAGE: Final = 500


@dataclass(slots=True)
class Seen:
    """What was really seen.

    Attributes:
        taps_ms: from the frame before the camera to the relay, one a grant.
        denied: the reason of each refusal, by what was tried.
        events_in_cloud: how many events of the door the cloud holds at the end.
        chain_ok: what the cloud says of the door's journal.
        way: which way the door's batches take, once it has synchronised.
        batches, announcements: what the cloud counts as gone over the broker, up and down.
    """

    taps_ms: list[int] = field(default_factory=list)
    denied: dict[str, str] = field(default_factory=dict)
    events_in_cloud: int = 0
    chain_ok: bool = False
    way: str = ""
    batches: int = 0
    announcements: int = 0


@dataclass(frozen=True, slots=True)
class Granted:
    """A tap that opened: its event in the journal, the relay's record, and how long it took."""

    event: dict[str, Any]
    relay: dict[str, Any]
    tap_ms: int


class Stage:
    """Everything that the demonstration starts, in one folder.

    Args:
        parent: where the folder is made; None for the system's place for temporary files.

    Attributes:
        claim, device, anna, first_code, offline_seq: what earlier steps leave for later ones.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="doorward-demo-", dir=parent))
        # PostgreSQL refuses to run as root; as another user it must be able to pass through.
        self.folder.chmod(0o711)
        self.seen = Seen()
        self.programs: list[Program] = []
        self._open = ExitStack()
        self._api: CloudApi | None = None
        self._link: Link | None = None
        self.broker_port = _free_port()
        self._broker_link = self._open.enter_context(Link(self.broker_port))
        self._presented_s = 0
        self.claim = ""
        self.device = ""
        self.first_code = b""
        self.offline_seq = 0
        self.twin = Twin(self.folder / "twin")
        self.diagnostics = Diagnostics(self.door_folder / "diag.sock")

    def close(self) -> None:
        """Stop what was started, in the opposite order, and remove the folder."""
        try:
            for program in reversed(self.programs):
                program.stop()
            self._open.close()
            self._end_orphaned_database()
            self._end_orphaned_broker()
        finally:
            wait_for("the temporary folder to go", self._remove_folder, deadline_s=REMOVE_S)

    def _end_orphaned_database(self) -> None:
        """End the PostgreSQL of a cloud that died without stopping it; it is recognised by working in our folder."""
        data = self.cloud_folder / "pg" / "data"
        server = running_pid(data)
        if server is not None:
            signal_server(server, data, signal.SIGQUIT)
            wait_for("PostgreSQL to end", lambda: None if running_pid(data) else True, deadline_s=REMOVE_S)

    def _end_orphaned_broker(self) -> None:
        """End the mosquitto of a `doorward cloud broker` that died without stopping it."""
        folder = self.cloud_folder / "broker"
        server = left_behind(folder)
        if server is not None:
            os.kill(server, signal.SIGTERM)
            wait_for("mosquitto to end", lambda: None if left_behind(folder) else True, deadline_s=REMOVE_S)

    def _remove_folder(self) -> bool | None:
        """Remove the folder; None while somebody still writes into it, such as the last of an interrupted initdb."""
        shutil.rmtree(self.folder, ignore_errors=True)
        return None if self.folder.exists() else True

    # --- places and parts ------------------------------------------------------------------------------------

    @property
    def cloud_folder(self) -> Path:
        """The cloud's state."""
        return self.folder / "cloud"

    @property
    def door_folder(self) -> Path:
        """The door's state: configuration, key, journal, diagnostics socket."""
        return self.folder / "door"

    @property
    def api(self) -> CloudApi:
        """The cloud's API, once it runs."""
        if self._api is None:
            raise NotSeenError("the cloud was not started")
        return self._api

    @property
    def link(self) -> Link:
        """The network between door and cloud, once it is there."""
        if self._link is None:
            raise NotSeenError("the cloud was not started")
        return self._link

    def cut(self) -> None:
        """Cut the network between the door on one side, cloud and broker on the other."""
        self.link.cut()
        self._broker_link.cut()

    def restore(self) -> None:
        """Restore it."""
        self.link.restore()
        self._broker_link.restore()

    @property
    def anna(self) -> Wallet:
        """The wallet of the first holder, once she has a pass."""
        return self.wallet("anna")

    def wallet(self, name: str) -> Wallet:
        """Open the wallet of a holder."""
        return open_wallet(self._wallet_folder(name))

    def _wallet_folder(self, name: str) -> Path:
        return self.folder / "wallets" / name

    def start(self, name: str, *arguments: str | Path) -> Program:
        """Start a doorward command."""
        with undisturbed():
            program = Program(name, arguments, self.folder)
            self.programs.append(program)
        return program

    def ask(self, name: str, *arguments: str | Path, code: ExitCode = ExitCode.OK) -> list[dict[str, Any]]:
        """Run a doorward command to its end, and give what it prints with --json, an object a line."""
        program = Program(name, (*arguments, "--json"), self.folder)
        program.finish(deadline_s=START_S, code=code)
        return [json.loads(line) for line in program.out.read_text(encoding="utf-8").splitlines()]

    def check_programs(self) -> None:
        """Return while everything that was started runs, or has done its work.

        Raises:
            NotSeenError: a program has ended badly.
        """
        for program in self.programs:
            if not program.has_finished_well():
                program.check_alive()

    def connect(self) -> None:
        """Find the running cloud, and lay the link to its listener for doors."""
        self._api = self._open.enter_context(connect(url=None, token_file=None, state=self.cloud_folder))
        addresses = json.loads((self.cloud_folder / "cloud.json").read_text(encoding="utf-8"))
        port = urlsplit(addresses["device_url"]).port
        self._link = self._open.enter_context(Link(port or 0))

    def serving(self) -> list[str | Path]:
        """Write the command that serves the cloud; doors reach its broker over a link of their own."""
        return [
            *("cloud", "serve", "--state", self.cloud_folder, "--api", "127.0.0.1:0", "--devices", "127.0.0.1:0"),
            *("--broker", f"mqtts://127.0.0.1:{self.broker_port}"),
            *("--broker-for-doors", f"mqtts://127.0.0.1:{self._broker_link.port}", "--json"),
        ]

    def lanes(self) -> int:
        """How many of the broker's lanes the cloud follows."""
        return int(self.api.health()["checks"]["broker"]["value"])

    def door_knows_broker(self) -> bool:
        """Tell whether provisioning gave the door the broker's address."""
        return f"mqtts://127.0.0.1:{self._broker_link.port}" in (self.door_folder / "edge.toml").read_text("utf-8")

    def way(self) -> str:
        """Which way the door's batches take."""
        return str(self.diagnostics.status()["sync"].get("way", "https"))

    def provisioning(self) -> list[str | Path]:
        """Write the command that enrols the door, over the link."""
        door = f"simulated://{self.twin.door}"
        return [
            *("provision", "door", "--cloud", f"https://127.0.0.1:{self.link.port}", "--claim", self.claim),
            *("--folder", self.door_folder, "--json"),
            *("--reader", f"{READER}=camera+files://{self.twin.frames}?fps={FRAMES_PER_SECOND}"),
            *("--lock", door, "--inputs", door, "--clock-offset-file", self.twin.clock_file),
        ]

    def door_status(self) -> dict[str, Any] | None:
        """What the daemon says of itself; None while it does not answer."""
        self.check_programs()
        try:
            return self.diagnostics.status()
        except CliError:
            return None

    def invitations(self) -> list[str]:
        """Give commands that a person can try while everything runs."""
        return [
            f"doorward diag watch --socket {self.diagnostics.path}",
            f"doorward diag status --socket {self.diagnostics.path}",
            f"doorward wallet show --folder {self._wallet_folder('anna')} --audience {SITE} \\",
            f"    --once --frame {self.twin.frames}/a$(date +%s).png",
            f"doorward cloud call GET institutions/{TENANT}/events --state {self.cloud_folder}",
        ]

    # --- holders ---------------------------------------------------------------------------------------------

    def holder(self, name: str, tenant: str = TENANT) -> Wallet:
        """Make a wallet and have a pass issued for it."""
        wallet = create_wallet(self._wallet_folder(name))
        request: dict[str, Json] = {"accessLevels": [LEVEL], "holderKey": encode_holder_key(wallet.holder_key)}
        wallet.keep(self.api.issue_pass(tenant, request))
        return wallet

    def code(self, wallet: Wallet) -> bytes:
        """Have a wallet sign now; never twice in one second, since that would be the same presentation."""
        now_s = wait_for("the next second", self._next_second, deadline_s=SEEN_S)
        (held,) = wallet.passes()
        return wallet.present(held, issued_at_s=now_s, audience=SITE)

    def _next_second(self) -> int | None:
        now_s = time.time_ns() // 1_000_000_000
        if now_s <= self._presented_s:
            return None
        self._presented_s = now_s
        return now_s

    # --- taps ------------------------------------------------------------------------------------------------

    def last_seq(self) -> int:
        """The number of the newest event in the door's journal."""
        return int(self.diagnostics.status()["journal"]["last"])

    def event_after(self, seq: int, kinds: frozenset[str], *, deadline_s: float = SEEN_S) -> dict[str, Any]:
        """Wait for the first event after `seq` that is of one of these kinds."""

        def look() -> dict[str, Any] | None:
            events = self.diagnostics.events(after=seq, limit=_EVENTS_PER_PAGE)
            return next((event for event in events if event["kind"] in kinds), None)

        return wait_for(f"{' or '.join(sorted(kinds))} in the door's journal", look, deadline_s=deadline_s)

    def tap(self, text: bytes) -> tuple[dict[str, Any], int]:
        """Hold a code before the camera until the door has decided, then take it away.

        Returns:
            The decision in the door's journal, and the monotonic millisecond at which the frame was there.
        """
        before = self.last_seq()
        shown_ms = self.twin.show(text)
        event = self.event_after(before, frozenset({"ACCESS_GRANTED", "ACCESS_DENIED"}))
        self.twin.show(None)
        return event, shown_ms

    def tap_granted(self, text: bytes) -> Granted:
        """Tap, and see the relay energised because of it."""
        event, shown_ms = self.tap(text)
        must(event["kind"] == "ACCESS_GRANTED", f"the door refused: {event.get('reason')} at step {event.get('step')}")

        def look() -> dict[str, Any] | None:
            records = self.twin.relay("energise")
            return next((each for each in records if each["cause_seq"] == event["seq"]), None)

        relay = wait_for(f"the relay energised because of event {event['seq']}", look, deadline_s=SEEN_S)
        tap_ms = int(relay["t_mono_ms"]) - shown_ms
        self.seen.taps_ms.append(tap_ms)
        return Granted(event, relay, tap_ms)

    def tap_denied(self, name: str, text: bytes, expected: str) -> dict[str, Any]:
        """Tap, and see it refused for the expected reason while the relay stays still."""
        before = len(self.twin.relay("energise"))
        event, _ = self.tap(text)
        must(event["kind"] == "ACCESS_DENIED", f"the door opened for what had to be refused ({name})")
        must(len(self.twin.relay("energise")) == before, f"the relay moved for what was refused ({name})")
        self.seen.denied[name] = str(event["reason"])
        must(event["reason"] == expected, f"the door refused with {event['reason']}, not with {expected} ({name})")
        return event

    def relocked_after(self, granted: Granted) -> dict[str, Any]:
        """Wait for the relay's release after a grant."""

        def look() -> dict[str, Any] | None:
            releases = self.twin.relay("release")
            return next((each for each in releases if each["t_mono_ms"] >= granted.relay["t_mono_ms"]), None)

        return wait_for("the relay released", look, deadline_s=SEEN_S)

    # --- the cloud's side ------------------------------------------------------------------------------------

    def cloud_events(self) -> list[dict[str, Any]]:
        """Give every event of the door that the cloud holds, in the journal's order."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query: dict[str, str | int] = {"limit": _EVENTS_PER_PAGE, "door": DOOR}
            if cursor is not None:
                query["after"] = cursor
            page = self.api.get("institutions", TENANT, "events", **query)
            found += page["data"]
            cursor = page["next"]
            if cursor is None:
                return sorted(found, key=lambda event: int(event["seq"]))

    def in_cloud(self, seq: int) -> dict[str, Any]:
        """Wait until the cloud shows an event of the door."""

        def look() -> dict[str, Any] | None:
            return next((event for event in self.cloud_events() if event["seq"] == seq), None)

        return wait_for(f"event {seq} in the cloud", look, deadline_s=SYNC_S)

    def status_sequence(self) -> int:
        """The newest sequence number among the revocation lists that the door holds; 0 without any."""
        lists = self.diagnostics.status()["status_lists"]
        return max((int(each["sequence"]) for each in lists), default=0)


def _free_port() -> int:
    """Find a port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
