"""Distils a Keras teacher into a user's student, and judges what came of it.

Guarantees: teacher and students are measured as the float .tflite files that they convert to, on the same samples; a
file is written only when the distilled student is not worse than the student without the teacher, by more than the
rules allow. Does not print.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigError, ManifestError
from packager.app import PackRequest, load_material
from packager.cache import Stages
from packager.compression.app import load_trained, load_training
from packager.compression.bench import Bench
from packager.compression.download import download_of
from packager.compression.report import DistillationReport
from packager.compression.training import Course, Trainer
from packager.description import sample_shape
from packager.durable import write_durably
from packager.gate import Reference
from packager.samples import check_samples
from packager.sources.load import load_source
from packager.sources.tflite import SourceModel
from packager.workshop import Progress


@dataclass(frozen=True)
class DistilRequest:
    """What is asked for.

    Attributes:
        asked: The student, samples and rules; what it says of profiles and bundles is not looked at.
        teacher: A .keras or .h5 file.
        training: Samples, as evaluation's.
        course: How to train.
        output: The .keras file to write.
        has_control: Whether the student is also trained without the teacher, to be measured against.
    """

    asked: PackRequest
    teacher: Path
    training: Path
    course: Course
    output: Path
    has_control: bool = True


def distil(request: DistilRequest, progress: Progress) -> DistillationReport:
    """Train, measure, judge, and write what passes.

    Raises:
        RejectedError: A model or the samples cannot be used, or the student cannot be trained.
        ConfigError: The request contradicts itself.
        StorageError: The file cannot be written.
    """
    _check(request)
    asked, stages = request.asked, Stages(request.asked.cache)
    progress.start("reading models and samples", None)
    material, notes = load_material(asked, progress)
    for note in notes:
        progress.tell(f"warning: {note}")
    check_samples(material.task, asked.rules)
    samples = load_training(asked, request.training, material, progress)
    teacher = load_source(request.teacher, progress)
    check_alike(teacher, material.model)
    bench = Bench(material, asked.rules, progress, stages)
    taught = bench.measure(teacher.content)
    trainer = Trainer(progress, stages)
    alone: float | None = None
    if request.has_control:
        course = dataclasses.replace(request.course, alpha=0.0, temperature=1.0)
        control = trainer.train(asked.model, samples, course)
        alone = bench.measure(load_trained(control.content, asked.model, progress).content).value
    trained = trainer.train(asked.model, samples, request.course, request.teacher)
    student = load_trained(trained.content, asked.model, progress)
    found = bench.measure(student.content)
    reference = without_teacher(bench.reference, alone)
    origin = "the student trained alone" if reference.is_baseline_higher else "the student as given"
    fault = reference.accuracy_fault(found)
    if not fault:
        write_durably(request.output, trained.content)
    return DistillationReport(
        teacher=request.teacher.name,
        student=asked.model.name,
        metric=reference.metric,
        samples=bench.samples,
        teacher_value=taught.value,
        before=reference.float_value,
        alone=alone,
        after=found.value,
        teacher_download=download_of(teacher.content),
        student_download=download_of(student.content),
        limit=f"{reference.limit:.4f} ({reference.value:.4f} of {origin} less {reference.rules.max_drop})",
        fault=fault,
        epochs=request.course.epochs,
        output=str(request.output) if not fault else "",
    )


def check_alike(teacher: SourceModel, student: SourceModel) -> None:
    """A teacher can only be learnt from where it takes and gives what the student does.

    Raises:
        ManifestError: It does not.
    """
    if _shapes(teacher) != _shapes(student):
        borders = " and ".join(
            f"{model.name} takes {taken} and gives {given}"
            for model, (taken, given) in ((one, _shapes(one)) for one in (teacher, student))
        )
        raise ManifestError(
            f"{borders}: nothing can be learnt", remedy="give both the same input and classes"
        )


def _shapes(model: SourceModel) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    source = model.source
    return [sample_shape(one) for one in source.inputs], [sample_shape(one) for one in source.outputs]


def without_teacher(student: Reference, alone: float | None) -> Reference:
    """What a distilled student is measured against: the student as given or trained alone, whichever is better.

    Args:
        student: As given.
        alone: The metric after training without the teacher; None where that was not made.
    """
    return dataclasses.replace(student, baseline_value=alone)


def _check(request: DistilRequest) -> None:
    if request.output.suffix != ".keras":
        raise ConfigError(f"{request.output} does not end in .keras", remedy="a .keras file is written")
    if not request.output.resolve().parent.is_dir():
        raise ConfigError(f"there is no folder {request.output.resolve().parent}")
