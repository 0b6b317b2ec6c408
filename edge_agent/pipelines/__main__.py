"""The process of all pipelines and ensembles: ``python -m edge_agent.pipelines``, started by the agent."""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path

import click

from contract.errors import LitefleetError
from edge_agent.overload_pipe import teller_of
from edge_agent.pipelines.serving import serve
from edge_agent.pipelines.settings import parse_combined

logger = logging.getLogger("edge_agent.pipelines")


@click.command()
@click.option("--run-dir", type=click.Path(path_type=Path), required=True, help="Run folder of the agent.")
@click.option("--settings", required=True, help="Its [[pipelines]] and [[ensembles]], as JSON.")
@click.option("--tells", is_flag=True, help="Write what was refused to standard output.")
def main(run_dir: Path, settings: str, *, tells: bool) -> None:
    """Serve pipelines and ensembles until standard input ends.

    Example: python -m edge_agent.pipelines --run-dir /run/litefleet
    --settings '{"ensembles": [{"name": "both", "models": ["one", "other"]}]}'
    """
    logging.basicConfig(level=logging.INFO, format="pipelines: %(message)s")
    should_stop = threading.Event()
    threading.Thread(target=_wait_for_end_of_input, args=(should_stop,), daemon=True).start()
    try:
        combined = parse_combined(settings)
        serve([*combined.pipelines, *combined.ensembles], run_dir, should_stop, teller_of(tells=tells))
    except LitefleetError as error:
        logger.error("%s", error.summary())  # noqa: TRY400 - expected: one line says it
        raise SystemExit(1) from error


def _wait_for_end_of_input(should_stop: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    should_stop.set()


if __name__ == "__main__":
    main()
