"""Which kind of model a path is.

PURE. Rules:

1. The name decides, and for a folder whether it holds ``saved_model.pb``; nothing is opened to guess.
2. What looks like a model of a known framework in a form that cannot be packed is refused with the form that can.
"""

from __future__ import annotations

import enum

from contract.errors import ManifestError


class Format(str, enum.Enum):
    """The forms of a model that can be packed."""

    TFLITE = "tflite"
    KERAS = "keras"
    SAVED_MODEL = "savedmodel"
    ONNX = "onnx"
    TORCH = "torch"


_BY_SUFFIX = {
    ".tflite": Format.TFLITE,
    ".keras": Format.KERAS,
    ".h5": Format.KERAS,
    ".hdf5": Format.KERAS,
    ".onnx": Format.ONNX,
    ".pt2": Format.TORCH,
}
_CHECKPOINT = (
    "save the whole program: torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"
)
_REMEDIES = {
    ".pt": _CHECKPOINT,
    ".pth": _CHECKPOINT,
    ".ckpt": _CHECKPOINT,
    ".safetensors": _CHECKPOINT,
    ".pb": "give the folder that holds saved_model.pb",
    ".weights": "save the whole model with model.save('model.keras')",
}
_KNOWN = "give a .tflite, .keras, .h5, .onnx or .pt2 file, or a SavedModel folder"


def choose_format(name: str, *, is_folder: bool, has_saved_model: bool) -> Format:
    """The format of a path.

    Args:
        name: Its last part.
        is_folder: Whether it is one.
        has_saved_model: Whether it is a folder with ``saved_model.pb``.

    Raises:
        ManifestError: None that can be packed.
    """
    if has_saved_model:
        return Format.SAVED_MODEL
    if is_folder:
        raise ManifestError(f"the folder {name} holds no saved_model.pb", remedy=_KNOWN)
    suffix = f".{name.rpartition('.')[2].lower()}" if "." in name else ""
    if suffix not in _BY_SUFFIX:
        what = f"does not end in one of {', '.join(_BY_SUFFIX)}"
        raise ManifestError(f"{name} {what}", remedy=_REMEDIES.get(suffix, _KNOWN))
    return _BY_SUFFIX[suffix]
