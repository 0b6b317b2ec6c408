"""Packs one release: where model, images, quantizer, runtime, gate and bundles meet.

Guarantees: everything that can be refused is refused before a byte is written; a release is written for all its
profiles or for none. Does not print: progress is told to whoever listens, results are returned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from contract.errors import ConfigError, ManifestError
from contract.manifest import Artifact, Golden, Provenance
from contract.profile import Precision, Profile
from packager.assemble import Release, assemble_manifest
from packager.baseline import check_comparable, read_baseline
from packager.bundle_writer import BundleContent, write_bundles
from packager.cache import Stages
from packager.calibration import load_calibration
from packager.gate import Outcome, Verdict, gate_faults
from packager.golden import choose_golden, encode_golden
from packager.judge import Judgement, judge
from packager.plan import Plan, plan_pack
from packager.preprocess import plan_preprocessing, to_inputs
from packager.quantize import describe_recipe, tool_versions
from packager.report import PackResult
from packager.rules import Rules
from packager.sources.tflite import load_tflite
from packager.tasks.classification import Classification
from packager.tasks.labelled_images import load_labelled_images, load_labels
from packager.workshop import Calibration, Material, Measured, Progress, Workshop

_NO_IMAGES_SHA256 = hashlib.sha256().hexdigest()


@dataclass(frozen=True)
class PackRequest:
    """What is asked for.

    Attributes:
        model: The float .tflite file.
        name: Model name.
        version: SemVer.
        profiles: One or more, each once.
        evaluation: Folder of ``<class>/<image>``.
        calibration: Folder of images; None where no ladder needs one.
        labels: File of class names; None for none.
        baseline: Bundle of an earlier release; None for none.
        rules: What a variant must fulfil.
        mean: Per channel or one for all, in pixel units.
        std: Per channel or one for all, in pixel units.
        output: Folder for the bundles.
        cache: Folder of what earlier runs made; None to remember nothing.
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


def pack(request: PackRequest, progress: Progress) -> PackResult:
    """Quantize, measure, gate and bundle a model.

    Args:
        request: What is asked for.
        progress: Told what is going on.

    Returns:
        Verdicts over every rung; with bundles when at least one rung passes for every profile, else without.

    Raises:
        RejectedError: Model, images, labels or baseline cannot be used; nothing is written.
        ConfigError: The request contradicts itself.
        StorageError: The bundles cannot be written.
    """
    plan = plan_pack(request.profiles)
    if plan.needs_calibration and request.calibration is None:
        raise ConfigError(
            "a profile's ladder has static int8 or int16, which is calibrated with images",
            remedy="give --calibration FOLDER",
        )
    baseline = read_baseline(request.baseline, request.name) if request.baseline else None
    progress.start("reading model and images", None)
    material = _load(request)
    if normalized := material.model.normalized.text(material.model.name):
        progress.tell(normalized)
    if baseline is not None:
        check_comparable(baseline, material.samples.images.sha256)
    workshop = Workshop(material, progress)
    float_measured = workshop.measure(Precision.FLOAT32, DelegateName.XNNPACK)
    if isinstance(float_measured, str):
        raise ManifestError(f"{material.model.name} cannot be measured: {float_measured}")
    reference = Reference(
        float_value=float_measured.measurement.value,
        float_bytes=float_measured.measurement.size_bytes,
        max_drop=request.max_drop,
        baseline_value=baseline.float_value if baseline else None,
        baseline_name=baseline.name if baseline else "",
    )
    verdicts = _judge(plan, workshop, reference)
    faults = gate_faults(verdicts, reference)
    bundles: list[Path] = []
    if not faults:
        release = _release(request, plan, material, reference)
        progress.start("writing bundles", None)
        bundles = write_bundles(
            request.output, [_bundle(release, material, workshop, rows) for rows in verdicts.values()]
        )
    return PackResult(
        name=request.name,
        version=request.version,
        reference=reference,
        float_measured=float_measured.measurement,
        verdicts=verdicts,
        faults=tuple(faults),
        bundles=tuple(bundles),
        normalized=material.model.normalized.changes,
    )


def _load(request: PackRequest) -> Material:
    model = load_tflite(request.model)
    shape, classes = model.source.image_shape, model.source.classes
    for option, values in (("--mean", request.mean), ("--std", request.std)):
        if len(values) not in {1, shape[2]}:
            raise ConfigError(f"{option} has {len(values)} values, the model takes {shape[2]} channels")
    labels = load_labels(request.labels, classes) if request.labels else ()
    return Material(
        model=model,
        samples=load_evaluation(request.evaluation, shape, classes, labels),
        calibration=load_calibration(request.calibration, shape) if request.calibration else None,
        preprocessing=plan_preprocessing(shape, request.mean, request.std),
    )


def _judge(plan: Plan, workshop: Workshop, reference: Reference) -> dict[str, tuple[Verdict, ...]]:
    found = {key: workshop.measure(*key) for key in plan.measurements}
    measured = {key: one.measurement if isinstance(one, Measured) else one for key, one in found.items()}
    return {one.profile.id: decide_profile(one, measured, reference) for one in plan.profiles}


def _release(request: PackRequest, plan: Plan, material: Material, reference: Reference) -> Release:
    return Release(
        name=request.name,
        version=request.version,
        source=material.model.source,
        preprocessing=material.preprocessing,
        labels=material.samples.labels,
        float_value=reference.float_value,
        provenance=Provenance(
            source_name=material.model.name,
            source_sha256=material.model.sha256,
            calibration_sha256=material.calibration.sha256 if material.calibration else _NO_IMAGES_SHA256,
            evaluation_sha256=material.samples.images.sha256,
            tools=tool_versions(),
            recipes={variant_name(precision): recipe_name(precision) for precision in plan.precisions},
            normalized=material.model.normalized.changes,
        ),
    )


def _bundle(
    release: Release, material: Material, workshop: Workshop, verdicts: Sequence[Verdict]
) -> BundleContent:
    shipped = [verdict for verdict in verdicts if verdict.outcome is Outcome.SHIPPED]
    contents: dict[str, bytes] = {}
    artifacts: dict[Precision, Artifact] = {}
    measured: dict[str, tuple[Precision, Measured]] = {}
    for verdict in shipped:
        precision = verdict.rung.precision
        content, found = workshop.make(precision), workshop.measure(*verdict.rung.key)
        assert isinstance(content, bytes)  # noqa: S101 - shipped, so it was made
        assert isinstance(found, Measured)  # noqa: S101 - shipped, so it was measured
        artifacts[precision] = _artifact(content)
        contents[artifacts[precision].sha256] = content
        measured[variant_name(precision)] = precision, found
    choice = choose_golden(
        material.samples.classes, {name: (kind, found.evaluation) for name, (kind, found) in measured.items()}
    )
    golden = encode_golden(
        release.source.input.name,
        workshop.inputs(choice.positions),
        release.source.output.name,
        [
            (variant_name(verdict.rung.precision), workshop.outputs(*verdict.rung.key, choice.positions))
            for verdict in shipped
        ],
    )
    golden_artifact = _artifact(golden)
    contents[golden_artifact.sha256] = golden
    manifest = assemble_manifest(
        release,
        shipped[0].profile,
        shipped,
        artifacts,
        Golden(artifact=golden_artifact, samples=len(choice.positions), tolerance=choice.tolerance),
    )
    return BundleContent(manifest, contents)


def _artifact(content: bytes) -> Artifact:
    return Artifact(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))
