"""Gives every model file of a pack run its card.

Guarantees: what is measured and what ships are the same bytes, with the card in them. What another tool had written
into the source model is replaced, and said.
"""

from __future__ import annotations

from contract.errors import ManifestError
from contract.manifest import ClassificationPostprocessing
from packager.metadata.card import ModelCard, Subject, describe_model
from packager.metadata.read import read_card
from packager.runtime.graph import read_graph
from packager.sources.tflite import SourceModel
from packager.tasks.kind import Presentation


def card_of(name: str, version: str, model: SourceModel, shown: Presentation) -> ModelCard:
    """What the files of a release say of themselves.

    Args:
        name: Model name.
        version: SemVer.
        model: The float model.
        shown: What the manifest says of its task.

    Raises:
        ManifestError: A label cannot stand in a file of labels.
    """
    scores = shown.postprocessing
    return describe_model(
        Subject(
            name=name,
            version=version,
            task=shown.task.value,
            inputs=model.source.inputs,
            outputs=model.source.outputs,
            preprocessing=shown.preprocessing,
            labels=shown.labels,
            is_logits=isinstance(scores, ClassificationPostprocessing) and scores.softmax,
            rate_hz=shown.rate_hz,
            operators=tuple(node.label for node in read_graph(model.content).nodes),
        )
    )


def replaced_text(model: SourceModel) -> str:
    """What becomes of metadata that the source model has; empty when it has none."""
    try:
        told = read_card(model.content)
    except ManifestError as error:
        return f"{error}; new metadata replaces it"
    if told is None:
        return ""
    files = f" and its files {', '.join(told.files)}" if told.files else ""
    return f"the TFLite metadata of {model.name} ({told.name or 'without a name'}){files} is replaced"
