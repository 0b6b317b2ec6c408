"""Whether the bytes of a .tflite file can be read as one, before anything reads them.

PURE. Rules:

1. Every table, vector and string that the packager reads lies within the file (FlatBuffers, internals: a table starts
   with the distance back to its vtable, which lists where its fields stand; references point forward).
2. Every number that points into a list of the model (tensor, buffer, operator code, graph) is within that list; the
   lists that a graph cannot do without are there.
3. What is shared counts each time it is referred to: all that a reader would read is bounded by a multiple of the
   file's size, so a small file cannot keep a reader busy for hours.
4. Options of operators are only looked at as far as their table: what is in them differs by operator.

It does not judge whether the model makes sense: LiteRT does, in a process of its own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from contract.errors import ManifestError

REMEDY = "give the .tflite file that the converter wrote, copied whole"
_READ_FACTOR = 16
_READ_LEAST = 1 << 20

Field = tuple[str, object]
"""What stands in a slot of a vtable: ``scalar`` or ``vector`` with its bytes an element, ``string``, ``table`` or
``tables`` with the kind, ``options`` for a table of any kind."""

_INTS, _BYTES, _LONGS = ("vector", 4), ("vector", 1), ("vector", 8)
_TEXT = ("string", None)
_KINDS: Mapping[str, Mapping[int, Field]] = {
    "Model": {
        0: ("scalar", 4),
        1: ("tables", "OperatorCode"),
        2: ("tables", "SubGraph"),
        3: _TEXT,
        4: ("tables", "Buffer"),
        5: _INTS,
        6: ("tables", "Metadata"),
        7: ("tables", "SignatureDef"),
    },
    "OperatorCode": {0: ("scalar", 1), 1: _TEXT, 2: ("scalar", 4), 3: ("scalar", 4)},
    "SubGraph": {0: ("tables", "Tensor"), 1: _INTS, 2: _INTS, 3: ("tables", "Operator"), 4: _TEXT},
    "Tensor": {
        0: _INTS,
        1: ("scalar", 1),
        2: ("scalar", 4),
        3: _TEXT,
        4: ("table", "Quantization"),
        5: ("scalar", 1),
        6: ("table", "Sparsity"),
        7: _INTS,
        8: ("scalar", 1),
        9: ("tables", "VariantSubType"),
    },
    "Quantization": {
        0: _INTS,
        1: _INTS,
        2: _INTS,
        3: _LONGS,
        4: ("scalar", 1),
        5: ("options", None),
        6: ("scalar", 4),
    },
    "Sparsity": {0: _INTS, 1: _INTS, 2: ("tables", "Dimension")},
    "Dimension": {
        0: ("scalar", 1),
        1: ("scalar", 4),
        2: ("scalar", 1),
        3: ("options", None),
        4: ("scalar", 1),
        5: ("options", None),
    },
    "VariantSubType": {0: _INTS, 1: ("scalar", 1), 2: ("scalar", 1)},
    "Operator": {
        0: ("scalar", 4),
        1: _INTS,
        2: _INTS,
        3: ("scalar", 1),
        4: ("options", None),
        5: _BYTES,
        6: ("scalar", 1),
        7: _BYTES,
        8: _INTS,
        9: ("scalar", 8),
        10: ("scalar", 8),
        11: ("scalar", 1),
        12: ("options", None),
    },
    "Buffer": {0: ("data", None), 1: ("scalar", 8), 2: ("scalar", 8)},
    "Metadata": {0: _TEXT, 1: ("scalar", 4)},
    "SignatureDef": {
        0: ("tables", "TensorMap"),
        1: ("tables", "TensorMap"),
        2: _TEXT,
        4: ("scalar", 4),
    },
    "TensorMap": {0: _TEXT, 1: ("scalar", 4)},
}
"""The tables of LiteRT's schema.fbs (version 3c of ai-edge-litert 2.3.0) that the packager reads, slot by slot."""


def verify(content: bytes) -> None:
    """Check a file.

    Raises:
        ManifestError: It cannot be read as a TFLite model; says where it breaks a rule.
    """
    walk = _Walk(content)
    root = walk.follow(0, "the model")
    walk.table(root, "Model")
    _Indices(walk, root).check()


def _damaged(what: str) -> ManifestError:
    return ManifestError(f"it is damaged: {what}", remedy=REMEDY)


@dataclass
class _Walk:
    """Reads a flatbuffer with a check at every step.

    Attributes:
        content: The file.
        costs: Position and kind of every table that was checked, to what a reader reads of it.
    """

    content: bytes
    costs: dict[tuple[int, str], int] = field(default_factory=dict)

    def number(self, place: int, size: int, what: str, *, signed: bool = False) -> int:
        """A little-endian integer."""
        if not 0 <= place <= len(self.content) - size:
            raise _damaged(f"{what} lies outside the file")
        return int.from_bytes(self.content[place : place + size], "little", signed=signed)

    def follow(self, place: int, what: str) -> int:
        """Where the reference at a place leads."""
        return place + self.number(place, 4, what)

    def slots(self, table: int, kind: str) -> dict[int, int]:
        """The fields that a table has: slot to place."""
        vtable = table - self.number(table, 4, kind, signed=True)
        size = self.number(vtable, 2, f"the vtable of {kind}")
        extent = self.number(vtable + 2, 2, f"the vtable of {kind}")
        if size < 4 or size % 2 or vtable + size > len(self.content) or table + extent > len(self.content):
            raise _damaged(f"the vtable of {kind} is of a wrong size")
        entries = struct.unpack_from(f"<{(size - 4) // 2}H", self.content, vtable + 4)
        if any(entry >= extent for entry in entries if entry):
            raise _damaged(f"a field of {kind} lies outside its table")
        return {slot: table + entry for slot, entry in enumerate(entries) if entry}

    def vector(self, place: int, element: int, what: str) -> range:
        """The places of the elements of the vector that a reference leads to."""
        start = self.follow(place, what) + 4
        count = self.number(start - 4, 4, what)
        if start + count * element > len(self.content):
            raise _damaged(f"{what} is longer than the file")
        return range(start, start + count * element, element)

    def table(self, place: int, kind: str) -> int:
        """Check a table and all below it; gives what reading it costs, in elements.

        Raises:
            ManifestError: It breaks rule 1 or 3.
        """
        known = self.costs.get((place, kind))
        if known is not None:
            return known
        fields = self.slots(place, kind)
        cost = 1 + sum(
            self._field(fields[slot], what, argument, f"{kind} {slot}")
            for slot, (what, argument) in _KINDS[kind].items()
            if slot in fields
        )
        if cost > max(_READ_LEAST, _READ_FACTOR * len(self.content)):
            raise _damaged("its parts are shared so often that reading it would take for ever")
        self.costs[place, kind] = cost
        return cost

    def _field(self, place: int, what: str, argument: object, name: str) -> int:
        if what in {"scalar", "vector"}:
            assert isinstance(argument, int)  # noqa: S101 - as the table of kinds has it
            if what == "scalar":
                self.number(place, argument, name)
                return 0
            return len(self.vector(place, argument, name))
        if what in {"string", "data"}:
            count = len(self.vector(place, 1, name))
            return count if what == "string" else 0
        if what == "options":
            self.slots(self.follow(place, name), name)
            return 1
        assert isinstance(argument, str)  # noqa: S101 - as above
        if what == "table":
            return self.table(self.follow(place, name), argument)
        return sum(self.table(self.follow(one, name), argument) for one in self.vector(place, 4, name))


@dataclass(frozen=True)
class _Indices:
    """Rule 2, for a model whose structure is sound."""

    walk: _Walk
    root: int

    def check(self) -> None:
        """Look at every number that points into a list.

        Raises:
            ManifestError: One points outside.
        """
        buffers = list(self._tables(self.root, "Model", 4))
        for buffer in buffers:
            self._check_place(buffer)
        codes = sum(1 for _ in self._tables(self.root, "Model", 1))
        graphs = list(self._tables(self.root, "Model", 2))
        if not graphs:
            raise _damaged("it has no graph")
        for graph in graphs:
            self._check_graph(graph, codes, len(buffers))
        for entry in self._tables(self.root, "Model", 6):
            self._within(self._scalar(entry, "Metadata", 1), len(buffers), "a metadata's buffer")
        for signature in self._tables(self.root, "Model", 7):
            index = self._scalar(signature, "SignatureDef", 4)
            self._within(index, len(graphs), "a signature's graph")
            tensors = self._count(graphs[index], "SubGraph", 0)
            for slot in (0, 1):
                for entry in self._tables(signature, "SignatureDef", slot):
                    self._within(self._scalar(entry, "TensorMap", 1), tensors, "a signature's tensor")

    def _check_graph(self, graph: int, codes: int, buffers: int) -> None:
        # As LiteRT does (interpreter_builder.cc: "Did not get operators, tensors, or buffers in subgraph").
        if not {0, 3} <= self.walk.slots(graph, "SubGraph").keys():
            raise _damaged("a graph has no tensors or no operators")
        tensors = self._count(graph, "SubGraph", 0)
        for tensor in self._tables(graph, "SubGraph", 0):
            self._within(self._scalar(tensor, "Tensor", 2), buffers, "a tensor's buffer")
            self._check_details(tensor)
        for slot in (1, 2):
            for index in self._integers(graph, "SubGraph", slot):
                self._within(index, tensors, "an input or output of a graph")
        for operator in self._tables(graph, "SubGraph", 3):
            self._within(self._scalar(operator, "Operator", 0), codes, "an operator's code")
            for slot, least in ((1, -1), (2, -1), (8, -1)):
                for index in self._integers(operator, "Operator", slot):
                    # -1 stands for an optional tensor that is left out.
                    self._within(index - least, tensors - least, "a tensor of an operator")

    def _check_details(self, tensor: int) -> None:
        place = self.walk.slots(tensor, "Tensor").get(4)
        if place is not None:
            quantization = self.walk.follow(place, "Quantization")
            is_told = 5 in self.walk.slots(quantization, "Quantization")
            if self._scalar(quantization, "Quantization", 4, 1) and not is_told:
                raise _damaged("a tensor's quantization names details that it does not have")

    def _check_place(self, buffer: int) -> None:
        offset, size = (self._scalar(buffer, "Buffer", slot, 8) for slot in (1, 2))
        # Offsets 0 and 1 mean none (schema.fbs, Buffer).
        if offset > 1 and offset + size > len(self.walk.content):
            raise _damaged("a buffer behind the model lies outside the file")

    def _within(self, index: int, count: int, what: str) -> None:
        if not 0 <= index < count:
            raise _damaged(f"{what} is none of the {count} that there are")

    def _scalar(self, table: int, kind: str, slot: int, size: int = 4) -> int:
        place = self.walk.slots(table, kind).get(slot)
        return 0 if place is None else self.walk.number(place, size, kind)

    def _places(self, table: int, kind: str, slot: int) -> range:
        place = self.walk.slots(table, kind).get(slot)
        return range(0) if place is None else self.walk.vector(place, 4, kind)

    def _count(self, table: int, kind: str, slot: int) -> int:
        return len(self._places(table, kind, slot))

    def _tables(self, table: int, kind: str, slot: int) -> Iterator[int]:
        return (self.walk.follow(place, kind) for place in self._places(table, kind, slot))

    def _integers(self, table: int, kind: str, slot: int) -> tuple[int, ...]:
        places = self._places(table, kind, slot)
        return struct.unpack_from(f"<{len(places)}i", self.walk.content, places.start) if places else ()
