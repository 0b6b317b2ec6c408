from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.compat import RuntimeFact
from contract.errors import ConfigError
from contract.messages import WIRE_VERSION, Ack, Control
from contract.profile import Arch, DelegateName
from edge_agent.backoff import Backoff
from edge_agent.capabilities import agent_version, board_name, read_arch, read_capabilities
from edge_agent.inference.engine import Engine
from edge_agent.inference.resolver import Resolution
from edge_agent.mailbox import Mailbox
from firmware_profiles import load_profile


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_a_pause_is_never_longer_than_its_cap(failures: int, chance: float) -> None:
    assert 0.0 <= Backoff(base_s=1.0, cap_s=60.0).delay_s(failures, chance) <= 60.0


def test_pauses_double_and_are_spread_over_their_whole_length() -> None:
    backoff = Backoff(base_s=2.0, cap_s=60.0)
    assert [backoff.delay_s(failures, 1.0) for failures in range(1, 8)] == [2, 4, 8, 16, 32, 60, 60]
    assert backoff.delay_s(5, 0.25) == 8.0


def an_ack(seq: int) -> Ack:
    return Ack(v=WIRE_VERSION, boot="b1", seq=seq)


def test_the_newest_message_of_each_kind_is_taken() -> None:
    mailbox = Mailbox()
    control = Control(v=WIRE_VERSION)
    mailbox.put(an_ack(1))
    mailbox.put(control)
    mailbox.put(an_ack(2))
    assert mailbox.take(1.0) == [control, an_ack(2)]
    assert mailbox.take(0.0) == []


def test_a_message_ends_the_wait() -> None:
    mailbox = Mailbox()
    sender = threading.Timer(0.01, mailbox.put, [an_ack(1)])
    sender.start()
    assert mailbox.take(20.0) == [an_ack(1)]
    sender.join()


def test_a_signal_handler_can_end_the_wait() -> None:
    mailbox = Mailbox()
    before = signal.signal(signal.SIGALRM, lambda *_: mailbox.wake())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        assert mailbox.take(20.0) == []
    finally:
        signal.signal(signal.SIGALRM, before)


def test_a_wait_that_is_over_does_not_wait() -> None:
    assert Mailbox().take(-5.0) == []


def test_a_board_offers_what_survived_its_probes(tmp_path: Path) -> None:
    runtime = RuntimeFact(name="ai-edge-litert", version="2.3.0")
    resolution = Resolution(engine=Engine(), runtime=runtime, verdicts=())
    found = read_capabilities(load_profile("generic-x86-64"), tmp_path, resolution)
    assert found.profile == "generic-x86-64"
    assert found.memory_bytes > 1 << 26
    assert found.disk_free_bytes > 0
    assert found.runtimes == (runtime,)
    assert found.delegates == (DelegateName.XNNPACK, DelegateName.NONE)
    assert found.agent_version == agent_version()
    assert board_name()


def test_a_board_without_a_usable_runtime_offers_none(tmp_path: Path) -> None:
    resolution = Resolution(engine=Engine(), runtime=None, verdicts=())
    found = read_capabilities(load_profile("generic-x86-64"), tmp_path, resolution)
    assert (found.runtimes, found.delegates) == ((), ())


@pytest.mark.parametrize(
    ("machine", "is_64_bit", "arch"),
    [
        ("aarch64", True, Arch.AARCH64),
        ("aarch64", False, Arch.ARMV7L),
        ("armv7l", False, Arch.ARMV7L),
        ("x86_64", True, Arch.X86_64),
    ],
)
def test_the_user_land_decides_the_architecture(machine: str, is_64_bit: bool, arch: Arch) -> None:  # noqa: FBT001 - a table's column
    assert read_arch(machine, is_64_bit=is_64_bit) is arch


@pytest.mark.parametrize(("machine", "is_64_bit"), [("riscv64", True), ("x86_64", False)])
def test_an_unknown_architecture_is_refused(machine: str, is_64_bit: bool) -> None:  # noqa: FBT001 - a table's column
    with pytest.raises(ConfigError, match="does not run on"):
        read_arch(machine, is_64_bit=is_64_bit)
