"""Causes follow from how probes end, and each has its remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contract.probing import Cause
from edge_agent.inference.board import Accelerator, Facts, InstalledRuntime
from edge_agent.inference.causes import judge, remedy_for
from edge_agent.inference.engine import ExternalDelegate
from edge_agent.inference.probe_protocol import At, Failed, Outcome, Passed, ProbeJob

TPU = ExternalDelegate(name="edgetpu", library="libedgetpu.so.1")
NPU = ExternalDelegate(name="npu", library="/lib/npu.so")
READY = Facts(
    accelerators=(Accelerator(id="apex_0", node="/dev/apex_0", is_accessible=True),), arch="aarch64"
)
MISSING = "libusb-1.0.so.0: cannot open shared object file: No such file or directory"


def cause_of(
    error: str,
    text: str,
    *,
    at: At = At.LOADING,
    delegate: ExternalDelegate | None = NPU,
    facts: Facts = READY,
) -> Cause | None:
    outcome = Outcome(at=at, failed=Failed(error=error, text=text))
    return judge(ProbeJob(runtime="ai-edge-litert", delegate=delegate), outcome, facts)[0]


@pytest.mark.parametrize(
    ("error", "text", "cause"),
    [
        ("OSError", MISSING, Cause.LIBRARY_MISSING),
        ("OSError", "/lib/npu.so: wrong ELF class: ELFCLASS32", Cause.WRONG_LIBRARY),
        ("OSError", "/lib/npu.so: file too short", Cause.WRONG_LIBRARY),
        ("OSError", "/lib/npu.so: cannot open shared object file: Permission denied", Cause.NO_PERMISSION),
        ("OSError", "version `GLIBC_2.38' not found (required by /lib/npu.so)", Cause.WRONG_LIBRARY),
        ("AttributeError", "undefined symbol: tflite_plugin_create_delegate", Cause.WRONG_LIBRARY),
        ("ValueError", "", Cause.REFUSED),
        ("SystemError", "initialization of _pywrap raised unreported exception", Cause.RUNTIME_TOO_OLD),
        ("WrongAnswer", "sum is off by 3.5", Cause.WRONG_ANSWER),
    ],
)
def test_what_a_delegates_load_raises_has_a_cause(error: str, text: str, cause: Cause) -> None:
    assert cause_of(error, text) is cause


@pytest.mark.parametrize(
    ("error", "text", "cause"),
    [
        ("ModuleNotFoundError", "No module named 'ai_edge_litert'", Cause.LIBRARY_MISSING),
        ("ImportError", "libstdc++.so.6: version `GLIBCXX_3.4.30' not found", Cause.WRONG_LIBRARY),
        ("ImportError", MISSING, Cause.LIBRARY_MISSING),
        ("PermissionError", "denied", Cause.NO_PERMISSION),
        ("FileNotFoundError", "probe.tflite", Cause.LIBRARY_MISSING),
        ("AttributeError", "module has no attribute OpResolverType", Cause.REFUSED),
    ],
)
def test_what_a_runtimes_import_raises_has_a_cause(error: str, text: str, cause: Cause) -> None:
    assert cause_of(error, text, at=At.IMPORTING, delegate=None) is cause


def test_an_edge_tpu_that_refuses_is_looked_at() -> None:
    assert cause_of("ValueError", "", delegate=TPU) is Cause.REFUSED
    assert cause_of("ValueError", "", delegate=TPU, facts=Facts()) is Cause.NO_DEVICE
    closed = Facts(accelerators=(Accelerator(id="apex_0", node="/dev/apex_0", is_accessible=False),))
    assert cause_of("ValueError", "", delegate=TPU, facts=closed) is Cause.NO_PERMISSION


def test_an_ending_without_words_still_says_where_it_was() -> None:
    job = ProbeJob(runtime="ai-edge-litert")
    assert judge(job, Outcome(at=At.IMPORTING, signal="SIGSEGV", output="a\n b"), READY) == (
        Cause.ABI_CRASH,
        "SIGSEGV while importing the runtime; it printed: a b",
    )
    assert (
        judge(job, Outcome(at=At.STARTING, exit_code=3), READY)[1] == "ended with exit code 3 while starting"
    )
    assert judge(job, Outcome(at=At.LOADING, is_late=True, limit_s=60), READY) == (
        Cause.HANG,
        "no answer after 60 s while loading the delegate",
    )
    refused = Outcome(at=At.LOADING, failed=Failed(error="ValueError", text=" \n"))
    assert judge(job, refused, READY)[1] == "ValueError without a text (while loading the delegate)"
    fine = Outcome(
        at=At.COMPARING, passed=Passed(worst_abs_error=0, nodes_total=1, nodes_delegated=1), exit_code=0
    )
    assert judge(job, fine, READY) == (None, "")


@pytest.mark.parametrize("delegate", [None, TPU, NPU])
@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_its_remedy(cause: Cause, delegate: ExternalDelegate | None) -> None:
    text = remedy_for(cause, delegate, READY)
    assert len(text) > 20
    assert not re.search(r"\{(wheel|other|arch|glibc)\}", text)


def test_the_edge_tpus_remedies_name_rule_group_and_package() -> None:
    permission = remedy_for(Cause.NO_PERMISSION, TPU, READY)
    assert all(word in permission for word in ("udev", "plugdev", "apex", "1a6e", "usermod"))
    assert "libedgetpu1-std" in remedy_for(Cause.LIBRARY_MISSING, TPU, READY)
    assert "aarch64" in remedy_for(Cause.WRONG_LIBRARY, TPU, READY)


def test_every_cause_is_documented() -> None:
    page = Path(__file__).parents[4] / "docs" / "reference" / "delegates.md"
    section = page.read_text(encoding="utf-8").partition("## Causes")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE) == [cause.value for cause in Cause]


def test_a_runtime_that_is_the_trouble_is_replaced_by_another_version() -> None:
    board = Facts(
        arch="aarch64",
        python="3.11.2",
        glibc="2.36",
        runtimes=(InstalledRuntime(name="ai-edge-litert", version="2.1.6"),),
    )
    assert "'ai-edge-litert>=2.1.3,!=2.1.6'" in remedy_for(Cause.WRONG_ANSWER, None, board)
    assert "!=" not in remedy_for(Cause.WRONG_ANSWER, None, Facts(arch="aarch64", python="3.11.2"))
