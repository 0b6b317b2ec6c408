"""Whether a board can run a bundle, and with which variant."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from contract.compat import RuntimeFact, choose_cheaper, choose_fallback, choose_variant, tflite_level
from contract.errors import IncompatibleError
from contract.identifiers import Version
from contract.manifest import BundleRequires, Manifest, Variant, VariantRequires
from contract.profile import DelegateName, Precision
from tests.support.builders import a_manifest, a_variant, some_capabilities


def with_variants(*variants: Variant) -> Manifest:
    return a_manifest(variants=variants)


def refusal(manifest: Manifest, **capabilities: Any) -> tuple[str, ...]:
    with pytest.raises(IncompatibleError) as caught:
        choose_variant(manifest, some_capabilities(**capabilities))
    return caught.value.faults


def test_the_first_variant_that_fits_is_taken() -> None:
    tpu = a_variant(name="tpu", delegate=DelegateName.EDGETPU)
    cpu = a_variant(name="cpu", delegate=DelegateName.XNNPACK)
    plain = a_variant(name="plain", delegate=DelegateName.NONE)
    manifest = with_variants(tpu, cpu, plain)
    assert choose_variant(manifest, some_capabilities()).name == "cpu"
    assert choose_variant(manifest, some_capabilities(delegates=())).name == "plain"
    both = (DelegateName.XNNPACK, DelegateName.EDGETPU)
    assert choose_variant(manifest, some_capabilities(delegates=both)).name == "tpu"


def test_a_refusal_names_every_reason_of_every_variant() -> None:
    tpu = a_variant(name="tpu", delegate=DelegateName.EDGETPU, peak_memory_bytes=1 << 40)
    other = a_variant(name="other", requires=VariantRequires(runtime="onnx", min_version="3.0.0"))
    assert refusal(with_variants(tpu, other)) == (
        "variant tpu: no delegate edgetpu here",
        "variant tpu: takes 1099511627776 bytes of memory of 1073741824",
        "variant other: needs a runtime 'onnx' that this agent does not know",
        "variant other: no TFLite runtime of at least 3.0.0",
    )


def test_what_the_bundle_asks_of_the_board_is_checked_even_when_a_variant_fits() -> None:
    requires = BundleRequires(memory_bytes=1 << 31, disk_bytes=1 << 32, agent="0.2.0")
    assert refusal(a_manifest(profile="raspberry-pi-4", requires=requires)) == (
        "made for profile raspberry-pi-4, this board is generic-x86-64",
        "needs 2147483648 bytes of memory of 1073741824",
        "needs 4294967296 bytes of disk, 1073741824 are free",
        "needs agent 0.2.0, this is 0.1.0",
    )


def test_a_bundle_that_says_nothing_of_what_it_requires_is_refused() -> None:
    assert refusal(a_manifest(requires=None)) == ("says nothing of what it requires",)


def test_a_bundle_without_variants_is_refused() -> None:
    assert refusal(with_variants()) == ()


def test_an_agent_whose_version_cannot_be_read_counts_as_the_oldest() -> None:
    assert refusal(a_manifest(), agent_version="0.1.0.dev3+g12") == (
        "needs agent 0.1.0, this is 0.1.0.dev3+g12",
    )


def test_a_board_without_a_runtime_is_refused() -> None:
    assert refusal(a_manifest(), runtimes=()) == ("variant float32: no TFLite runtime of at least 2.5.0",)


@pytest.mark.parametrize(
    ("name", "version", "level"),
    [
        ("tflite-runtime", "2.14.0", "2.14.0"),
        ("tensorflow", "2.19.0-rc.1", "2.19.0-rc.1"),
        ("ai-edge-litert", "1.0.1", "2.17.0"),
        ("ai-edge-litert", "2.3.0", "2.17.0"),
        ("tflite-runtime", "2.14.0.post1", "0.0.0"),
        ("tflite-runtime", "", "0.0.0"),
    ],
)
def test_the_level_of_a_runtime(name: str, version: str, level: str) -> None:
    assert tflite_level(RuntimeFact(name=name, version=version)) == Version(level)


def test_the_newest_runtime_of_a_board_counts() -> None:
    old = RuntimeFact(name="tflite-runtime", version="2.5.0")
    new = RuntimeFact(name="tflite-runtime", version="2.14.0")
    wants = a_variant(requires=VariantRequires(min_version="2.14.0"))
    assert choose_variant(with_variants(wants), some_capabilities(runtimes=(old, new))) == wants
    assert refusal(with_variants(wants), runtimes=(old,))


def test_exactly_what_is_asked_for_is_enough() -> None:
    requires = BundleRequires(memory_bytes=1 << 30, disk_bytes=1 << 30, agent="0.1.0")
    variant = a_variant(peak_memory_bytes=1 << 30)
    manifest = msgspec.structs.replace(with_variants(variant), requires=requires)
    assert choose_variant(manifest, some_capabilities()) == variant


def test_a_variant_for_xnnpack_runs_on_plain_kernels_that_were_proved() -> None:
    tpu = a_variant(name="tpu", delegate=DelegateName.EDGETPU)
    big = a_variant(name="big", delegate=DelegateName.XNNPACK, peak_memory_bytes=1 << 40)
    cpu = a_variant(name="cpu", delegate=DelegateName.XNNPACK)
    board = some_capabilities(delegates=(DelegateName.NONE,))
    assert choose_variant(with_variants(tpu, big, cpu), board) == cpu
    assert refusal(with_variants(cpu), delegates=())
    assert refusal(with_variants(tpu, big), delegates=(DelegateName.NONE,))
    assert refusal(a_manifest(variants=(cpu,), requires=None), delegates=(DelegateName.NONE,))


def test_beside_a_variant_for_an_accelerator_stands_the_best_one_for_the_processor() -> None:
    tpu = a_variant(name="tpu", delegate=DelegateName.EDGETPU)
    other = a_variant(name="other", delegate=DelegateName.EXTERNAL)
    cpu = a_variant(name="cpu", delegate=DelegateName.XNNPACK)
    everything = (DelegateName.EDGETPU, DelegateName.EXTERNAL, DelegateName.XNNPACK, DelegateName.NONE)
    board = some_capabilities(delegates=everything)
    assert choose_fallback(with_variants(tpu, other, cpu), tpu, board) == cpu
    assert choose_fallback(with_variants(tpu, other), tpu, board) is None
    assert choose_fallback(with_variants(tpu, cpu), cpu, board) is None


def precise(name: str, precision: Precision, value: float = 0.9, **changes: Any) -> Variant:
    metrics = msgspec.structs.replace(a_variant().metrics, value=value)
    return a_variant(name=name, precision=precision, metrics=metrics, **changes)


FLOAT = precise("float32", Precision.FLOAT32, 0.98)
DYNAMIC = precise("dynamic", Precision.DYNAMIC_INT8, 0.98)
STATIC = precise("static", Precision.STATIC_INT8, 0.97)
TPU = precise("tpu", Precision.STATIC_INT8, 0.96, delegate=DelegateName.EDGETPU)
XNNPACK = some_capabilities(delegates=(DelegateName.XNNPACK,))


def test_whoever_prefers_accuracy_gets_the_first_of_those_that_lost_least() -> None:
    manifest = with_variants(STATIC, DYNAMIC, FLOAT)
    assert choose_variant(manifest, XNNPACK) == STATIC
    assert choose_variant(manifest, XNNPACK, prefers_accuracy=True) == DYNAMIC


def test_an_accelerator_stays_first_also_for_whoever_prefers_accuracy() -> None:
    manifest = with_variants(TPU, STATIC, FLOAT)
    with_tpu = some_capabilities(delegates=(DelegateName.EDGETPU, DelegateName.XNNPACK))
    assert choose_variant(manifest, with_tpu, prefers_accuracy=True) == TPU
    assert choose_variant(manifest, XNNPACK, prefers_accuracy=True) == FLOAT


def test_a_board_that_saves_work_runs_the_cheapest_precision_that_fits() -> None:
    manifest = with_variants(TPU, FLOAT, DYNAMIC, STATIC)
    assert choose_cheaper(manifest, FLOAT, XNNPACK) == STATIC
    assert choose_cheaper(manifest, DYNAMIC, XNNPACK) == STATIC
    large = msgspec.structs.replace(STATIC, peak_memory_bytes=1 << 40)
    assert choose_cheaper(with_variants(FLOAT, DYNAMIC, large), FLOAT, XNNPACK) == DYNAMIC
    plain = some_capabilities(delegates=(DelegateName.NONE,))
    assert choose_cheaper(manifest, FLOAT, plain) == STATIC


def test_nothing_is_cheaper_than_the_cheapest_or_than_an_accelerator() -> None:
    assert choose_cheaper(with_variants(STATIC, FLOAT), STATIC, XNNPACK) is None
    weights = precise("weights", Precision.WEIGHT_ONLY_INT8)
    assert choose_cheaper(with_variants(FLOAT, weights), FLOAT, XNNPACK) is None
    plain = precise("plain", Precision.STATIC_INT8, delegate=DelegateName.NONE)
    assert choose_cheaper(with_variants(FLOAT, plain), FLOAT, XNNPACK) is None
    both = some_capabilities(delegates=(DelegateName.EDGETPU, DelegateName.XNNPACK))
    assert choose_cheaper(with_variants(TPU, STATIC), TPU, both) is None
