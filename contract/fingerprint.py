"""What a model's inputs and outputs looked like when it was made, for telling later whether they still do.

PURE. Rules:

1. A channel has a mean, a standard deviation, its extremes, and a histogram. The histogram's edges stand beside its
   counts: bin ``i`` holds values above ``edges[i - 1]`` and up to ``edges[i]``, the last one everything above. So a
   device counts in constant memory, and two histograms with the same edges can be compared bin by bin.
2. Edges are deciles of what the packager saw, without those that fall together: about as much in each bin is what the
   population stability index is defined for (N. Siddiqi, Credit Risk Scorecards, 2006, chapter 6). Edges of outputs
   also stand further apart than the steps of a quantized variant; those of best scores are tenths.
3. The channel axis comes last. A tensor of more than 64 channels, or of more than a manifest has room for, is counted
   as one channel.
4. Only finite values are counted. Values are as the float model sees them: real, after preprocessing.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterable, Sequence

import msgspec

from contract.scalars import COUNT_MAX

MAX_EDGES = 31
MAX_CHANNELS = 64
"""Of one tensor."""
MAX_ALL_CHANNELS = 512
"""Of all tensors together: some 200 KiB of JSON, so that a manifest stays below its limit of 1 MiB."""
MAX_CLASSES = 10_000
MAX_TENSORS = 128
_NAME_MAX_CHARS = 256
_FAULTS_OF_ONE = 4


class Basis(str, enum.Enum):
    """Which samples were looked at."""

    CALIBRATION = "calibration"
    EVALUATION = "evaluation"


class ChannelFingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """How the values of one channel were spread.

    Attributes:
        mean: Of all values.
        std: Of all values, as of a population.
        low: Lowest value.
        high: Highest value.
        edges: Upper bounds of all bins but the last, inclusive and rising; up to 31.
        counts: How many values fell into each bin, one more than edges.
    """

    mean: float
    std: float
    low: float
    high: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many values were seen."""
        return sum(self.counts)


class TensorFingerprint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the values of one input or output were spread.

    Attributes:
        name: Of the input or output.
        channels: One per channel, in the tensor's order; a single one where they are counted together.
        is_pooled: Whether a tensor of several channels was counted as one.
    """

    name: str
    channels: tuple[ChannelFingerprint, ...]
    is_pooled: bool = False


class AnswerFingerprint(msgspec.Struct, frozen=True, kw_only=True):
    """What a classifier answered.

    Attributes:
        best_score: Of the best class of each sample, 0 to 1.
        classes: How often each class was the best, in the order of the scores.
    """

    best_score: ChannelFingerprint
    classes: tuple[int, ...]


class Fingerprint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the float model took and gave over the samples it was calibrated with.

    Attributes:
        basis: Which samples.
        samples: How many.
        inputs: One per input.
        outputs: One per output.
        answers: For classifiers.
    """

    basis: Basis
    samples: int
    inputs: tuple[TensorFingerprint, ...]
    outputs: tuple[TensorFingerprint, ...]
    answers: AnswerFingerprint | None = None


def fingerprint_faults(found: Fingerprint, inputs: Sequence[str], outputs: Sequence[str]) -> list[str]:
    """List every fault; empty when it is sound.

    Args:
        found: The fingerprint.
        inputs: Names of the model's inputs.
        outputs: Names of the model's outputs.
    """
    faults: list[str] = []
    if not 1 <= found.samples <= COUNT_MAX:
        faults.append("fingerprint.samples: at least one is needed")
    tensors = [*found.inputs, *found.outputs]
    channels = sum(len(tensor.channels) for tensor in tensors)
    if len(tensors) > MAX_TENSORS or channels > MAX_ALL_CHANNELS:
        # Not looked at one by one: a hostile document may have any number.
        text = f"{len(tensors)} tensors with {channels} channels"
        return [*faults, f"fingerprint: {text}, at most {MAX_TENSORS} and {MAX_ALL_CHANNELS} are possible"]
    for key, told, known in (("inputs", found.inputs, inputs), ("outputs", found.outputs, outputs)):
        strangers = [tensor.name for tensor in told if tensor.name not in known]
        faults += [f"fingerprint.{key}: there is no {name[:80]!r}" for name in strangers]
        if len({tensor.name for tensor in told}) != len(told):
            faults.append(f"fingerprint.{key}: a name appears twice")
        for index, tensor in enumerate(told):
            faults += _tensor_faults(tensor, f"fingerprint.{key}[{index}]")
    if found.answers is not None:
        faults += _answer_faults(found.answers)
    return faults


def _tensor_faults(tensor: TensorFingerprint, where: str) -> list[str]:
    faults: list[str] = []
    if not 1 <= len(tensor.name) <= _NAME_MAX_CHARS:
        faults.append(f"{where}: name must have 1 to {_NAME_MAX_CHARS} characters")
    if not 1 <= len(tensor.channels) <= MAX_CHANNELS:
        faults.append(f"{where}: {len(tensor.channels)} channels, 1 to {MAX_CHANNELS} are possible")
    elif tensor.is_pooled and len(tensor.channels) > 1:
        faults.append(f"{where}: is counted as one channel and has {len(tensor.channels)}")
    found = (channel_faults(one, f"{where}.channels[{at}]") for at, one in enumerate(tensor.channels))
    return faults + _some(found)


def _answer_faults(answers: AnswerFingerprint) -> list[str]:
    faults = channel_faults(answers.best_score, "fingerprint.answers.best_score")
    if not 2 <= len(answers.classes) <= MAX_CLASSES:
        faults.append(f"fingerprint.answers: {len(answers.classes)} classes, 2 to {MAX_CLASSES} are possible")
    elif any(not 0 <= count <= COUNT_MAX for count in answers.classes):
        faults.append(f"fingerprint.answers: counts must be 0 to {COUNT_MAX}")
    return faults


def channel_faults(channel: ChannelFingerprint, where: str) -> list[str]:
    """List every fault of one channel; empty when it is sound.

    Args:
        channel: What is looked at.
        where: How to call it in the texts.
    """
    faults: list[str] = []
    numbers = (channel.mean, channel.std, channel.low, channel.high, *channel.edges[: MAX_EDGES + 1])
    if not all(map(math.isfinite, numbers)):
        faults.append(f"{where}: numbers must be finite")
    elif channel.std < 0 or channel.low > channel.high:
        faults.append(f"{where}: std must not be negative, low not above high")
    if len(channel.edges) > MAX_EDGES:
        return [*faults, f"{where}: more than {MAX_EDGES} edges"]
    if any(left >= right for left, right in itertools.pairwise(channel.edges)):
        faults.append(f"{where}: edges must rise")
    if len(channel.counts) != len(channel.edges) + 1:
        return [*faults, f"{where}: {len(channel.counts)} counts for {len(channel.edges)} edges"]
    if any(count < 0 for count in channel.counts) or not 1 <= channel.count <= COUNT_MAX:
        faults.append(f"{where}: counts must not be negative, and not all 0")
    return faults


def _some(groups: Iterable[list[str]]) -> list[str]:
    """A few of many faults; one broken writer breaks every channel alike."""
    return list(itertools.islice(itertools.chain.from_iterable(groups), _FAULTS_OF_ONE))
