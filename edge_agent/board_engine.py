"""What this board runs models with: looked at once at the start, told to whoever asks.

Guarantees: nothing is assumed: until ``look`` there is no answer, after it only what survived its probe. Runs no probe
again while the agent runs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from contract.compat import Capabilities
from contract.errors import RuntimeLoadError
from contract.messages import WIRE_VERSION, DeviceInfo
from contract.profile import DelegateName, Profile
from edge_agent.capabilities import agent_version, board_name, read_capabilities
from edge_agent.config import DelegateSection
from edge_agent.inference.board import Facts
from edge_agent.inference.engine import EDGETPU_LIBRARY, Engine, ExternalDelegate
from edge_agent.inference.facts import read_facts
from edge_agent.inference.prober import Prober
from edge_agent.inference.resolver import Probe, Wishes
from edge_agent.inference.survey import Survey, take_survey

_FOR_THE_PACKAGER = "min_runtime"
"""Option of a profile's Edge TPU that its compiler is told, and not the library (packager/edgetpu.py)."""

logger = logging.getLogger(__name__)


class BoardEngine:
    """The board's runtime and delegates.

    Args:
        profile: The board's.
        configured: Delegates of the configuration.
        state_dir: Where verdicts are remembered, and models stored.
        has_weight_cache: Whether large models may have their packed weights on disk.
    """

    def __init__(
        self,
        profile: Profile,
        configured: Sequence[DelegateSection],
        state_dir: Path,
        *,
        has_weight_cache: bool = True,
    ) -> None:
        self._profile = profile
        self._configured = configured
        self._state_dir = state_dir
        self._has_weight_cache = has_weight_cache
        self._survey: Survey | None = None

    def look(self, should_stop: Callable[[], bool]) -> bool:
        """Find out what this board can use; false when it was told to stop meanwhile.

        Raises:
            RuntimeLoadError: A probe cannot be started.
        """
        try:
            self._survey = survey_board(
                self._profile,
                self._configured,
                self._state_dir,
                probe=Prober(should_stop=should_stop),
            )
        except RuntimeLoadError:
            if should_stop():
                return False
            raise
        for verdict in self._survey.resolution.verdicts:
            subject = " ".join(filter(None, [verdict.runtime, verdict.version, verdict.delegate]))
            if verdict.cause is None:
                logger.info("%s: usable", subject)
            else:
                logger.warning("%s: %s: %s; %s", subject, verdict.cause.value, verdict.detail, verdict.remedy)
        return True

    def _looked(self) -> Survey:
        assert self._survey is not None  # noqa: S101 - the agent looks before anything else starts
        return self._survey

    def facts(self) -> Facts:
        """The board as it was found."""
        return self._looked().facts

    def news(self) -> list[str]:
        """Delegates that were wanted and are lost, in words; only what was not known at the last start."""
        survey = self._looked()
        if survey.is_remembered:
            return []
        return [f"{lost.name} cannot be used: {lost.reason}" for lost in survey.resolution.engine.lost]

    def engine(self) -> Engine:
        """What workers are to use.

        Raises:
            RuntimeLoadError: No runtime survived.
        """
        resolution = self._looked().resolution
        if resolution.runtime is None:
            causes = [verdict for verdict in resolution.verdicts if verdict.cause is not None]
            raise RuntimeLoadError(
                "no TFLite runtime on this device can be used",
                faults=[f"{each.runtime} {each.version}: {each.detail}" for each in causes],
                remedy=next((each.remedy for each in causes), ""),
            )
        return msgspec.structs.replace(resolution.engine, has_weight_cache=self._has_weight_cache)

    def capabilities(self) -> Capabilities:
        """What variants are chosen by; disk and memory as they are now.

        Raises:
            StorageError: The state folder cannot be looked at.
        """
        return read_capabilities(self._profile, self._state_dir, self._looked().resolution)

    def info(self) -> DeviceInfo:
        """What the server is told.

        Raises:
            StorageError: The state folder cannot be looked at.
        """
        return DeviceInfo(
            v=WIRE_VERSION,
            board=board_name(),
            capabilities=self.capabilities(),
            verdicts=self._looked().resolution.verdicts,
        )


def survey_board(
    profile: Profile | None,
    configured: Sequence[DelegateSection],
    folder: Path | None,
    *,
    probe: Probe,
    is_fresh: bool = False,
) -> Survey:
    """Find out what this board can use.

    Args:
        profile: The board's; None when it has none yet.
        configured: Delegates of the configuration.
        folder: Where verdicts are remembered; None for nowhere.
        probe: Tries one thing.
        is_fresh: Probe even if the verdict is remembered.

    Raises:
        RuntimeLoadError: A probe cannot be started, or was told to stop.
    """
    facts = read_facts()
    wishes = wishes_of(profile, configured, facts)
    return take_survey(wishes, probe, agent=agent_version(), folder=folder, is_fresh=is_fresh, facts=facts)


def wishes_of(profile: Profile | None, configured: Sequence[DelegateSection], facts: Facts) -> Wishes:
    """What a board is meant to run with: its configuration first, then its profile, then what is plugged in."""
    delegates = [
        ExternalDelegate(name=each.name, library=each.library, options=dict(each.options))
        for each in configured
    ]
    planned = [] if profile is None else [each for each in profile.delegates if each.name is _EDGETPU]
    if (planned or facts.accelerators) and not any(each.is_edgetpu for each in delegates):
        options = dict(planned[0].options) if planned else {}
        options.pop(_FOR_THE_PACKAGER, None)
        tpu = ExternalDelegate(name=_EDGETPU.value, library=EDGETPU_LIBRARY, options=options)
        delegates.insert(0, tpu)
    return Wishes(
        runtimes=() if profile is None else tuple(runtime.name for runtime in profile.runtimes),
        delegates=tuple(delegates),
    )


_EDGETPU = DelegateName.EDGETPU
