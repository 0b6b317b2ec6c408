"""Whether a board can run a bundle, and with which variant.

PURE. Rules:

1. The manifest's order of variants is the preference; the first that fits is taken, nothing is guessed.
2. A variant for XNNPACK is an ordinary model: where no variant fits otherwise, it runs on a board whose plain kernels
   were proved (``none`` among its delegates), slower.
3. A refusal names every reason, for every variant.
4. ``ai-edge-litert`` counts its own versions; its first release grew out of TensorFlow 2.17
   (https://ai.google.dev/edge/litert, "LiteRT Next" notes), so each of its versions offers at least TFLite 2.17.
5. Whoever prefers accuracy takes, of the variants that the processor runs, the one that lost least where the packager
   measured; an accelerator that comes first stays first.
6. A variant is cheaper than the chosen one when both run on the processor and its precision stands before in ``_COST``.
   Times are not in the manifest: they would make the bundle another one each time it is packed.
"""

from __future__ import annotations

import msgspec

from contract.errors import IncompatibleError, ManifestError
from contract.identifiers import Version
from contract.manifest import Manifest, Variant
from contract.profile import CPU_DELEGATES, Arch, DelegateName, Precision
from contract.scalars import Count, ModelStr, Name

_LITERT = "ai-edge-litert"
_LITERT_TFLITE_LEVEL = "2.17.0"
_COST = {
    Precision.STATIC_INT8: 0,
    Precision.DYNAMIC_INT8: 1,
    Precision.WEIGHT_ONLY_INT8: 2,
    Precision.WEIGHT_ONLY_INT4: 3,
    Precision.FLOAT16: 2,
    Precision.FLOAT32: 2,
    Precision.STATIC_INT16: 3,
}
"""Work of an answer on a processor, from least to most: integers throughout, integers in the large operators, floats,
and what XNNPACK leaves to the plain kernels (docs/reference/delegate-coverage.md, "Cost of a rung")."""


class RuntimeFact(msgspec.Struct, frozen=True, kw_only=True):
    """A runtime that is installed.

    Attributes:
        name: Distribution, for example ``ai-edge-litert``.
        version: Its version, in its own numbering.
    """

    name: Name
    version: Name


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a board offers.

    Attributes:
        profile: The device profile it was enrolled with.
        arch: Architecture of its user land.
        memory_bytes: Memory of the board.
        disk_free_bytes: Free where models are stored.
        runtimes: Installed, best first.
        delegates: That survived probing, best first; ``none`` stands for the runtime's own kernels.
        agent_version: Version of the agent.
    """

    profile: ModelStr
    arch: Arch
    memory_bytes: Count
    disk_free_bytes: Count
    runtimes: tuple[RuntimeFact, ...]
    delegates: tuple[DelegateName, ...]
    agent_version: Name


def choose_variant(
    manifest: Manifest, capabilities: Capabilities, *, prefers_accuracy: bool = False
) -> Variant:
    """The variant this board is to run.

    Args:
        manifest: One that passed ``check_built``.
        capabilities: The board's.
        prefers_accuracy: Whether, on a processor, the one that lost least is wanted and not the first.

    Raises:
        IncompatibleError: None fits; with every reason.
    """
    first = _choose_first(manifest, capabilities)
    if not prefers_accuracy or first.delegate not in CPU_DELEGATES:
        return first
    return max(_on_processor(manifest, capabilities), key=lambda variant: variant.metrics.value)


def _choose_first(manifest: Manifest, capabilities: Capabilities) -> Variant:
    bundle_faults = _bundle_faults(manifest, capabilities)
    faults = list(bundle_faults)
    for variant in manifest.variants:
        reasons = _variant_faults(variant, capabilities)
        if not reasons and not bundle_faults:
            return variant
        faults += [f"variant {variant.name}: {reason}" for reason in reasons]
    if DelegateName.NONE in capabilities.delegates and not bundle_faults:
        for variant in manifest.variants:
            if variant.delegate is DelegateName.XNNPACK and not _other_faults(variant, capabilities):
                return variant
    raise IncompatibleError(
        f"{manifest.model} {manifest.version} does not fit this board",
        faults=faults,
        remedy="pack it for this board's profile, or with a lower rung of the ladder",
    )


def choose_fallback(manifest: Manifest, chosen: Variant, capabilities: Capabilities) -> Variant | None:
    """The variant that runs when the chosen one's delegate is lost: the first that needs only the processor.

    Args:
        manifest: One that passed ``check_built``.
        chosen: What ``choose_variant`` took of it.
        capabilities: The board's.

    Returns:
        None when the chosen one needs only the processor itself, or no other fits.
    """
    if chosen.delegate in CPU_DELEGATES:
        return None
    on_cpu = tuple(name for name in capabilities.delegates if name in CPU_DELEGATES)
    try:
        return choose_variant(manifest, msgspec.structs.replace(capabilities, delegates=on_cpu))
    except IncompatibleError:
        return None


def choose_cheaper(manifest: Manifest, chosen: Variant, capabilities: Capabilities) -> Variant | None:
    """The variant that runs while the board has to save work: the cheapest that fits it.

    Args:
        manifest: One that passed ``check_built``.
        chosen: What ``choose_variant`` took of it.
        capabilities: The board's.

    Returns:
        None when the chosen one runs on an accelerator, or is the cheapest itself.
    """
    if chosen.delegate not in CPU_DELEGATES:
        return None
    cheapest = min(_on_processor(manifest, capabilities), key=lambda variant: _COST[variant.precision])
    return cheapest if _COST[cheapest.precision] < _COST[chosen.precision] else None


def _on_processor(manifest: Manifest, capabilities: Capabilities) -> list[Variant]:
    """Variants that the processor of a board can run, in order of preference."""
    return [
        variant
        for variant in manifest.variants
        if variant.delegate in CPU_DELEGATES
        and (variant.delegate in capabilities.delegates or DelegateName.NONE in capabilities.delegates)
        and not _other_faults(variant, capabilities)
    ]


def _bundle_faults(manifest: Manifest, capabilities: Capabilities) -> list[str]:
    faults: list[str] = []
    if manifest.profile != capabilities.profile:
        faults.append(f"made for profile {manifest.profile}, this board is {capabilities.profile}")
    if manifest.requires is None:
        return [*faults, "says nothing of what it requires"]
    if manifest.requires.memory_bytes > capabilities.memory_bytes:
        faults.append(
            f"needs {manifest.requires.memory_bytes} bytes of memory of {capabilities.memory_bytes}"
        )
    if manifest.requires.disk_bytes > capabilities.disk_free_bytes:
        faults.append(
            f"needs {manifest.requires.disk_bytes} bytes of disk, {capabilities.disk_free_bytes} are free"
        )
    if _readable(capabilities.agent_version) < Version(manifest.requires.agent):
        faults.append(f"needs agent {manifest.requires.agent}, this is {capabilities.agent_version}")
    return faults


def _variant_faults(variant: Variant, capabilities: Capabilities) -> list[str]:
    faults: list[str] = []
    if variant.delegate is not DelegateName.NONE and variant.delegate not in capabilities.delegates:
        faults.append(f"no delegate {variant.delegate.value} here")
    return faults + _other_faults(variant, capabilities)


def _other_faults(variant: Variant, capabilities: Capabilities) -> list[str]:
    faults: list[str] = []
    if variant.peak_memory_bytes > capabilities.memory_bytes:
        faults.append(f"takes {variant.peak_memory_bytes} bytes of memory of {capabilities.memory_bytes}")
    if variant.requires.runtime != "tflite":
        faults.append(f"needs a runtime {variant.requires.runtime!r} that this agent does not know")
    wanted = Version(variant.requires.min_version)
    if not any(tflite_level(runtime) >= wanted for runtime in capabilities.runtimes):
        faults.append(f"no TFLite runtime of at least {variant.requires.min_version}")
    return faults


def tflite_level(runtime: RuntimeFact) -> Version:
    """The TensorFlow version whose TFLite ops a runtime has; 0.0.0 where its version cannot be read."""
    return _readable(_LITERT_TFLITE_LEVEL if runtime.name == _LITERT else runtime.version)


def _readable(text: str) -> Version:
    """A version that another project or an unreleased build wrote; the lowest one where it is not SemVer."""
    try:
        return Version(text)
    except ManifestError:
        return Version("0.0.0")
