"""Whether a board can run a bundle, and with which variant.

PURE. Rules:

1. The manifest's order of variants is the preference; the first that fits is taken, nothing is guessed.
2. A variant for XNNPACK is an ordinary model: where no variant fits otherwise, it runs on a board whose plain kernels
   were proved (``none`` among its delegates), slower.
3. A refusal names every reason, for every variant.
4. ``ai-edge-litert`` counts its own versions; its first release grew out of TensorFlow 2.17
   (https://ai.google.dev/edge/litert, "LiteRT Next" notes), so each of its versions offers at least TFLite 2.17.
"""

from __future__ import annotations

import msgspec

from contract.errors import IncompatibleError, ManifestError
from contract.identifiers import Version
from contract.manifest import Manifest, Variant
from contract.profile import CPU_DELEGATES, Arch, DelegateName
from contract.scalars import Count, ModelStr, Name

_LITERT = "ai-edge-litert"
_LITERT_TFLITE_LEVEL = "2.17.0"


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


def choose_variant(manifest: Manifest, capabilities: Capabilities) -> Variant:
    """The variant this board is to run.

    Args:
        manifest: One that passed ``check_built``.
        capabilities: The board's.

    Raises:
        IncompatibleError: None fits; with every reason.
    """
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
