from __future__ import annotations

import pytest

from contract.errors import IncompatibleError
from contract.tensor import DType
from edge_agent.inference.protocol import PROTOCOL, Welcome, plan_area
from edge_agent.pipelines.layout import pipeline_welcome
from edge_agent.pipelines.settings import PipelineSettings, StageSettings

Shapes = dict[str, tuple[int, ...]]
BOXES: Shapes = {"boxes": (1, 5, 4), "classes": (1, 5), "scores": (1, 5), "count": (1,)}
CROP = StageSettings(model="reader", crop="boxes", top=3)


def a_welcome(
    model: str, inputs: Shapes, outputs: Shapes, *, takes_images: bool = True, dtype: DType = DType.FLOAT32
) -> Welcome:
    placed_inputs, placed_outputs, total = plan_area(
        [(name, shape, dtype) for name, shape in inputs.items()],
        [(name, shape, DType.FLOAT32) for name, shape in outputs.items()],
    )
    return Welcome(
        protocol=PROTOCOL,
        model=model,
        version="1.0.0",
        variant="v",
        inputs=placed_inputs,
        outputs=placed_outputs,
        takes_images=takes_images,
        tensor_bytes=total,
    )


FINDER = a_welcome("finder", {"image": (1, 48, 32, 3)}, BOXES)
READER = a_welcome("reader", {"image": (1, 8, 8, 1)}, {"probabilities": (1, 10)})
HEAD = a_welcome("head", {"x": (1, 10)}, {"y": (1, 2)}, takes_images=False)


def welcome_of(*served: Welcome, stages: tuple[StageSettings, ...] = ()) -> Welcome:
    stages = (StageSettings(model=served[0].model), *stages)
    pipeline = PipelineSettings(name="doorbell", stages=stages)
    return pipeline_welcome(pipeline, {welcome.model: welcome for welcome in served})


def test_a_pipeline_that_crops_takes_an_image_and_gives_boxes_with_what_is_in_them() -> None:
    welcome = welcome_of(FINDER, READER, stages=(CROP,))
    assert [(place.name, place.shape, place.dtype) for place in welcome.inputs] == [
        ("image", (1, 48, 32, 3), DType.UINT8)
    ]
    assert {place.name: place.shape for place in welcome.outputs} == {
        "boxes": (1, 3, 4),
        "classes": (1, 3),
        "scores": (1, 3),
        "count": (1,),
        "skipped": (1,),
        "crop_index": (1, 3),
        "crop_score": (1, 3),
        "crops.probabilities": (3, 1, 10),
    }
    assert (welcome.model, welcome.version, welcome.variant) == (
        "doorbell",
        "finder@1.0.0,reader@1.0.0",
        "pipeline",
    )
    assert (welcome.takes_images, welcome.slot_dir) == (True, "")


@pytest.mark.parametrize(
    ("shape", "image"),
    [((1, 3, 48, 32), (1, 48, 32, 3)), ((1, 9, 9, 9), (1, 1, 1, 1)), ((1, 9), (1, 1, 1, 1))],
)
def test_the_image_has_the_size_that_the_first_model_looks_at(
    shape: tuple[int, ...], image: tuple[int, ...]
) -> None:
    finder = a_welcome("finder", {"image": shape}, BOXES)
    assert welcome_of(finder, READER, stages=(CROP,)).inputs[0].shape == image


def test_a_chain_takes_what_its_first_takes_and_gives_what_its_last_gives() -> None:
    stage = StageSettings(model="head", feed={"probabilities": "x"})
    welcome = welcome_of(READER, HEAD, stages=(stage,))
    assert [(place.name, place.shape, place.dtype) for place in welcome.inputs] == [
        ("image", (1, 8, 8, 1), DType.FLOAT32)
    ]
    assert [(place.name, place.shape) for place in welcome.outputs] == [("y", (1, 2))]
    assert welcome.takes_images
    assert welcome_of(FINDER, READER, HEAD, stages=(CROP, stage)).outputs[-1].name == "crops.y"


@pytest.mark.parametrize(
    ("served", "stages", "fault"),
    [
        ((READER, FINDER), (StageSettings(model="finder", crop="boxes"),), "reader gives no boxes, classes"),
        ((FINDER, HEAD), (StageSettings(model="head", crop="boxes"),), "head takes no images"),
        (
            (a_welcome("finder", {"x": (1,)}, BOXES, takes_images=False), READER),
            (CROP,),
            "finder takes no images",
        ),
        (
            (READER, HEAD),
            (StageSettings(model="head", feed={"logits": "x"}),),
            "'logits' is no output of reader, it has probabilities",
        ),
        (
            (READER, FINDER),
            (StageSettings(model="finder", feed={"probabilities": "image"}),),
            "'probabilities' of reader is (1, 10) float32, 'image' of finder is (1, 48, 32, 3) float32",
        ),
        (
            (READER, a_welcome("head", {"x": (1, 10)}, {"y": (1, 2)}, dtype=DType.INT8)),
            (StageSettings(model="head", feed={"probabilities": "x"}),),
            "'x' of head is (1, 10) int8",
        ),
    ],
)
def test_models_that_do_not_fit_are_told_apart(
    served: tuple[Welcome, ...], stages: tuple[StageSettings, ...], fault: str
) -> None:
    with pytest.raises(IncompatibleError, match="the stages of doorbell do not fit each other") as caught:
        welcome_of(*served, stages=stages)
    (found,) = caught.value.faults
    assert fault in found


def test_an_input_that_nothing_feeds_and_one_that_is_none_are_both_told() -> None:
    with pytest.raises(IncompatibleError) as caught:
        welcome_of(READER, HEAD, stages=(StageSettings(model="head", feed={"probabilities": "z"}),))
    assert caught.value.faults == (
        "head needs its input 'x' fed",
        "'z' is no input of head, it has x",
    )
