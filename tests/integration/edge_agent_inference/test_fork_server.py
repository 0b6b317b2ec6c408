"""Workers forked from a server: whose they are, what they share, and what its end means."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.errors import RuntimeLoadError
from edge_agent import connect
from edge_agent.inference.forking import ForkServerHandle
from edge_agent.inference.pool import Crash, Pool, PoolLimits
from tests.support.inference_slots import (
    START_S,
    a_hanging_slot,
    a_pool,
    an_agent,
    children,
    images_of,
    is_running,
    serve,
    spec_of,
    told,
    wait_until,
)
from tests.support.process_memory import memory_of


@pytest.fixture
def pool_and_crashes(run_dir: Path) -> Iterator[tuple[Pool, list[Crash]]]:
    """A candidate that waits too long for the processor would begin again, as a program of its own."""
    with a_pool(run_dir, PoolLimits(gentle_s=0.0)) as both:
        yield both


def _server(run_dir: Path) -> int:
    """The fork server of a pool of this process."""
    (found,) = _servers(run_dir)
    return found


def _servers(run_dir: Path) -> list[int]:
    """Its workers have its command line, and a name of their own."""
    return [pid for pid in children() if _words(pid)[-1:] == [str(run_dir)] and " " not in _comm(pid)]


def _words(pid: int) -> list[str]:
    return told(pid, "cmdline").rstrip("\0").split("\0")


def _comm(pid: int) -> str:
    return told(pid, "comm").strip()


def _kind(opened: str) -> str:
    """What a descriptor leads to, without what differs from one version to the other."""
    return "artifact" if "/artifacts/" in opened else opened.partition(":[")[0]


def _label(run_dir: Path) -> str | None:
    with connect(run_dir).model("digits", wait_s=START_S) as model:
        return model.infer(images_of(3)[0]).label


def test_a_worker_is_a_fork_named_after_what_it_serves(pool: Pool, run_dir: Path) -> None:
    server = _server(run_dir)
    first, second = serve(pool), serve(pool, "1.1.0")

    assert {first.pid, second.pid} >= children(server) > set()
    assert _comm(second.pid) == "digits 1.1.0"
    assert "edge_agent.inference.fork_server" in _words(second.pid)
    assert _label(run_dir) == "3"


def test_a_forked_worker_writes_less_memory_than_an_executed_one(pool: Pool, tmp_path: Path) -> None:
    forked = memory_of(serve(pool).pid)
    (tmp_path / "r").mkdir()
    with a_pool(tmp_path / "r", may_fork=False) as (other, _):
        executed = memory_of(serve(other).pid)

    assert forked.written < 0.6 * executed.written


def test_a_forked_worker_holds_nothing_of_the_server_and_of_other_workers(pool: Pool) -> None:
    first = serve(pool)
    second = pool.start_candidate(spec_of("1.1.0"), START_S)

    held = [
        sorted(_kind(str(link.readlink())) for link in Path(f"/proc/{pid}/fd").iterdir())
        for pid in (first.pid, second.pid)
    ]
    assert held[0] == held[1]
    assert held[1].count("socket") == 2, "to the main process, and where clients come in"
    assert not any("pidfd" in name for name in held[1])


def test_workers_outlive_the_server_and_the_next_one_starts_without_it(
    pool_and_crashes: tuple[Pool, list[Crash]], run_dir: Path
) -> None:
    pool, crashes = pool_and_crashes
    before = serve(pool)
    server = _server(run_dir)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not is_running(server), "end of the server")

    assert _label(run_dir) == "3"
    executed = serve(pool, "1.1.0")
    assert "edge_agent.inference.worker" in _words(executed.pid)
    wait_until(lambda: not is_running(before.pid), "end of the worker before")
    forked = serve(pool)
    assert _comm(forked.pid) == "digits 1.0.0"
    assert children(_server(run_dir)) == {forked.pid}
    assert crashes == []


def test_a_worker_that_dies_after_its_server_is_replaced_though_nobody_saw_why(
    pool_and_crashes: tuple[Pool, list[Crash]], run_dir: Path
) -> None:
    pool, crashes = pool_and_crashes
    handle = serve(pool)
    server = _server(run_dir)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: not is_running(server), "end of the server")
    os.kill(handle.pid, signal.SIGSEGV)

    wait_until(lambda: bool(crashes), "the news of its death")
    assert (crashes[0].signal, crashes[0].exit_code) == ("", None)
    assert _label(run_dir) == "3"


def test_the_signal_that_ended_a_forked_worker_istold(
    pool_and_crashes: tuple[Pool, list[Crash]], run_dir: Path
) -> None:
    pool, crashes = pool_and_crashes
    os.kill(serve(pool).pid, signal.SIGSEGV)

    wait_until(lambda: bool(crashes), "the news of its death")
    assert crashes[0].signal == "SIGSEGV"
    assert _label(run_dir) == "3"


def test_a_server_that_hangs_costs_one_candidate_and_no_more(pool: Pool, run_dir: Path) -> None:
    first = serve(pool)
    server = _server(run_dir)
    os.kill(server, signal.SIGSTOP)

    with pytest.raises(RuntimeLoadError, match=r"not ready within 0\.5 s"):
        pool.start_candidate(spec_of("1.1.0"), 0.5)

    wait_until(lambda: not is_running(server), "the server's end")
    assert is_running(first.pid)
    assert serve(pool, "1.1.0").spec.version == "1.1.0"
    assert serve(pool).spec.version == "1.0.0"


def test_a_forked_worker_that_hangs_is_killed(pool: Pool, run_dir: Path, tmp_path: Path) -> None:
    serve(pool)
    server = _server(run_dir)
    before = children(server)

    with pytest.raises(RuntimeLoadError, match=r"not ready within 1 s"):
        pool.start_candidate(spec_of(slot=a_hanging_slot(tmp_path / "slot")), 1.0)

    wait_until(lambda: children(server) == before, "end of the candidate")


def test_a_runtime_that_starts_threads_is_executed(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading\n"
        "if 'edge_agent.inference.fork_server' in sys.orig_argv:\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    with a_pool(run_dir) as (pool, crashes):
        handle = serve(pool)

        assert "edge_agent.inference.worker" in _words(handle.pid)
        assert handle.pid in children(_server(run_dir))
        assert _label(run_dir) == "3"
        os.kill(handle.pid, signal.SIGBUS)
        wait_until(lambda: bool(crashes), "the news of its death")
        assert crashes[0].signal == "SIGBUS"


def test_an_order_that_cannot_be_read_is_refused_in_words_and_the_server_goes_on(run_dir: Path) -> None:
    server = ForkServerHandle(str(run_dir))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with ours, theirs:
            for order in (b"{}", b"\xff", b"[]"):
                refused = server.fork(order, theirs)
                assert refused is not None
                assert refused.wait(START_S) is None
                assert b"no process can be forked: control record cannot be read" in os.read(
                    refused.output, 4096
                )
                refused.close()
            assert not server.is_gone
    finally:
        server.close()


def test_a_server_that_ends_again_and_again_is_given_up(run_dir: Path) -> None:
    with a_pool(run_dir, PoolLimits(gentle_s=0.0)) as (pool, _):
        serve(pool)
        for _ in range(4):
            server = _server(run_dir)
            os.kill(server, signal.SIGKILL)
            wait_until(lambda pid=server: not is_running(pid), "end of the server")  # type: ignore[misc]
            serve(pool)
        handle = serve(pool, "1.1.0")

        assert "edge_agent.inference.worker" in _words(handle.pid)
        assert _servers(run_dir) == []


def test_an_agent_that_is_killed_leaves_neither_server_nor_worker(run_dir: Path) -> None:
    with an_agent(run_dir) as (process, worker):
        family = children(process.pid)
        assert worker in family
        assert len(family) == 2
        process.kill()
        process.wait()

        wait_until(lambda: not any(is_running(pid) for pid in family), "end of what it had started")
