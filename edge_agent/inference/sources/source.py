"""One source: a capture's thread, the slot, the model, the sinks.

Guarantees: asks through the SDK like any application, so switches and restarts do not concern it; the newest frame
wins, the others are counted and never decoded; what goes wrong is logged when it changes, not with every frame, and
never ends it; the end of standard input does, so it cannot outlive whoever started it, and so does a capture that hangs
or that only another process can read on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timezone

from contract.errors import InputError, LitefleetError
from edge_agent.inference.client import Agent, Model
from edge_agent.inference.sources.control import Control
from edge_agent.inference.sources.doors import Capture, Frame, SpentError
from edge_agent.inference.sources.outlet import Outlet
from edge_agent.inference.sources.results import result_of
from edge_agent.inference.sources.settings import Source as Settings
from edge_agent.inference.sources.slot import LatestSlot
from edge_agent.inference.sources.tally import Counts
from edge_agent.overload import REPORT_S

_LOG = logging.getLogger(__name__)
_RETRY_S = 1.0
_READ_S = 0.25
_END_S = 1.0


class Source:
    """Feeds one model from one capture.

    Args:
        agent: Where the model is.
        settings: Model and rate.
        capture: Where frames come from; closed with this.
        outlets: Where answers go; closed with this.
        control: Says when to end and how fast to run.
    """

    def __init__(
        self, agent: Agent, settings: Settings, capture: Capture, outlets: Sequence[Outlet], control: Control
    ) -> None:
        self._agent = agent
        self._settings = settings
        self._capture = capture
        self._outlets = outlets
        self._control = control
        self._slot = LatestSlot()
        self._stop = threading.Event()
        self._due_s = 0.0
        self._next_report_s = 0.0
        self._told: Counts | None = None
        self._troubles: dict[str, str] = {}
        self._reading_s: float | None = None
        self._spent: SpentError | None = None
        self.counts = Counts()

    def run(self) -> None:
        """Feed until it is time to end.

        Raises:
            SpentError: The capture hangs, or can do no more in this process.
        """
        thread = threading.Thread(target=self._pump, name="capture", daemon=True)
        try:
            model = self._wait_for_model()
            if model is not None:
                self._due_s = time.monotonic()
                thread.start()
                self._feed_all(model)
        finally:
            self._stop.set()
            if thread.ident is not None:
                thread.join(_END_S)
            if not thread.is_alive():
                self._capture.close()
                self._slot.close()
            for outlet in self._outlets:
                outlet.close()
            self._report()

    def _wait_for_model(self) -> Model | None:
        """The model; None when it is time to end."""
        model = None
        while model is None and not self._control.wait(0.0):
            model = self._open()
        return model

    def _open(self) -> Model | None:
        try:
            return self._agent.model(self._settings.model, wait_s=_RETRY_S)
        except LitefleetError as error:
            self._note("model", error.summary())
            return None

    # The capture's thread.

    def _pump(self) -> None:
        while not self._stop.is_set():
            if self._capture.waits and not self._slot.wait_idle(_READ_S):
                continue
            try:
                self._reading_s = time.monotonic()
                frame = self._capture.read(_READ_S)
            except SpentError as error:
                self._spent = error
                return
            except LitefleetError as error:
                self._note("capture", error.summary())
                self._stop.wait(_RETRY_S)
                continue
            finally:
                self._reading_s = None
            if frame is None:
                continue
            self._note("capture", "")
            self.counts.captured += 1
            if self._slot.put(frame):
                if time.monotonic() >= self._due_s:
                    self.counts.dropped += 1
                else:
                    self.counts.skipped += 1

    # The main thread.

    def _feed_all(self, model: Model) -> None:
        while not self._control.wait(self._due_s - time.monotonic()):
            self._check_capture()
            self._report_when_due()
            frame = self._slot.take()
            if frame is None:
                if self._control.wait(REPORT_S, self._slot.fileno()):
                    return
                self._due_s = max(self._due_s, time.monotonic())
                continue
            rate_hz = self._settings.rate_hz * self._control.rate_share
            self.counts.rate_hz = rate_hz
            # It catches up by one second at most.
            self._due_s = max(self._due_s, time.monotonic() - _RETRY_S) + 1 / rate_hz
            try:
                self._feed(model, frame)
            finally:
                self._slot.finish()

    def _check_capture(self) -> None:
        """Raises SpentError where no more frames will come in this process."""
        if self._spent is not None:
            raise self._spent
        since_s = self._reading_s
        if since_s is not None and time.monotonic() - since_s > self._capture.patience_s:
            raise SpentError(
                f"the {self._settings.kind} source hangs: no answer for {self._capture.patience_s:g} s"
            )

    def _feed(self, model: Model, frame: Frame) -> None:
        try:
            inference = model.infer(frame.load())
            self.counts.answered += 1
            at = datetime.now(timezone.utc)
            result = result_of(inference, self._settings.model, frame.name, at)
            for outlet in self._outlets:
                outlet.put(result)
        except LitefleetError as error:
            self.counts.failed += 1
            self._note("model", error.summary())
            if isinstance(error, InputError):
                self._put_away(frame)
        else:
            self._note("model", "")
            self._put_away(frame)

    def _put_away(self, frame: Frame) -> None:
        """A frame that was answered, or can never be."""
        try:
            frame.done()
        except LitefleetError as error:
            self._note("capture", error.summary())

    def _report_when_due(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_report_s:
            self._next_report_s = now_s + REPORT_S
            self._report()

    def _report(self) -> None:
        counts = self.counts
        counts.sink_dropped = sum(outlet.dropped for outlet in self._outlets)
        if counts != self._told:
            self._control.tell(counts)
            self._told = Counts(**{name: getattr(counts, name) for name in counts.__struct_fields__})

    def _note(self, part: str, trouble: str) -> None:
        """Log what changed; each part belongs to one thread."""
        if trouble != self._troubles.get(part, ""):
            _LOG.warning("source of %s: %s", self._settings.model, trouble or "well again")
            self._troubles[part] = trouble
