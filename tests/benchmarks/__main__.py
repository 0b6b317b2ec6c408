"""``python -m tests.benchmarks [AREA…]``: run benchmarks, print a table, store ``build/bench/<area>.json``."""

from __future__ import annotations

import click

from tests.benchmarks import harness

_MET = {True: "met", False: "MISSED", None: ""}


@click.command()
@click.argument("chosen", nargs=-1, type=click.Choice(harness.areas()), metavar="[AREA]...")
def main(chosen: tuple[str, ...]) -> None:
    """Run the benchmarks of the areas named, or of all of them."""
    for area in chosen or harness.areas():
        rows = harness.run_area(area)
        path = harness.store_rows(area, rows)
        width = max((len(row.name) for row in rows), default=0)
        for row in rows:
            goal = f"  goal {row.goal} {_MET[row.is_met]}" if row.goal else ""
            baseline = f"  (baseline {row.baseline:.4g})" if row.baseline is not None else ""
            click.echo(
                f"{row.name:<{width}}  {row.value:10.4g} {row.unit:<8}{baseline}{goal}  n={row.samples}"
            )
        click.echo(f"stored in {path}")


if __name__ == "__main__":
    main()
