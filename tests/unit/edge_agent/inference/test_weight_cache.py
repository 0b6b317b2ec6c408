"""Which models have their packed weights on disk, and when a cache may be made or used."""

from __future__ import annotations

import msgspec
import pytest

from contract.delegation import DelegateReport
from contract.profile import DelegateName
from edge_agent.inference.engine import Engine, ExternalDelegate
from edge_agent.inference.weight_cache import (
    RESERVE_BYTES,
    TRIES,
    WORTH_BYTES,
    Edge,
    Grounds,
    Packed,
    Record,
    encode_record,
    is_worth,
    may_try,
    needed_bytes,
    next_try,
    parse_record,
    usable,
)

ENGINE = Engine(runtime="ai-edge-litert")
GROUNDS = Grounds(model="a" * 64, runtime="2.3.0", processor="x86_64 avx2")
EDGE = Edge(index=0, name="input", shape=(1, 4), dtype="int8", scale=0.5, zero_point=-3)
PACKED = Packed(
    sha256="b" * 64,
    size_bytes=12,
    signature="serving_default",
    inputs=(EDGE,),
    outputs=(EDGE,),
    delegate=DelegateReport(requested="xnnpack", actual="xnnpack", nodes_total=1, nodes_delegated=1),
)
OTHERS = [
    msgspec.structs.replace(GROUNDS, model="c" * 64),
    msgspec.structs.replace(GROUNDS, runtime="2.3.1"),
    msgspec.structs.replace(GROUNDS, processor="x86_64 avx512f"),
    msgspec.structs.replace(GROUNDS, format=GROUNDS.format + 1),
]


def external(name: str) -> ExternalDelegate:
    return ExternalDelegate(name=name, library=f"lib{name}.so")


def test_a_large_model_for_xnnpack_is_worth_a_cache() -> None:
    assert is_worth(WORTH_BYTES, DelegateName.XNNPACK, "ai-edge-litert", ENGINE)


@pytest.mark.parametrize(
    ("size", "made_for", "runtime", "engine"),
    [
        (WORTH_BYTES - 1, DelegateName.XNNPACK, "ai-edge-litert", ENGINE),
        (WORTH_BYTES, DelegateName.NONE, "ai-edge-litert", ENGINE),
        (WORTH_BYTES, DelegateName.EDGETPU, "ai-edge-litert", ENGINE),
        (WORTH_BYTES, DelegateName.XNNPACK, "tflite-runtime", ENGINE),
        (WORTH_BYTES, DelegateName.XNNPACK, "ai-edge-litert", Engine(has_xnnpack=False)),
        (WORTH_BYTES, DelegateName.XNNPACK, "ai-edge-litert", Engine(has_weight_cache=False)),
        (WORTH_BYTES, DelegateName.XNNPACK, "ai-edge-litert", Engine(externals=(external("npu"),))),
    ],
)
def test_any_other_is_not(size: int, made_for: DelegateName, runtime: str, engine: Engine) -> None:
    assert not is_worth(size, made_for, runtime, engine)


def test_an_edge_tpu_beside_it_does_not_matter_to_a_model_for_the_processor() -> None:
    assert is_worth(
        WORTH_BYTES, DelegateName.XNNPACK, "ai-edge-litert", Engine(externals=(external("edgetpu"),))
    )


def test_a_cache_is_used_for_what_it_was_made_with_alone() -> None:
    record = Record(grounds=GROUNDS, tries=1, packed=PACKED)

    assert usable(record, GROUNDS) == PACKED
    assert [usable(record, other) for other in OTHERS] == [None] * len(OTHERS)
    assert usable(None, GROUNDS) is None


@pytest.mark.parametrize("other", OTHERS)
def test_another_model_runtime_or_processor_is_a_new_beginning(other: Grounds) -> None:
    for known in (Record(grounds=GROUNDS, tries=TRIES), Record(grounds=GROUNDS, refused="no")):
        assert may_try(known, other)
        assert next_try(known, other) == Record(grounds=other, tries=1)


def test_it_is_tried_a_few_times_and_not_after_a_refusal() -> None:
    record = next_try(None, GROUNDS)
    tries = 1
    while may_try(record, GROUNDS):
        record = next_try(record, GROUNDS)
        tries += 1

    assert tries == TRIES
    assert may_try(None, GROUNDS)
    assert not may_try(Record(grounds=GROUNDS, tries=1, refused="it answers otherwise"), GROUNDS)
    assert not may_try(Record(grounds=GROUNDS, tries=1, packed=PACKED), GROUNDS)


def test_a_record_is_read_as_it_was_written_and_a_damaged_one_is_none() -> None:
    record = Record(grounds=GROUNDS, tries=1, packed=PACKED)

    content = encode_record(record)

    assert parse_record(content) == record
    assert parse_record(content[:-1]) is None
    assert parse_record(b'{"grounds": 3}') is None
    assert parse_record(None) is None


def test_the_disk_must_hold_the_cache_the_next_version_and_its_cache() -> None:
    assert needed_bytes(WORTH_BYTES) == 3 * WORTH_BYTES + RESERVE_BYTES
