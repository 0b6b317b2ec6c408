"""The signed description of a bundle.

PURE. Rules:

1. Three checks: ``check_input`` (the author wrote it), ``check_built`` (the packager completed it),
   ``check_received`` (a device got it). Each includes the one before and lists every fault.
2. Unknown fields are ignored, so that an old agent reads a newer packager's manifest; unknown enum values and
   another ``schema`` are refused.
3. ``serialize_manifest`` gives the same bytes for equal manifests.
"""

from __future__ import annotations

import enum

import msgspec

from contract.documents import Documents, documents_faults
from contract.errors import ManifestError
from contract.fingerprint import Fingerprint, fingerprint_faults
from contract.identifiers import parse_digest, parse_model, parse_profile_id, parse_version
from contract.processing import (
    ClassificationPostprocessing,
    Color,
    ImagePreprocessing,
    Resize,
    preprocessing_faults,
)
from contract.results import TASK_OF, Decoding, YoloDecoding, decoding_faults
from contract.tensor import TensorSpec, tensor_faults
from contract.variant import (
    ARTIFACT_MAX_BYTES,
    Artifact,
    Golden,
    Tolerance,
    Variant,
    VariantMetrics,
    VariantRequires,
    golden_faults,
    parse_faults,
    variant_faults,
)

__all__ = [
    "ARTIFACT_MAX_BYTES",
    "MANIFEST_MAX_BYTES",
    "MAX_LABELS",
    "MAX_TENSORS",
    "MAX_VARIANTS",
    "SCHEMA",
    "Artifact",
    "BundleRequires",
    "ClassificationPostprocessing",
    "Color",
    "Documents",
    "Fingerprint",
    "Golden",
    "ImagePreprocessing",
    "Manifest",
    "Provenance",
    "Resize",
    "Task",
    "Tolerance",
    "Variant",
    "VariantMetrics",
    "VariantRequires",
    "check_built",
    "check_input",
    "check_received",
    "parse_manifest",
    "serialize_manifest",
]

SCHEMA = 1
MANIFEST_MAX_BYTES = 1 << 20
MAX_TENSORS = 64
MAX_VARIANTS = 32
MAX_LABELS = 10_000
_FAULTS_SHOWN = 50
_FAULT_MAX_CHARS = 300


class Task(str, enum.Enum):
    """What the model is for; decides the accuracy metric."""

    CLASSIFICATION = "classification"
    DETECTION = "detection"
    SEGMENTATION = "segmentation"
    EMBEDDING = "embedding"
    REGRESSION = "regression"
    AUDIO_CLASSIFICATION = "audio-classification"
    CUSTOM = "custom"


class BundleRequires(msgspec.Struct, frozen=True, kw_only=True):
    """What a board must have.

    Attributes:
        memory_bytes: Memory of the board.
        disk_bytes: Free space where models are stored.
        agent: Lowest version of the agent.
    """

    memory_bytes: int
    disk_bytes: int
    agent: str = "0.1.0"


class Provenance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the bundle comes from.

    Attributes:
        source_name: File name of the float model.
        source_sha256: Its digest.
        calibration_sha256: Digest over the calibration images.
        evaluation_sha256: Digest over the evaluation images.
        tools: Tool name to version.
        recipes: Variant name to how it was made.
        normalized: What was done to the model before anything was made of it, for people.
    """

    source_name: str
    source_sha256: str
    calibration_sha256: str
    evaluation_sha256: str
    tools: dict[str, str]
    recipes: dict[str, str]
    normalized: tuple[str, ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a device must know of a bundle; see ``docs/reference/manifest.md``.

    Attributes:
        schema: 1.
        model: Model name.
        version: SemVer 2.
        profile: Device profile the bundle was made for.
        task: What the model is for.
        inputs: Logical inputs: what a client feeds, before any quantization.
        outputs: Logical outputs: what a client gets, real values.
        preprocessing: From an image to the first input; None when clients feed tensors only.
        postprocessing: From the first output to the best classes; None when clients read tensors only.
        labels: Class names in the order of the scores.
        variants: In order of preference.
        golden: Self-test data.
        requires: What the board must have.
        provenance: Where it comes from.
        decoding: From the outputs to boxes, a map of classes or an embedding, which clients then get instead of them.
        fingerprint: What it took and gave when it was made; for drift.
        documents: Bill of materials and provenance, which devices do not fetch.
    """

    schema: int
    model: str
    version: str
    profile: str
    task: Task
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocessing: ImagePreprocessing | None = None
    postprocessing: ClassificationPostprocessing | None = None
    labels: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    golden: Golden | None = None
    requires: BundleRequires | None = None
    provenance: Provenance | None = None
    decoding: Decoding | None = None
    fingerprint: Fingerprint | None = None
    documents: Documents | None = None

    def artifacts(self) -> dict[str, Artifact]:
        """Every file of the bundle that devices may need, by digest, in manifest order."""
        found = {variant.artifact.sha256: variant.artifact for variant in self.variants}
        if self.golden is not None:
            found[self.golden.artifact.sha256] = self.golden.artifact
        return found

    def target_path(self) -> str:
        """Where its manifest stands in the release repository."""
        return f"{self.model}/{self.version}/{self.profile}/manifest.json"


_DECODER = msgspec.json.Decoder(Manifest)


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest from JSON; structure only, see the checks for its meaning.

    Raises:
        ManifestError: Larger than 1 MiB, no JSON, or fields of the wrong type.
    """
    if len(content) > MANIFEST_MAX_BYTES:
        raise ManifestError(f"manifest has {len(content)} bytes, at most {MANIFEST_MAX_BYTES} are read")
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ManifestError(f"manifest cannot be read: {error}") from error


def serialize_manifest(manifest: Manifest) -> bytes:
    """The one JSON form of a manifest: fields in declared order, mapping keys sorted."""
    return msgspec.json.encode(manifest, order="deterministic")


def check_input(manifest: Manifest) -> None:
    """What the author must have written.

    Raises:
        ManifestError: With every fault.
    """
    _raise(manifest, _input_faults(manifest))


def check_built(manifest: Manifest) -> None:
    """What the packager must have completed.

    Raises:
        ManifestError: With every fault, also those of ``check_input``.
    """
    _raise(manifest, _input_faults(manifest) + _built_faults(manifest))


def check_received(manifest: Manifest, *, model: str, version: str, profile: str) -> None:
    """What a device insists on: complete, and the release and profile it asked for.

    Raises:
        ManifestError: With every fault, also those of ``check_built``.
    """
    faults = _input_faults(manifest) + _built_faults(manifest)
    asked = {"model": model, "version": version, "profile": profile}
    got = {"model": manifest.model, "version": manifest.version, "profile": manifest.profile}
    faults += [
        f"{key}: asked for {asked[key]!r}, got {got[key]!r}" for key in asked if asked[key] != got[key]
    ]
    _raise(manifest, faults)


def _raise(manifest: Manifest, faults: list[str]) -> None:
    if not faults:
        return
    # A hostile manifest may have a million faults, or one of a million characters.
    shown = [fault[:_FAULT_MAX_CHARS] for fault in faults[:_FAULTS_SHOWN]]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    raise ManifestError(f"manifest of {manifest.model[:80]!r} is not usable", faults=shown)


def _input_faults(manifest: Manifest) -> list[str]:
    faults: list[str] = []
    if manifest.schema != SCHEMA:
        faults.append(f"schema: {manifest.schema} is not {SCHEMA}")
    faults += parse_faults(parse_model, manifest.model, "model")
    faults += parse_faults(parse_version, manifest.version, "version")
    faults += parse_faults(parse_profile_id, manifest.profile, "profile")
    for key, specs in {"inputs": manifest.inputs, "outputs": manifest.outputs}.items():
        if not 1 <= len(specs) <= MAX_TENSORS:
            faults.append(f"{key}: {len(specs)} tensors, 1 to {MAX_TENSORS} are possible")
        if len({spec.name for spec in specs}) != len(specs):
            faults.append(f"{key}: a name appears twice")
        for index, spec in enumerate(specs):
            faults += tensor_faults(spec, f"{key}[{index}]")
    if len(manifest.labels) > MAX_LABELS:
        faults.append(f"labels: {len(manifest.labels)} are more than {MAX_LABELS}")
    if manifest.preprocessing is not None:
        faults += preprocessing_faults(manifest.preprocessing, manifest.inputs)
    faults += _postprocessing_faults(manifest)
    if manifest.fingerprint is not None:
        inputs, outputs = ([spec.name for spec in specs] for specs in (manifest.inputs, manifest.outputs))
        faults += fingerprint_faults(manifest.fingerprint, inputs, outputs)
    return faults


def _postprocessing_faults(manifest: Manifest) -> list[str]:
    faults: list[str] = []
    if manifest.postprocessing is not None and manifest.postprocessing.top_k < 1:
        faults.append("postprocessing: top_k must be above 0")
    decoding = manifest.decoding
    if decoding is not None:
        if TASK_OF[type(decoding)] != manifest.task.value:
            faults.append(f"decoding: is for {TASK_OF[type(decoding)]}, the task is {manifest.task.value}")
        if manifest.postprocessing is not None:
            faults.append("decoding: stands beside postprocessing, one of the two is possible")
        if isinstance(decoding, YoloDecoding) and decoding.is_in_pixels and manifest.preprocessing is None:
            faults.append("decoding: boxes in pixels need preprocessing, which says how large the input is")
        return faults + decoding_faults(decoding, manifest.outputs, len(manifest.labels))
    classes = manifest.outputs[0].shape[-1] if manifest.outputs and manifest.outputs[0].shape else -1
    if manifest.labels and classes not in {-1, len(manifest.labels)}:
        faults.append(f"labels: {len(manifest.labels)} for {classes} scores")
    return faults


def _built_faults(manifest: Manifest) -> list[str]:
    faults: list[str] = []
    if not 1 <= len(manifest.variants) <= MAX_VARIANTS:
        faults.append(f"variants: {len(manifest.variants)}, 1 to {MAX_VARIANTS} are possible")
    names = [variant.name for variant in manifest.variants]
    if len(set(names)) != len(names):
        faults.append("variants: a name appears twice")
    for index, variant in enumerate(manifest.variants):
        faults += variant_faults(variant, f"variants[{index}]")
    faults += _size_faults(manifest)
    if manifest.golden is None:
        faults.append("golden: missing")
    else:
        faults += golden_faults(manifest.golden, names)
    faults += _requires_faults(manifest.requires)
    faults += documents_faults(manifest.documents) if manifest.documents else []
    if manifest.provenance is None:
        faults.append("provenance: missing")
    else:
        for key in ("source_sha256", "calibration_sha256", "evaluation_sha256"):
            faults += parse_faults(parse_digest, getattr(manifest.provenance, key), f"provenance.{key}")
    return faults


def _size_faults(manifest: Manifest) -> list[str]:
    known = manifest.artifacts()
    return [
        f"variants[{index}].artifact: {variant.artifact.sha256} has two sizes"
        for index, variant in enumerate(manifest.variants)
        if known[variant.artifact.sha256] != variant.artifact
    ]


def _requires_faults(requires: BundleRequires | None) -> list[str]:
    if requires is None:
        return ["requires: missing"]
    faults = parse_faults(parse_version, requires.agent, "requires.agent")
    if requires.memory_bytes < 0 or requires.disk_bytes < 0:
        faults.append("requires: memory_bytes and disk_bytes must not be negative")
    return faults
