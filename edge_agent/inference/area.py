"""The memory that an application shares with a worker: a sealed memfd, and tensors in it.

Guarantees: a worker maps only memory that can no longer shrink, so no application can end it by SIGBUS; a
descriptor taken over is closed whatever happens. Does not protect from an application that writes during its own
request: it spoils its own answer only, since everything is copied before it is checked.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from contract.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt

    from edge_agent.inference.protocol import AreaTensor

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Area:
    """A mapped memfd. It is unmapped when the last view of it is gone.

    Attributes:
        size_bytes: Of the mapping.
    """

    def __init__(self, descriptor: int, size_bytes: int) -> None:
        self._memory = mmap.mmap(descriptor, size_bytes)
        self.size_bytes = size_bytes

    def tensor(self, place: AreaTensor) -> npt.NDArray[Any]:
        """View of a tensor in the area."""
        dtype = np.dtype(place.dtype.value)
        count = place.size_bytes() // dtype.itemsize
        return np.frombuffer(self._memory, dtype, count, place.offset).reshape(place.shape)

    def image(self, offset: int, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
        """View of (H, W, C) uint8 pixels that start at an offset."""
        count = shape[0] * shape[1] * shape[2]
        return np.frombuffer(self._memory, np.uint8, count, offset).reshape(shape)

    def part(self, offset: int, count: int) -> memoryview:
        """View of bytes at an offset."""
        return memoryview(self._memory)[offset : offset + count]

    def put(self, offset: int, content: bytes | memoryview) -> None:
        """Write bytes at an offset."""
        self._memory[offset : offset + len(content)] = content

    def take(self, offset: int, count: int) -> bytes:
        """A copy of bytes at an offset."""
        return self._memory[offset : offset + count]


class Descriptor:
    """A file descriptor that is closed with its last owner.

    Attributes:
        number: For the system's calls; -1 once it is closed.
    """

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close it, once."""
        number, self.number = self.number, -1
        if number >= 0:
            os.close(number)


def create_area(size_bytes: int) -> tuple[Area, int]:
    """Make an area, all zeros, that can neither shrink nor grow any more.

    Returns:
        The area, and the descriptor to pass on; the caller closes it.
    """
    descriptor = os.memfd_create("litefleet-area", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size_bytes)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return Area(descriptor, size_bytes), descriptor
    except BaseException:
        os.close(descriptor)
        raise


def adopt_area(descriptor: int, *, least_bytes: int, most_bytes: int) -> Area:
    """Map a descriptor that came from an application; it is closed in any case.

    Raises:
        InputError: It is no sealed memfd of a size within the bounds.
    """
    try:
        size_bytes = os.fstat(descriptor).st_size
        if not fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK:
            raise InputError("the shared memory is not sealed against shrinking")
        if not least_bytes <= size_bytes <= most_bytes:
            raise InputError(
                f"the shared memory has {size_bytes} bytes, {least_bytes} to {most_bytes} are possible"
            )
        return Area(descriptor, size_bytes)
    except (OSError, ValueError) as error:
        raise InputError(f"the descriptor is not usable as shared memory: {error}") from error
    finally:
        os.close(descriptor)
