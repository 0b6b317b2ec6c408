"""What a worker is to run its model with: the runtime and delegates that were proved on this board.

PURE. Rules:

1. A worker loads only what is named here; what did not survive its probe is named as lost, with the reason.
2. Without a proof (an empty runtime) a worker takes the best runtime it can import, as it comes.
"""

from __future__ import annotations

import msgspec

from contract.profile import DelegateName

EDGETPU_LIBRARY = "libedgetpu.so.1"
"""Name under which Coral's packages install the Edge TPU delegate (https://coral.ai/docs/edgetpu/tflite-python/)."""


class ExternalDelegate(msgspec.Struct, frozen=True, kw_only=True):
    """A delegate in a shared library of its own.

    Attributes:
        name: ``edgetpu``, or what the configuration calls it.
        library: Path, or a name that the loader finds.
        options: Handed to it as they are.
    """

    name: str
    library: str
    options: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def is_edgetpu(self) -> bool:
        """Whether it runs what the Edge TPU compiler made, and nothing else."""
        return self.name == DelegateName.EDGETPU.value


class LostDelegate(msgspec.Struct, frozen=True, kw_only=True):
    """A delegate that was wanted and cannot be used: its name, and why."""

    name: str
    reason: str


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker may use.

    Attributes:
        runtime: Distribution; empty for the best that can be imported.
        has_xnnpack: Whether XNNPACK survived.
        externals: Delegates in libraries that survived, best first.
        lost: Those that did not.
        has_weight_cache: Whether large models may have their packed weights on disk.
    """

    runtime: str = ""
    has_xnnpack: bool = True
    has_weight_cache: bool = True
    externals: tuple[ExternalDelegate, ...] = ()
    lost: tuple[LostDelegate, ...] = ()

    def without_externals(self, reason: str) -> Engine:
        """The same without any delegate in a library of its own, and why."""
        lost = tuple(LostDelegate(name=each.name, reason=reason) for each in self.externals)
        return msgspec.structs.replace(self, externals=(), lost=(*lost, *self.lost))

    def why_lost(self, name: str) -> str:
        """Why a delegate cannot be used; empty when nothing is known."""
        return next((lost.reason for lost in self.lost if lost.name == name), "")


UNPROVED = Engine(externals=(ExternalDelegate(name=DelegateName.EDGETPU.value, library=EDGETPU_LIBRARY),))
"""What a worker may use when nobody looked: benchmarks and tests."""
