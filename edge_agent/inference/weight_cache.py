"""Which models have their packed weights kept on disk, and what a kept file is good for.

PURE. Rules:

1. XNNPACK does not notice that the model behind a cache changed, so a cache is used only where model, runtime and
   processor are the ones it was made with, and its bytes are the ones that were proved.
2. A cache pays where weights are many: below ``WORTH_BYTES`` the runtime's second interface costs more memory than
   mapped weights save (ADR 0049).
3. Making one is tried ``TRIES`` times, whatever ends it: a model that cannot have one does not cost every start.
4. The disk is for models first: the next version, its cache and a reserve must fit after a cache was written.
"""

from __future__ import annotations

import msgspec

from contract.delegation import DelegateReport
from contract.profile import DelegateName
from contract.scalars import Count
from edge_agent.inference.engine import Engine

RUNTIME = "ai-edge-litert"
"""The one runtime that has the cache, in its ``CompiledModel`` (ADR 0039)."""
WORTH_BYTES = 16 << 20
"""Smallest model file that gets a cache."""
RESERVE_BYTES = 64 << 20
TRIES = 2
FORMAT = 1
RECORD_MAX_BYTES = 256 * 1024


class Grounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a cache holds for.

    Attributes:
        model: sha256 of the model file.
        runtime: Version of the runtime.
        processor: Architecture, model and features of the processor: XNNPACK packs for its kernels.
        format: Of the record.
    """

    model: str
    runtime: str
    processor: str
    format: int = FORMAT


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output tensor, as the classic interpreter describes it; see ``runtime.Border``."""

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """A cache that was proved: it answered as the classic interpreter does, to the last bit.

    Attributes:
        sha256: Of the cache file.
        size_bytes: Of the cache file.
        signature: Key of the model's signature.
        inputs: In the model's own order.
        outputs: In the model's own order.
        delegate: What XNNPACK took of the graph, as the classic interpreter shows it.
    """

    sha256: str
    size_bytes: Count
    signature: str
    inputs: tuple[Edge, ...]
    outputs: tuple[Edge, ...]
    delegate: DelegateReport


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a model's cache.

    Attributes:
        grounds: What it holds for.
        tries: How often making it was begun.
        refused: Why there is none, in words; empty while nobody knows.
        packed: The cache; None for none.
    """

    grounds: Grounds
    tries: Count = 0
    refused: str = ""
    packed: Packed | None = None


_RECORD = msgspec.json.Decoder(Record)


def encode_record(record: Record) -> bytes:
    """As a file."""
    return msgspec.json.encode(record)


def parse_record(content: bytes | None) -> Record | None:
    """Read a record; None for none, and for one that is damaged."""
    if content is None:
        return None
    try:
        return _RECORD.decode(content)
    except msgspec.DecodeError:
        return None


def is_worth(size_bytes: int, made_for: DelegateName, runtime: str, engine: Engine) -> bool:
    """Whether a model's weights are to be cached.

    Args:
        size_bytes: Of the model file.
        made_for: Delegate of the variant.
        runtime: Distribution that is to run it.
        engine: What the worker may use: a delegate from a library takes the weights as they are.
    """
    return (
        size_bytes >= WORTH_BYTES
        and made_for is DelegateName.XNNPACK
        and runtime == RUNTIME
        and engine.has_xnnpack
        and engine.has_weight_cache
        and not any(not each.is_edgetpu for each in engine.externals)
    )


def may_try(known: Record | None, grounds: Grounds) -> bool:
    """Whether a cache is to be made, given what is known."""
    if known is None or known.grounds != grounds:
        return True
    return known.packed is None and not known.refused and known.tries < TRIES


def next_try(known: Record | None, grounds: Grounds) -> Record:
    """What is written down before it is tried."""
    before = known.tries if known is not None and known.grounds == grounds else 0
    return Record(grounds=grounds, tries=before + 1)


def usable(known: Record | None, grounds: Grounds) -> Packed | None:
    """The cache to use; None when there is none for these grounds."""
    return known.packed if known is not None and known.grounds == grounds else None


def needed_bytes(size_bytes: int) -> int:
    """Free disk space, in bytes, without which no cache is made for a model file of a size.

    The cache itself, then the next version of the model with its own cache, and the reserve.
    """
    return 3 * size_bytes + RESERVE_BYTES
