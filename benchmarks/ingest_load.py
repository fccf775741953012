"""The load of `benchmarks/ingest.py`, in a process of its own: doors that send batch after batch.

It prints one JSON object: events acknowledged, seconds from the first request to the last answer (after the warm-up),
and each batch's milliseconds. Every acknowledgement is read; the last of each door is verified against its journal.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import uvloop

from benchmarks.neighbours import family, usage, wait_for_quiet
from benchmarks.twin_doors import BENCH, TwinDoor, enrol_doors, request
from sync.mqtt_line import MqttDeadlines, MqttLine
from sync.mqtt_session import Broker
from wire.batch import open_acknowledgement
from wire.names import KeyPurpose
from wire.trust import parse_pinned

_DEADLINE_S = 300.0


@dataclass(slots=True)
class Sender:
    """One door, its way to the cloud, and what it still has to send.

    Attributes:
        exchange: delivers a batch and gives its acknowledgement.
    """

    door: TwinDoor
    batches: list[bytes]
    exchange: Callable[[bytes], Awaitable[bytes]]
    latencies_ms: list[float] = field(default_factory=list)
    answer: bytes = b""

    async def send(self, first: int, last: int) -> None:
        """Send some of the batches, one after the other, each after the answer to the one before."""
        for batch in self.batches[first:last]:
            started_s = time.perf_counter()
            self.answer = await self.exchange(batch)
            self.latencies_ms.append((time.perf_counter() - started_s) * 1000)


async def _by_https(door: TwinDoor, batches: list[bytes], url: str) -> Sender:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(
        address.hostname, address.port, ssl=door.tls(), server_hostname="localhost"
    )

    async def exchange(whole: bytes) -> bytes:
        writer.write(whole)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(f"{door.device}: {head.decode()}")
        return await reader.readexactly(_length(head))

    return Sender(door, [*map(request, batches)], exchange)


async def _by_broker(door: TwinDoor, batches: list[bytes], url: str, folder: Path) -> Sender:
    certificate, key, ca = door.files(folder / door.door)
    broker = Broker(url=url, tenant=BENCH, device=door.device, certificate=certificate, key=key, ca=ca)
    line = MqttLine(broker, MqttDeadlines(answer_s=_DEADLINE_S))
    await line.connect()

    async def exchange(batch: bytes) -> bytes:
        reply = await line.send_batch(batch)
        if reply.status != HTTPStatus.OK:
            sys.exit(f"{door.device}: {reply.status} {reply.body.decode()}")
        return reply.body

    return Sender(door, batches, exchange)


def _length(head: bytes) -> int:
    _, _, rest = head.partition(b"content-length: ")
    return int(rest[: rest.index(b"\r")])


async def measure(options: argparse.Namespace) -> dict[str, object]:
    """Enrol, make the batches, warm up, send, verify."""
    token = (options.state / "operator.token").read_text().strip()
    doors = await enrol_doors(api_url=options.api, device_url=options.devices, token=token, count=options.doors)
    now_ms = int(time.time() * 1000)
    made = [[*door.batches(count=options.batches, size=options.size, now_ms=now_ms)] for door in doors]
    await asyncio.to_thread(wait_for_quiet, limit_s=options.patience_s)
    pairs = [*zip(doors, made, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        if options.broker:
            senders = [await _by_broker(*pair, options.broker, Path(folder)) for pair in pairs]
        else:
            senders = [await _by_https(*pair, options.devices) for pair in pairs]
    await asyncio.gather(*(sender.send(0, options.warm_up) for sender in senders))
    for sender in senders:
        sender.latencies_ms.clear()
    before, started_s = usage(ours := _ours(options.state)), time.perf_counter()
    await asyncio.gather(*(sender.send(options.warm_up, options.batches) for sender in senders))
    elapsed_s = time.perf_counter() - started_s
    others = usage(ours).others_since(before)
    await _verify(options, token, senders)
    latencies = [latency for sender in senders for latency in sender.latencies_ms]
    return {
        "events": len(latencies) * options.size,
        "elapsed_s": elapsed_s,
        "latencies_ms": latencies,
        "others": others,
    }


def _ours(state: Path) -> set[int]:
    """Give this process, the service and its PostgreSQL."""
    service = int(json.loads((state / "cloud.json").read_text())["pid"])
    return {os.getpid()} | family(service)


async def _verify(options: argparse.Namespace, token: str, senders: list[Sender]) -> None:
    """Check that the last acknowledgement of each door is signed and covers all that was sent."""
    async with httpx.AsyncClient(base_url=options.api, headers={"authorization": f"Bearer {token}"}) as api:
        answer = (await api.get(f"/api/v1/institutions/{BENCH}/trust")).raise_for_status()
    bundle = parse_pinned(answer.content).open()
    key = next(listed.key for listed in bundle.keys if listed.purpose is KeyPurpose.ACKNOWLEDGEMENT)
    for sender in senders:
        acknowledgement = open_acknowledgement(sender.answer, key)
        if acknowledgement.durable != options.batches * options.size:
            sys.exit(f"{sender.door.device}: acknowledged up to {acknowledgement.durable} only")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--api", required=True)
    parser.add_argument("--devices", required=True)
    parser.add_argument("--broker", default="", help="send through it instead of over HTTPS")
    parser.add_argument("--doors", type=int, required=True)
    parser.add_argument("--batches", type=int, required=True, help="a door")
    parser.add_argument("--warm-up", type=int, required=True, help="of these, not measured")
    parser.add_argument("--size", type=int, required=True, help="events a batch")
    parser.add_argument("--patience-s", type=float, required=True, help="how long to wait for a quiet machine")
    options = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(asyncio.wait_for(measure(options), _DEADLINE_S + options.patience_s))))


if __name__ == "__main__":
    main()
