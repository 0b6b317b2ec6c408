"""Asks a model again and again, and counts who answered."""

from __future__ import annotations

import threading
from collections import Counter

from edge_agent.inference.client import Model
from tests.support.digits import image_of


class Asker(threading.Thread):
    """Asks one name for the same image until it is stopped.

    Args:
        model: Whom.
        pause_s: Between two requests.
    """

    def __init__(self, model: Model, pause_s: float = 0.002) -> None:
        super().__init__(daemon=True)
        self._model = model
        self._pause_s = pause_s
        self._stop_asking = threading.Event()
        self.versions: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Ask."""
        image = image_of("7")
        try:
            while not self._stop_asking.wait(self._pause_s):
                answer = self._model.infer(image)
                assert answer.label == "7"
                self.versions[answer.version] += 1
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def stop(self) -> None:
        """End, and raise when a request failed."""
        self._stop_asking.set()
        self.join(20)
        assert self.error is None, self.error
