"""Takes the fingerprint of a pack run's samples, or gets it from an earlier run.

Guarantees: over the calibration samples where there are any, else over the evaluation samples, each once, as the float
model sees them; bounded memory.
"""

from __future__ import annotations

import hashlib

import msgspec

from contract.fingerprint import Basis, Fingerprint
from contract.manifest import Task
from contract.profile import DelegateName
from packager.cache import Stages, processor_kind, stage_key
from packager.fingerprinting import Ports, take_fingerprint
from packager.quantize import tool_versions
from packager.runtime.interpreter import LoadedModel
from packager.workshop import Material, Progress

_FORM = 1
"""Grows when the same samples give another fingerprint."""
_CLASSIFIERS = frozenset((Task.CLASSIFICATION, Task.AUDIO_CLASSIFICATION))


def fingerprint_of(material: Material, stages: Stages, progress: Progress) -> Fingerprint:
    """The fingerprint of what a run works with.

    Raises:
        RuntimeLoadError: LiteRT does not run the float model.
    """
    samples, basis = material.calibration, Basis.CALIBRATION
    if samples is None or not len(samples):
        samples, basis = material.task, Basis.EVALUATION
    layout = material.presentation.preprocessing.layout if material.presentation.preprocessing else None
    key = stage_key(
        "fingerprint",
        form=_FORM,
        model=hashlib.sha256(material.model.content).hexdigest(),
        tools=tool_versions(),
        processor=processor_kind(),
        samples=[basis, samples.sha256, samples.preparation],
        shown=[material.presentation.task, layout, material.presentation.postprocessing],
    )

    def take() -> bytes:
        model = LoadedModel(material.model.content, DelegateName.XNNPACK)
        progress.start("taking the fingerprint", len(samples))
        return msgspec.json.encode(
            take_fingerprint(samples, model.run, _ports(material), basis, progress.advance)
        )

    return msgspec.json.decode(stages.run(key, take), type=Fingerprint)


def _ports(material: Material) -> Ports:
    source, shown = material.model.source, material.presentation
    first, *others = source.inputs
    if shown.preprocessing is not None:
        first = msgspec.structs.replace(first, layout=shown.preprocessing.layout)
    return Ports(
        inputs=(first, *others),
        outputs=source.outputs,
        is_classifier=shown.task in _CLASSIFIERS and len(source.outputs) == 1,
        needs_softmax=shown.postprocessing is not None and shown.postprocessing.softmax,
    )
