"""What workers that follow a script say of themselves."""

from __future__ import annotations

from contract.tensor import DType
from edge_agent.inference import protocol
from edge_agent.inference.greeting import with_stored
from edge_agent.inference.protocol import StoredOutput, Welcome

Tensor = tuple[str, tuple[int, ...], DType]


def a_scripted_welcome(
    given: Tensor = ("x", (1,), DType.FLOAT32),
    answered: Tensor = ("y", (1,), DType.FLOAT32),
    stored: StoredOutput | None = None,
) -> Welcome:
    """One input, one output, no images; with ``stored`` an output that may be left as it is stored."""
    inputs, outputs, size = protocol.plan_area([given], [answered])
    welcome = Welcome(
        protocol=protocol.PROTOCOL,
        model="digits",
        version="1.0.0",
        variant="v",
        inputs=inputs,
        outputs=outputs,
        takes_images=False,
        tensor_bytes=size,
    )
    return welcome if stored is None else with_stored(welcome, stored)
