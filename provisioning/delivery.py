"""The steps that give a device what it decides by: identity, trust, revocation lists, policy.

Invariant: what is written has been verified under the root key that is pinned here.
Must not: write before it has verified.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

from provisioning.apply import Once
from provisioning.cloud_line import Answer, Question
from provisioning.documents import (
    MAX_BOOTSTRAP_BYTES,
    MAX_VERSIONS_BYTES,
    DoorIdentity,
    Verifier,
    read_identity,
    read_versions,
)
from provisioning.enrolment import Enrolment
from provisioning.folder import unusable, write_file
from provisioning.plan import POLICY_FILE, ROOT_FILE, TRUST_FILE, status_file
from wire.errors import WireError
from wire.messages import DEVICE_BOOTSTRAP, DEVICE_CHANGES, DEVICE_POLICY, DEVICE_STATUS, DEVICE_TRUST
from wire.policy import MAX_POLICY_BYTES, refuse_lockout
from wire.status_list import MAX_TOKEN_BYTES
from wire.trust import MAX_BUNDLE_BYTES, PinnedTrust, TrustBundle, encode_pinned

_NO_POLICY: Final = 0


class Delivery:
    """Fetches, verifies and keeps the documents of a new door.

    Args:
        enrolment: gives the line, once there is a certificate.
        folder: where the documents are kept.
        now: the wall clock.

    Attributes:
        identity: where this device is, from its step on.
        lists: the status lists that were fetched.
        policy_version: 0 while the door has no policy that it takes.
        skew_s: by how much this machine's clock is ahead of the cloud's, in seconds; 0 when it is not known.
    """

    def __init__(self, enrolment: Enrolment, folder: Path, *, now: Callable[[], datetime]) -> None:
        self._enrolment = enrolment
        self._folder = folder
        self._now = now
        self.identity: Once[DoorIdentity] = Once("the identity")
        self.trust: Once[TrustBundle] = Once("the trust bundle")
        self.lists: tuple[int, ...] = ()
        self.policy_version = _NO_POLICY
        self.skew_s = 0.0
        self._offered: Once[tuple[int, tuple[int, ...]]] = Once("the versions")

    def learn_identity(self) -> str:
        """Learn which door this is and which root key to pin."""
        answer = self._ask(DEVICE_BOOTSTRAP, MAX_BOOTSTRAP_BYTES)
        found = self.identity.put(read_identity(answer.body, self._enrolment.certified.get()))
        self.skew_s = _skew_s(answer.date, self._now())
        return f"door {found.door}, site {found.site}, institution {found.tenant}"

    def fetch_trust(self) -> str:
        """Fetch the trust bundle and keep it with the root key."""
        data = self._ask(DEVICE_TRUST, MAX_BUNDLE_BYTES).body
        bundle = self.trust.put(self._verifier().trust(data))
        self._write(TRUST_FILE, data)
        self._write(ROOT_FILE, encode_pinned(PinnedTrust(self.identity.get().root, data)))
        return f"version {bundle.version}, {len(bundle.keys)} keys"

    def fetch_status(self) -> str:
        """Fetch every status list that the cloud names."""
        nothing_yet = {"trust": "0", "policy": "0", "wait_s": "0"}
        answer = self._ask(DEVICE_CHANGES, MAX_VERSIONS_BYTES, query=nothing_yet)
        _, self.lists = self._offered.put(read_versions(answer.body))
        for number in self.lists:
            data = self._ask(f"{DEVICE_STATUS}/{number}", MAX_TOKEN_BYTES).body
            self._verifier().status(data, number, self.trust.get())
            self._write(status_file(number), data)
        return f"{len(self.lists)} list{'' if len(self.lists) == 1 else 's'}"

    def fetch_policy(self) -> str:
        """Fetch the policy if the door has one; without one it lets nobody in, and one that admits nobody is none."""
        offered, _ = self._offered.get()
        if offered == _NO_POLICY:
            return "there is none yet: the door lets nobody in until the cloud gives it one"
        data = self._ask(DEVICE_POLICY, MAX_POLICY_BYTES).body
        bundle = self._verifier().policy(data, self.trust.get())
        try:
            refuse_lockout(bundle, None)
        except WireError:
            return f"version {bundle.version} admits nobody, so the door does not take it: correct it in the cloud"
        self.policy_version = bundle.version
        self._write(POLICY_FILE, data)
        return f"version {self.policy_version}"

    def _verifier(self) -> Verifier:
        return Verifier(self.identity.get(), self._now())

    def _ask(self, path: str, max_bytes: int, *, query: Mapping[str, str] | None = None) -> Answer:
        question = Question(path=path, max_bytes=max_bytes, query=query or {}, welcome=(HTTPStatus.OK,))
        with self._enrolment.line() as line:
            return line.ask(question)

    def _write(self, name: str, data: bytes) -> None:
        try:
            write_file(self._folder / name, data)
        except OSError as error:
            raise unusable(self._folder / name, error) from error


def _skew_s(date: str, now: datetime) -> float:
    """Compare the clocks by an answer's Date header (RFC 9110 §6.6.1), which TLS has protected."""
    try:
        theirs = parsedate_to_datetime(date)
    except ValueError:
        return 0.0
    return (now - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))).total_seconds()
