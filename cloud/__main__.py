"""`python -m cloud`: serve without the `doorward` command."""

import argparse
import os
import sys
from pathlib import Path

import structlog

from cloud.errors import CloudError
from cloud.server import Addresses, run
from cloud.settings import read_settings


def main() -> int:
    """Serve until stopped; 2 when it cannot start, with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m cloud", description="Serve the Doorward cloud.")
    parser.add_argument("--state", type=Path, required=True, help="folder of keys, certificates and database")
    parser.add_argument("--api", default="127.0.0.1:8080", help="HOST:PORT for operators")
    parser.add_argument("--devices", default="127.0.0.1:8443", help="HOST:PORT for doors (TLS)")
    options = parser.parse_args()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        settings = read_settings(state=options.state, api=options.api, devices=options.devices, environment=os.environ)
        run(settings, ready=_say_ready, progress=_say)
    except CloudError as error:
        _say(error.detail)
        return 2
    return 0


def _say_ready(addresses: Addresses) -> None:
    sys.stdout.write(f"api {addresses.api_url} devices {addresses.device_url}\n")
    sys.stdout.flush()


def _say(sentence: str) -> None:
    sys.stderr.write(f"{sentence}\n")


if __name__ == "__main__":
    sys.exit(main())
