"""``python -m tests.fuzz --cases 20000``: run everything that reads foreign files on spoiled ones, and count.

Exit code 1 when there was a fault of ours: an exception that is no ``LitefleetError``, Python code that hangs, or a
command that prints a traceback. Native crashes are counted, they are no faults: in the packager they end a process
of their own.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path

import click

from tests.fuzz.campaign import run_campaign
from tests.fuzz.commands import run_commands


@click.command()
@click.option("--cases", type=click.IntRange(0), default=2000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Other numbers give other cases.")
@click.option("--first", type=click.IntRange(0), default=0, help="Number of the first case.")
@click.option(
    "--commands", type=click.IntRange(0), default=0, help="How many files to give to the real commands."
)
def main(cases: int, seed: int, first: int, commands: int) -> None:
    """Spoil files and see who minds."""
    found = run_campaign(seed, first, first + cases, click.echo)
    click.echo(
        f"largest worker: {found.peak_bytes / 1e6:.0f} MB; workers that native code ended: {found.crashes}"
    )
    for target, outcomes in sorted(found.outcomes.items()):
        click.echo(f"{target:<10} {dict(Counter(outcomes))}")
    faults = list(found.faults)
    for fault in faults:
        click.echo(f"FAULT {fault}")
    with tempfile.TemporaryDirectory() as folder:
        typed = run_commands(seed, range(first, first + commands), Path(folder))
    for command, codes in sorted(typed.outcomes.items()):
        click.echo(f"{command:<10} exit codes {dict(sorted(codes.items()))}")
    for fault in typed.faults:
        click.echo(f"FAULT {fault}")
    faults += typed.faults
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
