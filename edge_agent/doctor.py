"""Says what this board can run, what it cannot, why, and what to do about it.

Guarantees: changes nothing but the remembered verdicts, and those only with a configuration. What it shows is what the
agent would use: the same facts, probes and ranking.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from contract.errors import RuntimeLoadError
from contract.probing import Verdict
from edge_agent.board_engine import survey_board
from edge_agent.config import AgentConfig
from edge_agent.files import lock_holder
from edge_agent.heat.board import sensors_of
from edge_agent.heat.reading import Reading
from edge_agent.heat.settings import HeatSettings, Limits, limits_of
from edge_agent.heat.words import describe_reading
from edge_agent.inference.board import CORAL_USB_IDS, Facts
from edge_agent.inference.prober import Prober
from edge_agent.inference.survey import Survey
from firmware_profiles import load_profile

_WIDTH = 100
_USB3_MBPS = 5000
_MIB = 1 << 20
_KERNEL_FEATURES = {
    "neon": "",
    "vfpv4": "",
    "asimd": "",
    "asimdhp": "half precision",
    "asimddp": "int8 dot products",
    "i8mm": "int8 matrices",
    "sve": "",
    "sve2": "",
    "sme": "",
    "sse4_1": "",
    "avx": "",
    "f16c": "",
    "fma": "",
    "avx2": "",
    "avx_vnni": "int8 dot products",
    "avx512f": "",
    "avx512_vnni": "int8 dot products",
    "avx512_fp16": "half precision",
    "amx_int8": "int8 matrices",
}
"""By which XNNPACK chooses its kernels (XNNPACK, src/configs/hardware-config.c), as Linux names them in /proc/cpuinfo,
and what a name does not say."""


def examine(config: AgentConfig | None, *, is_fresh: bool) -> Survey:
    """Look at this board.

    Args:
        config: The agent's; None for a board that has none yet.
        is_fresh: Probe even if the verdict is remembered.

    Raises:
        ConfigError: The configuration names no known profile.
        RuntimeLoadError: A probe cannot be started.
    """
    if config is None:
        return survey_board(None, (), None, probe=Prober(), is_fresh=True)
    profile, folder = load_profile(config.device.profile), config.device.state_dir
    has_folder = folder.is_dir()
    return survey_board(
        profile,
        config.delegates,
        folder if has_folder else None,
        probe=Prober(),
        is_fresh=is_fresh or not has_folder,
    )


def feel(config: AgentConfig | None) -> tuple[Reading, Limits]:
    """How warm this board is, whether something slows it, its battery; and the limits in force.

    Raises:
        ConfigError: The configuration names no known profile.
    """
    settings = HeatSettings() if config is None else config.heat
    thermal = None if config is None else load_profile(config.device.profile).thermal
    return sensors_of(settings, thermal).read(), limits_of(settings, thermal)


def check_usable(survey: Survey) -> None:
    """Refuse a board that can run nothing.

    Raises:
        RuntimeLoadError: No runtime survived; with the first remedy.
    """
    if survey.resolution.runtime is None:
        remedy = next((each.remedy for each in survey.resolution.verdicts if each.remedy), "")
        raise RuntimeLoadError("no TFLite runtime on this device can be used", remedy=remedy)


def agent_note(config: AgentConfig | None) -> str:
    """What to know when the agent runs meanwhile: an Edge TPU has one user at a time; else empty."""
    pid = None if config is None else lock_holder(config.device.state_dir)
    if pid is None:
        return ""
    return f"the agent runs as process {pid}: a delegate that serves one process only may refuse a second one"


def survey_document(survey: Survey, reading: Reading) -> dict[str, Any]:
    """Everything for programs, as JSON types."""
    runtime = survey.resolution.runtime
    document: dict[str, Any] = msgspec.to_builtins(
        {
            "is_usable": runtime is not None,
            "runtime": runtime,
            "delegates": survey.resolution.delegates(),
            "verdicts": survey.resolution.verdicts,
            "facts": survey.facts,
            "heat": reading,
            "is_remembered": survey.is_remembered,
            "seconds": round(survey.seconds, 3),
        }
    )
    return document


def show_survey(survey: Survey, reading: Reading, limits: Limits, note: str = "") -> str:
    """Everything for people."""
    rows = {**_facts(survey.facts), **describe_reading(reading, limits)}
    lines = [f"{name + ':':<11} {text}" for name, text in rows.items()]
    lines += ["", *_verdicts(survey), "", _conclusion(survey)]
    if survey.is_remembered:
        lines.append(
            "These verdicts were reached before, and nothing has changed since; --fresh tries again."
        )
    if note:
        lines.append(f"Note: {note}.")
    return "\n".join(lines)


def _facts(facts: Facts) -> dict[str, str]:
    return {
        "board": facts.board or "no device tree",
        "processor": f"{facts.cpu_model or facts.arch}, {facts.cores} cores",
        "features": _features(facts.cpu_features),
        "user land": f"{facts.arch or 'unknown'}, {facts.bits} bit, kernel {facts.kernel}",
        "memory": f"{facts.memory_bytes // _MIB} MiB",
        "glibc": facts.glibc or "not found",
        "libstdc++": f"GLIBCXX_{facts.glibcxx}" if facts.glibcxx else "not found",
        "Python": f"{facts.python}, numpy {facts.numpy or 'not installed'}",
        "runtimes": ", ".join(f"{each.name} {each.version}" for each in facts.runtimes) or "none installed",
        "Edge TPU": ", ".join(_accelerators(facts)) or "none connected",
        "cooling": ", ".join(_cooling(facts)) or "no fan, no sensor",
    }


def _features(found: tuple[str, ...]) -> str:
    known = [name for name in _KERNEL_FEATURES if name in found]
    meant = (f"{name} ({_KERNEL_FEATURES[name]})" if _KERNEL_FEATURES[name] else name for name in known)
    return ", ".join(meant) or ("none that kernels are chosen by" if found else "not found")


def _accelerators(facts: Facts) -> Iterator[str]:
    for device in facts.accelerators:
        access = "" if device.is_accessible else ", this user may not use it"
        port = f", {device.port_mbps} Mbit/s" if device.port_mbps else ""
        is_slow = device.id in CORAL_USB_IDS and 0 < device.port_mbps < _USB3_MBPS
        slow = " (USB 2: slower than a fast processor; use a USB 3 port)" if is_slow else ""
        yield f"{device.id} at {device.node}{port}{slow}{access}"


def _cooling(facts: Facts) -> Iterator[str]:
    yield from (f"{each.kind} {each.state} of {each.most}" for each in facts.cooling)
    yield from (f"{each.zone} {each.celsius:.0f} °C" for each in facts.temperatures)


def _verdicts(survey: Survey) -> Iterator[str]:
    for verdict in survey.resolution.verdicts:
        yield from _verdict(verdict)
    tried = {verdict.runtime for verdict in survey.resolution.verdicts}
    for runtime in survey.facts.runtimes:
        if runtime.name not in tried:
            yield f"  --   {runtime.name} {runtime.version}: not tried, a better one has all that is wanted"


def _verdict(verdict: Verdict) -> Iterator[str]:
    runtime = " ".join(filter(None, [verdict.runtime, verdict.version])) or "TFLite runtime"
    subject = f"{runtime}, {verdict.delegate}" if verdict.delegate else f"{runtime}, its own kernels"
    if verdict.cause is None:
        took = f": took {verdict.nodes_delegated} of {verdict.nodes_total} nodes" if verdict.delegate else ""
        yield f"  ok   {subject}{took}"
        yield from _indented(verdict.detail)
        return
    yield f"  FAIL {subject}: {verdict.cause.value}"
    yield from _indented(verdict.detail)
    yield from _indented(f"to do: {verdict.remedy}")


def _indented(text: str) -> Iterator[str]:
    margin = " " * 7
    yield from textwrap.wrap(text, _WIDTH, initial_indent=margin, subsequent_indent=margin)


def _conclusion(survey: Survey) -> str:
    runtime = survey.resolution.runtime
    if runtime is None:
        return "Nothing can run on this board."
    on = ", ".join(name.value for name in survey.resolution.delegates() if name.value != "none")
    return f"Models run on {runtime.name} {runtime.version}" + (
        f" with {on}." if on else ", without delegates."
    )
