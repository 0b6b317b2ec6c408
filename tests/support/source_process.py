"""The process of a source, as the agent starts it, and what it left in a file sink."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge_agent.inference.sources.tally import Counts
from tests.support.inference_slots import ROOT


@contextlib.contextmanager
def a_source(run_dir: Path, **settings: Any) -> Iterator[subprocess.Popen[str]]:
    """A source of digits, killed at the end.

    Args:
        run_dir: Of the agent.
        settings: Its table of ``[[sources]]``, but for the model.
    """
    text = msgspec.json.encode({"model": "digits", **settings}).decode()
    command = [sys.executable, "-m", "edge_agent.inference.sources", "--run-dir", str(run_dir), "--tells"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(f"{text}\n")
        process.stdin.flush()
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[Counts, str]:
    """End a source; its last counts, and what it logged."""
    output, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    return msgspec.json.decode(output.splitlines()[-1], type=Counts), errors


def answers(path: Path) -> list[dict[str, Any]]:
    """What a file sink holds; nothing where it has not begun."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class Log:
    """What a source's process writes, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.lines.append(line)

    def has(self, words: str, since: int = 0) -> bool:
        """Whether a line from this one on holds these words."""
        return any(words in line for line in self.lines[since:])


def digits_of(results: Path) -> list[str]:
    """The digits that a file sink holds."""
    return [each["classes"][0]["label"] for each in answers(results)]


def size_of(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Threads and descriptors of a process."""
    task, fd = (len(list(Path(f"/proc/{process.pid}/{folder}").iterdir())) for folder in ("task", "fd"))
    return task, fd
