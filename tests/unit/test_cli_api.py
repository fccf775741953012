"""Talking to a cloud: what is said when something else answers. With a real cloud: tests/e2e/test_cloud_commands.py."""

from __future__ import annotations

import pytest

from doorward.api import CloudApi
from doorward.errors import CliError, ExitCode
from tests.support.web_page import answering


def fault_of(status: int, body: bytes) -> CliError:
    with answering(status, body) as url, CloudApi(url, "token") as api, pytest.raises(CliError) as caught:
        api.get("institutions")
    return caught.value


def test_a_page_that_is_no_api_is_told():
    fault = fault_of(200, b"<html>Welcome to nginx!</html>")
    assert fault.code is ExitCode.UNREACHABLE
    assert "not the cloud's API" in fault.what


def test_an_empty_answer_is_nothing():
    with answering(200, b"") as url, CloudApi(url, "token") as api:
        assert api.get("institutions") is None


@pytest.mark.parametrize("body", [b"Not Found", b"[]", b'{"detail": "no reason"}'])
def test_a_refusal_without_a_problem_document_is_told_by_its_status(body: bytes):
    fault = fault_of(404, body)
    assert fault.code is ExitCode.REFUSED
    assert "(NOT FOUND): it answered 404" in fault.what


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        (
            b'[{"key": "roles[0]", "message": "Invalid enum value", "source": "body"}]',
            "No: roles[0]: Invalid enum value",
        ),
        (b'[{"key": "a", "message": "x"}, {"message": "y"}]', "No: a: x; the request: y"),
        (b'[{"key": "data", "message": "\'data\'", "source": "body"}]', "No: data: missing"),
        (b"[]", "No"),
        (b'["odd"]', "No"),
        (b"7", "No"),
    ],
)
def test_what_was_wrong_in_a_request_is_named(errors: bytes, told: str):
    fault = fault_of(400, b'{"reason": "BAD_REQUEST", "detail": "No.", "errors": ' + errors + b"}")
    assert fault.what == f"the cloud refused (BAD_REQUEST): {told}"
    assert "openapi.json" in fault.remedy


def test_a_sick_cloud_is_told_from_one_that_refuses():
    fault = fault_of(503, b'{"reason": "DATABASE_UNAVAILABLE", "detail": "The database does not answer."}')
    assert fault.code is ExitCode.UNREACHABLE
    assert "DATABASE_UNAVAILABLE" in fault.what


@pytest.mark.parametrize("url", ["nonsense", "http://", "ftp://127.0.0.1", "http://[", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_told(url: str):
    with pytest.raises(CliError) as caught, CloudApi(url, "token") as api:
        api.get("institutions")
    assert caught.value.code in (ExitCode.UNREACHABLE, ExitCode.UNUSABLE)
