"""Has a Keras model trained on, in the environment that converts Keras models.

Guarantees: model, teacher and samples are copied before anything looks at them; a model that carries code is refused
before TensorFlow starts; the training ends with its time; what was trained from the same things is taken from the
cache. Only classifiers: one input, one row of scores.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import ConfigError, ManifestError
from packager.cache import Stages, processor_kind, stage_key
from packager.compression.plan import ELEMENTS_LEAST, Compression
from packager.durable import storage_errors
from packager.sources.cache import cache_folder
from packager.sources.child import run_child
from packager.sources.distil import distil
from packager.sources.environment import prepare
from packager.sources.jobs import workplace
from packager.sources.keras import keras_converter
from packager.sources.snapshot import take_snapshot
from packager.sources.toolchain import Converter, Toolchain
from packager.workshop import Progress

_SEED = 20261121  # any: the same training on every run
_ANSWER_MAX_BYTES = 1 << 20
_SUFFIXES = (".keras", ".h5", ".hdf5")
_RESULT = "trained.keras"


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """How one pass over the samples went: mean loss, and the share of right answers, both while training."""

    epoch: int
    loss: float
    accuracy: float


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the training process answered; ``refused`` is its reason, empty where only its log has one."""

    refused: str | None = None
    history: tuple[Epoch, ...] = ()
    tools: dict[str, str] = {}


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How far a training is: steps, and how an epoch ended."""

    done: int
    total: int
    epoch: int | None = None
    loss: float = 0.0
    accuracy: float = 0.0


@dataclass(frozen=True)
class Samples:
    """What is trained on.

    Attributes:
        inputs: (N, ...) float32, as the model takes them.
        classes: (N,) int64, the true classes.
    """

    inputs: npt.NDArray[np.float32]
    classes: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Course:
    """How to train.

    Attributes:
        epochs: How often all samples are seen.
        learning_rate: Of Adam.
        batch: Samples a step.
        time_limit_s: After which it is given up.
        compression: What holds for the weights while they are trained.
        temperature: Softens teacher and student.
        alpha: How much the teacher counts, 0 to 1; the rest is the true classes'.
    """

    epochs: int
    learning_rate: float = 1e-4
    batch: int = 32
    time_limit_s: float = 3600.0
    compression: Compression = field(default_factory=Compression)
    temperature: float = 1.0
    alpha: float = 0.0


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        content: The .keras file.
        history: Epoch by epoch.
        tools: Versions of what trained it.
    """

    content: bytes
    history: tuple[Epoch, ...]
    tools: dict[str, str]


def trainer_of(model: Path, time_limit_s: float) -> Converter:
    """How a Keras file is trained: like it is converted, with another program.

    Raises:
        ConfigError: It is no Keras file.
    """
    suffix = model.suffix.lower()
    if suffix not in _SUFFIXES:
        raise ConfigError(
            f"{model.name} is no Keras file, so it cannot be trained",
            remedy="give the .keras or .h5 file that it was made from",
        )
    converter = keras_converter(".keras" if suffix == ".keras" else ".h5")
    return replace(converter, module="train_keras", timeout_s=time_limit_s)


@dataclass(frozen=True)
class Trainer:
    """Trains, tells of it, and remembers.

    Attributes:
        progress: Who is told.
        stages: What earlier runs made.
        converter_of: What trains a file, within so many seconds.
    """

    progress: Progress
    stages: Stages
    converter_of: Callable[[Path, float], Converter] = trainer_of

    def train(self, model: Path, samples: Samples, course: Course, teacher: Path | None = None) -> Trained:
        """Train a copy of a model.

        Args:
            model: A .keras or .h5 file.
            samples: What it is trained on.
            course: How.
            teacher: A .keras or .h5 file of a model that gives the same scores; None for none.

        Raises:
            ManifestError: A model is no classifier for these samples, carries code or is damaged; or the training
                failed, diverged, or took too long.
            ConfigError: A model is no Keras file, or the environment cannot be made.
            StorageError: The cache cannot be written.
        """
        converter = self.converter_of(model, course.time_limit_s)
        toolchain = prepare(converter, self.progress.tell)
        with workplace(model, converter) as work:
            names, digests = [converter.source_name], [work.source_sha256]
            if teacher is not None:
                other = self.converter_of(teacher, course.time_limit_s)
                names.append(f"teacher{Path(other.source_name).suffix}")
                digests.append(take_snapshot(teacher, work.folder / names[1]))
                other.check(work.folder / names[1], teacher.name)
            key = stage_key(
                "trained",
                sources=digests,
                samples=_digest(samples),
                course=asdict(course),
                toolchain=toolchain.digest,
                programs=_programs_digest(converter),
                processor=processor_kind(),
            )
            made = self.stages.run(
                key, lambda: self._run(work.folder, work.name, names, samples, (course, converter, toolchain))
            )
        line, _, content = made.partition(b"\n")
        answer = msgspec.json.decode(line, type=Answer)
        return Trained(content, answer.history, answer.tools)

    def _run(
        self,
        folder: Path,
        name: str,
        names: Sequence[str],
        samples: Samples,
        means: tuple[Course, Converter, Toolchain],
    ) -> bytes:
        course, converter, toolchain = means
        with storage_errors("write the cache"):
            np.save(folder / "samples.npy", samples.inputs, allow_pickle=False)
            np.save(folder / "classes.npy", samples.classes, allow_pickle=False)
            (folder / "job.json").write_text(json.dumps(_order(names, course)), encoding="utf-8")
        log = cache_folder("logs") / f"training-{folder.name.lstrip('.')}.log"
        command = [str(toolchain.python), *toolchain.flags, str(converter.programs / "__main__.py")]
        self.progress.start(f"training with {converter.title}", None)
        watch = _Watch(folder / "progress.jsonl", self.progress, course.epochs)
        ending = run_child(
            [*command, converter.module, str(folder)], folder, log, converter.timeout_s, on_look=watch.look
        )
        _check(name, folder / "answer.json", ending, log)
        log.unlink(missing_ok=True)
        answer = (folder / "answer.json").read_bytes()
        return answer + b"\n" + (folder / _RESULT).read_bytes()


def _order(names: Sequence[str], course: Course) -> dict[str, object]:
    return {
        "source": names[0],
        "teacher": names[1] if len(names) > 1 else "",
        "mode": "train",
        "epochs": course.epochs,
        "batch": course.batch,
        "learning_rate": course.learning_rate,
        "seed": _SEED,
        "prune": course.compression.prune,
        "clusters": course.compression.clusters,
        "elements_least": ELEMENTS_LEAST,
        "temperature": course.temperature,
        "alpha": course.alpha,
    }


def _check(name: str, path: Path, ending: str, log: Path) -> None:
    refused: str | None = ""
    if not ending and path.is_file():
        with path.open("rb") as file:
            refused = msgspec.json.decode(file.read(_ANSWER_MAX_BYTES), type=Answer).refused
    if refused is None:
        return
    said = refused or distil(log.read_text(encoding="utf-8", errors="replace"))
    reason = ": ".join(part for part in (ending, said) if part)
    raise ManifestError(f"{name} cannot be trained: {reason}", remedy=f"the whole log is {log}")


class _Watch:
    """Tells how far a training is, from the file that grows while it works."""

    def __init__(self, path: Path, progress: Progress, epochs: int) -> None:
        self._path, self._progress, self._epochs = path, progress, epochs
        self._read, self._done = 0, -1

    def look(self) -> None:
        """Tell what came since the last look."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                fresh = file.read(_ANSWER_MAX_BYTES)
        except FileNotFoundError:
            return
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            self._tell(msgspec.json.decode(line, type=Look))

    def _tell(self, look: Look) -> None:
        if self._done < 0:
            self._progress.start("training", look.total)
            self._done = 0
        self._progress.advance(look.done - self._done)
        self._done = look.done
        if look.epoch is not None:
            self._progress.tell(
                f"epoch {look.epoch} of {self._epochs}: loss {look.loss:.4f}, "
                f"{look.accuracy:.4f} right while training"
            )


def _digest(samples: Samples) -> str:
    digest = hashlib.sha256(repr((samples.inputs.shape, samples.classes.shape)).encode())
    digest.update(np.ascontiguousarray(samples.inputs).data)
    digest.update(np.ascontiguousarray(samples.classes).data)
    return digest.hexdigest()


def _programs_digest(converter: Converter) -> str:
    digest = hashlib.sha256()
    for path in sorted(converter.programs.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
