"""Spoils a file in one of many ways; the same random numbers spoil it in the same way."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable
from random import Random
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from packager.runtime.verify import _Walk  # where tables stand is what the verifier finds out

EXTREMES = (
    0,
    1,
    2,
    3,
    4,
    7,
    255,
    65_535,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFE,
    0xFFFFFFFF,
    0x3FFFFFFF,
    0x10000000,
)
NUMBERS = (0, 1, -1, 2, 3, 5, 64, 127, 128, 255, 4096, 65_536, 1 << 20, 1 << 28, (1 << 31) - 1, -(1 << 31))
REALS = (0.0, -0.0, 1.0, float("nan"), float("inf"), float("-inf"), 1e-45, 3e38, -3e38)
NAMES: tuple[Any, ...] = (
    b"",
    b"\xff\xfe\xfd",
    b"x" * 70_000,
    "\u202e\x00\n".encode(),
    b"../../etc",
    b"a;b;",
    None,
)


@functools.cache
def places(content: bytes) -> tuple[int, ...]:
    """Where the tables of a sound model stand, one after another."""
    walk = _Walk(content)
    walk.table(walk.follow(0, ""), "Model")
    return tuple(sorted({place for place, _ in walk.costs}))


def flip(content: bytes, random: Random, spots: tuple[int, ...]) -> bytes:
    """Some bits, near a table or anywhere."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 1, 2, 8))):
        changed[_spot(changed, random, spots)] ^= 1 << random.randrange(8)
    return bytes(changed)


def overwrite(content: bytes, random: Random, spots: tuple[int, ...]) -> bytes:
    """A number by an extreme one: an offset, a length, a count, an index."""
    changed = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 4))):
        spot = min(_spot(changed, random, spots) & ~3, len(changed) - 4)
        value = random.choice((*EXTREMES, len(changed), len(changed) - spot, (1 << 32) - spot))
        struct.pack_into("<I", changed, max(0, spot), value & 0xFFFFFFFF)
    return bytes(changed)


def swap(content: bytes, random: Random, spots: tuple[int, ...]) -> bytes:
    """Two words: tables, lists or fields take each other's place."""
    changed = bytearray(content)
    one, other = (min(_spot(changed, random, spots) & ~3, len(changed) - 4) for _ in range(2))
    changed[one : one + 4], changed[other : other + 4] = changed[other : other + 4], changed[one : one + 4]
    return bytes(changed)


def cut(content: bytes, random: Random, _: tuple[int, ...]) -> bytes:
    """The end is missing."""
    return content[: random.randrange(8, len(content))]


def copy(content: bytes, random: Random, spots: tuple[int, ...]) -> bytes:
    """A block over another one."""
    changed = bytearray(content)
    size = random.choice((4, 16, 64, 1024))
    start, target = (_spot(changed, random, spots) for _ in range(2))
    block = changed[start : start + size]
    changed[target : target + len(block)] = block
    return bytes(changed)


def _spot(content: bytearray, random: Random, spots: tuple[int, ...]) -> int:
    if spots and random.random() < 0.85:
        return min(max(0, random.choice(spots) + random.randrange(-24, 40)), len(content) - 1)
    return random.randrange(len(content))


RAW: tuple[Callable[[bytes, Random, tuple[int, ...]], bytes], ...] = (flip, overwrite, swap, cut, copy)


def rebuild(content: bytes, random: Random) -> bytes:
    """A well-formed model that says odd things: one to three fields of its tables have other values."""
    while True:
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        try:
            for _ in range(random.choice((1, 1, 2, 3))):
                _change(_table(model, random), random)
            builder = flatbuffers.Builder(1 << 20)
            builder.Finish(model.Pack(builder), b"TFL3")
            return bytes(builder.Output())
        except (TypeError, ValueError, AttributeError, struct.error, IndexError):
            continue  # a value that the writer itself refuses; the next try draws others


def _table(model: Any, random: Random) -> Any:
    graph = random.choice(model.subgraphs)
    operator, tensor = random.choice(graph.operators), random.choice(graph.tensors)
    found = [graph, operator, tensor, random.choice(model.operatorCodes), random.choice(model.buffers)]
    found += [one for one in (operator.builtinOptions, tensor.quantization) if one is not None]
    for signature in model.signatureDefs or ():
        found += [signature, *signature.inputs, *signature.outputs]
    return random.choice(found)


def _change(table: Any, random: Random) -> None:
    name = random.choice(sorted(vars(table)))
    value = getattr(table, name)
    if isinstance(table, schema.BufferT):
        _change_buffer(table, random)
    elif isinstance(value, bool | np.bool_):
        setattr(table, name, not value)
    elif isinstance(value, float):
        setattr(table, name, random.choice(REALS))
    elif isinstance(value, int | np.integer):
        most = 40 if name.lower().endswith(("type", "code", "function", "padding")) else None
        setattr(table, name, random.randrange(most) if most else random.choice(NUMBERS) & 0x7F)
    elif isinstance(value, bytes | str):
        setattr(table, name, random.choice(NAMES))
    elif isinstance(value, np.ndarray | list) and len(value) and not hasattr(value[0], "Pack"):
        _change_list(table, name, list(value), random)
    elif isinstance(value, list) and value:
        setattr(table, name, random.choice(([], value[1:], [*value, value[0]], value[::-1])))
    elif name not in {"builtinOptions", "builtinOptions2", "details"}:
        setattr(table, name, None)


def _change_list(table: Any, name: str, values: list[Any], random: Random) -> None:
    kind = REALS if isinstance(values[0], float | np.floating) else NUMBERS
    spot = random.randrange(len(values))
    changed = random.choice(
        (
            [*values[:spot], random.choice(kind), *values[spot + 1 :]],
            [],
            values * 9,
            values[:spot],
            [random.choice(kind) for _ in values],
        )
    )
    setattr(table, name, np.array(changed, getattr(getattr(table, name), "dtype", np.int32)))


def _change_buffer(buffer: Any, random: Random) -> None:
    if buffer.data is None or random.random() < 0.1:
        buffer.data = np.frombuffer(random.randbytes(random.choice((1, 4, 16, 400))), np.uint8)
        return
    content = bytearray(bytes(buffer.data))
    way = random.randrange(3)
    if way == 0:
        content = content[: random.randrange(len(content) + 1)]
    elif len(content) >= 4:
        for _ in range(1 if way == 1 else len(content) // 8):
            value = random.choice(REALS) if way == 1 else random.choice((float("nan"), float("inf"), 1.0))
            struct.pack_into("<f", content, random.randrange(len(content) // 4) * 4, value)
    buffer.data = np.frombuffer(bytes(content), np.uint8)
