"""Image classification: one true class an image, measured as top-1 accuracy.

Does not judge.
"""

from __future__ import annotations

from typing import Any

from contract.manifest import ClassificationPostprocessing, ImagePreprocessing, Task
from packager.calibration import load_calibration
from packager.description import Source
from packager.preprocess import image_geometry, plan_preprocessing
from packager.tasks.borders import image_to_row_faults
from packager.tasks.kind import DataRequest, Kind, Loaded, NoOptions, Presentation
from packager.tasks.labelled_images import LabelledImages, load_labelled_images, load_labels
from packager.tasks.prepared_images import PreparedImages
from packager.tasks.top1 import Top1


def classified_images(samples: LabelledImages, preprocessing: ImagePreprocessing, count: int) -> Top1:
    """The task of telling images apart.

    Args:
        samples: Images with their true classes.
        preprocessing: From pixels to inputs.
        count: How many classes the model tells apart.
    """
    names = samples.labels or tuple(str(number) for number in range(count))
    return Top1(PreparedImages(samples.images, preprocessing), samples.classes, names)


def _border_faults(source: Source, _: Any) -> list[str]:
    return image_to_row_faults(
        source, "classes", lambda spec: spec.shape[0] in {1, -1} and spec.shape[1] >= 2
    )


def _load(request: DataRequest) -> Loaded:
    source, fitting = request.source, request.fitting
    geometry, classes = image_geometry(source.inputs[0].shape), source.outputs[0].shape[-1]
    assert geometry is not None  # noqa: S101 - checked by _border_faults
    preprocessing = plan_preprocessing(geometry, request.mean, request.std, fitting=fitting)
    recipe = preprocessing if fitting.resize else None
    labels = load_labels(request.labels, classes) if request.labels else ()
    samples = load_labelled_images(request.evaluation, geometry.shape, classes, labels, recipe)
    calibration = (
        load_calibration(request.calibration, geometry.shape, recipe) if request.calibration else None
    )
    return Loaded(
        task=classified_images(samples, preprocessing, classes),
        calibration=PreparedImages(calibration, preprocessing) if calibration else None,
        presentation=Presentation(
            task=Task.CLASSIFICATION,
            preprocessing=preprocessing,
            postprocessing=ClassificationPostprocessing(softmax=not source.gives_probabilities),
            labels=labels,
        ),
    )


KIND = Kind(
    name="classification",
    wants="one float32 image (1, H, W, C) in, one row of float32 scores (1, classes) out",
    options=NoOptions,
    borders=_border_faults,
    load=_load,
)
