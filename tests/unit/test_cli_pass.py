"""`doorward pass show` and `doorward pass verify`: what is claimed, and what holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from doorward.errors import ExitCode
from doorward.output import rfc3339
from doorward.tokens import MAX_INPUT_BYTES, to_base64
from doorward.wallet import Wallet, create_wallet
from tests.support.commands import Ran, run_here, run_program
from tests.support.issuer import DAY_S, NOW_S, Issuer
from wire.names import PassKind, Tenant
from wire.text import to_text

SITE = "main-campus"
KEYS = {
    "granted",
    "step",
    "reason",
    "fault",
    "assurance",
    "issuer",
    "pass_id",
    "status_list",
    "status_index",
    "kind",
    "flags",
    "access_levels",
    "issued_at",
    "not_before",
    "expires_at",
    "holder_key_id",
    "holder_algorithm",
    "presented_at",
    "audience",
    "status_sequence",
    "status_age_s",
    "checked_at",
}


@pytest.fixture
def wallet(tmp_path: Path) -> Wallet:
    """Hold one pass of the institution."""
    made = create_wallet(tmp_path / "wallet")
    made.keep(Issuer().issue(made.holder_key))
    return made


class Verifier:
    """Files of an institution, and the command that uses them."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.trust = Issuer().write_trust(folder / "trust.cbor")
        self.status = Issuer().write_status(folder / "status-0.cwt")
        self._capsys = capsys

    def __call__(self, text: str, *options: str | Path, at_s: int = NOW_S, site: str = SITE) -> Ran:
        files = ("--trust", self.trust, "--status", self.status, "--at", rfc3339(at_s * 1000))
        return run_here(self._capsys, "pass", "verify", *files, "--audience", site, *options, text)


@pytest.fixture
def verify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Verifier:
    return Verifier(tmp_path, capsys)


def code_of(wallet: Wallet, *, issued_at_s: int = NOW_S, site: str = SITE) -> str:
    return wallet.present(wallet.passes()[0], issued_at_s=issued_at_s, audience=site).decode()


# --- verify --------------------------------------------------------------------------------------------------


def test_a_fresh_presentation_is_granted_and_described(wallet: Wallet, verify: Verifier):
    ran = verify(code_of(wallet))
    assert ran.code == ExitCode.OK
    assert set(ran.record) == KEYS
    expected: dict[str, Any] = {
        "granted": True,
        "step": None,
        "reason": None,
        "pass_id": "00000000004d",
        "kind": "standard",
        "flags": ["extended_release"],
        "access_levels": [1, 7],
        "issuer": "north-campus",
        "issued_at": "2026-01-01T00:00:00Z",
        "not_before": None,
        "expires_at": "2026-01-08T00:00:00Z",
        "presented_at": "2026-01-01T00:00:00Z",
        "audience": SITE,
        "assurance": 3,
        "status_sequence": 5,
        "status_age_s": 0,
        "checked_at": "2026-01-01T00:00:00Z",
    }
    assert {name: ran.record[name] for name in expected} == expected


def refused(ran: Ran) -> tuple[int, int, str]:
    record = ran.record
    assert record["granted"] is False
    assert set(record) == KEYS
    return ran.code, record["step"], record["reason"]


def test_a_screenshot_is_refused_once_it_is_too_old(wallet: Wallet, verify: Verifier):
    assert verify(code_of(wallet), at_s=NOW_S + 30).code == ExitCode.OK
    assert refused(verify(code_of(wallet), at_s=NOW_S + 60)) == (1, 7, "PRESENTATION_EXPIRED")


def test_a_presentation_for_another_site_is_refused(wallet: Wallet, verify: Verifier):
    assert refused(verify(code_of(wallet, site="elsewhere"))) == (1, 7, "WRONG_AUDIENCE")


def test_an_expired_pass_is_refused(wallet: Wallet, verify: Verifier):
    later = NOW_S + 7 * DAY_S
    assert refused(verify(code_of(wallet, issued_at_s=later), at_s=later)) == (1, 6, "CREDENTIAL_EXPIRED")


def test_a_revoked_pass_is_refused(wallet: Wallet, verify: Verifier):
    Issuer().write_status(verify.status, revoked=(77,))
    assert refused(verify(code_of(wallet))) == (1, 8, "REVOKED")


def test_an_unknown_issuer_is_refused(wallet: Wallet, verify: Verifier):
    Issuer(seed=2).write_trust(verify.trust)
    Issuer(seed=2).write_status(verify.status)
    assert refused(verify(code_of(wallet))) == (1, 4, "UNKNOWN_ISSUER_KEY")


@pytest.mark.parametrize(
    ("limit", "age_s", "reason"),
    [
        (None, DAY_S, None),
        (None, DAY_S + 1, "REVOCATION_STALE"),
        ("1h", 3_601, "REVOCATION_STALE"),
        ("2h", 3_601, None),
    ],
)
def test_revocation_data_may_be_as_old_as_the_limit(
    limit: str | None, age_s: int, reason: str | None, wallet: Wallet, verify: Verifier
):
    options = () if limit is None else ("--max-revocation-age", limit)
    ran = verify(code_of(wallet, issued_at_s=NOW_S + age_s), *options, at_s=NOW_S + age_s)
    assert (ran.record["granted"], ran.record["reason"]) == (reason is None, reason)


def test_without_a_status_list_nothing_is_granted(wallet: Wallet, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    trust = Issuer().write_trust(tmp_path / "trust.cbor")
    text = code_of(wallet)
    ran = run_here(capsys, "pass", "verify", "--trust", trust, "--audience", SITE, "--at", "2026-01-01T00:00:00Z", text)
    assert refused(ran) == (1, 8, "REVOCATION_STALE")


def test_a_printed_pass_needs_no_holder(verify: Verifier):
    ran = verify(to_text(Issuer().issue(None, kind=PassKind.VISITOR)).decode())
    assert ran.code == ExitCode.OK
    assert (ran.record["assurance"], ran.record["kind"], ran.record["presented_at"]) == (1, "visitor", None)


@pytest.mark.parametrize(
    ("text", "step", "fault"),
    [
        ("", 1, "empty"),
        ("DW1:", 1, "empty"),
        ("DW1:abc", 1, "wrong_alphabet"),
        ("DW1:" + "0" * 700, 1, "too_large"),
        ("DW1:U5", 1, "wrong_type"),
        ("https://example.org", 2, "wrong_prefix"),
    ],
)
def test_what_does_not_parse_is_denied_not_unusable(text: str, step: int, fault: str, verify: Verifier):
    ran = verify(text)
    assert refused(ran)[:2] == (ExitCode.FAILED, step)
    assert ran.record["fault"] == fault
    assert ran.record["pass_id"] is None


def test_an_unreadable_trust_file_is_unusable(wallet: Wallet, verify: Verifier):
    verify.trust.unlink()
    ran = verify(code_of(wallet), "--json")
    assert ran.code == ExitCode.UNUSABLE
    assert str(verify.trust) in ran.complaint["message"]


@pytest.mark.parametrize("content", [b"", b"\x00", b"x" * 20_000])
def test_a_file_that_is_none_is_unusable(content: bytes, wallet: Wallet, verify: Verifier):
    verify.trust.write_bytes(content)
    assert verify(code_of(wallet)).code == ExitCode.UNUSABLE
    Issuer().write_trust(verify.trust)
    verify.status.write_bytes(content)
    assert verify(code_of(wallet)).code == ExitCode.UNUSABLE


def test_a_status_list_of_somebody_else_is_unusable(wallet: Wallet, verify: Verifier):
    Issuer(seed=2).write_status(verify.status)
    ran = verify(code_of(wallet))
    assert ran.code == ExitCode.UNUSABLE
    assert "does not name" in ran.err


def test_a_status_list_of_another_institution_is_unusable(wallet: Wallet, verify: Verifier):
    # The same key, in another institution's name: a list is only believed for the institution that it names.
    Issuer(tenant=Tenant("south-college")).write_status(verify.status)
    ran = verify(code_of(wallet))
    assert ran.code == ExitCode.UNUSABLE
    assert "south-college" in ran.err


def test_a_status_list_given_twice_is_unusable(wallet: Wallet, verify: Verifier):
    ran = verify(code_of(wallet), "--status", verify.status)
    assert ran.code == ExitCode.UNUSABLE
    assert "another copy" in ran.err


@pytest.mark.parametrize("time", ["0", "1w", "x", ""])
def test_a_duration_is_checked(time: str, wallet: Wallet, verify: Verifier):
    assert verify(code_of(wallet), "--max-revocation-age", time).code == ExitCode.UNUSABLE


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n"])
def test_the_program_verifies_what_is_piped_in(line_end: bytes, wallet: Wallet, tmp_path: Path):
    trust, status = Issuer().write_trust(tmp_path / "t"), Issuer().write_status(tmp_path / "s")
    common = (
        "pass",
        "verify",
        "--trust",
        trust,
        "--status",
        status,
        "--audience",
        SITE,
        "--at",
        "2026-01-01T00:00:00Z",
    )
    text = code_of(wallet).encode()
    ran = run_program(*common, "-", stdin=text + line_end)
    assert (ran.code, ran.record["granted"], ran.err) == (ExitCode.OK, True, "")
    ran = run_program(*common, stdin=text + b"\n" + line_end)
    assert ran.code == (ExitCode.OK if not line_end else ExitCode.FAILED)


def test_endless_input_is_refused():
    ran = run_program("pass", "show", stdin=b"0" * (MAX_INPUT_BYTES + 1))
    assert ran.code == ExitCode.UNUSABLE


# --- show ----------------------------------------------------------------------------------------------------


def test_show_says_that_nothing_was_verified(wallet: Wallet, capsys: pytest.CaptureFixture[str]):
    text = code_of(wallet)
    assert run_here(capsys, "pass", "show", text).out.startswith("Not verified")
    record = run_here(capsys, "pass", "show", text, "--json").record
    assert record["verified"] is False
    assert (record["form"], record["audience"], record["access_levels"]) == ("rotating", SITE, [1, 7])


def test_show_reads_what_the_cloud_issues(wallet: Wallet, capsys: pytest.CaptureFixture[str]):
    record = run_here(capsys, "pass", "show", to_base64(wallet.passes()[0].data), "--json").record
    assert record["form"] == "pass"
    assert record["holder_key_id"] == wallet.holder_key.key_id.hex()
    assert "presented_at" not in record


def test_show_tells_that_a_printed_pass_belongs_to_whoever_has_it(capsys: pytest.CaptureFixture[str]):
    text = to_text(Issuer().issue(None)).decode()
    assert run_here(capsys, "pass", "show", text, "--json").record["form"] == "printed"
    assert "whoever has the code may use it" in run_here(capsys, "pass", "show", text).out


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2025-12-31T00:00:00Z", "begins in 1 d"),
        ("2026-01-01T00:00:10Z", "10 s ago"),
        ("2026-01-08T00:00:00Z", "over since 0 s"),
    ],
)
def test_show_tells_how_the_times_relate_to_now(at: str, told: str, wallet: Wallet, capsys: pytest.CaptureFixture[str]):
    assert told in run_here(capsys, "pass", "show", "--at", at, code_of(wallet)).out


@pytest.mark.parametrize("token", ["DW1:", "", "%%%", "AAAA", "A" * 70_000])
def test_show_refuses_what_is_no_token(token: str, capsys: pytest.CaptureFixture[str]):
    ran = run_here(capsys, "pass", "show", "--json", token)
    assert ran.code == ExitCode.UNUSABLE
    assert "neither a presentation nor a pass" in ran.complaint["message"]
