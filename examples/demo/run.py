"""litefleet from a model file to a running fleet, on this one machine: what ``make demo`` runs.

Packs three versions of the digits model for two device profiles and shows a fourth being refused; starts a server
with its broker and five agents; rolls out 1.0.0, then 1.1.0 to a canary first while applications on every device
keep asking; then damages 1.3.0 on the server's disk and shows the canaries refusing it. Writes
``build/demo/summary.json`` and ends with 0 only if everything was as told.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from processes import DemoError, Processes, end_leftovers, leftovers
from rich.console import Console
from story import Story
from summary import print_table, unmet

if TYPE_CHECKING:
    from types import FrameType

TABLE_COLUMNS = 110
"""A narrower terminal wraps lines; it does not lose figures."""
ROOT = Path(__file__).resolve().parents[2]


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the demo; 0 when everything was as told, 1 otherwise."""
    parser = argparse.ArgumentParser(description="litefleet from a model file to a running fleet")
    parser.add_argument(
        "--keep", action="store_true", help="leave everything running and say how to look around"
    )
    parser.add_argument("--stop", action="store_true", help="end a demo that was left running")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "demo")
    arguments = parser.parse_args()
    folder: Path = arguments.folder.resolve()
    console = Console(highlight=False, soft_wrap=True)
    console.width = max(console.width, TABLE_COLUMNS)
    ended = end_leftovers(folder)
    if ended:
        console.print(f"ended {ended} processes of an earlier demo")
    if arguments.stop:
        return 0
    signal.signal(signal.SIGTERM, _interrupted)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    processes = Processes(folder)
    story = Story(folder=folder, examples=ROOT / "examples" / "digits", processes=processes, console=console)
    problems: list[str] = []
    begun = time.monotonic()
    try:
        summary = story.tell()
        summary["seconds"] = round(time.monotonic() - begun, 1)
        problems = unmet(summary)
    except (DemoError, KeyboardInterrupt) as error:
        problems = [str(error) or "interrupted"]
        summary = {}
    finally:
        if not arguments.keep or problems:
            problems += [f"{name} did not end when asked" for name in processes.stop()]
            problems += [f"process {pid} was left behind" for pid in leftovers(folder)]
            end_leftovers(folder)
    if summary:
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
        print_table(console, summary)
    for problem in problems:
        console.print(f"[red]not as told:[/red] {problem}", soft_wrap=True)
    if not problems and arguments.keep:
        story.say_how_to_look_around()
    if summary:
        console.print(f"summary: {folder / 'summary.json'}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
