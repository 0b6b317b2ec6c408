"""``litefleet-agent service``: let systemd run the agent."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import sys
from pathlib import Path

import click

from contract.errors import ConfigError
from edge_agent.config import load_config
from edge_agent.files import write_durably
from edge_agent.service.unit import GROUPS, UnitPlan, plan_unit

UNIT_PATH = Path("/etc/systemd/system/litefleet-agent.service")


@click.group()
def service() -> None:
    """Run the agent as a system service.

    Example: litefleet-agent service install --config /etc/litefleet/agent.toml --dry-run
    """


@service.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The agent.toml that 'litefleet devices add' wrote.",
)
@click.option("--user", default="litefleet", show_default=True, help="Who runs the agent.")
@click.option(
    "--memory-max", default="75%", show_default=True, help="Most memory for the agent and all its processes."
)
@click.option(
    "--output", type=click.Path(path_type=Path), default=UNIT_PATH, show_default=True, help="The unit."
)
@click.option("--dry-run", is_flag=True, help="Print the unit and write nothing.")
def install(config_path: Path, user: str, memory_max: str, output: Path, *, dry_run: bool) -> None:
    """Write a systemd unit with watchdog, memory limit and sandbox; say what is left to do.

    Example: sudo litefleet-agent service install --config /etc/litefleet/agent.toml
    """
    config = load_config(config_path, os.environ)
    text = plan_unit(
        UnitPlan(
            program=Path(sys.argv[0]).absolute(),
            config=config_path.absolute(),
            state_dir=config.device.state_dir,
            run_dir=config.device.run_dir,
            user=user,
            groups=_existing_groups(),
            memory_max=_checked_memory(memory_max),
            has_external_delegates=bool(config.delegates),
        )
    )
    if dry_run:
        click.echo(text, nl=False)
        return
    write_durably(output, text.encode())
    output.chmod(0o644)
    click.echo(f"wrote {output}; then:")
    for line in _left_to_do(user, config_path.absolute(), config.mqtt.password_file, output.name):
        click.echo(f"  {line}")


def _existing_groups() -> list[str]:
    """Of the groups that own devices, those that this board has: systemd refuses a unit that names another."""
    found: list[str] = []
    for name in GROUPS:
        with contextlib.suppress(KeyError):
            found.append(grp.getgrnam(name).gr_name)
    return found


def _checked_memory(text: str) -> str:
    digits, unit = text.rstrip("%KMG"), text[len(text.rstrip("%KMG")) :]
    if not digits.isdigit() or int(digits) == 0 or len(unit) > 1 or (unit == "%" and int(digits) > 100):
        raise ConfigError(f"--memory-max: {text!r} is no amount of memory", remedy="for example 75% or 350M")
    return text


def _left_to_do(user: str, config_path: Path, password_file: Path, unit: str) -> list[str]:
    lines: list[str] = []
    try:
        pwd.getpwnam(user)
    except KeyError:
        lines.append(f"useradd --system --no-create-home --shell /usr/sbin/nologin {user}")
    return [
        *lines,
        f"chown {user} {password_file} && chmod 600 {password_file}   # {config_path} must be readable too",
        "systemctl daemon-reload",
        f"systemctl enable --now {unit}",
    ]
