"""The gateway process: ``python -m edge_agent.gateway``, started by the agent, or by hand beside one."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import click

from contract.errors import LitefleetError
from edge_agent.gateway.server import serve
from edge_agent.gateway.settings import parse_settings
from edge_agent.overload_pipe import teller_of

logger = logging.getLogger("edge_agent.gateway")


@click.command()
@click.option("--run-dir", type=click.Path(path_type=Path), required=True, help="Run folder of the agent.")
@click.option("--settings", default="{}", help="The [gateway] table of the configuration, as JSON.")
@click.option("--tells", is_flag=True, help="Write what was refused to standard output.")
def main(run_dir: Path, settings: str, *, tells: bool) -> None:
    """Answer the Open Inference Protocol until standard input ends.

    Example: python -m edge_agent.gateway --run-dir /run/litefleet --settings '{"port": 8001}'
    """
    logging.basicConfig(level=logging.INFO, format="gateway: %(message)s")
    try:
        asyncio.run(serve(run_dir, parse_settings(settings), teller_of(tells=tells)))
    except LitefleetError as error:
        logger.error("%s", error.summary())  # noqa: TRY400 - expected: one line says it
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
