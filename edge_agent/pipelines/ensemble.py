"""An ensemble at work: every member is asked the same, and their probabilities or plain numbers become one answer.

Guarantees: members with other labels or outputs, and those whose answers have no mean (boxes, maps, embeddings), are
refused by name before the first request; one deadline covers all members; an answer comes from the versions that the
greeting named. Owned by one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contract.errors import AgentUnavailableError, IncompatibleError
from contract.manifest import Manifest, Task, parse_manifest
from contract.tensor import DType
from edge_agent.inference.asking import What
from edge_agent.inference.postprocess import softmax
from edge_agent.inference.protocol import Welcome, check_welcome
from edge_agent.inference.slot import MANIFEST_FILE
from edge_agent.pipelines.layout import Places, places_of, welcome_of
from edge_agent.pipelines.members import Members
from edge_agent.pipelines.settings import EnsembleSettings
from edge_agent.pipelines.votes import mean_of, rank, votes_of

_Floats = npt.NDArray[np.float32]
_PLAIN = frozenset((Task.REGRESSION, Task.CUSTOM))
"""What gives numbers that have a mean."""


class _Member(NamedTuple):
    """What an answer of a model means; one without classes gives plain numbers."""

    welcome: Welcome
    outputs: Places
    classes: int = 0
    labels: tuple[str, ...] = ()
    top_k: int = 0
    has_logits: bool = False


class Ensemble:
    """An ensemble over the versions that are active now; implements ``Answering``.

    Args:
        settings: Sound.
        members: Its models.
        welcomes: What those announced that are there.

    Raises:
        IncompatibleError: Members are not of a kind that answers together, or differ in their classes or outputs.
        AgentUnavailableError: A manifest cannot be read now.

    Attributes:
        welcome: What applications are told.
    """

    def __init__(self, settings: EnsembleSettings, members: Members, welcomes: Mapping[str, Welcome]) -> None:
        self._settings = settings
        self._ask = members.ask
        self._begin = members.begin
        self._members = {name: _member_of(welcome) for name, welcome in welcomes.items()}
        first = next(iter(self._members.values()))
        faults = [
            fault for name, each in self._members.items() for fault in _member_faults(name, each, first)
        ]
        if settings.method == "vote" and not first.classes:
            faults.append(f"{first.welcome.model} has no classes to vote for, its numbers have a mean")
        if faults:
            raise IncompatibleError(f"the members of {settings.name} cannot answer together", faults=faults)
        self._labels = [label.encode() for label in first.labels]
        self._top_k = min(first.classes, max(each.top_k for each in self._members.values()))
        outputs = first.outputs
        if first.classes:
            outputs = [("probabilities", (1, first.classes), DType.FLOAT32)]
        self._values = [np.zeros((len(welcomes), *shape), np.float32) for _, shape, _ in outputs]
        if settings.method == "vote":
            outputs = [*outputs, ("votes", (1, first.classes), DType.FLOAT32)]
        served = list(welcomes.values())
        self.welcome = welcome_of(
            settings.name,
            served,
            places_of(served[0].inputs),
            outputs,
            f"ensemble-{settings.method}",
            takes_images=all(each.takes_images for each in served),
        )
        check_welcome(self.welcome)
        self._scores = self._values[0].reshape(len(served), -1)

    def infer(self, tensors: Sequence[npt.NDArray[Any]]) -> list[_Floats]:
        """See ``Answering``."""
        names = [tensor.name for tensor in self.welcome.inputs]
        return self._ask_all(dict(zip(names, tensors, strict=True)))

    def shortcut(
        self,
        inputs: Sequence[npt.NDArray[Any]],
        outputs: Sequence[npt.NDArray[np.float32]],
        *,
        takes_stored: bool,
    ) -> None:
        """See ``Answering``; asking others takes longer than the steps around it."""

    def infer_image(self, pixels: npt.NDArray[np.uint8]) -> list[_Floats]:
        """See ``Answering``."""
        return self._ask_all(pixels)

    def infer_file(self, content: bytes) -> tuple[list[_Floats], tuple[int, int]]:
        """See ``Answering``; nobody here needs the size."""
        return self._ask_all(content), (0, 0)

    def finish(self, outputs: Sequence[_Floats], size: tuple[int, int] | None) -> Sequence[_Floats]:
        """See ``Answering``; they are finished."""
        del size
        return outputs

    def classify(self, outputs: Sequence[_Floats]) -> list[tuple[int, float, bytes]]:
        """See ``Answering``."""
        del outputs
        labels = self._labels
        return [
            (index, score, labels[index] if index < len(labels) else b"")
            for index, score in rank(self._scores, self._settings.method, self._top_k)
        ]

    def _ask_all(self, what: What) -> list[_Floats]:
        ends = self._begin()
        for row, (name, member) in enumerate(self._members.items()):
            found = self._ask(name, what, ends).outputs
            for values, (output, _, _) in zip(self._values, member.outputs, strict=True):
                values[row] = found[output].reshape(values[row].shape)
            if member.has_logits:
                self._scores[row] = softmax(self._scores[row])
        outputs = [mean_of(values) for values in self._values]
        if self._settings.method == "vote":
            outputs.append(votes_of(self._scores)[np.newaxis])
        return outputs


def _member_of(welcome: Welcome) -> _Member:
    """What a model's manifest says.

    Raises:
        IncompatibleError: It is of no kind that answers together with others.
        AgentUnavailableError: The manifest is not there, or is of another version: a switch is under way.
    """
    manifest = _manifest_of(welcome)
    recipe = manifest.postprocessing
    if recipe is None and manifest.task not in _PLAIN:
        raise IncompatibleError(
            f"{welcome.model} {welcome.version} does not classify (task {manifest.task.value}, no postprocessing)",
            remedy="an ensemble takes classifiers, or models of task regression or custom",
        )
    places = places_of(welcome.outputs)
    if recipe is None:
        return _Member(welcome, [(name, shape, DType.FLOAT32) for name, shape, _ in places])
    scores = welcome.outputs[0]
    return _Member(
        welcome=welcome,
        outputs=places[:1],
        classes=scores.size_bytes() // np.dtype(scores.dtype.value).itemsize,
        labels=manifest.labels,
        top_k=recipe.top_k,
        has_logits=recipe.softmax,
    )


def _manifest_of(welcome: Welcome) -> Manifest:
    try:
        content = (Path(welcome.slot_dir) / MANIFEST_FILE).read_bytes()
    except OSError as error:
        raise AgentUnavailableError(f"the manifest of {welcome.model} cannot be read: {error}") from error
    manifest = parse_manifest(content)
    if (manifest.model, manifest.version) != (welcome.model, welcome.version):
        raise AgentUnavailableError(f"{welcome.model} is being switched")
    return manifest


def _member_faults(name: str, member: _Member, first: _Member) -> list[str]:
    """Why a member cannot answer together with the first."""
    faults: list[str] = []
    shown = f"{name} {member.welcome.version}"
    if not member.classes or not first.classes:
        if member.outputs != first.outputs or member.classes != first.classes:
            faults.append(f"{shown} gives other outputs than {first.welcome.model} {first.welcome.version}")
    elif (member.labels, member.classes) != (first.labels, first.classes):
        faults.append(
            f"{shown} has {member.classes} classes ({_shown(member.labels)}),"
            f" {first.welcome.model} {first.welcome.version} {first.classes} ({_shown(first.labels)})"
        )
    is_image = member.welcome.takes_images and first.welcome.takes_images
    if not is_image and places_of(member.welcome.inputs) != places_of(first.welcome.inputs):
        faults.append(f"{shown} takes other inputs than {first.welcome.model}")
    return faults


def _shown(labels: Sequence[str]) -> str:
    text = ", ".join(labels[:3])
    return f"{text}, ..." if len(labels) > 3 else text or "no labels"
