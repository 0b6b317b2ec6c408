"""What a worker tells applications of its model, and whether all of it fits into frames.

PURE.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from contract.errors import MessageError, RuntimeLoadError
from contract.tensor import DType
from edge_agent.inference import protocol

if TYPE_CHECKING:
    from contract.processing import ClassificationPostprocessing
    from edge_agent.inference.slot import Slot

_LABEL_MAX_BYTES = (1 << 16) - 1
"""A label's length has 16 bits."""


def describe(
    slot: Slot,
    inputs: Sequence[tuple[int, ...]],
    answered: Sequence[tuple[str, tuple[int, ...]]],
    threads: int,
) -> protocol.Welcome:
    """A model's welcome.

    Args:
        slot: What is served.
        inputs: Shapes, in the manifest's order.
        answered: Name and shape of what applications get.
        threads: Of its interpreter.

    Raises:
        MessageError: It has more or longer tensor names than a frame holds.
    """
    manifest = slot.manifest
    takers, givers, total = protocol.plan_area(
        [(spec.name, shape, spec.dtype) for spec, shape in zip(manifest.inputs, inputs, strict=True)],
        [(name, shape, DType.FLOAT32) for name, shape in answered],
    )
    is_image = manifest.preprocessing is not None and len(takers) == 1
    welcome = protocol.Welcome(
        protocol=protocol.PROTOCOL,
        model=manifest.model,
        version=manifest.version,
        variant=slot.variant.name,
        inputs=takers,
        outputs=givers,
        takes_images=is_image,
        takes_files=is_image,
        tensor_bytes=total,
        threads=threads,
        slot_dir=str(slot.folder),
    )
    protocol.check_welcome(welcome)
    return welcome


def with_stored(welcome: protocol.Welcome, stored: protocol.StoredOutput) -> protocol.Welcome:
    """A welcome that tells how to read the output as it is stored, where a frame has room for that.

    Args:
        welcome: Without.
        stored: Its notice follows the tensors, on a cache line of its own.
    """
    full = msgspec.structs.replace(
        welcome,
        stored=msgspec.structs.replace(stored, notice_offset=welcome.tensor_bytes),
        tensor_bytes=welcome.tensor_bytes + protocol.NOTICE_BYTES,
    )
    try:
        protocol.check_welcome(full)
    except MessageError:
        return welcome
    return full


def check_answer_size(
    recipe: ClassificationPostprocessing | None, labels: Sequence[bytes], shape: tuple[int, ...]
) -> None:
    """Refuse a model whose answers would not fit a frame, now and not at some request.

    Args:
        recipe: Of the manifest.
        labels: UTF-8.
        shape: Of the first output.

    Raises:
        RuntimeLoadError: They would not.
    """
    longest = max((len(label) for label in labels), default=0)
    count = 0 if recipe is None else min(recipe.top_k, math.prod(shape))
    size = protocol.RESULT_FIXED_BYTES + count * (protocol.CLASS_FIXED_BYTES + longest)
    if size > protocol.FRAME_MAX_BYTES or longest > _LABEL_MAX_BYTES:
        raise RuntimeLoadError(
            f"an answer with {count} labels of up to {longest} bytes does not fit",
            remedy="pack the model with a smaller top_k or shorter labels",
        )
