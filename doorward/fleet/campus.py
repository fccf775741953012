"""The institution of a fleet: its doors, made through the operators' API and enrolled as provisioning does.

Invariant: a key never leaves this machine, and a door that has a certificate in the folder is enrolled no second time.
Must not: hold more than one connection a thread to the cloud.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from doorward.api import CloudApi
from doorward.errors import CliError, ExitCode
from doorward.files import read_bounded
from provisioning.cloud_line import CloudLine, Question, check_cloud_url, trusting, without_trust
from provisioning.errors import ProvisioningError
from provisioning.est import (
    MAX_CERTIFICATES_BYTES,
    Claim,
    check_certificate,
    make_request,
    read_certificates,
    read_claim,
    recognise,
)
from wire.messages import EST_CACERTS, EST_ENROL

SITE: Final = "campus"
LEVELS: Final = 12
MAX_DOORS: Final = 10_000
_THREADS: Final = 6
_PAGE: Final = 100
_FILE: Final = "fleet.json"
_CA: Final = "ca.crt"
_DEVICES: Final = "devices"
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_SECRET: Final = 0o600

Told = Callable[[int, int], None]
"""Is told how many doors of how many are enrolled."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A door with its device, whose key and certificate are files of the folder."""

    door: str
    device: str


@dataclass(frozen=True, slots=True)
class Campus:
    """The doors of a fleet that are enrolled, and where their files are."""

    folder: Path
    tenant: str
    doors: tuple[Enrolled, ...]

    @property
    def ca(self) -> Path:
        """The authority that all doors believe."""
        return self.folder / _CA

    def key(self, door: str) -> Path:
        """The key of a door's device."""
        return self.folder / _DEVICES / f"{door}.key"

    def certificate(self, door: str) -> Path:
        """The certificate of a door's device."""
        return self.folder / _DEVICES / f"{door}.crt"

    def journal(self, door: str) -> Path:
        """The journal of a door's device."""
        return self.folder / _DEVICES / f"{door}.journal"

    def first(self, count: int) -> "Campus":
        """Give the same with so many doors."""
        return Campus(self.folder, self.tenant, self.doors[:count])

    def save(self) -> None:
        """Write down what was made, for a later run."""
        told = {"tenant": self.tenant, "doors": [{"door": each.door, "device": each.device} for each in self.doors]}
        (self.folder / _FILE).write_text(json.dumps(told), encoding="utf-8")


def open_campus(folder: Path) -> Campus:
    """Read what an earlier run made in the folder, or begin anew.

    Raises:
        CliError: UNUSABLE when the folder is another's or cannot be written.
    """
    try:
        (folder / _DEVICES).mkdir(parents=True, exist_ok=True)
        (folder / _DEVICES).chmod(0o700)  # keys are in there; the folder itself may be anybody's, as /tmp is
    except OSError as error:
        what = f"{folder} cannot be made ({error.strerror})"
        raise CliError(ExitCode.UNUSABLE, what=what, remedy="name another folder with --keep") from error
    if not (folder / _FILE).exists():
        return Campus(folder, f"fleet-{secrets.token_hex(3)}", ())
    try:
        told = json.loads(read_bounded(folder / _FILE, _MAX_FILE_BYTES))
        return Campus(folder, told["tenant"], tuple(Enrolled(each["door"], each["device"]) for each in told["doors"]))
    except (ValueError, KeyError, TypeError) as error:
        what = f"{folder / _FILE} was not written by a fleet"
        raise CliError(ExitCode.UNUSABLE, what=what, remedy="name another folder with --keep") from error


def enrol_fleet(api: CloudApi, url: str, campus: Campus, count: int, told: Told) -> Campus:
    """Make institution and doors where they are missing, and enrol until `count` doors have a device.

    Args:
        api: as an operator.
        url: of the device listener.
        campus: what there is already; what was enrolled is saved, also when this ends early.
        count: of doors.
        told: of the progress.

    Raises:
        CliError: the cloud refused or does not answer, or a device could not be enrolled.
    """
    wanted = [f"door-{number:05d}" for number in range(1, count + 1)]
    have = {each.door: each for each in campus.doors}
    missing = [door for door in wanted if door not in have]
    if missing:
        known = _prepare(api, campus)
        try:
            for each in _Maker(api, check_cloud_url(url), campus, known).make(missing):
                have[each.door] = each
                told(len(have), count)
        except ProvisioningError as error:
            raise CliError(ExitCode(error.reason.exit_code), what=error.what, remedy=error.remedy) from error
        finally:
            campus = Campus(campus.folder, campus.tenant, tuple(have[door] for door in sorted(have)))
            campus.save()
    return campus.first(count)


def _prepare(api: CloudApi, campus: Campus) -> frozenset[str]:
    """Make the institution unless it is there; gives the doors that it has."""
    if campus.tenant not in {each["id"] for each in _all(api, "institutions")}:
        api.post("institutions", body={"id": campus.tenant, "name": "Simulated fleet", "timezone": "UTC"})
    return frozenset(each["id"] for each in _all(api, "institutions", campus.tenant, "doors"))


def _all(api: CloudApi, *path: str) -> Iterator[dict[str, str]]:
    page, seen = 1, 0
    while True:
        answer = api.get(*path, page=page, limit=_PAGE)
        yield from answer["data"]
        seen += len(answer["data"])
        if not answer["data"] or seen >= answer["pagination"]["total"]:
            return
        page += 1


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes doors in several threads; each has a line of its own to the cloud."""

    api: CloudApi
    url: str
    campus: Campus
    known: frozenset[str]

    def make(self, doors: Sequence[str]) -> Iterator[Enrolled]:
        """Make doors, in no order."""
        ca = self._authority(doors[0])
        parts = [doors[place::_THREADS] for place in range(_THREADS)]
        with ThreadPoolExecutor(_THREADS) as threads:
            lines = [CloudLine(self.url, trusting(ca)) for part in parts if part]
            try:
                # One door a thread at a time, so that each line serves one question.
                for row in range(max(map(len, parts))):
                    jobs = [
                        threads.submit(self._make_one, line, ca, part[row])
                        for line, part in zip(lines, parts, strict=False)
                        if row < len(part)
                    ]
                    yield from (job.result() for job in as_completed(jobs))
            finally:
                for line in lines:
                    line.__exit__(None, None, None)

    def _authority(self, door: str) -> x509.Certificate:
        """Fetch the CA without trust and recognise it by the first claim, as each device does (RFC 7030 §4.1.1)."""
        self._make_door(door)
        with CloudLine(self.url, without_trust()) as line:
            answer = line.ask(Question(path=EST_CACERTS, max_bytes=MAX_CERTIFICATES_BYTES))
        ca = recognise(read_certificates(answer.body), self._claim(door))
        self.campus.ca.write_bytes(ca.public_bytes(Encoding.PEM))
        return ca

    def _make_one(self, line: CloudLine, ca: x509.Certificate, door: str) -> Enrolled:
        self._make_door(door)
        claim = self._claim(door)
        recognise([ca], claim)
        return Enrolled(door, self._enrol(line, ca, door, claim))

    def _make_door(self, door: str) -> None:
        place = ("institutions", self.campus.tenant, "doors")
        if door not in self.known and not (self.campus.folder / _DEVICES / f"{door}.made").exists():
            self.api.post(*place, body={"id": door, "site": SITE})
            policy = {"accessLevels": [{"id": level, "schedules": [0]} for level in range(1, LEVELS + 1)]}
            self.api.put(*place, door, "policy", body=policy)
            (self.campus.folder / _DEVICES / f"{door}.made").touch()

    def _claim(self, door: str) -> Claim:
        return read_claim(self.api.post("institutions", self.campus.tenant, "doors", door, "claims")["claimCode"])

    def _enrol(self, line: CloudLine, ca: x509.Certificate, door: str, claim: Claim) -> str:
        key = ec.generate_private_key(ec.SECP256R1())
        answer = line.ask(
            Question(
                path=EST_ENROL,
                method="POST",
                max_bytes=MAX_CERTIFICATES_BYTES,
                headers={"authorization": claim.authorization, "content-type": "application/pkcs10"},
                content=make_request(key),
            )
        )
        (certificate,) = read_certificates(answer.body)
        certified = check_certificate(certificate, key=key, ca=ca)
        path = self.campus.key(door)
        path.touch(_SECRET)
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.campus.certificate(door).write_bytes(certificate.public_bytes(Encoding.PEM))
        return certified.device
