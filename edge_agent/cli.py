"""``litefleet-agent``: run the agent, or look at what a device runs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from pathlib import Path

import click
import msgspec

from contract.commands import EXIT_REFUSED, LitefleetGroup
from edge_agent.config import load_config
from edge_agent.service.cli import service

CONFIG_OPTION = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The agent.toml that 'litefleet devices add' wrote.",
)


@click.group(cls=LitefleetGroup)
@click.version_option(package_name="litefleet", prog_name="litefleet-agent")
def main() -> None:
    """The litefleet agent: verified updates, inference and telemetry on one device.

    Example: litefleet-agent run --config /etc/litefleet/agent.toml
    """


@main.command()
@CONFIG_OPTION
@click.option("--print-config", is_flag=True, help="Show every setting with the value in force, and end.")
def run(config_path: Path, *, print_config: bool) -> None:
    """Run until SIGTERM or SIGINT.

    Example: litefleet-agent run --config agent.toml
    """
    config = load_config(config_path, os.environ)
    if print_config:
        from edge_agent.config_text import show_config

        click.echo(show_config(config), nl=False)
        return
    from edge_agent.app import run_agent
    from edge_agent.service.journal import log_to_journal
    from edge_agent.service.notify import notifier

    log_to_journal(os.environ, sys.stderr.fileno())
    set_log_level("info")
    with contextlib.closing(notifier()) as manager:
        run_agent(
            config,
            on_ready=lambda: click.echo(f"agent {config.device.id} ready"),
            set_log_level=set_log_level,
            manager=manager,
        )


@main.command()
@CONFIG_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def status(config_path: Path, *, as_json: bool) -> None:
    """Show what this device runs, from its state folder; the agent may run or not.

    Example: litefleet-agent status --config agent.toml --json
    """
    from edge_agent.status import read_status, show_status

    found = read_status(load_config(config_path, os.environ))
    click.echo(msgspec.json.encode(found).decode() if as_json else show_status(found))


@main.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    help="The agent.toml: for its delegates, its profile and what it remembers. Without it: this machine as it is.",
)
@click.option("--fresh", "is_fresh", is_flag=True, help="Try everything again, also what is remembered.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(config_path: Path | None, *, is_fresh: bool, as_json: bool) -> None:
    """Show what this board can run, what it cannot, why, and what to do about it.

    Ends with 0 when something can run, with 1 when nothing can.

    Example: litefleet-agent doctor --config agent.toml
    """
    from edge_agent.doctor import agent_note, check_usable, examine, feel, show_survey, survey_document

    config = None if config_path is None else load_config(config_path, os.environ)
    reading, limits = feel(config)  # before the probes warm it up
    survey = examine(config, is_fresh=is_fresh)
    if as_json:
        click.echo(msgspec.json.encode(survey_document(survey, reading)).decode())
    else:
        click.echo(show_survey(survey, reading, limits, agent_note(config)))
    check_usable(survey)


@main.command()
@click.argument("model", required=False)
@CONFIG_OPTION
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every run.")
@click.option("--no-send", "is_unsent", is_flag=True, help="Do not let the server know.")
def bench(model: str | None, config_path: Path, *, as_json: bool, is_unsent: bool) -> None:
    """Measure the active version of MODEL on this board; without MODEL, the only one that is installed.

    Three fresh processes one after another, ten warm-up runs and fifty timed runs each, with the code that serves.
    The active worker keeps serving. Ends with 0 when the measure counts, with 1 when it does not: another delegate
    ran than was asked for, or the board was throttled.

    Example: litefleet-agent bench digits --config /etc/litefleet/agent.toml
    """
    from edge_agent.bench.command import run_bench
    from edge_agent.bench.show import bench_document, does_count, kept_note, show_bench, show_process

    measured, kept = run_bench(
        load_config(config_path, os.environ),
        model,
        is_sent=not is_unsent,
        on_process=lambda number, run: click.echo(show_process(number, run.measured), err=True),
    )
    if as_json:
        click.echo(msgspec.json.encode(bench_document(measured, is_kept=kept.is_kept)).decode())
    else:
        click.echo(show_bench(measured))
        click.echo(kept_note(is_kept=kept.is_kept, agent_pid=kept.agent_pid))
    sys.exit(0 if does_count(measured) else EXIT_REFUSED)


main.add_command(service)


def set_log_level(level: str) -> None:
    """Set from which level on the agent's own log lines are written."""
    for name in ("edge_agent", "contract"):
        logging.getLogger(name).setLevel(level.upper())
