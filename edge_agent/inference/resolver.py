"""Which runtime and which delegates this board uses.

PURE. Rules:

1. Runtimes are ranked: first those of the profile in its order, then the rest of ``PACKAGES``. One whose known needs
   the board does not meet is not even tried.
2. A runtime is usable when its plain kernels answered the probe's model rightly. XNNPACK and every other delegate
   are proved on top of that, each by itself: a signal, a wrong answer or a hang rules out one and not the others.
3. The runtime on which the most wanted delegate survives is taken; among equals the first. As soon as one has
   everything that is wanted, the rest are not tried.
4. Every wish ends as a verdict: usable, or a cause with a remedy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from contract.compat import RuntimeFact
from contract.probing import Cause, Verdict
from contract.profile import DelegateName
from contract.scalars import TEXT_MAX_CHARS
from edge_agent.inference.board import Facts, InstalledRuntime
from edge_agent.inference.causes import edgetpu_shortage, judge, remedy_for
from edge_agent.inference.engine import Engine, ExternalDelegate, LostDelegate
from edge_agent.inference.probe_protocol import Outcome, ProbeJob
from edge_agent.inference.runtime_needs import PACKAGES, find_shortage, suggest_wheel

Probe = Callable[[ProbeJob], Outcome]


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a board is meant to run with.

    Attributes:
        runtimes: Distributions in order of preference; may be empty.
        delegates: In libraries of their own, most wanted first.
    """

    runtimes: tuple[str, ...] = ()
    delegates: tuple[ExternalDelegate, ...] = ()


class Resolution(msgspec.Struct, frozen=True, kw_only=True):
    """What was found out.

    Attributes:
        engine: What workers are to use; its runtime is empty when none is usable.
        runtime: The chosen one; None when none is usable.
        verdicts: Of the chosen runtime and its delegates first, then of the others.
    """

    engine: Engine
    runtime: RuntimeFact | None
    verdicts: tuple[Verdict, ...]

    def delegates(self) -> tuple[DelegateName, ...]:
        """Kinds of delegates that variants may ask for, best first; none without a runtime."""
        if self.runtime is None:
            return ()
        kinds = [
            DelegateName.EDGETPU if delegate.is_edgetpu else DelegateName.EXTERNAL
            for delegate in self.engine.externals
        ]
        kinds += [DelegateName.XNNPACK] if self.engine.has_xnnpack else []
        return (*dict.fromkeys(kinds), DelegateName.NONE)


@dataclass
class _Trial:
    """What was found out about one runtime."""

    runtime: InstalledRuntime
    verdicts: list[Verdict] = field(default_factory=list)
    is_usable: bool = False
    has_xnnpack: bool = False
    survivors: tuple[ExternalDelegate, ...] = ()

    def score(self, wishes: Wishes) -> tuple[bool, ...]:
        return (self.is_usable, *(each in self.survivors for each in wishes.delegates), self.has_xnnpack)


def resolve(facts: Facts, wishes: Wishes, probe: Probe) -> Resolution:
    """Find out what this board can use.

    Args:
        facts: The board.
        wishes: What it is meant to run with.
        probe: Tries one thing; the only way to the world.
    """
    trials: list[_Trial] = []
    missing: list[Verdict] = []
    for name in dict.fromkeys((*wishes.runtimes, *PACKAGES)):
        runtime = facts.runtime(name)
        if runtime is None:
            if name in wishes.runtimes:
                missing.append(_not_installed(name, facts))
            continue
        if trials and all(max(trial.score(wishes) for trial in trials)):
            break
        trials.append(_try(runtime, facts, wishes, probe))
    best = max(trials, key=lambda trial: trial.score(wishes), default=None)
    others = [verdict for trial in trials if trial is not best for verdict in trial.verdicts]
    if best is None or not best.is_usable:
        found = [*(best.verdicts if best else []), *others, *missing]
        return Resolution(
            engine=Engine(has_xnnpack=False),
            runtime=None,
            verdicts=tuple(found) or (_not_installed("", facts),),
        )
    return Resolution(
        engine=Engine(
            runtime=best.runtime.name,
            has_xnnpack=best.has_xnnpack,
            externals=best.survivors,
            lost=_lost(best, wishes.delegates),
        ),
        runtime=RuntimeFact(name=best.runtime.name, version=best.runtime.version),
        verdicts=(*best.verdicts, *others, *missing),
    )


def _not_installed(name: str, facts: Facts) -> Verdict:
    return Verdict(
        runtime=name,
        cause=Cause.LIBRARY_MISSING,
        detail=f"{name} is not installed" if name else "no TFLite runtime is installed",
        remedy=suggest_wheel(facts),
    )


def _try(runtime: InstalledRuntime, facts: Facts, wishes: Wishes, probe: Probe) -> _Trial:
    trial = _Trial(runtime)
    shortage = find_shortage(runtime, facts)
    if shortage is not None:
        trial.verdicts.append(
            Verdict(
                runtime=runtime.name,
                version=runtime.version[:64],
                cause=shortage.cause,
                detail=shortage.detail,
                remedy=shortage.remedy,
            )
        )
        return trial
    plain = _verdict(runtime, ProbeJob(runtime=runtime.name, has_xnnpack=False), "", facts, probe)
    trial.verdicts.append(plain)
    if not plain.is_usable:
        return trial
    trial.is_usable = True
    xnnpack = _verdict(runtime, ProbeJob(runtime=runtime.name), DelegateName.XNNPACK.value, facts, probe)
    if xnnpack.is_usable and xnnpack.nodes_total and not xnnpack.nodes_delegated:
        xnnpack = msgspec.structs.replace(
            xnnpack,
            cause=Cause.LIBRARY_MISSING,
            detail="this runtime was built without XNNPACK",
            remedy=remedy_for(Cause.LIBRARY_MISSING, None, facts),
        )
    trial.has_xnnpack = xnnpack.is_usable
    trial.verdicts.append(xnnpack)
    for delegate in wishes.delegates:
        verdict = _try_delegate(runtime, delegate, facts, probe)
        trial.verdicts.append(verdict)
        if verdict.is_usable:
            trial.survivors = (*trial.survivors, delegate)
    return trial


def _try_delegate(
    runtime: InstalledRuntime, delegate: ExternalDelegate, facts: Facts, probe: Probe
) -> Verdict:
    shortage = edgetpu_shortage(facts) if delegate.is_edgetpu else None
    if shortage is not None:
        nodes = ", ".join(device.node for device in facts.accelerators)
        return Verdict(
            runtime=runtime.name,
            version=runtime.version[:64],
            delegate=delegate.name,
            cause=shortage,
            detail=f"this user may not use {nodes}" if nodes else "no Edge TPU is connected, USB or PCIe",
            remedy=remedy_for(shortage, delegate, facts),
        )
    job = ProbeJob(runtime=runtime.name, delegate=delegate, has_xnnpack=False)
    verdict = _verdict(runtime, job, delegate.name, facts, probe)
    if verdict.is_usable and verdict.nodes_total and not verdict.nodes_delegated:
        note = (
            "loads, and takes none of the probe's nodes: what it takes of a model shows when that is loaded"
        )
        verdict = msgspec.structs.replace(verdict, detail=note)
    return verdict


def _verdict(runtime: InstalledRuntime, job: ProbeJob, name: str, facts: Facts, probe: Probe) -> Verdict:
    outcome = probe(job)
    cause, detail = judge(job, outcome, facts)
    passed = outcome.passed if cause is None else None
    return Verdict(
        runtime=runtime.name,
        version=runtime.version[:64],
        delegate=name,
        cause=cause,
        detail=detail[:TEXT_MAX_CHARS],
        remedy="" if cause is None else remedy_for(cause, job.delegate, facts),
        nodes_total=passed.nodes_total if passed else 0,
        nodes_delegated=passed.nodes_delegated if passed else 0,
    )


def _lost(trial: _Trial, delegates: Sequence[ExternalDelegate]) -> tuple[LostDelegate, ...]:
    """Every delegate that did not survive on a usable runtime, XNNPACK too, and why."""
    wanted = {DelegateName.XNNPACK.value, *(delegate.name for delegate in delegates)}
    return tuple(
        LostDelegate(name=verdict.delegate, reason=f"{verdict.cause.value}: {verdict.detail}"[:500])
        for verdict in trial.verdicts
        if verdict.cause is not None and verdict.delegate in wanted
    )
