"""More applications than a worker takes: they are told, and so is the operator."""

from __future__ import annotations

import contextlib
import socket

import pytest

from contract.errors import OverloadError
from contract.messages import EventKind
from edge_agent import connect
from edge_agent.inference.clients import MAX_CLIENTS
from tests.support.agent_bench import Bench, wait_until


def test_an_operator_hears_of_applications_that_found_no_place(deployed: Bench) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MAX_CLIENTS):
            one = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            one.connect(str(deployed.run_dir / "digits.sock"))
        with pytest.raises(OverloadError, match="clients are connected already"):
            connect(deployed.run_dir).model("digits", wait_s=0.1)

    def told() -> list[str]:
        events = [event for event in deployed.server.events() if event.kind is EventKind.OVERLOADED]
        return [f"{event.model}: {event.detail}" for event in events]

    wait_until(lambda: bool(told()), "an event")
    assert told()[0].startswith("digits: refused ")
    assert "attempts to connect, as many applications are connected as are taken" in told()[0]
