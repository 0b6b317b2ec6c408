"""The commands of ``litefleet``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from contract.commands import LitefleetGroup
from server.ctl import tables
from server.ctl.changes import describe_change, list_changes
from server.ctl.client import Client, read_token
from server.ctl.device_folder import SETTINGS_NAME, make_device_folder
from server.ctl.watch import choose_rollout, follow

DEFAULT_SERVER = "http://127.0.0.1:8080"
DEFAULT_TOKEN_FILE = "~/.config/litefleet/operator.token"  # noqa: S105 - a path
PLAIN_WIDTH = 240
"""Columns of a table that does not go to a terminal: wide enough that nothing is folded."""
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass
class _Remote:
    """What every command needs."""

    server: str
    token_file: Path
    as_json: bool

    def client(self) -> Client:
        return Client(self.server, read_token(self.token_file))

    def show(self, found: Any, table: Callable[[Any], Table]) -> None:
        """Print what the server answered: as JSON, or as a table."""
        if self.as_json:
            click.echo(json.dumps(found))
        else:
            _console().print(table(found))


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)


def _json_option(command: _Command) -> _Command:
    """``--json`` on a command too: it is where people look for it."""

    def switch_on(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        del parameter
        if value:
            context.find_root().obj.as_json = True

    option = click.option(
        "--json", is_flag=True, expose_value=False, callback=switch_on, help="Print JSON instead of a table."
    )
    return option(command)


@click.group(
    cls=LitefleetGroup,
    epilog="Example: litefleet rollouts start digits 1.1.0 --canary 0.2 && litefleet watch",
)
@click.version_option(package_name="litefleet")
@click.option(
    "--server", envvar="LITEFLEET_SERVER", default=DEFAULT_SERVER, show_default=True, help="The server's URL."
)
@click.option(
    "--token-file",
    envvar="LITEFLEET_TOKEN_FILE",
    default=DEFAULT_TOKEN_FILE,
    show_default=True,
    type=click.Path(path_type=Path),
    help="File with the operator's token.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.pass_context
def main(context: click.Context, server: str, token_file: Path, as_json: bool) -> None:
    """Look after a fleet: devices, releases, rollouts, telemetry."""
    context.obj = _Remote(server, token_file, as_json)


@main.group(invoke_without_command=True, epilog="Example: litefleet devices")
@_json_option
@click.pass_context
def devices(context: click.Context) -> None:
    """List devices, or add one."""
    if context.invoked_subcommand is None:
        remote: _Remote = context.obj
        with remote.client() as client:
            remote.show(client.get("/api/v1/devices"), tables.devices_table)


@devices.command("add", epilog="Example: litefleet devices add pi-kitchen --profile raspberry-pi-4")
@click.argument("device")
@click.option("--profile", required=True, help="Class of the board.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder to write for the device; default: its id."
)
@_json_option
@click.pass_obj
def add_device(remote: _Remote, device: str, profile: str, output: Path | None) -> None:
    """Let DEVICE in, and write the folder that it is to be given."""
    folder = Path(device) if output is None else output
    with remote.client() as client:
        make_device_folder(folder, lambda: client.post("/api/v1/devices", {"id": device, "profile": profile}))
    if remote.as_json:
        click.echo(json.dumps({"id": device, "profile": profile, "folder": str(folder)}))
        return
    click.echo(f"wrote {folder}: copy it to the device, it holds its password; then there:")
    click.echo(f"  litefleet-agent run --config {folder / SETTINGS_NAME}")


@main.command(epilog="Example: litefleet releases --json")
@_json_option
@click.pass_obj
def releases(remote: _Remote) -> None:
    """List what can be rolled out."""
    with remote.client() as client:
        remote.show(client.get("/api/v1/releases"), tables.releases_table)


@main.group(invoke_without_command=True, epilog="Example: litefleet rollouts")
@_json_option
@click.pass_context
def rollouts(context: click.Context) -> None:
    """List rollouts, start, show or stop one."""
    if context.invoked_subcommand is None:
        remote: _Remote = context.obj
        with remote.client() as client:
            remote.show(client.get("/api/v1/rollouts"), tables.rollouts_table)


@rollouts.command("start", epilog="Example: litefleet rollouts start digits 1.1.0 --phase 0.1 --phase 1.0")
@click.argument("model")
@click.argument("version")
@click.option("--phase", "phases", multiple=True, type=float, help="Cumulative share of a phase; repeat it.")
@click.option("--canary", type=float, help="Share of the first of two phases.")
@click.option("--device", "chosen", multiple=True, help="Only this device; repeat it.")
@click.option("--trial-s", default=0.0, show_default=True, help="Seconds that a device watches the version.")
@_json_option
@click.pass_obj
def start_rollout(
    remote: _Remote,
    model: str,
    version: str,
    phases: tuple[float, ...],
    canary: float | None,
    chosen: tuple[str, ...],
    trial_s: float,
) -> None:
    """Bring VERSION of MODEL to the devices, phase by phase."""
    if phases and canary is not None:
        raise click.UsageError("--phase and --canary exclude each other")
    shares = phases or ((1.0,) if canary is None else (canary, 1.0))
    order = {"model": model, "version": version, "phases": shares, "trial_s": trial_s}
    with remote.client() as client:
        rollout = client.post("/api/v1/rollouts", order | {"devices": list(chosen) or None})
    remote.show(rollout, tables.rollout_table)


@rollouts.command("show", epilog="Example: litefleet rollouts show 0123456789ab")
@click.argument("rollout")
@_json_option
@click.pass_obj
def show_rollout(remote: _Remote, rollout: str) -> None:
    """Show ROLLOUT with all its devices."""
    with remote.client() as client:
        remote.show(client.get(f"/api/v1/rollouts/{quote(rollout, safe='')}"), tables.rollout_table)


@rollouts.command("stop", epilog="Example: litefleet rollouts stop 0123456789ab")
@click.argument("rollout")
@_json_option
@click.pass_obj
def stop_rollout(remote: _Remote, rollout: str) -> None:
    """Stop ROLLOUT: assign nothing more, take back what has not ended."""
    with remote.client() as client:
        remote.show(client.post(f"/api/v1/rollouts/{quote(rollout, safe='')}/stop"), tables.rollout_table)


@main.command(epilog="Example: litefleet telemetry --model digits")
@click.option("--model", help="Of this model only.")
@click.option("--device", help="Of this device only.")
@click.option("--version", help="Of this version only.")
@_json_option
@click.pass_obj
def telemetry(remote: _Remote, model: str | None, device: str | None, version: str | None) -> None:
    """Show requests, errors and latency per device and variant."""
    with remote.client() as client:
        rows = client.get("/api/v1/telemetry", {"model": model, "device": device, "version": version})
        remote.show(rows, tables.telemetry_table)


@main.command(epilog="Example: litefleet benches --model digits")
@click.option("--model", help="Of this model only.")
@click.option("--device", help="Of this device only.")
@click.option("--version", help="Of this version only.")
@_json_option
@click.pass_obj
def benches(remote: _Remote, model: str | None, device: str | None, version: str | None) -> None:
    """Show what boards really do: what 'litefleet-agent bench' measured there, newest first."""
    with remote.client() as client:
        rows = client.get("/api/v1/benches", {"model": model, "device": device, "version": version})
        remote.show(rows, tables.benches_table)


@main.command(epilog="Example: litefleet watch --json")
@click.argument("rollout", required=False)
@_json_option
@click.pass_context
def watch(context: click.Context, rollout: str | None) -> None:
    """Follow ROLLOUT, or the newest, to its end; exit 0 when it succeeded, 1 when it stopped."""
    remote: _Remote = context.obj
    with remote.client() as client:
        chosen = choose_rollout(client, rollout)
        is_live = sys.stdout.isatty() and not remote.as_json
        state = (
            _watch_live(client, chosen) if is_live else _watch_lines(client, chosen, as_json=remote.as_json)
        )
    context.exit(0 if state == "succeeded" else 1)


def _watch_live(client: Client, rollout: str) -> str:
    state = ""
    with Live(console=_console(), auto_refresh=False) as live:
        for view in follow(client, quote(rollout, safe=""), live.console.log):
            live.update(tables.rollout_table(view), refresh=True)
            state = view["state"]
    return state


def _watch_lines(client: Client, rollout: str, *, as_json: bool) -> str:
    before = None
    for view in follow(client, quote(rollout, safe=""), lambda text: click.echo(text, err=True)):
        for change in list_changes(before, view):
            click.echo(json.dumps(change) if as_json else describe_change(change))
        before = view
    return "" if before is None else str(before["state"])
