"""Logs are JSON lines, and a log that cannot be written stops nobody."""

from __future__ import annotations

import errno
import io
import json

import pytest
import structlog

from edge.logs import log_as_json


def test_a_log_is_one_json_object_a_line_with_its_time(capsys: pytest.CaptureFixture[str]):
    log_as_json()
    structlog.get_logger().info("decision", seq=7)
    structlog.get_logger().error("lock_failed", sentence="gone")
    first, second = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert (first["event"], first["seq"], first["level"]) == ("decision", 7, "info")
    assert first["timestamp"].endswith("Z")
    assert second["level"] == "error"


class FullDisk(io.StringIO):
    """A stream behind which no space is left."""

    def write(self, _text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("stream", [FullDisk(), io.StringIO()], ids=["full", "closed"])
def test_a_stream_that_cannot_be_written_stops_nobody(stream: io.StringIO):
    if not isinstance(stream, FullDisk):
        stream.close()
    log_as_json(stream)
    structlog.get_logger().info("decision")
    log_as_json()
    assert structlog.is_configured()
