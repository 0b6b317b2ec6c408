"""Probes of the real runtime, and of real shared libraries that gcc builds here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from contract.errors import RuntimeLoadError
from contract.probing import Cause, Verdict
from edge_agent.inference.board import Accelerator
from edge_agent.inference.engine import ExternalDelegate
from edge_agent.inference.facts import read_facts
from edge_agent.inference.probe import probe as run_probe
from edge_agent.inference.probe_protocol import At, Failed, Line, Outcome, Passed, ProbeJob, Stage
from edge_agent.inference.prober import Prober
from edge_agent.inference.resolver import Resolution, Wishes, resolve
from edge_agent.inference.survey import CACHE_FILE, Survey, take_survey
from tests.support.inference_delegates import a_delegate, a_delegate_with, a_part, delegate_library
from tests.support.inference_slots import children

LITERT = "ai-edge-litert"


def outcome_of(behaviour: str, *, limit_s: float = 60.0, **options: str) -> Outcome:
    job = ProbeJob(runtime=LITERT, delegate=a_delegate(behaviour, **options), has_xnnpack=False)
    return Prober(limit_s=limit_s)(job)


def resolved(delegate: ExternalDelegate, outcome: Outcome) -> Verdict:
    """The verdict on a delegate whose probe ended so; the runtime itself passes."""
    fine = Outcome(
        at=At.COMPARING, passed=Passed(worst_abs_error=0.0, nodes_total=6, nodes_delegated=6), exit_code=0
    )

    def probe(job: ProbeJob) -> Outcome:
        return fine if job.delegate is None else outcome

    return resolve(read_facts(), Wishes(delegates=(delegate,)), probe).verdicts[-1]


def test_the_runtime_answers_with_and_without_xnnpack() -> None:
    plain = Prober()(ProbeJob(runtime=LITERT, has_xnnpack=False))
    fast = Prober()(ProbeJob(runtime=LITERT))
    assert plain.passed is not None
    assert fast.passed is not None
    assert (plain.passed.nodes_total, plain.passed.nodes_delegated) == (6, 0)
    assert fast.passed.nodes_delegated == 6
    assert max(plain.passed.worst_abs_error, fast.passed.worst_abs_error) < 1e-5


def test_a_runtime_that_is_not_installed_is_missing() -> None:
    outcome = Prober()(ProbeJob(runtime="tflite-runtime"))
    assert outcome.failed is not None
    assert (outcome.failed.error, outcome.at) == ("ModuleNotFoundError", At.IMPORTING)


def test_a_delegate_that_works_takes_its_nodes_and_is_usable() -> None:
    outcome = outcome_of("WORKS", device="usb:0")
    assert outcome.passed is not None
    assert (outcome.passed.nodes_total, outcome.passed.nodes_delegated) == (6, 1)
    assert resolved(a_delegate("WORKS"), outcome).is_usable


def test_a_delegate_that_takes_nothing_is_usable_and_says_so() -> None:
    verdict = resolved(a_delegate("IDLE"), outcome_of("IDLE"))
    assert (verdict.is_usable, verdict.nodes_delegated) == (True, 0)
    assert "takes none" in verdict.detail


@pytest.mark.parametrize(
    ("behaviour", "cause", "words"),
    [
        ("WRONG", Cause.WRONG_ANSWER, "sum is off by"),
        ("REFUSES", Cause.REFUSED, "while loading the delegate"),
        ("SPEAKS", Cause.REFUSED, "usb:7"),
        ("BREAKS", Cause.REFUSED, "this device is on fire"),
        ("SYMBOL", Cause.WRONG_LIBRARY, "tflite_plugin_create_delegate"),
        ("CRASHES", Cause.ABI_CRASH, "SIGSEGV while loading the delegate; it printed: about to crash"),
    ],
)
def test_a_delegate_that_fails_is_ruled_out_with_its_cause(behaviour: str, cause: Cause, words: str) -> None:
    verdict = resolved(a_delegate(behaviour), outcome_of(behaviour, device="usb:7"))
    assert verdict.cause is cause
    assert words in verdict.detail
    assert verdict.remedy


def test_a_delegate_that_hangs_is_ended_and_ruled_out() -> None:
    before = children()
    verdict = resolved(a_delegate("HANGS"), outcome_of("HANGS", limit_s=3.0))
    assert verdict.cause is Cause.HANG
    assert verdict.detail.startswith("no answer after 3 s while")
    assert children() <= before


def test_a_library_that_is_not_there_is_missing(tmp_path: Path) -> None:
    nowhere = ExternalDelegate(name="npu", library=str(tmp_path / "libnpu.so"))
    outcome = Prober()(ProbeJob(runtime=LITERT, delegate=nowhere))
    assert resolved(nowhere, outcome).cause is Cause.LIBRARY_MISSING
    (tmp_path / "libnpu.so").write_bytes(b"not a library")
    outcome = Prober()(ProbeJob(runtime=LITERT, delegate=nowhere))
    assert resolved(nowhere, outcome).cause is Cause.WRONG_LIBRARY


def test_a_probe_ends_when_the_agent_does() -> None:
    before = children()
    with pytest.raises(RuntimeLoadError, match="ending"):
        Prober(should_stop=lambda: True)(ProbeJob(runtime=LITERT))
    assert children() <= before


class Scripted:
    """Counts probes; one really ran, the others come to the same."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.asked = 0

    def __call__(self, _: ProbeJob) -> Outcome:
        self.asked += 1
        return self.outcome


@pytest.fixture(scope="module")
def fine() -> Outcome:
    return Prober()(ProbeJob(runtime=LITERT))


def survey(
    probe: Scripted, folder: Path, *, wishes: Wishes | None = None, agent: str = "0.1.0"
) -> Resolution:
    return take_survey(wishes or Wishes(), probe, agent=agent, folder=folder).resolution


def test_a_verdict_is_remembered_while_nothing_changes(tmp_path: Path, fine: Outcome) -> None:
    probe = Scripted(fine)
    first = survey(probe, tmp_path)
    assert (first.runtime is not None, probe.asked) == (True, 2)
    assert survey(probe, tmp_path) == first
    assert probe.asked == 2
    again = take_survey(Wishes(), probe, agent="0.1.0", folder=tmp_path, is_fresh=True)
    assert (again.is_remembered, probe.asked) == (False, 4)
    assert (tmp_path / CACHE_FILE).stat().st_mode & 0o777 == 0o600


def test_what_a_verdict_hangs_on_makes_it_stale(tmp_path: Path, fine: Outcome) -> None:
    library = tmp_path / "libnpu.so"
    library.write_bytes(b"one")
    delegate = ExternalDelegate(name="npu", library=str(library))
    probe, wishes = Scripted(fine), Wishes(delegates=(delegate,))
    survey(probe, tmp_path, wishes=wishes)
    assert probe.asked == 3
    library.write_bytes(b"two")
    survey(probe, tmp_path, wishes=wishes)
    assert probe.asked == 6
    survey(probe, tmp_path, wishes=wishes, agent="0.2.0")
    assert probe.asked == 9
    other = msgspec.structs.replace(delegate, options={"device": "usb:1"})
    survey(probe, tmp_path, wishes=Wishes(delegates=(other,)))
    assert probe.asked == 12


def cause_of(survey: Survey) -> Cause | None:
    return survey.resolution.verdicts[-1].cause


def test_a_library_that_a_delegate_needs_makes_a_verdict_stale_when_it_is_replaced(tmp_path: Path) -> None:
    part = a_part(tmp_path / "libpart.so", is_broken=False)
    wishes = Wishes(delegates=(a_delegate_with(part),))

    def look() -> Survey:
        return take_survey(wishes, Prober(), agent="0.1.0", folder=tmp_path)

    assert (look().is_remembered, cause_of(look()), look().is_remembered) == (False, None, True)
    a_part(part, is_broken=True)
    broken = look()
    assert (broken.is_remembered, cause_of(broken), look().is_remembered) == (False, Cause.REFUSED, True)
    a_part(part, is_broken=False)
    mended = look()
    assert (mended.is_remembered, cause_of(mended)) == (False, None)


def test_a_link_to_a_library_that_leads_to_another_one_makes_a_verdict_stale(tmp_path: Path) -> None:
    part = tmp_path / "libpart.so"
    part.symlink_to(a_part(tmp_path / "libpart.so.1", is_broken=False))
    wishes = Wishes(delegates=(a_delegate_with(part),))
    take_survey(wishes, Prober(), agent="0.1.0", folder=tmp_path)
    other = a_part(tmp_path / "libpart.so.2", is_broken=True)
    part.unlink()
    part.symlink_to(other)

    again = take_survey(wishes, Prober(), agent="0.1.0", folder=tmp_path)
    assert (again.is_remembered, cause_of(again)) == (False, Cause.REFUSED)


def test_every_library_that_a_probe_loads_is_told_whether_it_passes_or_not() -> None:
    for outcome in (outcome_of("WORKS"), outcome_of("REFUSES")):
        folders = {Path(each).parent.name for each in outcome.libraries}
        assert {"ai_edge_litert", "numpy.libs", "_core"} <= folders
        assert any(Path(each).name == "libc.so.6" for each in outcome.libraries)
        assert all(Path(each).is_file() for each in outcome.libraries)
    assert str(delegate_library("REFUSES")) in outcome.libraries


def test_other_folders_for_libraries_make_a_verdict_stale(
    tmp_path: Path, fine: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = Scripted(fine)
    survey(probe, tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    survey(probe, tmp_path)
    assert probe.asked == 4
    learned = msgspec.structs.replace(read_facts(), libraries="other")
    take_survey(Wishes(), probe, agent="0.1.0", folder=tmp_path, facts=learned)
    assert probe.asked == 6


def test_a_plugged_in_accelerator_makes_a_verdict_stale_and_its_new_number_does_not(
    tmp_path: Path, fine: Outcome
) -> None:
    probe, here = Scripted(fine), read_facts()
    for node, asked in (("", 2), ("/dev/bus/usb/002/003", 4), ("/dev/bus/usb/002/009", 4)):
        device = Accelerator(id=f"1a6e:{len(node)}", node=node, is_accessible=True)
        facts = msgspec.structs.replace(here, accelerators=(device,) if node else ())
        take_survey(Wishes(), probe, agent="0.1.0", folder=tmp_path, facts=facts)
        assert probe.asked == asked


@pytest.mark.parametrize("content", [b"", b"{", b'{"grounds":1}', b"\xff" * 300_000])
def test_a_damaged_memory_means_probing_again(tmp_path: Path, fine: Outcome, content: bytes) -> None:
    (tmp_path / CACHE_FILE).write_bytes(content)
    probe = Scripted(fine)
    survey(probe, tmp_path)
    survey(probe, tmp_path)
    assert probe.asked == 2


def test_bad_luck_is_forgotten_with_the_next_boot(tmp_path: Path, fine: Outcome) -> None:
    delegate = a_delegate("WORKS")

    class Unlucky(Scripted):
        def __call__(self, job: ProbeJob) -> Outcome:
            super().__call__(job)
            return Outcome(at=At.LOADING, is_late=True, limit_s=60) if job.delegate else fine

    probe, here = Unlucky(fine), read_facts()
    for boot, asked in (("one", 3), ("one", 3), ("two", 6)):
        facts = msgspec.structs.replace(here, boot=boot)
        take_survey(Wishes(delegates=(delegate,)), probe, agent="0.1.0", folder=tmp_path, facts=facts)
        assert probe.asked == asked


def test_a_board_that_can_run_nothing_looks_again_each_time(tmp_path: Path) -> None:
    probe = Scripted(Outcome(at=At.IMPORTING, signal="SIGILL"))
    assert survey(probe, tmp_path).runtime is None
    survey(probe, tmp_path)
    assert probe.asked == 2
    assert not (tmp_path / CACHE_FILE).exists()


def test_a_disk_that_cannot_be_written_costs_only_the_memory(tmp_path: Path, fine: Outcome) -> None:
    assert survey(Scripted(fine), tmp_path / "missing").runtime is not None


def test_a_probe_names_each_stage_before_it_begins() -> None:
    said: list[Line] = []
    job = ProbeJob(runtime=LITERT, delegate=a_delegate("WORKS"), has_xnnpack=False)
    last = run_probe(job, said.append)
    stages = [line.at for line in said if isinstance(line, Stage)]
    assert stages == [At.IMPORTING, At.LOADING, At.BUILDING, At.RUNNING, At.COMPARING]
    assert isinstance(last, Passed)
    assert last.nodes_delegated == 1


def test_a_probe_tells_what_was_raised_and_what_was_wrong() -> None:
    refused = run_probe(ProbeJob(runtime=LITERT, delegate=a_delegate("REFUSES")), lambda _: None)
    wrong = run_probe(ProbeJob(runtime=LITERT, delegate=a_delegate("WRONG")), lambda _: None)
    assert isinstance(refused, Failed)
    assert isinstance(wrong, Failed)
    assert (refused.error, wrong.error) == ("ValueError", "WrongAnswer")


def test_a_delegate_that_answers_not_a_number_is_wrong() -> None:
    nan = run_probe(ProbeJob(runtime=LITERT, delegate=a_delegate("NAN")), lambda _: None)
    assert nan == Failed(error="WrongAnswer", text="an output is not a number")
