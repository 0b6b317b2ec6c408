"""More applications than a pipeline or an ensemble takes: they are told, and the agent hears of it."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

import pytest

from contract.errors import OverloadError
from edge_agent import connect
from edge_agent.inference.clients import MAX_CLIENTS
from edge_agent.inference.pool import Pool
from edge_agent.pipeline_process import PipelineProcess
from edge_agent.pipelines.settings import CombinedSettings, EnsembleSettings
from tests.support.inference_slots import START_S, wait_until
from tests.support.pipeline_slots import a_digits_slot, put


def test_applications_that_find_no_place_are_told_and_counted(
    pool: Pool, run_dir: Path, tmp_path: Path
) -> None:
    put(pool, a_digits_slot(tmp_path / "one", model="one"), "one")
    put(pool, a_digits_slot(tmp_path / "other", model="other"), "other")
    child = PipelineProcess(
        CombinedSettings(ensembles=(EnsembleSettings(name="committee", models=("one", "other")),)), run_dir
    )
    news: dict[str, str] = {}

    def has_heard() -> bool:
        news.update(child.news(time.monotonic()))
        return "committee" in news

    child.tick(time.monotonic())
    try:
        connect(run_dir).model("committee", wait_s=START_S).close()
        with contextlib.ExitStack() as stack:
            for _ in range(MAX_CLIENTS):
                one = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                one.connect(str(run_dir / "committee.sock"))
            with pytest.raises(OverloadError, match="clients are connected already"):
                connect(run_dir).model("committee", wait_s=0.1)
        wait_until(has_heard, "the agent hears of it")
    finally:
        child.stop()
        child.join()
    assert news["committee"].endswith("attempts to connect, as many applications are connected as are taken")
