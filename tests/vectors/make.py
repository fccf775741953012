"""Write the vectors: `.venv/bin/python -m tests.vectors.make`.

Every key, moment and nonce is fixed and P-256 signs as RFC 6979 says, so that each run writes the same bytes;
`tests/wire/test_vectors.py` fails when a file is not what this writes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vectors.parts import (
    events,
    keys,
    lockouts,
    messages,
    passes,
    policy_cases,
    presentations,
    reports,
    rosters,
    status,
    texts,
    trusts,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.vectors.parts.kit import Json

FOLDER: Final = Path(__file__).parent
FILES: Final[Mapping[str, Callable[[], dict[str, Json]]]] = {
    "text": texts.texts,
    "cbor": texts.cbor,
    "key": keys.keys,
    "signature": keys.signatures,
    "envelope": messages.envelopes,
    "pass": passes.passes,
    "presentation": presentations.presentations,
    "status-list": status.status_lists,
    "status-delta": status.status_deltas,
    "trust": trusts.trusts,
    "trust-file": trusts.trust_files,
    "root-change": trusts.root_changes,
    "policy": policy_cases.policies,
    "lockout": lockouts.lockouts,
    "roster": rosters.rosters,
    "roster-delta": rosters.roster_deltas,
    "identifier-key": rosters.identifier_keys,
    "pin-verifier": rosters.pin_verifiers,
    "event": events.events,
    "batch": events.batches,
    "acknowledgement": events.acknowledgements,
    "command": messages.commands,
    "command-list": messages.command_lists,
    "mqtt-reply": messages.mqtt_replies,
    "versions": reports.versions,
    "health": reports.health,
    "claim-code": messages.claim_codes,
    "verify": verify.verifications,
}
WRITTEN_BY_HAND: Final = frozenset({"card-key", "card-pkoc", "card-session", "card-sun", "phone-exchange"})
"""What cards and phones say: published cases and recorded exchanges, which tests/unit/test_cards_vectors.py reads."""


def path(name: str) -> Path:
    """Where a file of vectors lies."""
    return FOLDER / f"{name}.json"


def render(name: str) -> str:
    """The text of a file of vectors."""
    return json.dumps(FILES[name](), indent=1) + "\n"


def main() -> None:
    """Write every file."""
    for name in FILES:
        path(name).write_text(render(name))


if __name__ == "__main__":
    main()
