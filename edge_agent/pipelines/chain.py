"""A pipeline at work: each stage's answer becomes the next one's question.

Guarantees: one deadline covers all stages and all crops; an answer comes from the versions that the greeting named.
Decides nothing about boxes and shapes: see ``crops`` and ``layout``. Owned by one thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_agent.inference.asking import Inference
from edge_agent.inference.image_files import decode_file
from edge_agent.inference.protocol import Welcome, check_welcome
from edge_agent.pipelines.crops import Rules, Selection, crop, select_boxes
from edge_agent.pipelines.layout import crop_stage, pipeline_welcome
from edge_agent.pipelines.members import Members
from edge_agent.pipelines.settings import PipelineSettings, StageSettings

_LABEL_MAX_BYTES = 512
"""An answer with the most crops, each with such a label, takes half a frame."""
_Floats = npt.NDArray[np.float32]
_Class = tuple[int, float, bytes]
_NOWHERE = (0, 0)
"""Size of an image that a model looks at, and nobody here."""


class Chain:
    """A pipeline over the versions that are active now; implements ``Answering``.

    Args:
        settings: Sound.
        members: Its models.
        welcomes: What they announced.

    Raises:
        IncompatibleError: The models do not fit each other.
        MessageError: They have more or longer tensor names than a frame holds.

    Attributes:
        welcome: What applications are told.
    """

    def __init__(self, settings: PipelineSettings, members: Members, welcomes: Mapping[str, Welcome]) -> None:
        self.welcome = pipeline_welcome(settings, welcomes)
        check_welcome(self.welcome)
        self._members = members
        self._stages = settings.stages
        self._place = crop_stage(settings.stages)
        self._input_names = [tensor.name for tensor in welcomes[settings.stages[0].model].inputs]
        self._classes: list[_Class] = []

    def infer(self, tensors: Sequence[npt.NDArray[Any]]) -> list[_Floats]:
        """See ``Answering``."""
        if self._place:
            return self.infer_image(tensors[0][0])
        what = dict(zip(self._input_names, tensors, strict=True))
        return self._follow_all(what)

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
        if not self._place:
            return self._follow_all(pixels)
        ends = self._members.begin()
        found = self._members.ask(self._stages[0].model, pixels, ends)
        found = self._follow(found, self._stages[1 : self._place], ends)
        stage = self._stages[self._place]
        rules = Rules(stage.min_score, stage.top, stage.padding)
        chosen = select_boxes(found.outputs, (pixels.shape[0], pixels.shape[1]), rules)
        answers: list[Inference] = []
        for place in chosen.rectangles:
            answer = self._members.ask(stage.model, crop(pixels, place), ends)
            answers.append(self._follow(answer, self._stages[self._place + 1 :], ends))
        self._classes = [_class_of(answer) for answer in answers if answer.classes]
        return self._gather(found, chosen, answers)

    def infer_file(self, content: bytes) -> tuple[list[_Floats], tuple[int, int]]:
        """See ``Answering``; crops are cut from the file decoded in full."""
        if not self._place:
            return self._follow_all(content), _NOWHERE
        pixels = decode_file(content)
        return self.infer_image(pixels), (pixels.shape[0], pixels.shape[1])

    def finish(self, outputs: Sequence[_Floats], size: tuple[int, int] | None) -> Sequence[_Floats]:
        """See ``Answering``; they are finished."""
        del size
        return outputs

    def classify(self, outputs: Sequence[_Floats]) -> list[_Class]:
        """See ``Answering``; for a pipeline that crops: the best class of each crop, in the order of the boxes."""
        del outputs
        return self._classes

    def _follow_all(self, what: npt.NDArray[np.uint8] | bytes | dict[str, npt.NDArray[Any]]) -> list[_Floats]:
        ends = self._members.begin()
        answer = self._members.ask(self._stages[0].model, what, ends)
        answer = self._follow(answer, self._stages[1:], ends)
        self._classes = [(each.index, each.score, _label(each.label)) for each in answer.classes]
        return [answer.outputs[place.name] for place in self.welcome.outputs]

    def _follow(self, answer: Inference, stages: Sequence[StageSettings], ends: float) -> Inference:
        """Feed an answer through stages, none of which crops."""
        for stage in stages:
            what = {target: answer.outputs[source] for source, target in stage.feed.items()}
            answer = self._members.ask(stage.model, what, ends)
        return answer

    def _gather(self, found: Inference, chosen: Selection, answers: Sequence[Inference]) -> list[_Floats]:
        """Outputs in the welcome's order."""
        results = {place.name: np.zeros(place.shape, np.float32) for place in self.welcome.outputs}
        count = len(chosen.rows)
        for name in ("boxes", "classes", "scores"):
            results[name][0, :count] = found.outputs[name][0, chosen.rows]
        results["count"][0], results["skipped"][0] = count, chosen.skipped
        for row, answer in enumerate(answers):
            if answer.classes:
                results["crop_index"][0, row] = answer.classes[0].index
                results["crop_score"][0, row] = answer.classes[0].score
            for name, output in answer.outputs.items():
                results[f"crops.{name}"][row] = output
        return list(results.values())


def _class_of(answer: Inference) -> _Class:
    best = answer.classes[0]
    return best.index, best.score, _label(best.label)


def _label(text: str) -> bytes:
    """As UTF-8, cut to what an answer has room for."""
    return text.encode()[:_LABEL_MAX_BYTES].decode(errors="ignore").encode()
