"""A process that has a model answer a folder of images over and over: ``python -m edge_agent.inference.sources``.

Guarantees: asks through the SDK like any application, so switches and restarts do not concern it; what goes wrong is
logged when it changes, not with every image, and never ends it; the end of standard input does, so it cannot outlive
whoever started it. Looks at the folder again with every round.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import numpy as np
import numpy.typing as npt
from PIL import Image

from contract.errors import InputError, LitefleetError
from edge_agent.inference.client import Agent, Model, connect

_LOG = logging.getLogger(__name__)
SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".webp"))
_RETRY_S = 1.0
_GRAY_MODES = frozenset(("1", "L", "I", "I;16", "F"))

Wait = Callable[[float], bool]
"""Waits so many seconds; True as soon as it is time to end."""


def list_images(folder: Path) -> list[Path]:
    """Images in a folder and its folders, in the order of their paths; empty when there is no folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def load_image(path: Path) -> npt.NDArray[np.uint8]:
    """Decode an image.

    Returns:
        (H, W) gray or (H, W, 3) RGB uint8, 0-255; transparency is dropped.

    Raises:
        InputError: It is no image that can be read.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("L" if image.mode in _GRAY_MODES else "RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as an image: {error}") from error


class Source:
    """Feeds one folder to one model.

    Args:
        agent: Where the model is.
        name: Model name.
        folder: Of images.
        rate_hz: Images a second.
        wait: How to pass time.
    """

    def __init__(self, agent: Agent, name: str, folder: Path, rate_hz: float, wait: Wait) -> None:
        self._agent = agent
        self._name = name
        self._folder = folder
        self._period_s = 1 / rate_hz
        self._wait = wait
        self._trouble = ""

    def run(self) -> None:
        """Feed until it is time to end."""
        model = self._open()
        while model is None:
            if self._wait(0.0):
                return
            model = self._open()
        due = time.monotonic()
        for path in self._paths():
            if self._wait(due - time.monotonic()):
                return
            if path is None:
                self._note(f"no images in {self._folder}")
                due = time.monotonic() + _RETRY_S
            else:
                self._feed(model, path)
                due = max(
                    due + self._period_s, time.monotonic() - _RETRY_S
                )  # catches up by one second at most

    def _open(self) -> Model | None:
        """The model; None when it is not there after a while."""
        try:
            return self._agent.model(self._name, wait_s=_RETRY_S)
        except LitefleetError as error:
            self._note(error.summary())
            return None

    def _paths(self) -> Iterator[Path | None]:
        """The images round after round; None for a round without any."""
        while True:
            paths = list_images(self._folder)
            yield from paths
            if not paths:
                yield None

    def _feed(self, model: Model, path: Path) -> None:
        try:
            model.infer(load_image(path))
        except LitefleetError as error:
            self._note(error.summary())
        else:
            self._note("")

    def _note(self, trouble: str) -> None:
        if trouble != self._trouble:
            _LOG.warning("source of %s: %s", self._name, trouble or "well again")
            self._trouble = trouble


def wait_for_end_of_input(seconds: float) -> bool:
    """A ``Wait`` that ends with standard input."""
    ends = time.monotonic() + seconds
    descriptor = sys.stdin.fileno()
    while select.select([descriptor], [], [], max(0.0, ends - time.monotonic()))[0]:
        if not os.read(descriptor, 4096):
            return True
    return False


@click.command()
@click.option("--run-dir", type=click.Path(path_type=Path), required=True, help="Run folder of the agent.")
@click.option("--model", required=True, help="Model that answers.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Folder of images.")
@click.option(
    "--rate-hz", type=click.FloatRange(min=0, min_open=True), required=True, help="Images a second."
)
def main(run_dir: Path, model: str, folder: Path, rate_hz: float) -> None:
    """Have a model answer a folder of images until standard input ends."""
    with connect(run_dir) as agent:
        Source(agent, model, folder, rate_hz, wait_for_end_of_input).run()


if __name__ == "__main__":
    main()
