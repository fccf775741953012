"""What can go wrong between a door and the cloud over TLS, and in which words the technician hears of it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import shutil
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sync.answers import MAX_ANSWER_BYTES
from sync.hints import NET_S
from sync.https_uplink import KEPT_S, Deadlines, HttpsUplink, open_https_uplink
from sync.ports import Fetched, Reason, UplinkError
from sync.surroundings import SystemSurroundings
from tests.support.device_files import DeviceFiles, enrolled_files
from tests.support.peer_cloud import PeerCloud
from tests.support.peer_listener import PeerListener, Reply, Request, listening
from tests.support.waiting import DEADLINE_S
from wire.batch import MAX_ACKNOWLEDGEMENT_BYTES
from wire.messages import DEVICE_CHANGES, DEVICE_EVENTS, DEVICE_TRUST, MEDIA_COSE
from wire.roster import MAX_ROSTER_BYTES
from wire.versions import Versions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NONE = Versions(0, 0, {})
HASTY = Deadlines(connect_s=5.0, send_s=0.2, fetch_s=0.2, beyond_wait_s=0.2)
USUAL = Deadlines(knock_s=0.5)


@pytest.fixture
async def listener(tmp_path: Path) -> AsyncIterator[PeerListener]:
    async with listening(PeerListener(PeerCloud(SystemSurroundings()), tmp_path / "cloud")) as made:
        yield made


@pytest.fixture
def files(listener: PeerListener, tmp_path: Path) -> DeviceFiles:
    return enrolled_files(listener, tmp_path)


def uplink(url: str, files: DeviceFiles, deadlines: Deadlines | None = None) -> HttpsUplink:
    return open_https_uplink(
        url=url, certificate=files.certificate, key=files.key, ca=files.ca, deadlines=deadlines or USUAL
    )


async def failure(line: HttpsUplink) -> UplinkError:
    """Ask, and give the error; the uplink is closed then."""
    try:
        with pytest.raises(UplinkError) as caught:
            await line.changes(NONE, wait_s=0)
        return caught.value
    finally:
        await line.aclose()


# --- who is at the other end -------------------------------------------------------------------------------


async def test_nobody_at_the_address(files: DeviceFiles):
    error = await failure(uplink("https://127.0.0.1:1", files))
    assert error.reason is Reason.UNREACHABLE
    assert "https://127.0.0.1:1" in str(error)


async def test_a_name_that_does_not_exist(files: DeviceFiles):
    assert (await failure(uplink("https://cloud.invalid:8443", files))).reason is Reason.UNREACHABLE


async def test_a_cloud_of_another_authority(files: DeviceFiles, tmp_path: Path):
    async with listening(PeerListener(PeerCloud(), tmp_path / "other")) as other:
        error = await failure(uplink(other.url, files))
    assert error.reason is Reason.TLS_REFUSED
    assert "not the cloud that this door was enrolled with" in str(error)


async def test_a_cloud_whose_certificate_is_for_another_name(tmp_path: Path):
    async with listening(PeerListener(PeerCloud(), tmp_path / "cloud", names=("cloud.example",))) as listener:
        error = await failure(uplink(listener.url, enrolled_files(listener, tmp_path)))
    assert error.reason is Reason.TLS_REFUSED
    assert "not for the address" in str(error)


@pytest.mark.parametrize(("age", "state"), [(400, "has expired"), (-400, "is not valid yet")])
async def test_a_clock_that_is_wrong_is_named_as_the_suspect(tmp_path: Path, age: int, state: str):
    begun = datetime.now(UTC) - timedelta(days=age)
    async with listening(PeerListener(PeerCloud(), tmp_path / "cloud", now=begun)) as listener:
        error = await failure(uplink(listener.url, enrolled_files(listener, tmp_path)))
    assert error.reason is Reason.TLS_REFUSED
    assert state in str(error)
    assert "timedatectl" in str(error)


async def test_a_door_that_poses_as_the_cloud(listener: PeerListener, files: DeviceFiles, tmp_path: Path):
    stolen = tmp_path / "stolen.pem"
    stolen.write_bytes(files.key.read_bytes() + files.certificate.read_bytes())
    impostor = PeerListener(PeerCloud(), listener.folder)
    async with listening(impostor, certificate=stolen):
        error = await failure(uplink(impostor.url, files))
    assert error.reason is Reason.TLS_REFUSED
    assert "door's certificate" in str(error)


async def test_a_server_that_speaks_no_tls(files: DeviceFiles):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        error = await failure(uplink(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", files))
    assert error.reason is Reason.TLS_REFUSED
    assert "does not speak TLS" in str(error)


# --- who we are --------------------------------------------------------------------------------------------


async def test_a_certificate_that_has_expired_is_told_from_a_flaky_line(listener: PeerListener, tmp_path: Path):
    old = enrolled_files(listener, tmp_path, now=datetime.now(UTC) - timedelta(days=91))
    error = await failure(uplink(listener.url, old))
    assert error.reason is Reason.TLS_REFUSED
    assert "this door's certificate: it has expired" in str(error)
    assert "doorward provision door" in str(error)


async def test_a_certificate_that_was_renewed_on_disk_is_taken_up(listener: PeerListener, tmp_path: Path):
    old = enrolled_files(listener, tmp_path, now=datetime.now(UTC) - timedelta(days=91))
    line = uplink(listener.url, old)
    enrolled_files(listener, tmp_path)
    with pytest.raises(UplinkError):
        await line.changes(NONE, wait_s=0)
    assert await line.changes(NONE, wait_s=0) == Versions(1, 1, {0: 1})
    await line.aclose()


async def test_a_server_that_says_why_it_refuses_a_certificate_is_quoted(listener: PeerListener, tmp_path: Path):
    old = enrolled_files(listener, tmp_path, now=datetime.now(UTC) - timedelta(days=91))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(listener.folder / "listener.pem")
    context.load_verify_locations(listener.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    with refusing_aloud(context) as url:
        error = await failure(uplink(url, old))
    assert error.reason is Reason.TLS_REFUSED
    assert "says that this door's certificate has expired" in str(error)


async def test_a_line_that_breaks_for_everybody_is_no_refusal(listener: PeerListener, files: DeviceFiles):
    def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(listener.folder / "listener.pem")
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0, ssl=context)
    async with server:
        error = await failure(uplink(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", files))
    assert error.reason is Reason.UNREACHABLE


@contextmanager
def refusing_aloud(context: ssl.SSLContext) -> Iterator[str]:
    """Serve TLS with blocking sockets: unlike asyncio's, they send the alert that says why a handshake failed."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    visitor, _ = server.accept()
                except OSError:
                    return
                with visitor, suppress(OSError):
                    context.wrap_socket(visitor, server_side=True).close()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(DEADLINE_S)


async def test_a_certificate_of_another_authority(listener: PeerListener, tmp_path: Path):
    foreign = PeerListener(PeerCloud(), tmp_path / "foreign")
    foreign.folder.mkdir()
    made = enrolled_files(foreign, tmp_path)
    shutil.copy(listener.ca_file, tmp_path / "ca.crt")
    files = DeviceFiles(made.key, made.certificate, tmp_path / "ca.crt", made.signer)
    error = await failure(uplink(listener.url, files))
    assert error.reason is Reason.TLS_REFUSED
    assert "door's certificate" in str(error)


async def test_a_device_that_the_cloud_no_longer_knows(listener: PeerListener, files: DeviceFiles):
    listener.enrolled.clear()
    error = await failure(uplink(listener.url, files))
    assert error.reason is Reason.NOT_ENROLLED
    assert "doorward provision door" in str(error)


def test_a_key_that_does_not_belong_to_the_certificate(listener: PeerListener, files: DeviceFiles, tmp_path: Path):
    (tmp_path / "more").mkdir()
    other = enrolled_files(listener, tmp_path / "more")
    with pytest.raises(UplinkError) as caught:
        open_https_uplink(url=listener.url, certificate=files.certificate, key=other.key, ca=files.ca)
    assert caught.value.reason is Reason.TLS_REFUSED
    assert str(files.certificate) in str(caught.value)


def test_a_certificate_file_that_is_missing(listener: PeerListener, files: DeviceFiles):
    files.certificate.unlink()
    with pytest.raises(UplinkError) as caught:
        uplink(listener.url, files)
    assert "No such file" in str(caught.value)


def test_an_address_that_is_none(files: DeviceFiles):
    with pytest.raises(UplinkError) as caught:
        uplink("https://[::1", files)
    assert caught.value.reason is Reason.REFUSED


async def test_a_server_that_speaks_only_what_is_too_old(files: DeviceFiles, listener: PeerListener):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(listener.folder / "listener.pem")
    context.set_ciphers("AES128-SHA")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with refusing_aloud(context) as url:
        error = await failure(uplink(url, files))
    assert error.reason is Reason.TLS_REFUSED
    assert "agree on no secure connection" in str(error)


async def test_a_server_that_is_gone_when_asked_why(files: DeviceFiles):
    async def once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.close()
        writer.transport.abort()

    server = await asyncio.start_server(once, "127.0.0.1", 0)
    error = await failure(uplink(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", files))
    assert error.reason is Reason.UNREACHABLE


# --- what comes back ---------------------------------------------------------------------------------------


async def answering(listener: PeerListener, files: DeviceFiles, reply: Reply) -> UplinkError:
    async def answer(_request: Request) -> Reply:
        return reply

    listener.overrides[DEVICE_CHANGES] = answer
    return await failure(uplink(listener.url, files))


async def test_a_busy_cloud_says_when_to_come_back(listener: PeerListener, files: DeviceFiles):
    error = await answering(listener, files, Reply(b"", 503, {"retry-after": "7"}))
    assert (error.reason, error.retry_after_s) == (Reason.BUSY, 7.0)


async def test_a_page_of_a_proxy_is_no_answer(listener: PeerListener, files: DeviceFiles):
    error = await answering(listener, files, Reply(b"<html>Please log in</html>"))
    assert error.reason is Reason.UNREADABLE
    assert "proxy" in str(error)


async def test_a_redirect_is_not_followed(listener: PeerListener, files: DeviceFiles):
    error = await answering(listener, files, Reply(b"", 302, {"location": f"{listener.url}/elsewhere"}))
    assert error.reason is Reason.REFUSED
    assert listener.requests == [f"GET {DEVICE_CHANGES}"]


async def test_an_answer_that_is_too_long_is_not_read(listener: PeerListener, files: DeviceFiles):
    error = await answering(listener, files, Reply(bytes(MAX_ANSWER_BYTES + 1)))
    assert error.reason is Reason.UNREADABLE


async def test_a_refusal_that_is_too_long_is_not_read(listener: PeerListener, files: DeviceFiles):
    error = await answering(listener, files, Reply(bytes(MAX_ANSWER_BYTES + 1), 503))
    assert error.reason is Reason.UNREADABLE


async def test_a_compressed_answer_is_not_opened(listener: PeerListener, files: DeviceFiles):
    error = await answering(listener, files, Reply(b"\x1f\x8b", headers={"content-encoding": "gzip"}))
    assert error.reason is Reason.UNREADABLE


async def test_an_acknowledgement_that_is_too_long_is_not_read(listener: PeerListener, files: DeviceFiles):
    async def answer(_request: Request) -> Reply:
        return Reply(bytes(MAX_ACKNOWLEDGEMENT_BYTES + 1))

    listener.overrides[DEVICE_EVENTS] = answer
    line = uplink(listener.url, files)
    with pytest.raises(UplinkError) as caught:
        await line.send_batch(b"batch")
    await line.aclose()
    assert caught.value.reason is Reason.UNREADABLE


async def test_a_cloud_that_hangs_is_left_when_the_time_is_up(listener: PeerListener, files: DeviceFiles):
    hung = asyncio.Event()

    async def answer(_request: Request) -> Reply:
        await hung.wait()
        return Reply(b"")

    listener.overrides = dict.fromkeys((DEVICE_CHANGES, DEVICE_EVENTS, DEVICE_TRUST), answer)
    line = uplink(listener.url, files, HASTY)
    questions = (
        line.changes(NONE, wait_s=0),
        line.send_batch(b"batch"),
        line.fetch(DEVICE_TRUST, etag=None, query={}, max_bytes=100),
    )
    for question in questions:
        with pytest.raises(UplinkError) as caught:
            await question
        assert caught.value.reason is Reason.DEADLINE
    hung.set()
    await line.aclose()


async def test_a_connection_that_breaks_in_the_middle(listener: PeerListener, files: DeviceFiles):
    async def answer(_request: Request) -> Reply:
        raise ConnectionResetError

    listener.overrides[DEVICE_CHANGES] = answer
    assert (await failure(uplink(listener.url, files))).reason is Reason.UNREACHABLE


async def test_a_line_works_again_after_a_break(listener: PeerListener, files: DeviceFiles):
    async def answer(_request: Request) -> Reply:
        listener.overrides.clear()
        raise ConnectionResetError

    listener.overrides[DEVICE_CHANGES] = answer
    line = uplink(listener.url, files)
    with pytest.raises(UplinkError):
        await line.changes(NONE, wait_s=0)
    assert await line.changes(NONE, wait_s=0) == Versions(1, 1, {0: 1})
    await line.aclose()


async def test_one_connection_serves_many_requests(listener: PeerListener, files: DeviceFiles):
    ports: set[str] = set()
    original = listener.cloud.document

    async def answer(request: Request) -> Reply:
        ports.add(request.peer)
        document = original("trust", {})
        return Reply(document.data)

    listener.overrides[DEVICE_TRUST] = answer
    line = uplink(listener.url, files)
    for _ in range(5):
        found = await line.fetch(DEVICE_TRUST, etag=None, query={}, max_bytes=10_000)
        assert isinstance(found, Fetched)
    await line.aclose()
    assert len(ports) == 1


async def test_a_connection_that_rests_is_probed_and_outlasts_the_pauses_of_a_door_with_a_broker(
    listener: PeerListener, files: DeviceFiles
):
    line = uplink(listener.url, files)
    await line.changes(NONE, wait_s=0)
    ours = f":{int(listener.url.rpartition(':')[2]):04X} 01 "  # proc_net_tcp: the far end, established
    table = await asyncio.to_thread(Path("/proc/net/tcp").read_text)
    rows = [row.split() for row in table.splitlines() if ours in row]
    await line.aclose()
    assert [row[5].partition(":")[0] for row in rows] == ["02"]  # the timer of SO_KEEPALIVE
    assert NET_S < KEPT_S


async def test_a_document_that_may_be_large_is_given_the_time_that_it_takes(listener: PeerListener, files: DeviceFiles):
    line = uplink(listener.url, files, Deadlines(fetch_s=0.0))
    with pytest.raises(UplinkError) as caught:
        await line.fetch(DEVICE_TRUST, etag=None, query={}, max_bytes=1)
    assert caught.value.reason is Reason.DEADLINE
    found = await line.fetch(DEVICE_TRUST, etag=None, query={}, max_bytes=MAX_ROSTER_BYTES)
    assert isinstance(found, Fetched)
    await line.aclose()


# --- going on where it broke off ---------------------------------------------------------------------------

WHOLE = bytes(range(256)) * 400
DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(WHOLE).digest()).decode()}:"
HALF = len(WHOLE) // 2


@dataclass
class Breaking:
    """Answers with WHOLE, but breaks each answer off after `pieces` bytes; notes the headers that it was asked with."""

    pieces: list[int | None]
    etag: str = '"7"'
    digest: str = DIGEST
    asked: list[tuple[str | None, str | None]] = field(default_factory=list)

    async def answer(self, request: Request) -> Reply:
        """Answer one request."""
        wanted = request.headers.get("range")
        self.asked.append((wanted, request.headers.get("if-range")))
        headers = {"content-type": MEDIA_COSE, "etag": self.etag, "repr-digest": self.digest}
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if start:
            headers["content-range"] = f"bytes {start}-{len(WHOLE) - 1}/{len(WHOLE)}"
        return Reply(WHOLE[start:], 206 if start else 200, headers, cut_at=self.pieces.pop(0))


async def fetched(line: HttpsUplink, *, query: dict[str, str] | None = None) -> Fetched | UplinkError:
    try:
        found = await line.fetch(DEVICE_TRUST, etag=None, query=query or {}, max_bytes=len(WHOLE))
    except UplinkError as error:
        return error
    assert isinstance(found, Fetched)
    return found


async def test_a_document_that_breaks_off_goes_on_from_there(listener: PeerListener, files: DeviceFiles):
    peer = Breaking([HALF, HALF // 2, None])
    listener.overrides[DEVICE_TRUST] = peer.answer
    line = uplink(listener.url, files)
    broken = [await fetched(line), await fetched(line)]
    assert [each.reason for each in broken if isinstance(each, UplinkError)] == [Reason.UNREACHABLE] * 2
    found = await fetched(line)
    await line.aclose()
    assert found == Fetched(WHOLE, MEDIA_COSE, '"7"')
    assert peer.asked[0] == (None, None)
    assert peer.asked[2] == (f"bytes={HALF + HALF // 2}-", '"7"')


@pytest.mark.parametrize(
    "change", [{"digest": "sha-256=:AAAA:"}, {"digest": ""}], ids=["of other bytes", "without digest"]
)
async def test_parts_that_do_not_belong_together_are_not_joined(
    listener: PeerListener, files: DeviceFiles, change: dict[str, str]
):
    peer = Breaking([HALF, None, None])
    listener.overrides[DEVICE_TRUST] = peer.answer
    line = uplink(listener.url, files)
    assert isinstance(await fetched(line), UplinkError)
    peer.digest = change["digest"]
    refused = await fetched(line)
    assert isinstance(refused, UplinkError)
    assert refused.reason is Reason.UNREADABLE
    assert await fetched(line) == Fetched(WHOLE, MEDIA_COSE, '"7"')
    await line.aclose()
    assert peer.asked[2] == (None, None)


@pytest.mark.parametrize(
    ("cut_at", "etag", "digest"),
    [(1_000, '"7"', DIGEST), (HALF, "", DIGEST), (HALF, '"7"', ""), (HALF, '"\u00e9"', DIGEST)],
    ids=["little", "without tag", "without digest", "with a tag that no request can carry"],
)
async def test_what_is_little_or_has_no_name_is_fetched_anew(
    listener: PeerListener, files: DeviceFiles, cut_at: int, etag: str, digest: str
):
    peer = Breaking([cut_at, None], etag=etag, digest=digest)
    listener.overrides[DEVICE_TRUST] = peer.answer
    line = uplink(listener.url, files)
    assert isinstance(await fetched(line), UplinkError)
    found = await fetched(line)
    await line.aclose()
    assert isinstance(found, Fetched)
    assert found.data == WHOLE
    assert peer.asked[1] == (None, None)


async def test_another_question_is_not_answered_with_an_old_part(listener: PeerListener, files: DeviceFiles):
    peer = Breaking([HALF, None])
    listener.overrides[DEVICE_TRUST] = peer.answer
    line = uplink(listener.url, files)
    assert isinstance(await fetched(line), UplinkError)
    assert isinstance(await fetched(line, query={"since": "3"}), Fetched)
    await line.aclose()
    assert peer.asked[1] == (None, None)


async def test_both_parts_together_are_bounded(listener: PeerListener, files: DeviceFiles):
    peer = Breaking([HALF, None])
    listener.overrides[DEVICE_TRUST] = peer.answer
    line = uplink(listener.url, files)
    assert isinstance(await fetched(line), UplinkError)
    with pytest.raises(UplinkError) as caught:
        await line.fetch(DEVICE_TRUST, etag=None, query={}, max_bytes=len(WHOLE) - 1)
    await line.aclose()
    assert caught.value.reason is Reason.UNREADABLE
