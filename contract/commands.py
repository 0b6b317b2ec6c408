"""How every litefleet command ends: 0 done, 1 refused, 2 wrong usage or configuration.

A click group that turns expected failures into one line on standard error that says what to do; ``--verbose``
shows everything. Bugs are not caught: they keep their traceback.
"""

from __future__ import annotations

import logging
from typing import Any

import click

from contract.errors import ConfigError, LitefleetError

EXIT_REFUSED = 1
EXIT_USAGE = 2


class LitefleetGroup(click.Group):
    """A command group with ``--verbose`` and litefleet's exit codes."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["-v", "--verbose"], is_flag=True, help="Show log lines, and every detail of an error."
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; end the process with the exit code that the failure's family asks for."""
        verbose = bool(ctx.params.pop("verbose", False))
        logging.basicConfig(
            level=logging.INFO if verbose else logging.WARNING,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        )
        try:
            return super().invoke(ctx)
        except LitefleetError as error:
            click.echo(f"error: {error.diagnostics() if verbose else error.summary()}", err=True)
            ctx.exit(EXIT_USAGE if isinstance(error, ConfigError) else EXIT_REFUSED)
