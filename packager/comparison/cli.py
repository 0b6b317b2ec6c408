"""The command that compares two bundles, for ``packager.cli``. What it needs is imported when it runs."""

from __future__ import annotations

from pathlib import Path

import click

_PATH = click.Path(path_type=Path)


@click.command(
    epilog="Example: litefleet-packager compare digits-1.0.0-raspberry-pi-4.bundle digits-1.1.0-raspberry-pi-4.bundle"
)
@click.argument("before", type=_PATH)
@click.argument("after", type=_PATH)
@click.option("--html", type=_PATH, help="Also write the comparison to this file, as a page.")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(before: Path, after: Path, html: Path | None, *, as_json: bool) -> None:
    """Check two bundles whole and say what changed from BEFORE to AFTER.

    Changes that break applications or devices are named so, as is what a device would have to fetch. Ends with exit
    code 0 whatever changed, as long as both bundles are sound.
    """
    from packager.comparison.lines import comparison_lines
    from packager.comparison.read import compare_bundles
    from packager.reporting.document import to_json

    found = compare_bundles(before, after)
    if html is not None:
        from packager.durable import write_durably
        from packager.reporting.render import render_comparison

        write_durably(html, render_comparison(found), 0o644)
    if as_json:
        click.echo(to_json(found), nl=False)
    else:
        for line in comparison_lines(found):
            click.echo(line)
