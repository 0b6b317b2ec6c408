"""The process of one source: ``python -m edge_agent.inference.sources``, started by the agent, or by hand."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from contract.errors import LitefleetError
from edge_agent.inference.client import connect
from edge_agent.inference.sources.build import open_capture, open_sink
from edge_agent.inference.sources.control import Control, read_settings
from edge_agent.inference.sources.outlet import Outlet
from edge_agent.inference.sources.settings import parse_settings
from edge_agent.inference.sources.source import Source

logger = logging.getLogger("edge_agent.inference.sources")


@click.command()
@click.option("--run-dir", type=click.Path(path_type=Path), required=True, help="Run folder of the agent.")
@click.option("--tells", is_flag=True, help="Write counts to standard output.")
def main(run_dir: Path, *, tells: bool) -> None:
    """Have a model answer until standard input ends.

    The first line of standard input is one table of [[sources]] as JSON, paths absolute.
    """
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    reports = os.dup(sys.stdout.fileno()) if tells else None
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a user's function may print
    try:
        source = parse_settings(read_settings(sys.stdin.fileno()))
        outlets = [Outlet(sink, open_sink(sink)) for sink in source.sinks]
        with connect(run_dir) as agent:
            capture = open_capture(source)
            Source(agent, source, capture, outlets, Control(sys.stdin.fileno(), reports)).run()
    except LitefleetError as error:
        logger.error("%s", error.summary())  # noqa: TRY400 - expected: one line says it
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
