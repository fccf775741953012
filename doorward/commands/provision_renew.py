"""`doorward provision renew`."""

from datetime import timedelta
from typing import Annotated, Final

import typer

from doorward.edgeconfig import USUAL_CONFIG, ConfigOption, read_config
from doorward.errors import CliError, ExitCode
from doorward.output import JsonOption, Output
from edge.config import ConfigError
from provisioning.errors import ProvisioningError
from provisioning.renew import RENEW_BEFORE, renew_certificate

EXAMPLES: Final = """
Examples:
  doorward provision renew
  doorward provision renew --config ./twin/edge.toml --before-days 90

systemd/doorward-renew.timer runs this command every day.
"""


def run(
    *,
    config: ConfigOption = USUAL_CONFIG,
    before_days: Annotated[
        int,
        typer.Option("--before-days", metavar="DAYS", min=0, max=90, help="Renew when fewer days are left."),
    ] = RENEW_BEFORE.days,
    json_lines: JsonOption = False,
) -> None:
    """Renew this door's certificate when it is due.

    Keeps the key. The daemon may run: it reads the new certificate at its next connection. The old certificate stays
    in place until the new one was checked.
    """
    out = Output(json_lines=json_lines)
    try:
        cloud = read_config(config).cloud
        if cloud is None:
            raise CliError(
                ExitCode.UNUSABLE,
                what=f"{config} names no cloud, so that this door has no certificate",
                remedy="enrol it with: doorward provision door",
            )
        renewal = renew_certificate(cloud, before=timedelta(days=before_days))
    except ConfigError as error:
        raise CliError(
            ExitCode.UNUSABLE, what=str(error), remedy=f"check it with: doorward edge check-config --config {config}"
        ) from error
    except ProvisioningError as error:
        raise CliError(ExitCode(error.reason.exit_code), what=error.what, remedy=error.remedy) from error
    sentence = "Renewed; it is" if renewal.renewed else "Not due yet; the certificate is"
    out.result(
        {"renewed": renewal.renewed, "until": renewal.until.isoformat()},
        f"{sentence} valid until {renewal.until.astimezone():%Y-%m-%d %H:%M %Z}.",
    )
