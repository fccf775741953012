"""The call-out: NATS's servers ask it about each connection of MQTT, any number of them at a time share the work.

    python -m cloud.broker.callout --config FOLDER/callout.json

Invariant: no answer is given later than the server waits for it, and what is in work is bounded; who gets none is
refused by the server and comes again.
Must not: decide (cloud/broker/admission.py does), or write a key into an argument or a log.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
import nats
import nats.errors
import structlog
from cryptography import x509
from nats.aio.client import Client
from nats.aio.msg import Msg

from cloud.broker.admission import KnownDevice, Lookup, Refused, answer, common_name, judge, parse_request
from cloud.broker.nkeys import Kind, Nkey, NkeyError, parse_seed
from cloud.database import AWAY, Pool
from cloud.errors import CloudError, Reason
from cloud.files import read_secret
from cloud.notify import notify
from wire.names import DeviceId, Tenant

SUBJECT: Final = "$SYS.REQ.USER.AUTH"
ASK_S: Final = 5.0
"""How long a server waits for us (`authorization.timeout` in its configuration)."""
_QUEUE: Final = "callout"
_LOOK_UP_S: Final = 2.0
_AWAY_S: Final = 2.0
"""For so long a database that did not answer in time is not asked again: with 1,000 doors waiting in line for it, each
answer would come later than the server waits for it."""
_MAX_IN_WORK: Final = 64
_MAX_WAITING: Final = 1024
_POOL_SIZE: Final = 4
_RECONNECT_S: Final = 0.5
_PING_S: Final = 5
_CONNECT_S: Final = 5
_CLOSE_S: Final = 2.0
_END_S: Final = 3.0
"""Twice this is less than systemd's patience in deploy/nats/doorward-callout.service."""
_LOG: Final = structlog.get_logger(__name__)

LookUp = Callable[[bytes], Awaitable[KnownDevice | Lookup]]
"""Gives the device of a certificate's fingerprint; raises nothing."""


class CallOutFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`callout.json`, which nobody else may read. Files are named relative to its folder.

    Attributes:
        servers: addresses of NATS's servers, "tls://HOST:PORT"; whichever answers.
        database_url: of the cloud's PostgreSQL; a role that may read `devices` is enough.
        user_seed: what lets us in there.
        issuer_seed: signs our answers.
        identity: key and certificate of the cluster's CA, PEM.
        cluster_ca, device_ca: certificates, PEM.
    """

    servers: tuple[str, ...]
    database_url: str
    user_seed: str
    issuer_seed: str
    identity: str
    cluster_ca: str
    device_ca: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOutSettings:
    """What `callout.json` says, read and checked."""

    servers: tuple[str, ...]
    database_url: str
    user: Nkey
    issuer: Nkey
    context: ssl.SSLContext
    device_ca: x509.Certificate


def read_callout_settings(path: Path) -> CallOutSettings:
    """Read `callout.json` and the files that it names.

    Raises:
        CloudError: STATE_UNUSABLE, naming the file.
    """
    content = read_secret(path)
    if content is None:
        raise CloudError(Reason.STATE_UNUSABLE, f"{path} is missing; deploy/nats/configure writes it.")
    try:
        said = msgspec.json.decode(content, type=CallOutFile)
        folder = path.parent
        return CallOutSettings(
            servers=said.servers,
            database_url=said.database_url,
            user=parse_seed(said.user_seed, Kind.USER),
            issuer=parse_seed(said.issuer_seed, Kind.ACCOUNT),
            context=_context(folder / said.identity, folder / said.cluster_ca),
            device_ca=x509.load_pem_x509_certificate((folder / said.device_ca).read_bytes()),
        )
    except (msgspec.MsgspecError, ValueError, OSError) as error:  # NkeyError is a ValueError, ssl.SSLError an OSError
        detail = f"{path} or a file that it names cannot be used ({error}); let deploy/nats/configure write them anew."
        raise CloudError(Reason.STATE_UNUSABLE, detail) from error


class CallOut:
    """Answers the servers.

    Args:
        issuer: signs the answers.
        device_ca: the one authority that names doors and cloud.
        look_up: asks the database.
        now: the wall clock.
        early: gives numbers from 0 to 1, see `judge`.
    """

    def __init__(
        self,
        issuer: Nkey,
        device_ca: x509.Certificate,
        look_up: LookUp,
        *,
        now: Callable[[], datetime],
        early: Callable[[], float],
    ) -> None:
        self._issuer = issuer
        self._device_ca = device_ca
        self._look_up = look_up
        self._now = now
        self._early = early

    async def reply(self, request: bytes) -> bytes | None:
        """Give the answer to a request; None for one that is none."""
        try:
            applicant = parse_request(request)
        except NkeyError as error:
            _LOG.warning("callout_request_unusable", error=str(error))
            return None
        found = await self._look_up(applicant.fingerprint)
        verdict = judge(applicant, self._device_ca, found, now=self._now(), early=self._early())
        if isinstance(verdict, Refused):
            _LOG.warning("callout_refused", reason=verdict.name, name=common_name(applicant))
        return answer(applicant, verdict, self._issuer, now=self._now())


def look_up_in(pool: Pool) -> LookUp:
    """Make the question to the database, which has a short deadline."""
    loop = asyncio.get_running_loop()
    asked_again_s = loop.time()

    async def look_up(fingerprint: bytes) -> KnownDevice | Lookup:
        nonlocal asked_again_s
        if loop.time() < asked_again_s:
            return Lookup.AWAY
        try:
            async with asyncio.timeout(_LOOK_UP_S):
                row = await pool.fetchrow(
                    "SELECT tenant_id, id, status FROM devices"
                    " WHERE certificate_fingerprint = $1 OR previous_fingerprint = $1",
                    fingerprint,
                )
        except AWAY as error:  # TimeoutError is an OSError
            if isinstance(error, TimeoutError):
                asked_again_s = loop.time() + _AWAY_S
            _LOG.warning("callout_database_away", error=type(error).__name__)
            return Lookup.AWAY
        except asyncpg.PostgresError as error:
            # It is there and does not let us look, perhaps for ever: a revoked door would always come in. Those that
            # are kept out have HTTPS.
            _LOG.error("callout_database_refuses", error=str(error), remedy="let our user read (docs/nats.md)")
            return Lookup.UNKNOWN
        if row is None:
            return Lookup.UNKNOWN
        return KnownDevice(Tenant(row["tenant_id"]), DeviceId(row["id"]), active=row["status"] == "active")

    return look_up


async def serve(settings: CallOutSettings, stop: asyncio.Event) -> None:
    """Answer until `stop`; comes back by itself when a server or the database goes.

    Raises:
        CloudError: SETTING_INVALID when the database's address is none.
    """
    async with _database(settings.database_url) as pool, _connected(settings) as client:
        callout = CallOut(
            settings.issuer,
            settings.device_ca,
            look_up_in(pool),
            now=lambda: datetime.now(UTC),
            early=random.SystemRandom().random,
        )
        asked = await client.subscribe(SUBJECT, queue=_QUEUE, pending_msgs_limit=_MAX_WAITING)
        await client.flush()
        _LOG.info("callout_ready")
        notify("READY=1", address=os.environ.get("NOTIFY_SOCKET"))
        slots = asyncio.Semaphore(_MAX_IN_WORK)
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(_end(stop, client))
            async for message in asked.messages:
                await slots.acquire()
                group.create_task(_answer(callout, message, slots))
            ending.cancel()


async def _answer(callout: CallOut, message: Msg, slots: asyncio.Semaphore) -> None:
    try:
        reply = await callout.reply(message.data)
        if reply is not None:
            await message.respond(reply)
    except nats.errors.Error as error:
        _LOG.warning("callout_answer_lost", error=type(error).__name__)
    finally:
        slots.release()


async def _end(stop: asyncio.Event, client: Client) -> None:
    await stop.wait()
    notify("STOPPING=1", address=os.environ.get("NOTIFY_SOCKET"))
    try:
        await client.drain()
    except nats.errors.Error:  # there is no connection to drain just now
        await client.close()


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Pool]:
    """Hold connections that are opened when they are needed: the database may be away now."""
    pool = await asyncpg.create_pool(
        url, min_size=0, max_size=_POOL_SIZE, timeout=_LOOK_UP_S, command_timeout=_LOOK_UP_S
    )
    try:
        # The address is read with the first connection; one that is none would pass for a database that is away.
        try:
            async with asyncio.timeout(_LOOK_UP_S), pool.acquire():
                pass
        except ValueError as error:
            detail = "callout.json: database_url is no address of PostgreSQL."
            raise CloudError(Reason.SETTING_INVALID, detail) from error
        except (*AWAY, asyncpg.PostgresError):
            pass  # away; whoever is looked up in it says so
        yield pool
    finally:
        pool.terminate()


@asynccontextmanager
async def _connected(settings: CallOutSettings) -> AsyncIterator[Client]:
    client = await nats.connect(
        servers=list(settings.servers),
        tls=settings.context,
        nkeys_seed_str=settings.user.seed,
        name="doorward-callout",
        error_cb=_tell,
        connect_timeout=_CONNECT_S,
        reconnect_time_wait=_RECONNECT_S,
        max_reconnect_attempts=-1,
        ping_interval=_PING_S,
    )
    try:
        yield client
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await client.close()


async def _tell(error: Exception) -> None:
    _LOG.warning("callout_server", error=type(error).__name__)


def _context(identity: Path, ca: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(identity)
    return context


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    yield


async def _run(settings: CallOutSettings) -> None:
    """Serve until a signal; what has not ended well in time after that, such as a search for a server, is cut."""
    stop = asyncio.Event()
    with _signals(stop):
        serving, stopping = asyncio.create_task(serve(settings, stop)), asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        await asyncio.wait((serving,), timeout=_END_S)
        if not serving.done():
            serving.cancel()
            await asyncio.wait((serving,), timeout=_END_S)
            return
        serving.result()


def main() -> int:
    """Answer until stopped; 2 when it cannot start, with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m cloud.broker.callout", description="Answer NATS's call-out.")
    parser.add_argument("--config", type=Path, required=True, help="callout.json, as deploy/nats/configure writes it")
    options = parser.parse_args()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        asyncio.run(_run(read_callout_settings(options.config.absolute())))
    except CloudError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
