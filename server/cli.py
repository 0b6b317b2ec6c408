"""``litefleet-server``: make a server's folder, run the server."""

from __future__ import annotations

import logging
import shlex
import signal
from pathlib import Path

import click

from contract.commands import LitefleetGroup
from server.config import HttpConfig, MqttConfig, ServerConfig, load_config, parse_config, render_config


@click.group(
    cls=LitefleetGroup,
    epilog="Example: litefleet-server init fleet && litefleet-server run fleet",
)
@click.version_option(package_name="litefleet")
def main() -> None:
    """Run the server of a fleet: releases, rollouts, telemetry."""


@main.command(epilog="Example: litefleet-server init fleet --http-port 8080")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--http-port", default=HttpConfig().port, show_default=True, help="Port of the HTTP API.")
@click.option("--mqtt-port", default=MqttConfig().port, show_default=True, help="Port of the MQTT broker.")
def init(folder: Path, http_port: int, mqtt_port: int) -> None:
    """Make FOLDER with settings, secrets and database."""
    from server.layout import create_folder

    draft = ServerConfig(http=HttpConfig(port=http_port), mqtt=MqttConfig(port=mqtt_port))
    config = parse_config(render_config(draft).encode(), {}, where="the command line")
    layout = create_folder(folder, config)
    shown = shlex.quote(str(folder))
    click.echo(
        f"made {shown}: settings in {layout.config.name}, secrets in {layout.secrets.name}/ (keep them)"
    )
    click.echo("next:")
    click.echo(f"  litefleet-server run {shown}")
    click.echo(f"  export LITEFLEET_SERVER={config.http_url()}")
    click.echo(f"  export LITEFLEET_TOKEN_FILE={shlex.quote(str(layout.secrets / 'operator.token'))}")
    click.echo(
        f"  export LITEFLEET_PUBLISHER_TOKEN_FILE={shlex.quote(str(layout.secrets / 'publisher.token'))}"
    )
    click.echo("  litefleet-packager keys init   # then pack and publish; litefleet devices add")


@main.command(epilog="Example: litefleet-server run fleet")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--print-config", is_flag=True, help="Print the settings in force, and end.")
def run(folder: Path, print_config: bool) -> None:
    """Run the server of FOLDER until Ctrl-C or SIGTERM.

    The line that begins with "ready" says that it can be used.
    """
    config = load_config(folder)
    if print_config:
        click.echo(render_config(config), nl=False)
        return
    from server.api.application import OPENAPI_PATH
    from server.app import Server

    logging.getLogger("server").setLevel(logging.INFO)
    server = Server(folder, config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.request_stop())
    ready = server.start()
    if ready.warning:
        click.secho(f"WARNING: {ready.warning}", err=True, bold=True)
    click.echo(
        f"litefleet server on {ready.http_url}, description of its API at {ready.http_url}{OPENAPI_PATH}"
    )
    click.echo(f"broker: {ready.broker} on {ready.mqtt_address}")
    click.echo(f"ready http={ready.http_url} mqtt={ready.mqtt_address}")
    server.wait()
    click.echo("ended")
