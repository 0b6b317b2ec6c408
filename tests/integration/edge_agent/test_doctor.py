"""``litefleet-agent doctor`` and the agent's own look at its board, on this machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.errors import RuntimeLoadError
from contract.profile import DelegateName
from edge_agent.board_engine import BoardEngine
from edge_agent.config import DelegateSection
from firmware_profiles import load_profile
from tests.support.agent_cli import run_cli
from tests.support.inference_delegates import delegate_library

CONFIG = """
[device]
id = "d1"
profile = "generic-x86-64"
[server]
url = "http://127.0.0.1:1"
[[delegates]]
name = "npu"
library = "{library}"
"""


def test_a_board_with_a_broken_delegate_is_usable_and_told_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text(CONFIG.format(library=delegate_library("CRASHES")))
    (tmp_path / "state").mkdir()
    ended = run_cli("doctor", "--config", tmp_path / "agent.toml")
    assert ended.code == 0
    assert "FAIL ai-edge-litert" in ended.out
    assert "npu: abi-crash" in ended.out
    assert "to do: take a delegate that was built for this version" in ended.out
    again = run_cli("doctor", "--config", tmp_path / "agent.toml", "--json")
    document = msgspec.json.decode(again.out)
    assert (again.code, document["is_remembered"]) == (0, True)
    assert document["verdicts"][-1]["cause"] == "abi-crash"


def test_a_board_where_nothing_runs_ends_with_1_and_the_remedy(tmp_path: Path) -> None:
    # A package of the runtime's name that stands first on the path is what is imported, and it is broken.
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text(
        'raise ImportError("version `GLIBC_2.38\' not found")'
    )
    ended = run_cli("doctor", PYTHONPATH=str(tmp_path))
    assert ended.code == 1
    assert "wrong-library" in ended.out
    assert "Nothing can run on this board." in ended.out
    assert "pip install" in ended.err


def test_what_an_agent_tells_of_its_board_is_what_it_proved(tmp_path: Path) -> None:
    npu = DelegateSection(name="npu", library=str(delegate_library("REFUSES")))
    board = BoardEngine(load_profile("generic-x86-64"), (npu,), tmp_path)
    assert board.look(lambda: False)
    info = board.info()
    assert info.capabilities.delegates == (DelegateName.XNNPACK, DelegateName.NONE)
    assert [(each.delegate, each.cause.value if each.cause else "") for each in info.verdicts] == [
        ("", ""),
        ("xnnpack", ""),
        ("npu", "refused"),
    ]
    (news,) = board.news()
    assert news.startswith("npu cannot be used: refused")
    assert board.engine().runtime == "ai-edge-litert"
    again = BoardEngine(load_profile("generic-x86-64"), (npu,), tmp_path)
    assert again.look(lambda: False)
    assert again.news() == []
    assert again.info().verdicts == info.verdicts


def test_a_board_without_a_usable_runtime_starts_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert" / "__init__.py").write_text("import os\nos.abort()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    board = BoardEngine(load_profile("generic-x86-64"), (), tmp_path)
    assert board.look(lambda: False)
    with pytest.raises(RuntimeLoadError, match="no TFLite runtime") as caught:
        board.engine()
    assert "SIGABRT while importing the runtime" in caught.value.faults[0]
    assert board.capabilities().runtimes == ()


def test_workers_cache_weights_unless_the_configuration_says_otherwise(tmp_path: Path) -> None:
    for wanted in (True, False):
        board = BoardEngine(load_profile("generic-x86-64"), (), tmp_path, has_weight_cache=wanted)
        assert board.look(lambda: False)
        assert board.engine().has_weight_cache is wanted
