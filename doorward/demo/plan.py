"""The plan of the demonstration: a table of steps, each of which acts and tells what it saw.

Invariant: a step that did not see what it announces raises `NotSeenError`; there is no step without a sighting.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from doorward.demo.stage import (
    DOOR,
    FOREIGN_TENANT,
    LEVEL,
    OUT_OF_VIEW_S,
    RELEASE_MS,
    SEEN_S,
    SITE,
    START_S,
    SYNC_S,
    TENANT,
    Stage,
)
from doorward.demo.waiting import must, wait_for
from doorward.errors import ExitCode
from doorward.output import Json

SCREENSHOT_AGE_S: Final = 60
NO_PASS: Final = b"HTTPS://EXAMPLE.ORG/"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what a person is told beforehand, and what is done; it yields what was seen."""

    title: str
    act: Callable[[Stage], Iterator[str]]


def start_cloud(stage: Stage) -> Iterator[str]:
    """Start the cloud with a PostgreSQL of its own."""
    program = stage.start("cloud", *stage.serving())
    program.wait_line('"event": "ready"', deadline_s=START_S)
    stage.connect()
    health = stage.api.health()
    must(health["status"] == "ok", f"the cloud says of itself: {health}")
    yield f"it answers, and its checks are good: {', '.join(health['checks'])}"


def start_broker(stage: Stage) -> Iterator[str]:
    """Start the broker, and see the cloud follow it."""
    listen = f"127.0.0.1:{stage.broker_port}"
    program = stage.start("broker", "cloud", "broker", "--state", stage.cloud_folder, "--listen", listen, "--json")
    program.wait_line('"event": "ready"', deadline_s=START_S)
    lanes = wait_for("the cloud to follow its broker", lambda: stage.lanes() or None, deadline_s=START_S)
    yield f"it lets in who has a certificate of this cloud; the cloud follows {lanes} lanes there"


def describe_campus(stage: Stage) -> Iterator[str]:
    """Make an institution with its keys, a door with its rules, and a claim code; and a foreign institution."""
    for tenant, name in ((TENANT, "North Campus"), (FOREIGN_TENANT, "South College")):
        stage.api.post("institutions", body={"id": tenant, "name": name})
    stage.api.post("institutions", TENANT, "doors", body={"id": DOOR, "site": SITE})
    policy = {"settings": {"releaseTimeMs": RELEASE_MS}, "accessLevels": [{"id": LEVEL, "schedules": [0]}]}
    version = stage.api.put("institutions", TENANT, "doors", DOOR, "policy", body=policy)["version"]
    stage.claim = stage.api.post("institutions", TENANT, "doors", DOOR, "claims")["claimCode"]
    yield f"door {DOOR} of {TENANT} has policy version {version} and the claim code {stage.claim}"


def enrol_door(stage: Stage) -> Iterator[str]:
    """Provision the door with the claim code alone."""
    program = stage.start("provision", *stage.provisioning())
    program.finish(deadline_s=START_S)
    (device,) = stage.api.get("institutions", TENANT, "devices")["data"]
    stage.device = device["id"]
    must(device["door"] == DOOR, f"the cloud has enrolled {device}")
    yield f"the cloud knows it as {stage.device}, with a certificate until {device['certificate']['notAfter'][:10]}"


def run_daemon(stage: Stage) -> Iterator[str]:
    """Start the door's daemon."""
    stage.start("door", "edge", "run", "--config", stage.door_folder / "edge.toml")
    status = wait_for("the daemon's answer", stage.door_status, deadline_s=START_S)
    must(status["mode"] == "locked", f"the door is {status['mode']}")
    must(status["policy_version"] > 0, "the door has no policy")
    started = stage.event_after(0, frozenset({"STARTED"}))
    yield f"it answers at its diagnostics socket: locked, policy version {status['policy_version']}"
    stage.in_cloud(int(started["seq"]))
    yield f"its first event (number {started['seq']}, STARTED) is in the cloud"
    yield f"its batches go over {_see_the_way(stage)}"
    event, _ = stage.tap(NO_PASS)
    must(event["kind"] == "ACCESS_DENIED", "the door opened for a code that is no pass")
    yield f"its camera reads: a code that is no pass is refused: {event['reason']} (step {event['step']})"


def open_door(stage: Stage) -> Iterator[str]:
    """Show Anna's code to the camera."""
    stage.first_code = stage.code(stage.holder("anna"))
    granted = stage.tap_granted(stage.first_code)
    yield f"read, granted by {granted.event['rule']}, unlocked {granted.tap_ms} ms after the code was in view"
    seq = int(granted.event["seq"])
    stage.twin.set_contact("open")
    stage.event_after(seq, frozenset({"DOOR_OPENED"}))
    stage.twin.set_contact("closed")
    stage.event_after(seq, frozenset({"DOOR_CLOSED"}))
    release = stage.relocked_after(granted)
    yield f"Anna walks through; locked again {release['t_mono_ms'] - granted.relay['t_mono_ms']} ms after it unlocked"
    event = stage.in_cloud(seq)
    must(event["granted"] is True, f"the cloud has {event}")
    yield f"the cloud shows event {event['seq']}: {event['kind']}, pass {event['passId']}"


def show_it_again(stage: Stage) -> Iterator[str]:
    """Show the very same code again, as a thief with a photograph would."""
    time.sleep(OUT_OF_VIEW_S)
    event = stage.tap_denied("replayed", stage.first_code, "REPLAYED")
    yield f"refused: {event['reason']} (step {event['step']})"


def show_a_screenshot(stage: Stage) -> Iterator[str]:
    """Show a fresh code of Anna's that was never used, when it is 60 s old (the twin's clock is put forward)."""
    code = stage.code(stage.anna)
    stage.twin.set_clock_offset((SCREENSHOT_AGE_S + 1) * 1000)
    event = stage.tap_denied(f"screenshot_{SCREENSHOT_AGE_S}s", code, "PRESENTATION_EXPIRED")
    stage.twin.set_clock_offset(0)
    yield f"refused: {event['reason']} (step {event['step']})"


def revoke_a_pass(stage: Stage) -> Iterator[str]:
    """Let Ben in, revoke his pass in the cloud, and let him try again."""
    ben = stage.holder("ben")
    granted = stage.tap_granted(stage.code(ben))
    yield f"Ben's pass opens ({granted.tap_ms} ms)"
    stage.relocked_after(granted)
    before = stage.status_sequence()
    (held,) = ben.passes()
    stage.api.post("institutions", TENANT, "passes", held.pass_id, "revoke")
    began_s = time.monotonic()
    sequence = wait_for(
        "the revocation at the door", lambda: _above(stage.status_sequence(), before), deadline_s=SYNC_S
    )
    yield f"revoked; the door knew {(time.monotonic() - began_s) * 1000:.0f} ms later (list at sequence {sequence})"
    event = stage.tap_denied("revoked", stage.code(ben), "REVOKED")
    yield f"refused: {event['reason']} (step {event['step']})"


def show_a_foreign_pass(stage: Stage) -> Iterator[str]:
    """Show a valid pass of another institution."""
    stranger = stage.holder("carla", FOREIGN_TENANT)
    event = stage.tap_denied("foreign_tenant", stage.code(stranger), "UNKNOWN_ISSUER_KEY")
    yield f"refused: {event['reason']} (step {event['step']})"


def cut_the_network(stage: Stage) -> Iterator[str]:
    """Cut the network between door and cloud (a forwarder on this machine), and let Anna in."""
    stage.cut()
    granted = stage.tap_granted(stage.code(stage.anna))
    stage.offline_seq = int(granted.event["seq"])
    yield f"opened offline, {granted.tap_ms} ms after the code was in view"
    stage.relocked_after(granted)
    held = [event["seq"] for event in stage.cloud_events()]
    must(stage.offline_seq not in held, "the event reached the cloud although the network is down")
    yield f"the cloud does not know of it: its newest event is number {held[-1]}, the door's is {stage.last_seq()}"


def restore_the_network(stage: Stage) -> Iterator[str]:
    """Restore the network."""
    stage.restore()
    began_s = time.monotonic()
    event = stage.in_cloud(stage.offline_seq)
    must(event["granted"] is True, f"the cloud has {event}")
    yield f"event {event['seq']} arrived {time.monotonic() - began_s:.1f} s later"


def order_it_otherwise(stage: Stage) -> Iterator[str]:
    """Order from the cloud that the door is free for a minute, and release it."""
    told = ("cloud", "command", "--tenant", TENANT, "--state", stage.cloud_folder, DOOR)
    (freed,) = stage.ask("mode", *told, "mode", "--mode", "unlocked", "--hold", "1m", "--wait")
    status = stage.diagnostics.status()
    must((status["mode"], status["rests_by"]) == ("unlocked", "command"), f"the door says of itself: {status}")
    yield f"free for all by a signed command, answered by event {freed['event']}; it would end by itself"
    before = len(stage.twin.relay("release"))
    (ended,) = stage.ask("release", *told, "release", "--wait")
    wait_for("the relay released", lambda: _above(len(stage.twin.relay("release")), before), deadline_s=SEEN_S)
    yield f"released and locked again, answered by event {ended['event']}"


def ask_why(stage: Stage) -> Iterator[str]:
    """Have the door explain its newest decision and the denial of Ben, and ask what Ben's pass would meet now."""
    socket = ("--socket", stage.diagnostics.path)
    (newest,) = stage.ask("explain", "diag", "explain", *socket)
    must(newest["event"]["granted"] is True, f"the newest decision is {newest}")
    yield f"the newest decision: {newest['sentence']}"
    events = stage.diagnostics.events(after=0, limit=500)
    revoked = next(event for event in events if event.get("reason") == "REVOKED")
    (told,) = stage.ask("explain-denial", "diag", "explain", str(revoked["seq"]), *socket)
    yield f"event {revoked['seq']}: {told['sentence']}"
    code = stage.code(stage.wallet("ben")).decode()
    (asked,) = stage.ask("why", "diag", "why", code, *socket, code=ExitCode.FAILED)
    must(asked["granted"] is False, f"Ben's revoked pass would open: {asked}")
    must(stage.last_seq() == int(events[-1]["seq"]), "asking has left an event")
    yield f"would Ben's pass open now? {asked['sentence']}"


def run_it_again(stage: Stage) -> Iterator[str]:
    """Run what the door recorded through its rules again, and ask what other rules would have decided on the taps."""
    config = ("--config", stage.door_folder / "edge.toml")
    *differences, summary = stage.ask("replay", "diag", "replay", *config)
    must(summary["same"] is True, f"run again, the door decides otherwise: {differences}")
    yield f"{summary['inputs']} inputs run again gave {summary['events']} events, each as the journal has it"
    taps = stage.folder / "taps.jsonl"
    lines = stage.ask("taps", "diag", "taps", *config)
    taps.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    old, new = stage.folder / "old.json", stage.folder / "new.json"
    old.write_text(json.dumps(stage.api.get("institutions", TENANT, "doors", DOOR, "policy")), encoding="utf-8")
    new.write_text(json.dumps({"accessLevels": [{"id": LEVEL + 1, "schedules": [0]}]}), encoding="utf-8")
    arguments = ("policy", "diff", old, new, "--timezone", "UTC", "--events", taps)
    *changes, diff = stage.ask("diff", *arguments, code=ExitCode.FAILED)
    must(len(changes) == len(stage.seen.taps_ms), f"{len(changes)} of {len(stage.seen.taps_ms)} grants would change")
    reasons = ", ".join(diff["closing_reasons"])
    yield f"rules for level {LEVEL + 1} alone would have refused {len(changes)} of the taps that opened: {reasons}"


def check_the_chain(stage: Stage) -> Iterator[str]:
    """Have the cloud verify the hash chain of everything that it holds, and compare it with the door's journal."""
    last = stage.last_seq()
    stage.in_cloud(last)
    events = stage.cloud_events()
    must([event["seq"] for event in events] == list(range(1, last + 1)), "an event is missing or twice in the cloud")
    stage.seen.events_in_cloud = len(events)
    chain = stage.api.get("institutions", TENANT, "devices", stage.device, "chain")
    must(chain["ok"] is True, f"the cloud says of the chain: {chain}")
    must(chain["last"] == last, f"the chain ends at {chain['last']}, the journal at {last}")
    stage.seen.chain_ok = True
    _count_the_ways(stage)
    yield f"{stage.seen.batches} batches came over the broker, {stage.seen.announcements} announcements went back"
    yield f"{len(events)} events, from 1 to {last} without a gap, none altered"
    opened = [event["seq"] for event in events if event["granted"] is True]
    energised = [record["cause_seq"] for record in stage.twin.relay("energise")]
    granted = [cause for cause in energised if cause]  # a door that is held free names no event
    must(opened == granted, f"grants in the cloud: {opened}, relay: {granted}")
    held = len(energised) - len(granted)
    yield f"the relay moved {len(granted)} times because of a grant that the cloud holds, and {held} by the order"


def _see_the_way(stage: Stage) -> str:
    """Wait until the door sends over the broker it was provisioned with; a door without one goes over HTTPS."""
    if stage.door_knows_broker():
        wait_for("the door to send over the broker", lambda: stage.way() == "mqtt" or None, deadline_s=SYNC_S)
    stage.seen.way = stage.way()
    return stage.seen.way.upper()


def _count_the_ways(stage: Stage) -> None:
    """Read from the cloud's own counters what went over the broker."""
    seen = stage.seen
    seen.batches = stage.api.counted('doorward_broker_answers_total{status="200"}')
    seen.announcements = stage.api.counted("doorward_broker_announcements_total")
    must(seen.announcements > 0, "the cloud has announced nothing over the broker")
    must(seen.batches > 0 or not stage.door_knows_broker(), "no batch of the door came over the broker")


def _above(value: int, floor: int) -> int | None:
    return value if value > floor else None


STEPS: Final = (
    Step("Start the cloud: keys, passes, events, in a PostgreSQL of its own", start_cloud),
    Step("Start the broker, whose certificate the cloud's device CA has signed", start_broker),
    Step("Make an institution, a door with its rules, and a claim code", describe_campus),
    Step("Enrol the door with the claim code: its key never leaves it", enrol_door),
    Step("Start the door's daemon: camera, simulated lock, journal, synchronisation", run_daemon),
    Step("Issue a pass to Anna's wallet and hold her rotating code before the camera", open_door),
    Step("Hold a photograph of that very code before the camera", show_it_again),
    Step("Hold a screenshot of an unused code before the camera, 60 s old", show_a_screenshot),
    Step("Let Ben in, revoke his pass in the cloud, let him try again", revoke_a_pass),
    Step("Hold a valid pass of another institution before the camera", show_a_foreign_pass),
    Step("Cut the network between door and cloud, and let Anna in", cut_the_network),
    Step("Restore the network", restore_the_network),
    Step("Order the door free for a minute, from the cloud, and release it", order_it_otherwise),
    Step("Ask the door why, and what a pass would meet now", ask_why),
    Step("Run the door's decisions again, and try other rules on the same taps", run_it_again),
    Step("Check the whole journal in the cloud against the door's", check_the_chain),
)


def result(stage: Stage) -> dict[str, Json]:
    """Give what was seen, as the last line of the unattended run."""
    seen = stage.seen
    return {
        "granted": len(seen.taps_ms),
        "denied": dict(seen.denied),
        "tap_ms": median(seen.taps_ms),
        "events_in_cloud": seen.events_in_cloud,
        "chain_ok": seen.chain_ok,
        "broker": {"way": seen.way, "batches": seen.batches, "announcements": seen.announcements},
    }
