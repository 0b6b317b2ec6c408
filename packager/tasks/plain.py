"""What tasks without pictures refuse: settings that would be silently ignored.

PURE. Rules:

1. A setting that does nothing for a task is refused when it is not at its default.
"""

from __future__ import annotations

from contract.errors import ConfigError
from packager.preprocess import PIXEL_MAXIMUM, Fitting
from packager.tasks.kind import DataRequest

_MEANS = frozenset(((0.0,), ()))
_STDS = frozenset(((PIXEL_MAXIMUM,), ()))


def refuse_image_settings(request: DataRequest) -> None:
    """Mean, std, size and colours are of images.

    Raises:
        ConfigError: One is set.
    """
    is_set = {
        "mean": request.mean not in _MEANS,
        "std": request.std not in _STDS,
        "resize, pad or bgr": request.fitting != Fitting(),
    }
    faults = [f"{key} is for images" for key, set_ in is_set.items() if set_]
    if faults:
        raise ConfigError(
            "the samples of this task are no images",
            faults=faults,
            remedy="feed the numbers as the model was trained on them, and leave these settings out",
        )


def refuse_labels(request: DataRequest) -> None:
    """Labels are of classes.

    Raises:
        ConfigError: There are some.
    """
    if request.labels is not None:
        raise ConfigError("labels are for tasks with classes", remedy="leave out --labels")
