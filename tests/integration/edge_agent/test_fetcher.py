"""The door to the fetching process, with small programs in its place."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.errors import DigestError, DownloadError, MessageError
from edge_agent.update.fetch_protocol import (
    Fetched,
    FetchJob,
    Line,
    Progress,
    Refused,
    serialize_job,
    serialize_line,
)
from edge_agent.update.fetcher import FetchLimits, FetchProcess
from tests.support.agent_bench import wait_until
from tests.support.builders import some_capabilities

DONE = Fetched(manifest_sha256="0" * 64, variant="float32", bytes_total=9, bytes_downloaded=9)


PATIENT = FetchLimits(silence_s=20.0)
AGENT = """
from pathlib import Path
from edge_agent.update.fetch_protocol import parse_job
from edge_agent.update.fetcher import FetchProcess
FetchProcess(Path({folder!r}), {command!r}).fetch(parse_job({job!r}), print, lambda: False)
"""


def a_job() -> FetchJob:
    return FetchJob(
        server_url="http://127.0.0.1:1",
        root_path="root.json",
        trust_dir="trust",
        model="digits",
        version="1.0.0",
        profile="generic-x86-64",
        capabilities=some_capabilities(),
        slot_dir="slot",
    )


def program(body: str) -> tuple[str, ...]:
    start = "import os, sys, time\njob = sys.stdin.readline()\nwrite = lambda b: os.write(1, b)\n"
    return (sys.executable, "-c", start + body)


def fetch(
    folder: Path,
    body: str,
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    should_stop: Callable[[], bool] = lambda: False,
    limits: FetchLimits = PATIENT,
) -> Fetched | None:
    return FetchProcess(folder, program(body), limits).fetch(a_job(), progress, should_stop)


def test_progress_and_the_result_come_through(tmp_path: Path) -> None:
    lines: list[Line] = [Progress(bytes_done=4, bytes_total=9), Progress(bytes_done=9, bytes_total=9), DONE]
    told: list[tuple[int, int]] = []
    content = b"".join(serialize_line(line) for line in lines)
    body = f"content = {content!r}\nwrite(content[:30])\ntime.sleep(0.05)\nwrite(content[30:])"
    assert fetch(tmp_path, body, progress=lambda done, total: told.append((done, total))) == DONE
    assert told == [(4, 9), (9, 9)]


def test_a_refusal_becomes_its_error_again(tmp_path: Path) -> None:
    refused = serialize_line(Refused(code="digest", message="damaged", faults=("a",), remedy="b"))
    with pytest.raises(DigestError) as caught:
        fetch(tmp_path, f"write({refused!r})")
    assert caught.value.summary() == "damaged: a - b"


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("sys.exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 9)", "SIGKILL"),
        ("os.kill(os.getpid(), 40)", "signal 40"),
    ],
)
def test_a_process_that_dies_without_an_answer_is_tried_again(tmp_path: Path, body: str, how: str) -> None:
    with pytest.raises(DownloadError, match=how):
        fetch(tmp_path, body)


def test_a_process_that_dies_before_it_read_its_job_is_tried_again(tmp_path: Path) -> None:
    process = FetchProcess(tmp_path, (sys.executable, "-c", "import os; os._exit(1)"))
    with pytest.raises(DownloadError, match="exit code 1"):
        process.fetch(a_job(), lambda _done, _total: None, lambda: False)


def test_a_process_that_is_silent_is_ended(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="said nothing for"):
        fetch(tmp_path, "time.sleep(60)", limits=FetchLimits(silence_s=0.5))


@pytest.mark.parametrize("body", ["write(b'rubbish\\n')", "write(b'x' * (3 << 20))"])
def test_a_process_that_writes_something_else_is_not_believed(tmp_path: Path, body: str) -> None:
    with pytest.raises(MessageError):
        fetch(tmp_path, body)


def test_a_fetch_that_nobody_wants_any_more_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    assert fetch(tmp_path, "time.sleep(60)", should_stop=lambda: time.monotonic() - began > 0.3) is None
    assert time.monotonic() - began < 5


def test_a_process_that_ignores_the_order_to_end_is_killed(tmp_path: Path) -> None:
    body = (
        f"import signal\nsignal.signal(15, signal.SIG_IGN)\nwrite({serialize_line(DONE)!r})\ntime.sleep(60)"
    )
    assert fetch(tmp_path, body, limits=FetchLimits(end_s=0.3)) == DONE


def test_a_process_that_closes_its_output_and_stays_is_killed(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="does not end"):
        fetch(tmp_path, "os.close(1)\ntime.sleep(60)", limits=FetchLimits(end_s=0.3))


def test_a_process_that_a_killed_agent_left_behind_is_ended_first(tmp_path: Path) -> None:
    """The child inherits the lock, so it holds it when the agent that started it is gone."""
    child_pid = tmp_path / "child"
    body = f"open({str(child_pid)!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)"
    agent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            AGENT.format(folder=str(tmp_path), command=program(body), job=serialize_job(a_job())),
        ]
    )
    wait_until(lambda: child_pid.exists() and child_pid.read_text() != "", "the child runs")
    agent.kill()
    agent.wait(timeout=20)
    orphan = Path(f"/proc/{child_pid.read_text()}")
    assert orphan.exists()
    assert fetch(tmp_path, f"write({serialize_line(DONE)!r})") == DONE
    wait_until(lambda: not orphan.exists() or "Z" in (orphan / "stat").read_text(), "the orphan is ended")


def test_no_second_process_starts_while_nobody_knows_who_holds_the_lock(tmp_path: Path) -> None:
    with (tmp_path / "fetch.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="an earlier fetching process has not ended"):
            fetch(tmp_path, f"write({serialize_line(DONE)!r})", limits=FetchLimits(lock_s=0.3))
