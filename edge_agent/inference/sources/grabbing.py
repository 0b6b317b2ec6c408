"""What all cameras and streams have in common: they are opened, give frames, go away and come back.

Guarantees: a camera that goes away is closed and opened again with the next read. A library that is not there, or does
not load, is a ConfigError with its remedy. Knows no library by name.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any, Protocol

from contract.errors import ConfigError, LitefleetError, NotFoundError
from edge_agent.inference.sources.doors import Frame

_NUMPY_REMEDY = (
    "it was built for numpy 1, as Debian 12's packages are: pip install 'litefleet[agent]' 'numpy<2' "
    "in the agent's environment"
)


class Grab(Protocol):
    """An open camera."""

    def grab(self, timeout_s: float) -> Frame | None:
        """The next frame; None when none came within this time. OSError or NotFoundError when it is gone."""

    def close(self) -> None:
        """Free it."""


class CameraCapture:
    """A camera that is opened when it is there, and again when it comes back.

    Args:
        open_camera: Opens it.
        patience_s: See ``Capture``.
    """

    waits = False

    def __init__(self, open_camera: Callable[[], Grab], patience_s: float = math.inf) -> None:
        self.patience_s = patience_s
        self._open = open_camera
        self._camera: Grab | None = None

    def read(self, timeout_s: float) -> Frame | None:
        """See ``Capture``."""
        try:
            if self._camera is None:
                self._camera = self._open()
            return self._camera.grab(timeout_s)
        except (OSError, LitefleetError) as error:
            self.close()
            if isinstance(error, LitefleetError):
                raise
            raise NotFoundError(f"the camera cannot be used: {error}") from error

    def close(self) -> None:
        """See ``Capture``."""
        if self._camera is not None:
            camera, self._camera = self._camera, None
            camera.close()


def load_library(name: str, remedy: str) -> Any:
    """Import an optional library.

    Args:
        name: Dotted.
        remedy: How it is installed.

    Raises:
        ConfigError: It is not there, or does not load.
    """
    try:
        return importlib.import_module(name)
    except (ImportError, OSError, ValueError) as error:  # ValueError: an extension that another numpy built
        is_numpy = not isinstance(error, ModuleNotFoundError) and "numpy" in str(error)
        raise ConfigError(
            f"{name.partition('.')[0]} cannot be used: {error}", remedy=_NUMPY_REMEDY if is_numpy else remedy
        ) from error
