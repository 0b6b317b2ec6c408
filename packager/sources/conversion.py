"""Makes a .tflite file of another framework's model, and proves that it answers the same.

Guarantees: the framework runs in a child process and an environment that are not ours; what comes back was compared
with the framework's own answers, on inputs made at random and, when they are given, on real ones. A conversion is
kept by content: the same source, converter and programs give the kept bytes back. Half-made ones are never used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from packager.sources.agreement import OutputAgreement, compare
from packager.sources.child import run_child
from packager.sources.environment import prepare
from packager.sources.jobs import MODEL, REFERENCE, Answer, BorderFact, Job, do_job, workplace
from packager.sources.toolchain import Converter, Toolchain

_REPLAY_TIMEOUT_S = 600.0
_GIVEN_SAMPLES = 16


class Listener(Protocol):
    """Told what is going on."""

    def start(self, label: str, total: int | None) -> None:
        """A step begins."""
        ...

    def tell(self, line: str) -> None:
        """Something that the user should read even where no progress is shown."""
        ...


@dataclass(frozen=True)
class Conversion:
    """A model that was converted and agrees with its source.

    Attributes:
        source: Where the source is.
        source_sha256: Its digest.
        converter: What converted it.
        toolchain: With what.
        content: The .tflite file.
        answer: Names, shapes and tools.
        agreement: How each output agreed; of several comparisons one after another.
    """

    source: Path
    source_sha256: str
    converter: Converter
    toolchain: Toolchain
    content: bytes
    answer: Answer
    agreement: tuple[OutputAgreement, ...]

    def describe(self) -> str:
        """What happened, in one line."""
        tools = ", ".join(f"{name} {version}" for name, version in self.answer.tools.items())
        inputs = ", ".join(_describe_input(one) for one in self.answer.inputs)
        worst = max(self.agreement, key=lambda one: one.error / one.limit)
        return f"converted with {tools}; {inputs}; {worst.describe()}"

    def check_on(self, inputs: Mapping[str, npt.NDArray[Any]], listener: Listener) -> Conversion:
        """Compare on real inputs, too.

        Args:
            inputs: Name to (N, ...) of every input, without its batch dimension; up to 16 samples are used.
            listener: Told what is going on.

        Returns:
            This conversion with what was found.

        Raises:
            ManifestError: An output does not agree, or the source is another by now.
        """
        samples = len(next(iter(inputs.values())))
        picked = np.linspace(0, samples - 1, min(samples, _GIVEN_SAMPLES)).astype(int)
        given = {
            border.name: inputs[border.name][picked]
            .reshape(len(picked), *(max(1, size) for size in border.shape))
            .astype(border.dtype)
            for border in self.answer.inputs
        }
        listener.start(f"comparing with {self.converter.title}", None)
        with workplace(self.source, self.converter) as work:
            if work.source_sha256 != self.source_sha256:
                raise ManifestError(
                    f"{self.source.name} was changed while it was packed", remedy="pack again"
                )
            kept, _ = do_job(work, self.converter, self.toolchain, Job(inputs=given))
            found = _agree(self.source.name, kept, work.folder, self.content)
        return replace(self, agreement=(*self.agreement, *found))


def convert(path: Path, converter: Converter, listener: Listener) -> Conversion:
    """Convert a model, or take what was made of the same bytes before.

    Raises:
        ManifestError: The source is hostile or damaged, the converter cannot do it, or the result disagrees.
        ConfigError: The converter's environment cannot be made.
        StorageError: The cache cannot be written.
    """
    listener.start(f"reading {path.name}", None)
    with workplace(path, converter) as work:
        toolchain = prepare(converter, listener.tell)
        listener.start(f"converting with {converter.title}", None)
        kept, answer = do_job(work, converter, toolchain, Job())
        content = (kept / MODEL).read_bytes()
        agreement = _agree(path.name, kept, work.folder, content)
    return Conversion(path, work.source_sha256, converter, toolchain, content, answer, agreement)


def _agree(name: str, kept: Path, work: Path, content: bytes) -> tuple[OutputAgreement, ...]:
    """Run the converted model on a reference's inputs, and compare.

    Raises:
        ManifestError: It does not run, or an output does not agree.
    """
    model, found, log = work / "replayed.tflite", work / "found.npz", work / "replay.log"
    model.write_bytes(content)
    command = [sys.executable, "-P", "-m", "packager.sources.replay"]
    ending = run_child(
        [*command, str(model), str(kept / REFERENCE), str(found)],
        work,
        log,
        _REPLAY_TIMEOUT_S,
        is_ours=True,
    )
    if ending:
        said = log.read_text(encoding="utf-8", errors="replace").strip() or ending
        raise ManifestError(f"{name} was converted, but the result does not run: {said[-400:]}")
    with np.load(kept / REFERENCE, allow_pickle=False) as arrays:
        expected = {
            one.removeprefix("expected."): arrays[one] for one in arrays.files if one.startswith("expected.")
        }
    with np.load(found, allow_pickle=False) as arrays:
        outputs = {str(one): arrays[f"_{i}"] for i, one in enumerate(arrays["names"])}
    agreement = compare(expected, outputs)
    faults = [one.describe() for one in agreement if not one.is_close]
    if faults:
        raise ManifestError(
            f"{name} was converted, but answers otherwise than before",
            faults=faults,
            remedy="the converter does not know one of its operators right: change the model, or another converter",
        )
    return agreement


def _describe_input(border: BorderFact) -> str:
    if border.shape[1:] == border.source_shape[1:]:
        return f"input {border.name} {border.shape} as in the source"
    return f"input {border.name} {border.source_shape} channels first, now {border.shape} channels last"
