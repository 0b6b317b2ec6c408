"""Audio classification: one true class a sound, measured as top-1 accuracy.

Guarantees: every variant hears the same sounds with the same preparation. What was done to sounds of another rate or
length is told. Does not judge.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from contract.errors import ConfigError
from contract.manifest import Task as TaskName
from contract.tensor import DType
from packager.audio import Channels, ClipSet, Hearing, Window, read_clips, reader_versions
from packager.description import Source, sample_shape
from packager.images import ImageFile, list_images
from packager.tasks.arrays import ArraySamples, sample_elements
from packager.tasks.kind import DataRequest, Kind, Loaded
from packager.tasks.labelled_images import true_classes
from packager.tasks.plain import refuse_image_settings
from packager.tasks.tabular import class_count, class_names, present_scores, score_faults
from packager.tasks.tensor_data import check_calibration_count
from packager.tasks.top1 import HALF, Top1

_WHAT = "sound"
_RATES_HZ = 100, 768_000


class AudioOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of task ``audio-classification``.

    Attributes:
        sample_rate: What the model takes, in Hz; must be given, because no model says it.
        resample: Whether sounds of another rate are converted to it; else they are refused.
        channels: ``refuse`` sounds of more than one channel, ``mix`` them to their mean, or take the ``first``.
        window: Of a sound that is too long, the ``centre`` or the ``first`` part is used.
        threshold: For models with one output value: above it the answer is class 1, else class 0.
    """

    sample_rate: int = 0
    resample: bool = False
    channels: Channels = Channels.REFUSE
    window: Window = Window.CENTRE
    threshold: float = HALF


def _border_faults(source: Source, _: Any) -> list[str]:
    if len(source.inputs) != 1:
        return [f"{len(source.inputs)} inputs, one is possible"]
    (wave,) = source.inputs
    faults = []
    if wave.dtype is not DType.FLOAT32:
        faults.append(f"input {wave.name} is {wave.dtype.value}, not {DType.FLOAT32.value}")
    if sum(size > 1 for size in wave.shape) != 1:
        faults.append(f"input {wave.name} has shape {wave.shape}, not one row of values of a wave")
    return faults + score_faults(source)


def _load(request: DataRequest) -> Loaded:
    options: AudioOptions = request.options
    if not _RATES_HZ[0] <= options.sample_rate <= _RATES_HZ[1]:
        raise ConfigError(
            f"task audio-classification needs the model's sample rate, {_RATES_HZ[0]} to {_RATES_HZ[1]} Hz",
            remedy="give --task-option sample_rate=16000, or what it was trained on",
        )
    if not math.isfinite(options.threshold):
        raise ConfigError("threshold must be finite")
    refuse_image_settings(request)
    source = request.source
    hearing = Hearing(
        rate_hz=options.sample_rate,
        frames=sample_elements(source.inputs[0]),
        resample=options.resample,
        channels=options.channels,
        window=options.window,
    )
    names = class_names(request)
    files = list_images(request.evaluation, "evaluation", _WHAT)
    labels = names if request.labels else ()
    truth = true_classes(files, class_count(source), labels, _WHAT)
    clips = read_clips(files, hearing, "evaluation")
    notes = list(_notes(clips, len(files), hearing, "evaluation"))
    calibration = None
    if request.calibration is not None:
        heard = _calibration_files(request.calibration)
        learnt = read_clips(heard, hearing, "calibration")
        notes += _notes(learnt, len(heard), hearing, "calibration")
        calibration = _samples(learnt, source, hearing).mixed()
    return Loaded(
        task=Top1(_samples(clips, source, hearing), truth, names, options.threshold),
        calibration=calibration,
        presentation=dataclasses.replace(
            present_scores(TaskName.AUDIO_CLASSIFICATION, source, labels), rate_hz=options.sample_rate
        ),
        notes=tuple(notes),
    )


def _calibration_files(folder: Path) -> list[ImageFile]:
    files = list_images(folder, "calibration", _WHAT)
    check_calibration_count(len(files), f"calibration folder {folder}")
    return files


def _samples(clips: ClipSet, source: Source, hearing: Hearing) -> ArraySamples:
    (wave,) = source.inputs
    shaped = clips.waves.reshape(len(clips.waves), *sample_shape(wave))
    return ArraySamples((shaped,), clips.sha256, f"{hearing}, {reader_versions()}")


def _notes(clips: ClipSet, count: int, hearing: Hearing, purpose: str) -> Iterator[str]:
    """What was done to sounds, for people."""
    if clips.resampled:
        yield f"{clips.resampled} of {count} {purpose} sounds were resampled to {hearing.rate_hz} Hz"
    if clips.cut:
        yield (
            f"{clips.cut} of {count} {purpose} sounds are longer than {hearing.frames} values: "
            f"their {hearing.window.value} part is used"
        )
    if clips.padded:
        yield (
            f"{clips.padded} of {count} {purpose} sounds are shorter than {hearing.frames} values: "
            "they are filled with zeros at their end"
        )


KIND = Kind(
    name="audio-classification",
    wants="one float32 wave in, for example (1, 16000), and one row of float32 scores (1, classes) out",
    options=AudioOptions,
    borders=_border_faults,
    load=_load,
)
