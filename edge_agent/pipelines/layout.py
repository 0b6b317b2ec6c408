"""What a pipeline takes and gives, and whether its models fit each other.

PURE. Rules:

1. Everything follows from what the models' workers say they serve, so it is found out anew when one is switched.
2. A pipeline that crops takes an image. It gives the boxes that were looked at, best first, and per box what its last
   stage says: ``crop_index`` and ``crop_score`` of the best class where that classifies, and each of its outputs as
   ``crops.<name>``. Rows that an answer has no use for are 0.
3. Any other pipeline takes what its first stage takes and gives what its last one gives.
4. Nothing is converted between stages: an output is fed to an input of its own shape, float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contract.errors import IncompatibleError
from contract.tensor import DType
from edge_agent.inference.protocol import PROTOCOL, AreaTensor, Welcome, plan_area
from edge_agent.pipelines.settings import PipelineSettings, StageSettings

Places = list[tuple[str, tuple[int, ...], DType]]
IMAGE = "image"
"""Input of a pipeline that crops."""
_BOXES = ("boxes", "classes", "scores", "count")
_CHANNELS = frozenset((1, 3))


def crop_stage(stages: Sequence[StageSettings]) -> int:
    """Which stage crops; 0 for none."""
    return next((index for index, stage in enumerate(stages) if stage.crop), 0)


def pipeline_welcome(pipeline: PipelineSettings, welcomes: Mapping[str, Welcome]) -> Welcome:
    """What a pipeline serves.

    Args:
        pipeline: Sound settings.
        welcomes: Of each of its models.

    Raises:
        IncompatibleError: The models do not fit each other, with every fault.
    """
    served = [welcomes[stage.model] for stage in pipeline.stages]
    faults: list[str] = []
    for index, stage in enumerate(pipeline.stages[1:], start=1):
        before, here = served[index - 1], served[index]
        faults += _crop_faults(before, here) if stage.crop else _feed_faults(stage, before, here)
    place = crop_stage(pipeline.stages)
    if place and not served[0].takes_images:
        faults.append(f"{served[0].model} takes no images")
    if faults:
        raise IncompatibleError(f"the stages of {pipeline.name} do not fit each other", faults=faults)
    first, last = served[0], served[-1]
    if place:
        inputs: Places = [(IMAGE, _image_shape(first), DType.UINT8)]
        outputs = _cropped(pipeline.stages[place].top, last)
    else:
        inputs, outputs = places_of(first.inputs), places_of(last.outputs)
    return welcome_of(pipeline.name, served, inputs, outputs, "pipeline", takes_images=first.takes_images)


def welcome_of(
    name: str, served: Sequence[Welcome], inputs: Places, outputs: Places, variant: str, *, takes_images: bool
) -> Welcome:
    """A Welcome; its version names those of all models that answer."""
    placed_inputs, placed_outputs, total = plan_area(inputs, outputs)
    return Welcome(
        protocol=PROTOCOL,
        model=name,
        version=",".join(dict.fromkeys(f"{each.model}@{each.version}" for each in served)),
        variant=variant,
        inputs=placed_inputs,
        outputs=placed_outputs,
        takes_images=takes_images,
        takes_files=takes_images and all(each.takes_files for each in served if each.takes_images),
        tensor_bytes=total,
    )


def places_of(tensors: Sequence[AreaTensor]) -> Places:
    """Name, shape and element type of each."""
    return [(tensor.name, tensor.shape, tensor.dtype) for tensor in tensors]


def _cropped(top: int, last: Welcome) -> Places:
    rows: list[tuple[str, tuple[int, ...]]] = [
        ("boxes", (1, top, 4)),
        ("classes", (1, top)),
        ("scores", (1, top)),
        ("count", (1,)),
        ("skipped", (1,)),
        ("crop_index", (1, top)),
        ("crop_score", (1, top)),
        *((f"crops.{each.name}", (top, *each.shape)) for each in last.outputs),
    ]
    return [(name, shape, DType.FLOAT32) for name, shape in rows]


def _image_shape(first: Welcome) -> tuple[int, int, int, int]:
    """An image of the size that the first model looks at; any other is resized by it."""
    shape = first.inputs[0].shape
    if len(shape) == 4 and shape[3] in _CHANNELS:
        return 1, shape[1], shape[2], shape[3]
    if len(shape) == 4 and shape[1] in _CHANNELS:
        return 1, shape[2], shape[3], shape[1]
    return 1, 1, 1, 1


def _crop_faults(before: Welcome, here: Welcome) -> list[str]:
    shapes = {output.name: output.shape for output in before.outputs}
    faults: list[str] = []
    count = shapes.get("boxes", (1, 0, 4))[1:2]
    wanted = {"boxes": (1, *count, 4), "classes": (1, *count), "scores": (1, *count), "count": (1,)}
    if any(shapes.get(name) != wanted[name] for name in _BOXES):
        faults.append(f"{before.model} gives no boxes, classes, scores and count, as a detector does")
    if not here.takes_images:
        faults.append(f"{here.model} takes no images")
    return faults


def _feed_faults(stage: StageSettings, before: Welcome, here: Welcome) -> list[str]:
    outputs = {output.name: output.shape for output in before.outputs}
    inputs = {tensor.name: tensor for tensor in here.inputs}
    faults = [
        f"{here.model} needs its input {name!r} fed" for name in inputs if name not in stage.feed.values()
    ]
    for source, target in stage.feed.items():
        if source not in outputs:
            faults.append(f"{source!r} is no output of {before.model}, it has {', '.join(outputs)}")
        elif target not in inputs:
            faults.append(f"{target!r} is no input of {here.model}, it has {', '.join(inputs)}")
        elif (inputs[target].shape, inputs[target].dtype) != (outputs[source], DType.FLOAT32):
            faults.append(
                f"{source!r} of {before.model} is {outputs[source]} float32,"
                f" {target!r} of {here.model} is {inputs[target].shape} {inputs[target].dtype.value}"
            )
    return faults
