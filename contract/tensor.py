"""Description of one tensor at a model's border.

PURE. Rules:

1. A dimension is positive, or -1 for "free" (the caller decides, usually the batch).
2. ``value_range`` is in the units of the tensor's dtype before quantization: what a caller may feed.
3. ``quantization`` is TFLite's affine scheme: real = (stored - zero_point) * scale
   (https://ai.google.dev/edge/litert/models/quantization_spec), one scale, or one per slice of ``axis``.
"""

from __future__ import annotations

import enum
import math

import msgspec

MAX_RANK = 8
MAX_ELEMENTS = 1 << 28
"""256 Mi elements: far above any model for a small board, low enough that a product cannot overflow memory."""


class DType(str, enum.Enum):
    """Element types that TFLite models use at their borders."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8 = "int8"
    UINT8 = "uint8"
    INT16 = "int16"
    INT32 = "int32"
    INT64 = "int64"
    BOOL = "bool"


ITEM_BYTES: dict[DType, int] = {
    DType.FLOAT32: 4,
    DType.FLOAT16: 2,
    DType.INT8: 1,
    DType.UINT8: 1,
    DType.INT16: 2,
    DType.INT32: 4,
    DType.INT64: 8,
    DType.BOOL: 1,
}


ZERO_POINTS: dict[DType, tuple[int, int]] = {
    DType.INT8: (-(1 << 7), (1 << 7) - 1),
    DType.UINT8: (0, (1 << 8) - 1),
    DType.INT16: (-(1 << 15), (1 << 15) - 1),
}
"""Lowest and highest zero point: it is a value of the stored type, so only types with one can be quantized."""


class Layout(str, enum.Enum):
    """What the dimensions mean. ``any`` where the order has no common name."""

    NHWC = "NHWC"
    NCHW = "NCHW"
    NC = "NC"
    ANY = "any"


class Quantization(msgspec.Struct, frozen=True, kw_only=True):
    """Affine quantization parameters.

    Attributes:
        scales: One, or as many as the tensor has slices along ``axis``; each above 0.
        zero_points: As many as ``scales``.
        axis: Dimension of per-channel parameters; None for per-tensor.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One input or output of a model.

    Attributes:
        name: Name in the model's signature.
        shape: Dimensions, -1 for free.
        dtype: Element type as stored.
        layout: Meaning of the dimensions.
        value_range: Lowest and highest value, inclusive; None when unbounded.
        quantization: None for tensors that hold real values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: DType
    layout: Layout = Layout.ANY
    value_range: tuple[float, float] | None = None
    quantization: Quantization | None = None

    def elements(self, free: int = 1) -> int:
        """Number of elements when every free dimension is ``free``."""
        return math.prod(free if size == -1 else size for size in self.shape)

    def size_bytes(self, free: int = 1) -> int:
        """Bytes of the tensor when every free dimension is ``free``."""
        return self.elements(free) * ITEM_BYTES[self.dtype]


def tensor_faults(spec: TensorSpec, where: str) -> list[str]:
    """List every fault of a tensor description; empty when it is sound.

    Args:
        spec: The description.
        where: How to call it in the texts, for example ``inputs[0]``.
    """
    faults: list[str] = []
    if not spec.name or len(spec.name) > 256:
        faults.append(f"{where}: name must have 1 to 256 characters")
    bad = [size for size in spec.shape if size != -1 and size < 1]
    if bad:
        faults.append(f"{where}: dimension {bad[0]} is neither positive nor -1")
    if len(spec.shape) > MAX_RANK:
        faults.append(f"{where}: rank {len(spec.shape)} is above {MAX_RANK}")
    elif spec.elements() > MAX_ELEMENTS:
        # The product is not shown: of hostile dimensions it has too many digits to be written.
        faults.append(f"{where}: more than {MAX_ELEMENTS} elements")
    if spec.value_range is not None:
        low, high = spec.value_range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            faults.append(f"{where}: value_range {low} to {high} is not a finite, rising range")
    if spec.quantization is not None:
        faults += _quantization_faults(spec, spec.quantization, where)
    return faults


def _quantization_faults(spec: TensorSpec, quantization: Quantization, where: str) -> list[str]:
    faults: list[str] = []
    scales, zero_points = quantization.scales, quantization.zero_points
    if not scales or len(scales) != len(zero_points):
        faults.append(f"{where}: quantization has {len(scales)} scales and {len(zero_points)} zero points")
    if any(not (math.isfinite(scale) and scale > 0) for scale in scales):
        faults.append(f"{where}: quantization scales must be finite and above 0")
    if spec.dtype not in ZERO_POINTS:
        faults.append(f"{where}: {spec.dtype.value} cannot be quantized")
    else:
        low, high = ZERO_POINTS[spec.dtype]
        if any(not low <= point <= high for point in zero_points):
            faults.append(f"{where}: zero points of {spec.dtype.value} must be {low} to {high}")
    if quantization.axis is None:
        if len(scales) > 1:
            faults.append(f"{where}: {len(scales)} scales need an axis")
    elif not 0 <= quantization.axis < len(spec.shape):
        faults.append(f"{where}: quantization axis {quantization.axis} is outside the shape")
    elif len(scales) != spec.shape[quantization.axis]:
        faults.append(f"{where}: {len(scales)} scales for {spec.shape[quantization.axis]} slices")
    return faults
