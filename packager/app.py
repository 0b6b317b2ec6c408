"""Packs one release: where model, images, quantizer, runtime, gate and bundles meet.

Guarantees: everything that can be refused is refused before a byte is written; a release is written for all its
profiles or for none. Does not print: progress is told to whoever listens, results are returned.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.errors import ConfigError, ManifestError
from contract.manifest import Variant
from contract.profile import Profile
from packager.baseline import Baseline, check_comparable, read_baseline
from packager.bundle_writer import BundleContent, write_bundles
from packager.bundling import bundle_content, plan_release
from packager.cache import Stages
from packager.compression.plan import Compression
from packager.compression.report import DownloadRow
from packager.compression.stage import compress_material, verdict_downloads
from packager.edgetpu_stage import add_edgetpu
from packager.fingerprint_stage import fingerprint_of
from packager.gate import Verdict, gate_faults
from packager.judge import judge
from packager.lint.rules import Finding
from packager.lint.run import check_findings, lint_loaded, warning_texts
from packager.metadata.card import ModelCard
from packager.metadata.embed import embed_card
from packager.metadata.stage import card_of, replaced_text
from packager.notes import EdgetpuNote
from packager.pack_notes import pack_notes
from packager.plan import Plan, plan_pack
from packager.preprocess import Fitting
from packager.records import complete
from packager.report import PackResult
from packager.reporting.collect import collect_evidence
from packager.reporting.write import write_with_report
from packager.rules import Rules
from packager.samples import check_samples, sample_warnings
from packager.sources.load import check_on_calibration, load_source
from packager.sources.tflite import SourceModel
from packager.tasks.kind import DataRequest, parse_options
from packager.tasks.kinds import DEFAULT_KIND, KINDS, find_kind
from packager.workshop import Material, Progress, Workshop


@dataclass(frozen=True)
class PackRequest:
    """What is asked for.

    Attributes:
        model: The float model: a .tflite, .keras, .h5, .onnx or .pt2 file, or a SavedModel folder.
        name: Model name.
        version: SemVer.
        profiles: One or more, each once.
        evaluation: Where the evaluation samples are; for classification a folder of ``<class>/<image>``.
        calibration: Where the calibration samples are; None where no ladder needs them.
        labels: File of class names; None for none.
        baseline: Bundle of an earlier release; None for none.
        rules: What a variant must fulfil.
        mean: Per channel or one for all, in pixel units.
        std: Per channel or one for all, in pixel units.
        output: Folder for the bundles.
        cache: Folder of what earlier runs made; None to remember nothing.
        fitting: How images come to the model's size and channels.
        task: Name of the kind of task.
        task_options: Its options, as they were given.
        folder: What relative paths in options are relative to.
        is_reported: Whether a report is written beside the bundles, or instead of them when nothing passes.
        project: Text of a project file that asks for the same, for the report; empty for none.
        compression: What is done to the float model's weights before rungs are made of it.
    """

    model: Path
    name: str
    version: str
    profiles: tuple[Profile, ...]
    evaluation: Path
    calibration: Path | None
    labels: Path | None
    baseline: Path | None
    rules: Rules
    mean: tuple[float, ...]
    std: tuple[float, ...]
    output: Path
    cache: Path | None = None
    fitting: Fitting = field(default_factory=Fitting)
    task: str = DEFAULT_KIND
    task_options: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path()
    is_reported: bool = True
    project: str = ""
    compression: Compression = field(default_factory=Compression)


@dataclass(frozen=True)
class Preparation:
    """What is known before anything is made.

    Attributes:
        plan: What will be made.
        material: What it will be made from.
        baseline: The release not to fall behind; None for none.
        warnings: What should be looked at, although it stops nothing.
        findings: What lint found.
        card: What every model file says of itself.
    """

    plan: Plan
    material: Material
    baseline: Baseline | None
    warnings: tuple[str, ...]
    findings: tuple[Finding, ...]
    card: ModelCard


def pack(request: PackRequest, progress: Progress) -> PackResult:
    """Quantize, measure, gate and bundle a model, and report on it.

    Args:
        request: What is asked for.
        progress: Told what is going on.

    Returns:
        Verdicts over every rung; with bundles when at least one rung passes for every profile, else without.

    Raises:
        RejectedError: Model, images, labels or baseline cannot be used; nothing is written.
        ConfigError: The request contradicts itself.
        StorageError: The bundles or the report cannot be written.
    """
    preparation = prepare(request, progress)
    material = preparation.material
    stages = Stages(request.cache)
    finish = functools.partial(embed_card, card=preparation.card)
    workshop = original = Workshop(material, progress, stages, finish)
    if not request.compression.is_none:
        material = compress_material(material, request.compression, progress)
        workshop = Workshop(material, progress, stages, finish)
    judgement = judge(preparation.plan, workshop, request.rules, preparation.baseline, original)
    downloads: tuple[DownloadRow, ...] = ()
    if workshop is not original:
        progress.start("compressing as transfers do", None)
        downloads = verdict_downloads(original, workshop, judgement.verdicts.values())
    faults = gate_faults(judgement.verdicts, judgement.reference)
    notes = pack_notes(request.profiles, judgement.verdicts, workshop)
    edgetpu: list[EdgetpuNote] = []
    contents: list[BundleContent] = []
    if not faults:
        release = plan_release(request.name, request.version, material, judgement)
        fingerprint = fingerprint_of(material, stages, progress)
        for profile in request.profiles:
            progress.start(f"bundling for {profile.id}", None)
            content = bundle_content(release, workshop, judgement.verdicts[profile.id])
            integers = functools.partial(_integer_form, workshop, judgement.verdicts[profile.id])
            content, note = add_edgetpu(content, profile, integers)
            contents.append(
                BundleContent(*complete(content.manifest, content.artifacts, fingerprint, request.rules))
            )
            edgetpu += [note] if note else []
    result = PackResult(
        name=request.name,
        version=request.version,
        reference=judgement.reference,
        float_measured=judgement.float_measured,
        verdicts=judgement.verdicts,
        faults=tuple(faults),
        normalized=material.model.normalized.changes,
        conversion=material.model.conversion.describe() if material.model.conversion else "",
        warnings=preparation.warnings,
        notes=notes,
        edgetpu=tuple(edgetpu),
        downloads=downloads,
    )
    if request.is_reported:
        evidence = collect_evidence(
            request.profiles, workshop, judgement.verdicts, preparation.findings, request.project
        )
        written = write_with_report(request.output, contents, result, evidence)
    else:
        written = write_bundles(request.output, contents) if contents else []
    return dataclasses.replace(
        result,
        bundles=tuple(written[: len(contents)]),
        reports=tuple(written[len(contents) :]),
        stages_reused=stages.reused,
        stages_made=stages.made,
    )


def _integer_form(workshop: Workshop, verdicts: Sequence[Verdict], variant: Variant) -> bytes:
    return workshop.make_integer(next(one.rung for one in verdicts if one.rung.name == variant.name))


def prepare(request: PackRequest, progress: Progress) -> Preparation:
    """Everything before the first byte is quantized: plan, read, check, warn.

    Args:
        request: What is asked for.
        progress: Told what is going on, and of warnings.

    Raises:
        RejectedError: Model, images, labels or baseline cannot be used.
        ConfigError: The request contradicts itself.
    """
    plan = plan_pack(request.profiles)
    if plan.needs_calibration and request.calibration is None:
        raise ConfigError(
            "a profile's ladder has static int8 or int16, which learns its ranges from samples",
            remedy="give --calibration FOLDER",
        )
    baseline = read_baseline(request.baseline, request.name) if request.baseline else None
    progress.start("reading model and samples", None)
    material, notes = load_material(request, progress)
    if normalized := material.model.normalized.text(material.model.name):
        progress.tell(normalized)
    card = card_of(request.name, request.version, material.model, material.presentation)
    if replaced := replaced_text(material.model):
        progress.tell(replaced)
    if baseline is not None:
        check_comparable(baseline, material.task.metric, material.task.sha256)
    check_samples(material.task, request.rules)
    class_folders = request.calibration if material.task.classes else None
    findings = lint_loaded(material.model, request.profiles, material.calibration, class_folders)
    check_findings(findings, material.model.name)
    warnings = (*notes, *sample_warnings(material.task, material.calibration), *warning_texts(findings))
    for warning in warnings:
        progress.tell(f"warning: {warning}")
    return Preparation(plan, material, baseline, warnings, findings, card)


def load_material(
    request: PackRequest, progress: Progress, model: SourceModel | None = None
) -> tuple[Material, tuple[str, ...]]:
    """Read model and samples.

    Args:
        request: What is asked for.
        progress: Told what is going on.
        model: Where it was read already; None to read it.

    Returns:
        What the run works with, and what was done to its samples.

    Raises:
        RejectedError: They cannot be used.
        ConfigError: The request contradicts itself.
    """
    kind = find_kind(request.task)
    options = parse_options(kind, request.task_options)
    model = model or load_source(request.model, progress)
    if faults := kind.borders(model.source, options):
        raise ManifestError(
            f"{model.name} does not fit task {kind.name}",
            faults=faults,
            remedy=f"it takes models with {kind.wants}; other tasks: {', '.join(KINDS)} (--task)",
        )
    found = kind.load(
        DataRequest(
            source=model.source,
            evaluation=request.evaluation,
            calibration=request.calibration,
            labels=request.labels,
            mean=request.mean,
            std=request.std,
            fitting=request.fitting,
            options=options,
            folder=request.folder,
        )
    )
    if found.calibration is not None and model.conversion is not None:
        samples = found.calibration.inputs(range(len(found.calibration)))
        model = check_on_calibration(model, samples, progress)
    if model.conversion is not None:
        progress.tell(f"{model.name} was {model.conversion.describe()}")
    material = Material(
        model=model, task=found.task, calibration=found.calibration, presentation=found.presentation
    )
    return material, found.notes
