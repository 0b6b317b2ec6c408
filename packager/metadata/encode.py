"""Writes a model card as TFLite's metadata flatbuffer.

PURE. Rules:

1. Tables and fields are those of metadata_schema.fbs 1.5 (tflite-support and MediaPipe, ``M001``): a field's number is
   its place in its table.
2. The version that a reader must know is that of the newest field in it: 1.0.0, and 1.3.0 for a wave.
3. The same card gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import flatbuffers

from packager.metadata.card import LABELS_FILE, Content, LabelUse, ModelCard, TensorCard

IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"
AUDIO_PARSER_VERSION = "1.3.0"
"""Has AudioProperties (metadata_schema.fbs, "History")."""
_MONO = 1  # channels
_NORMALIZATION = 1  # union ProcessUnitOptions
_BOUNDARIES = 1  # enum BoundingBoxType
_RATIO = 0  # enum CoordinateType
# Places of top, left, bottom, right in the schema's order: left, top, right, bottom.
_BOX_ORDER = (1, 0, 3, 2)


def encode_card(card: ModelCard, inputs: Sequence[TensorCard], outputs: Sequence[TensorCard]) -> bytes:
    """Write a card.

    Args:
        card: What is told of the model.
        inputs: Its cards in the order of the graph.
        outputs: Its cards in the order of the graph.
    """
    writer = _Writer()
    has_audio = any(tensor.content is Content.AUDIO for tensor in inputs)
    graph = writer.table(
        5,
        {
            2: writer.tables([_tensor(writer, tensor) for tensor in inputs]),
            3: writer.tables([_tensor(writer, tensor) for tensor in outputs]),
        },
    )
    root = writer.table(
        8,
        {
            0: writer.text(card.name),
            1: writer.text(card.text),
            2: writer.text(card.version),
            3: writer.tables([graph]),
            7: writer.text(AUDIO_PARSER_VERSION if has_audio else PARSER_VERSION),
        },
    )
    return writer.finish(root)


class _Writer:
    """Strings, vectors and tables, each given back as its place; parts are written before what holds them."""

    def __init__(self) -> None:
        self._builder: Any = flatbuffers.Builder(1024)

    def text(self, text: str) -> int:
        return int(self._builder.CreateString(text))

    def tables(self, places: Sequence[int]) -> int:
        return self._vector(places, 4, self._builder.PrependUOffsetTRelative)

    def floats(self, values: Sequence[float]) -> int:
        return self._vector(values, 4, self._builder.PrependFloat32)

    def counts(self, values: Sequence[int]) -> int:
        return self._vector(values, 4, self._builder.PrependUint32)

    def _vector(self, values: Sequence[Any], size: int, prepend: Callable[[Any], None]) -> int:
        self._builder.StartVector(size, len(values), size)
        for value in reversed(values):  # flatbuffers are written from the back
            prepend(value)
        return int(self._builder.EndVector())

    def table(
        self,
        fields: int,
        places: dict[int, int],
        *,
        small: dict[int, int] | None = None,
        wide: dict[int, int] | None = None,
    ) -> int:
        """A table of so many fields: places of parts, numbers of one byte, and numbers of four."""
        builder = self._builder
        builder.StartObject(fields)
        for slot, place in places.items():
            builder.PrependUOffsetTRelativeSlot(slot, place, 0)
        for slot, number in (wide or {}).items():
            builder.PrependUint32Slot(slot, number, 0)
        for slot, number in (small or {}).items():
            builder.PrependUint8Slot(slot, number, 0)
        return int(builder.EndObject())

    def finish(self, root: int) -> bytes:
        self._builder.Finish(root, IDENTIFIER)
        return bytes(self._builder.Output())


def _tensor(writer: _Writer, card: TensorCard) -> int:
    places = {0: writer.text(card.name), 1: writer.text(card.text), 3: _content(writer, card)}
    if card.std:
        options = writer.table(2, {0: writer.floats(card.mean), 1: writer.floats(card.std)})
        places[4] = writer.tables([writer.table(2, {1: options}, small={0: _NORMALIZATION})])
    if card.high:
        places[5] = writer.table(2, {0: writer.floats(card.high), 1: writer.floats(card.low)})
    if card.labels is not None:
        places[6] = writer.tables([_label_file(writer, card.labels)])
    return writer.table(7, places)


def _content(writer: _Writer, card: TensorCard) -> int:
    places: dict[int, int] = {}
    if card.content is Content.IMAGE:
        width, height = card.size
        size = writer.table(2, {}, wide={0: width, 1: height})
        places[1] = writer.table(2, {1: size}, small={0: int(card.space or 0)})
    elif card.content is Content.AUDIO:
        places[1] = writer.table(2, {}, wide={0: card.rate_hz, 1: _MONO})
    elif card.content is Content.BOXES:
        small = {1: _BOUNDARIES, 2: _RATIO}
        places[1] = writer.table(3, {0: writer.counts(_BOX_ORDER)}, small=small)
        # The last axis is the box, the one before it counts them.
        places[2] = writer.table(2, {}, wide={0: 2, 1: 2})
    else:
        places[1] = writer.table(0, {})
    return writer.table(3, places, small={0: int(card.content)})


def _label_file(writer: _Writer, use: LabelUse) -> int:
    places = {0: writer.text(LABELS_FILE), 1: writer.text("Names of the classes, in the order of the scores")}
    return writer.table(4, places, small={2: int(use)})
