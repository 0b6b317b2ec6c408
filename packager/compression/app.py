"""Compresses one model: where weights, samples, training and the gate meet.

Guarantees: a file is written only when the gate passes; a search measures at most five settings of pruning and four of
clustering. Does not print: progress is told to whoever listens, results are returned.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from contract.errors import ConfigError, ManifestError
from packager.app import PackRequest, load_material
from packager.bootstrap import SHOWN_CONFIDENCE
from packager.cache import Stages
from packager.compression.bench import Bench, Trial
from packager.compression.plan import CLUSTER_GRID, PRUNE_GRID, Compression, Wanted
from packager.compression.report import CompressionReport, Tried
from packager.compression.search import harshest
from packager.compression.training import Course, Samples, Trainer
from packager.durable import write_durably
from packager.gate import Reference
from packager.samples import check_samples
from packager.sources.load import load_source
from packager.sources.tflite import SourceModel
from packager.tasks.kinds import DEFAULT_KIND
from packager.workshop import Material, Progress


@dataclass(frozen=True)
class Tuning:
    """Fine-tuning.

    Attributes:
        training: Samples, as evaluation's.
        course: How; its compression is filled in.
    """

    training: Path
    course: Course


@dataclass(frozen=True)
class CompressRequest:
    """What is asked for.

    Attributes:
        asked: Model, samples and rules; what it says of profiles and bundles is not looked at.
        wanted: What to do to the weights.
        output: The .tflite file to write.
        tuning: How to fine-tune; None not to.
    """

    asked: PackRequest
    wanted: Wanted
    output: Path
    tuning: Tuning | None = None


def compress(request: CompressRequest, progress: Progress) -> CompressionReport:
    """Compress, measure, judge, and write what passes.

    Raises:
        RejectedError: Model or samples cannot be used, or cannot be trained.
        ConfigError: The request contradicts itself.
        StorageError: The file cannot be written.
    """
    _check(request)
    asked, stages = request.asked, Stages(request.asked.cache)
    progress.start("reading model and samples", None)
    material, notes = load_material(asked, progress)
    for note in notes:
        progress.tell(f"warning: {note}")
    check_samples(material.task, asked.rules)
    bench = Bench(material, asked.rules, progress, stages)
    untuned: float | None = None
    if request.tuning is not None:
        chosen = Compression(request.wanted.prune or 0.0, request.wanted.clusters or 0)
        untuned = bench.try_out(chosen).measured.value
        trial: Trial | None = _tune(request, request.tuning, chosen, bench, Trainer(progress, stages))
    else:
        trial = _search(bench, request.wanted)
    tried = tuple(
        Tried(what=one.compression.describe(), value=one.measured.value, fault=one.fault)
        for one in bench.trials.values()
    )
    fault = trial.fault if trial else f"no setting passes: {tried[-1].what}: {tried[-1].fault}"
    if trial is not None and not fault:
        write_durably(request.output, trial.content)
    low, high = trial.measured.drop_interval or (None, None) if trial else (None, None)
    return CompressionReport(
        model=material.model.name,
        what=trial.compression.describe() if trial else "nothing",
        prune=trial.compression.prune if trial else 0.0,
        clusters=trial.compression.clusters if trial else 0,
        metric=bench.reference.metric,
        samples=bench.samples,
        before=bench.reference.float_value,
        after=trial.measured.value if trial else None,
        drop_low=low,
        drop_high=high,
        confidence=asked.rules.confidence or SHOWN_CONFIDENCE,
        limit=bench.reference.describe(),
        fault=fault,
        tried=tried,
        layers=trial.layers if trial else (),
        downloads=bench.downloads(trial.content) if trial else (),
        untuned=untuned,
        epochs=request.tuning.course.epochs if request.tuning else 0,
        output=str(request.output) if not fault else "",
    )


def _check(request: CompressRequest) -> None:
    if request.wanted.is_none:
        raise ConfigError("there is nothing to do", remedy="give --prune, --cluster, or both")
    if request.tuning and None in {request.wanted.prune, request.wanted.clusters}:
        raise ConfigError(
            "auto would train once for every setting that it tries",
            remedy="find the settings without --fine-tune first, then go a step further with it",
        )
    if request.output.suffix != ".tflite":
        raise ConfigError(f"{request.output} does not end in .tflite", remedy="a .tflite file is written")
    if not request.output.resolve().parent.is_dir():
        raise ConfigError(f"there is no folder {request.output.resolve().parent}")


def _search(bench: Bench, wanted: Wanted) -> Trial | None:
    """What was asked for, or the harshest that passes: pruning first, then clustering what is left.

    Where both are searched for, pruning may take half of the allowed drop, so that some is left for clustering: alone
    it would take all of it, and many clusters of few weights are more bytes than few clusters of some more.
    """
    prune, clusters = wanted.prune, wanted.clusters
    if prune is None:
        reference = halved(bench.reference) if clusters is None else bench.reference
        prune = harshest(
            PRUNE_GRID,
            lambda share: (
                not reference.accuracy_fault(bench.try_out(Compression(share, clusters or 0)).measured)
            ),
        )
        if prune is None:
            return None
    if clusters is None:
        clusters = harshest(CLUSTER_GRID, lambda count: not bench.try_out(Compression(prune, count)).fault)
        if clusters is None:
            return None
    return bench.try_out(Compression(prune, clusters))


def halved(reference: Reference) -> Reference:
    """The same with half of the allowed drop."""
    rules = reference.rules
    half = replace(rules.max_drop, amount=rules.max_drop.amount / 2)
    return replace(reference, rules=replace(rules, max_drop=half))


def _tune(
    request: CompressRequest, tuning: Tuning, chosen: Compression, bench: Bench, trainer: Trainer
) -> Trial:
    asked = request.asked
    samples = load_training(asked, tuning.training, bench.material, trainer.progress)
    trained = trainer.train(asked.model, samples, replace(tuning.course, compression=chosen))
    model = load_trained(trained.content, asked.model, trainer.progress)
    return bench.try_out(chosen, model.content)


def load_trained(content: bytes, origin: Path, progress: Progress) -> SourceModel:
    """Convert a model that was trained, and check that the conversion answers as it does."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{origin.stem}.keras"
        path.write_bytes(content)
        return load_source(path, progress)


def load_training(asked: PackRequest, training: Path, judged: Material, progress: Progress) -> Samples:
    """Read training samples as evaluation samples are read.

    Args:
        asked: How.
        training: Where they are: ``<class>/<image>``.
        judged: With the model and the evaluation samples.
        progress: Told what is going on.

    Raises:
        ManifestError: There are none, they do not fit, or they are evaluation samples too.
    """
    progress.start("reading training samples", None)
    request = replace(asked, evaluation=training, calibration=None)
    found = load_material(request, progress, replace(judged.model, conversion=None))[0].task
    shared = len(set(found.digests) & set(judged.task.digests))
    if shared:
        raise ManifestError(
            f"{shared} evaluation samples are training samples too, so the gate would judge what was learnt by heart",
            remedy="keep the two apart",
        )
    inputs = found.inputs(range(len(found)))
    if asked.task != DEFAULT_KIND or len(inputs) != 1:
        raise ConfigError(f"models of task {asked.task} are not trained: only classification of images is")
    return Samples(np.ascontiguousarray(inputs[0], dtype=np.float32), found.strata)
