"""Device profiles: one class of board, as the packager plans for it.

PURE. Rules:

1. Unknown keys are refused with the nearest known one: a mistyped figure must not be ignored.
2. Every figure has a source.
3. Order means preference, in ``runtimes``, ``delegates`` and ``ladder``.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterator

import msgspec

from contract.errors import ManifestError
from contract.identifiers import nearest, parse_profile_id

PROFILE_MAX_BYTES = 64 * 1024
SCHEMA = 1
_FAULTS_SHOWN = 50
_KEY_SHOWN_CHARS = 80


class Arch(str, enum.Enum):
    """Processor architecture of the board's user land."""

    AARCH64 = "aarch64"
    ARMV7L = "armv7l"
    X86_64 = "x86_64"


class Precision(str, enum.Enum):
    """Numeric form of a variant; the words TFLite's own documents use."""

    STATIC_INT8 = "static-int8"
    STATIC_INT16 = "static-int16"
    DYNAMIC_INT8 = "dynamic-int8"
    WEIGHT_ONLY_INT8 = "weight-only-int8"
    WEIGHT_ONLY_INT4 = "weight-only-int4"
    FLOAT16 = "float16"
    FLOAT32 = "float32"


class DelegateName(str, enum.Enum):
    """LiteRT back-ends. ``external`` is any other delegate that the agent's configuration names with its library."""

    XNNPACK = "xnnpack"
    EDGETPU = "edgetpu"
    EXTERNAL = "external"
    NONE = "none"


CPU_DELEGATES = frozenset({DelegateName.XNNPACK, DelegateName.NONE})
"""Back-ends that run an ordinary model file on the processor: what one of them is made for, the other runs too."""


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all tables: refuses unknown keys."""


class Cpu(_Table, frozen=True, kw_only=True):
    """Processor.

    Attributes:
        cores: How many.
        model: Name.
        features: As the kernel names them, for example ``asimddp`` or ``avx2``.
    """

    cores: int
    model: str
    features: tuple[str, ...] = ()


class OperatingSystem(_Table, frozen=True, kw_only=True):
    """What usually runs there.

    Attributes:
        name: Of the distribution.
        glibc: Version of the C library.
        python: Version of Python.
        notes: For people.
    """

    name: str
    glibc: str = ""
    python: str = ""
    notes: str = ""


class RuntimeRange(_Table, frozen=True, kw_only=True):
    """A runtime that works there.

    Attributes:
        name: Distribution, for example ``ai-edge-litert``.
        minimum: Lowest version; empty when open.
        maximum: Highest version; empty when open.
    """

    name: str
    minimum: str = ""
    maximum: str = ""


class Delegate(_Table, frozen=True, kw_only=True):
    """A delegate of the board.

    Attributes:
        name: Of the delegate.
        options: Handed to it as they are.
        port_mbps: Speed of its USB port in Mbit/s, 0 where there is none.
    """

    name: DelegateName
    options: dict[str, str] = msgspec.field(default_factory=dict)
    port_mbps: int = 0


class Budgets(_Table, frozen=True, kw_only=True):
    """What a model may cost there.

    Attributes:
        latency_ms_p95: 95th percentile of the latency, ms.
        peak_memory_bytes: Memory of one interpreter at its highest.
        bundle_bytes: Size of the bundle.
    """

    latency_ms_p95: float
    peak_memory_bytes: int
    bundle_bytes: int


class Thermal(_Table, frozen=True, kw_only=True):
    """Temperature limits.

    Attributes:
        sensor: File with the temperature in thousandths of a °C.
        soft_celsius: Where the processor begins to slow down, °C.
        hard_celsius: Where it slows down hard or stops, °C.
    """

    sensor: str
    soft_celsius: float
    hard_celsius: float


class Profile(_Table, frozen=True, kw_only=True):
    """One class of board.

    Attributes:
        schema: 1.
        id: Identifier, also the file's name.
        name: For people.
        arch: Architecture of the user land.
        compatible: Device-tree ``compatible`` strings that mean this board; empty for generic profiles.
        memory_bytes: Memory the kernel sees on the smallest version of the board.
        cpu: Processor.
        os: Usual operating system.
        runtimes: In order of preference.
        delegates: In order of preference.
        threads: Threads an interpreter may use.
        budgets: What a model may cost.
        ladder: Precisions to try, best first.
        thermal: Temperature limits; None where the board has no sensor of use.
        source: Key of a figure (dotted, for example ``cpu.cores``) to where it comes from.
    """

    schema: int
    id: str
    name: str
    arch: Arch
    memory_bytes: int
    cpu: Cpu
    os: OperatingSystem
    runtimes: tuple[RuntimeRange, ...]
    delegates: tuple[Delegate, ...]
    threads: int
    budgets: Budgets
    ladder: tuple[Precision, ...]
    source: dict[str, str]
    compatible: tuple[str, ...] = ()
    thermal: Thermal | None = None


_NESTED: dict[str, type[msgspec.Struct]] = {
    "cpu": Cpu,
    "os": OperatingSystem,
    "runtimes": RuntimeRange,
    "delegates": Delegate,
    "budgets": Budgets,
    "thermal": Thermal,
}


def parse_profile(content: bytes, *, where: str = "profile") -> Profile:
    """Read a profile from TOML.

    Args:
        content: The file's bytes, at most 64 KiB.
        where: How to call it in error texts.

    Raises:
        ManifestError: Too large, no TOML, unknown or missing keys, or figures that contradict each other.
    """
    if len(content) > PROFILE_MAX_BYTES:
        raise ManifestError(f"{where} has {len(content)} bytes, a profile has at most {PROFILE_MAX_BYTES}")
    try:
        raw = msgspec.toml.decode(content)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ManifestError(f"{where} is no TOML file: {error}") from error
    unknown = itertools.islice(_unknown_keys(raw, Profile), _FAULTS_SHOWN)
    faults = [f"{key}: unknown key, {hint}" for key, hint in unknown]
    if faults:
        raise ManifestError(f"{where} is not usable", faults=faults)
    try:
        profile = msgspec.convert(raw, Profile)
    except msgspec.ValidationError as error:
        raise ManifestError(f"{where} is not usable: {error}") from error
    faults = profile_faults(profile)[:_FAULTS_SHOWN]
    if faults:
        raise ManifestError(f"{where} is not usable", faults=faults)
    return profile


def _unknown_keys(raw: object, table: type[msgspec.Struct], path: str = "") -> Iterator[tuple[str, str]]:
    if not isinstance(raw, dict):
        return
    fields = {field.encode_name for field in msgspec.structs.fields(table)}
    for key, value in raw.items():
        if key not in fields:
            yield path + key[:_KEY_SHOWN_CHARS], nearest(key[:_KEY_SHOWN_CHARS], fields)
        elif not path and key in _NESTED:
            for index, entry in enumerate(value if isinstance(value, list) else [value]):
                place = f"{key}[{index}]." if isinstance(value, list) else f"{key}."
                yield from _unknown_keys(entry, _NESTED[key], place)


def profile_faults(profile: Profile) -> list[str]:
    """List every fault of a profile; empty when it is sound."""
    faults: list[str] = []
    if profile.schema != SCHEMA:
        faults.append(f"schema {profile.schema} is not {SCHEMA}")
    try:
        parse_profile_id(profile.id)
    except ManifestError as error:
        faults.append(f"id: {error}")
    positive = {
        "memory_bytes": profile.memory_bytes,
        "cpu.cores": profile.cpu.cores,
        "threads": profile.threads,
        "budgets.latency_ms_p95": profile.budgets.latency_ms_p95,
        "budgets.peak_memory_bytes": profile.budgets.peak_memory_bytes,
        "budgets.bundle_bytes": profile.budgets.bundle_bytes,
    }
    faults += [
        f"{key}: must be finite and above 0" for key, value in positive.items() if not _is_positive(value)
    ]
    if profile.threads > profile.cpu.cores:
        faults.append(f"threads: {profile.threads} on {profile.cpu.cores} cores")
    if profile.budgets.peak_memory_bytes > profile.memory_bytes:
        faults.append("budgets.peak_memory_bytes: more than the board has")
    faults += _order_faults(profile)
    needed = set(positive)
    if profile.thermal is not None:
        needed |= {"thermal.soft_celsius", "thermal.hard_celsius"}
        if not -math.inf < profile.thermal.soft_celsius < profile.thermal.hard_celsius < math.inf:
            faults.append("thermal: soft_celsius must be below hard_celsius, both finite")
    faults += [f"source: missing for {key}" for key in sorted(needed - set(profile.source))]
    figures = set(_figures())
    faults += [
        f"source: {key[:_KEY_SHOWN_CHARS]} is no figure, {nearest(key[:_KEY_SHOWN_CHARS], figures)}"
        for key in sorted(set(profile.source) - figures)
    ]
    return faults


def _figures() -> Iterator[str]:
    for field in msgspec.structs.fields(Profile):
        yield field.name
        if field.name in _NESTED:
            yield from (f"{field.name}.{inner.name}" for inner in msgspec.structs.fields(_NESTED[field.name]))


def _order_faults(profile: Profile) -> list[str]:
    rows = {
        "runtimes": [runtime.name for runtime in profile.runtimes],
        "delegates": [delegate.name.value for delegate in profile.delegates],
        "ladder": [precision.value for precision in profile.ladder],
    }
    faults = [f"{key}: at least one is needed" for key, names in rows.items() if not names]
    return faults + [
        f"{key}: one is named twice" for key, names in rows.items() if len(set(names)) != len(names)
    ]


def _is_positive(value: float) -> bool:
    return 0 < value < math.inf
