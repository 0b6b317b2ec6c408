"""Puts metadata and associated files into a model file, as ``tflite-support`` and MediaPipe write them.

Guarantees: what runs is untouched: operators, tensors and constants stay what they are; the same model and card give
the same bytes. Metadata that a model had is replaced, files that were appended to it are dropped. Layout: the
flatbuffer holds the card in the buffer of the metadata entry ``TFLITE_METADATA``; files stand behind the flatbuffer as
an uncompressed ZIP whose offsets count from the start of the model file.
Does not verify the model: untrusted bytes are normalised in a child process first.
"""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from packager.metadata.card import ModelCard, TensorCard
from packager.metadata.encode import encode_card
from packager.runtime.objects import add_metadata, pack_model, signature_order, unpack_model

ENTRY = "TFLITE_METADATA"
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a ZIP can hold (APPNOTE 4.4.6)


def embed_card(content: bytes, card: ModelCard) -> bytes:
    """A model with its card.

    Args:
        content: The .tflite file.
        card: What is told of it; a card for each of its inputs and outputs.

    Raises:
        ManifestError: It would be larger than a flatbuffer can be.
    """
    model = unpack_model(content)
    inputs, outputs = signature_order(model)
    encoded = encode_card(card, _in_order(card.inputs, inputs), _in_order(card.outputs, outputs))
    add_metadata(model, ENTRY, encoded)
    return append_files(pack_model(model), card.files)


def append_files(content: bytes, files: Mapping[str, bytes]) -> bytes:
    """A model file with files behind it; without any, the model file."""
    if not files:
        return content
    sink = io.BytesIO()
    sink.write(content)
    # Begins where the stream stands. Mode "a" would look for an end record in the model's own bytes.
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            member = zipfile.ZipInfo(name, date_time=_ZIP_EPOCH)
            member.create_system = 3  # Unix, also when written on Windows
            member.external_attr = (stat.S_IFREG | 0o644) << 16
            archive.writestr(member, data)
    return sink.getvalue()


def _in_order(cards: Sequence[TensorCard], keys: Sequence[str]) -> list[TensorCard]:
    known: dict[str, Any] = {card.key: card for card in cards}
    # A quantizer that renames a signature's entries keeps their order.
    return [known.get(key, cards[position]) for position, key in enumerate(keys)]
