"""tests/vectors/verify.json, put to a door's `handle` instead of the command line: the same grants, the same steps."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TypedDict

import pytest

from edge.core.effects import CommitGrant, Record
from edge.core.tap import State, handle
from edge.core.trust import HeldStatus, TrustState
from edge.core.verify import Place
from tests.core.campus import instant, policy, tap
from wire.names import Assurance, KeyPurpose, PassKind, Reason, Step, Tenant
from wire.policy import ALWAYS
from wire.settings import DoorSettings
from wire.status_list import open_status_list
from wire.trust import parse_pinned


class Expected(TypedDict, total=False):
    granted: bool
    step: int
    reason: str
    pass_id: str
    kind: str
    assurance: int


class Vector(TypedDict):
    name: str
    trust: str
    statuses: list[str]
    at: str
    audience: str
    token: str
    expect: Expected


_FILE = Path(__file__).parents[1] / "vectors" / "verify.json"
_VECTORS: list[Vector] = json.loads(_FILE.read_text())["vectors"]
_EVERY_LEVEL = dict.fromkeys(range(1024), (ALWAYS,))
_PERMISSIVE = policy(DoorSettings(minimum_assurance=Assurance.PRINTED, escorts=0), levels=_EVERY_LEVEL)


def _door(vector: Vector) -> State:
    bundle = parse_pinned(bytes.fromhex(vector["trust"])).open()
    key = next(item.key for item in bundle.keys if item.purpose is KeyPurpose.STATUS)
    lists = [open_status_list(bytes.fromhex(token), key) for token in vector["statuses"]]
    held = {
        each.list_id: HeldStatus(
            sequence=each.sequence, issued_at_s=each.issued_at_s, expires_at_s=each.expires_at_s, bits=each.bits
        )
        for each in lists
    }
    place = Place(tenant=Tenant(bundle.tenant), site=vector["audience"], door="main")
    return State(place=place, trust=TrustState(bundle, held), policy=_PERMISSIVE)


@pytest.mark.parametrize("vector", _VECTORS, ids=lambda vector: vector["name"])
def test_a_door_answers_a_vector_as_it_says(vector: Vector):
    at_ms = round(datetime.fromisoformat(vector["at"]).timestamp() * 1000)
    _, effects = handle(_door(vector), tap(vector["token"].encode("latin-1")), instant(wall_ms=at_ms))
    (decided,) = (effect for effect in effects if isinstance(effect, CommitGrant | Record))
    draft, expect = decided.draft, vector["expect"]
    if expect["granted"]:
        assert isinstance(decided, CommitGrant)
        assert draft.credential == bytes.fromhex(expect["pass_id"])
        assert draft.assurance == Assurance(expect["assurance"])
    else:
        assert isinstance(decided, Record)
        assert (draft.step, draft.reason) == (Step(expect["step"]), Reason[expect["reason"]])


def test_the_vectors_cover_every_step_and_kind_that_can_be_verified_without_a_door():
    steps = {vector["expect"]["step"] for vector in _VECTORS if not vector["expect"]["granted"]}
    assert steps == {step for step in Step if step <= Step.REVOCATION and step is not Step.CLOCK}
    kinds = {vector["expect"]["kind"] for vector in _VECTORS if vector["expect"]["granted"]}
    assert kinds == {kind.name.lower() for kind in PassKind}
