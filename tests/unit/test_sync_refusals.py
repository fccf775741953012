"""Broken connections in words: who is at an address is called what it is."""

from __future__ import annotations

import errno
import socket
import ssl

import httpx
import pytest

from sync.refusals import explain, late


def distrusted(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


def refused(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, "refused")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(111, "Connection refused"),
        httpx.ReadTimeout("late"),
        *(distrusted(code) for code in (9, 10, 26, 62, 99)),
        refused("TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        refused("NO_PROTOCOLS_AVAILABLE"),
    ],
)
def test_a_broker_is_not_called_a_cloud(error: Exception):
    assert "the cloud" in explain(error, "https://cloud.example").what
    told = explain(error, "mqtts://broker.example")
    assert "broker" in told.what
    assert "cloud" not in told.what


def test_a_refused_connection_is_told_in_the_systems_words():
    error = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('192.0.2.1', 8443)")
    assert explain(error, "https://cloud.example").what.endswith("cannot be reached (Connection refused)")


def test_a_name_that_is_not_found_is_told_in_the_resolvers_words():
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert explain(error, "https://cloud.example").what.endswith("cannot be reached (Name or service not known)")


def test_a_broker_that_is_late_is_a_broker():
    assert late("mqtts://broker.example").what.startswith("the broker at mqtts://broker.example")
    assert late("https://cloud.example").what.startswith("the cloud at https://cloud.example")


def test_a_stranger_at_the_brokers_address_is_told_from_one_at_the_clouds():
    assert "is not the cloud that" in explain(distrusted(20), "https://cloud.example").what
    assert "is not a broker of the cloud that" in explain(distrusted(20), "mqtts://broker.example").what


def test_what_speaks_no_tls_names_the_port_to_use():
    assert "8883" in explain(refused("WRONG_VERSION_NUMBER"), "mqtts://broker.example").remedy
    assert "device listener" in explain(refused("WRONG_VERSION_NUMBER"), "https://cloud.example").remedy
