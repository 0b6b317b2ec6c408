"""The report of a pack run as a document: what ``<name>-<version>.report.json`` holds.

PURE. Rules:

1. Nothing in it depends on the clock, the machine's speed or a path, so the same inputs give the same bytes. Latency on
   the packager's machine is therefore not in it; ``pack`` prints that.
2. A variant stands in it once, however many boards it was judged for; boards refer to it by name and delegate.
3. It is complete: what the page leaves out for want of room stands here.
"""

from __future__ import annotations

import msgspec

from packager.compression.report import DownloadRow
from packager.coverage.coverage import Coverage
from packager.lint.rules import Finding
from packager.notes import EdgetpuNote

SCHEMA = 1


class ReportSource(msgspec.Struct, frozen=True, kw_only=True):
    """The model that was given.

    Attributes:
        name: File name.
        sha256: Digest of the file or folder as it was given.
        float_bytes: Size of the float .tflite model that everything was made of.
        inputs: Name, shape and type of each input.
        outputs: The same of each output.
        conversion: How it was made of another framework's model; empty for a .tflite file.
        normalized: What was done to the model before anything was made of it.
    """

    name: str
    sha256: str
    float_bytes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    conversion: str
    normalized: tuple[str, ...]


class ReportGate(msgspec.Struct, frozen=True, kw_only=True):
    """What a variant had to fulfil.

    Attributes:
        reference: Value of the metric that variants were measured against.
        limit: The lowest value that passes.
        max_drop: How far below the reference a value may be, as it was asked for: ``0.01`` or ``1%``.
        baseline: The earlier release not to fall behind; empty for none.
        baseline_value: Its float model's value.
        max_class_drop: How far below the float model a class may be; empty for no such rule.
        class_floor: The least that every class must reach.
        confidence: How sure the drop must be within ``max_drop``; null to judge by the measured drop alone.
        interval_confidence: Of the intervals in this report.
        min_samples: How many evaluation samples there had to be.
    """

    reference: float
    limit: float
    max_drop: str
    baseline: str
    baseline_value: float | None
    max_class_drop: str
    class_floor: float | None
    confidence: float | None
    interval_confidence: float
    min_samples: int


class OperatorError(msgspec.Struct, frozen=True, kw_only=True):
    """What one operator adds to the error of a variant.

    Attributes:
        operator: TFLite's name; ``INPUT`` for an input of the model.
        name: Names of the tensors that it writes, each followed by ``;``, as the quantizer knows it.
        added: Error of its output less the largest error of its inputs; below 0 where it hides what came before.
    """

    operator: str
    name: str
    added: float


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """Operators of a variant by the error that they add.

    Attributes:
        operators: Worst first.
        samples: On how many samples the variant was compared with the float model.
        note: Why there are none; empty when there are.
    """

    operators: tuple[OperatorError, ...] = ()
    samples: int = 0
    note: str = ""


class ReportVariant(msgspec.Struct, frozen=True, kw_only=True):
    """One form of the model that was made and measured.

    Attributes:
        name: In the bundle.
        delegate: What it was measured on.
        precision: Numeric form.
        recipe: How it was made.
        sha256: Digest of the model file.
        size_bytes: Of the model file.
        size_ratio: To the float model's size.
        value: The metric, 0 to 1.
        drop: Reference less value.
        drop_low: Lower end of the drop's bootstrap interval; null where it was not computed.
        drop_high: Upper end.
        classes: The metric of each class, in the order of ``class_names``; null for a class without samples.
        useless_samples: For how many samples it answered NaN or an infinity.
        peak_memory_bytes: Estimate for one interpreter.
        floats: Operators that were left in float; empty for a plain variant.
        cost_bytes: What leaving them in float cost in size; null for a plain variant.
        ranking: Which operators add how much error; null for a form that is not made operator by operator.
        coverage: What XNNPACK takes of it; null when plain kernels run it.
    """

    name: str
    delegate: str
    precision: str
    recipe: str
    sha256: str
    size_bytes: int
    size_ratio: float
    value: float
    drop: float
    drop_low: float | None
    drop_high: float | None
    classes: tuple[float | None, ...]
    useless_samples: int
    peak_memory_bytes: int
    floats: tuple[str, ...]
    cost_bytes: int | None
    ranking: Ranked | None
    coverage: Coverage | None


class ReportRung(msgspec.Struct, frozen=True, kw_only=True):
    """One rung of a board's ladder, and what became of it.

    Attributes:
        variant: Name of the variant; of ``variants``, unless it could not be made.
        delegate: What runs it on the board's CPU.
        precision: Numeric form.
        outcome: ``shipped``, ``refused`` or ``not available``.
        reason: Why it does not ship; empty when it does.
        speed: ``fastest``, ``fast``, ``as float`` or ``slow``, compared with the other rungs of the board.
        cost: Why.
    """

    variant: str
    delegate: str
    precision: str
    outcome: str
    reason: str
    speed: str
    cost: str


class ReportBundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that was written.

    Attributes:
        name: File name.
        sha256: Digest of the file.
        size_bytes: Of the file.
    """

    name: str
    sha256: str
    size_bytes: int


class ReportProfile(msgspec.Struct, frozen=True, kw_only=True):
    """One board.

    Attributes:
        profile: Profile id.
        name: For people.
        memory_budget_bytes: What an interpreter may take there.
        bundle_budget_bytes: How large the variants of a bundle may be together.
        rungs: In the order of preference.
        edgetpu: What became of its Edge TPU variant; null for a board without the chip, and when nothing passed.
        bundle: What was written for it; null when nothing was.
    """

    profile: str
    name: str
    memory_budget_bytes: int
    bundle_budget_bytes: int
    rungs: tuple[ReportRung, ...]
    edgetpu: EdgetpuNote | None
    bundle: ReportBundle | None


class ReportProvenance(msgspec.Struct, frozen=True, kw_only=True):
    """What it was made from and with.

    Attributes:
        evaluation_sha256: Digest over the evaluation samples.
        calibration_sha256: Digest over the calibration samples; empty for none.
        calibration_samples: How many there were.
        tools: Tool name to version.
        project: A ``litefleet.toml`` that asks for the same, with names of files and folders to fill in.
    """

    evaluation_sha256: str
    calibration_sha256: str
    calibration_samples: int
    tools: dict[str, str]
    project: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a pack run found.

    Attributes:
        schema: 1.
        model: Model name.
        version: SemVer of the release.
        outcome: ``shipped``, or ``refused`` when no variant passes for some board; then no bundle is written.
        faults: Why it is refused, one per board that nothing passes for.
        task: What the model is for.
        metric: Name of the accuracy metric, 0 to 1, where more is better.
        samples: Over how many evaluation samples.
        float_value: The float model's.
        class_names: Of the task; empty where it has none.
        float_classes: The float model's metric of each class; null for a class without samples.
        source: The model that was given.
        gate: What a variant had to fulfil.
        variants: What was made and measured, each once.
        profiles: Boards in the order asked for.
        downloads: What each form takes to download, of the model as given and of the compressed one; empty where it was
            not compressed.
        findings: What lint found.
        warnings: What should be looked at in the samples.
        provenance: What it was made from and with.
    """

    schema: int
    model: str
    version: str
    outcome: str
    faults: tuple[str, ...]
    task: str
    metric: str
    samples: int
    float_value: float
    class_names: tuple[str, ...]
    float_classes: tuple[float | None, ...]
    source: ReportSource
    gate: ReportGate
    variants: tuple[ReportVariant, ...]
    profiles: tuple[ReportProfile, ...]
    downloads: tuple[DownloadRow, ...]
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...]
    provenance: ReportProvenance

    def variant(self, name: str, delegate: str) -> ReportVariant | None:
        """The variant that a rung refers to; None for one that could not be made."""
        return next((one for one in self.variants if (one.name, one.delegate) == (name, delegate)), None)


def to_json(document: msgspec.Struct) -> bytes:
    """The one JSON form of a document, for people too: indented, mapping keys sorted, a newline at the end."""
    return msgspec.json.format(msgspec.json.encode(document, order="deterministic"), indent=2) + b"\n"
