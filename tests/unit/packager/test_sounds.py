"""Folders of sounds: what is read, converted, cut, filled, told and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from contract.errors import ConfigError, ManifestError
from contract.manifest import Task
from contract.tensor import DType
from packager import audio as door
from packager.images import ImageFile
from packager.tasks import audio
from tests.support.task_builders import load, source, spec
from tests.support.task_data import FRAMES, RATE_HZ, SOUNDS, sounds, write_labels, write_sounds, write_wav

MODEL = source([spec("wave", 1, FRAMES)], [spec("class", 1, 4)])
RATE = {"sample_rate": RATE_HZ}
RAMP = np.linspace(-0.5, 0.5, 100, dtype=np.float32)


def read(path: Path, **hearing: Any) -> door.ClipSet:
    asked = door.Hearing(**({"rate_hz": RATE_HZ, "frames": 100} | hearing))
    return door.read_clips([ImageFile(path, path.name, "")], asked, "evaluation")


def test_sounds_come_to_the_model_as_they_were_recorded(tmp_path: Path) -> None:
    folder = write_sounds(tmp_path / "sounds", 12, 1)
    labels = write_labels(tmp_path / "labels.txt", SOUNDS)
    found = load(audio.KIND, MODEL, folder, RATE, labels=labels, calibration=folder)
    waves, kinds = sounds(12, 1)
    order = sorted(range(12), key=lambda number: (SOUNDS[kinds[number]], number))
    (heard,) = found.task.inputs(range(12))
    assert heard == pytest.approx(waves[order], abs=2 / 32768)
    assert found.task.strata.tolist() == kinds[order].tolist()
    assert (heard.shape, str(heard.dtype)) == ((12, FRAMES), "float32")
    assert found.notes == ()
    assert "soxr 1" in found.task.preparation
    assert found.presentation.task is Task.AUDIO_CLASSIFICATION
    assert found.presentation.labels == SOUNDS
    assert found.presentation.postprocessing is not None
    assert found.presentation.postprocessing.softmax
    assert found.calibration is not None
    assert set(found.calibration.digests) == set(found.task.digests)


@pytest.mark.parametrize("shape", [(FRAMES,), (1, FRAMES, 1), (-1, FRAMES), (1, 1, FRAMES)])
def test_a_wave_takes_whatever_shape_the_model_has(tmp_path: Path, shape: tuple[int, ...]) -> None:
    model = source([spec("wave", *shape)], [spec("class", 4)])
    assert audio.KIND.borders(model, None) == []
    write_wav(tmp_path / "sounds" / "2" / "a.wav", RAMP)
    found = load(audio.KIND, model, tmp_path / "sounds", RATE)
    (heard,) = found.task.inputs([0])
    assert heard.shape == (1, *(shape[1:] if shape[0] in {1, -1} else shape))
    assert found.task.strata.tolist() == [2]


@pytest.mark.parametrize(
    "model",
    [
        source([spec("a", 1, 9), spec("b", 1, 9)], [spec("class", 1, 4)]),
        source([spec("spectrogram", 1, 64, 40)], [spec("class", 1, 4)]),
        source([spec("wave", 1, 9, dtype=DType.INT16)], [spec("class", 1, 4)]),
        source([spec("wave", 1, 9)], [spec("class", 3, 4)]),
    ],
)
def test_models_that_take_no_wave_are_told(model: Any) -> None:
    assert len(audio.KIND.borders(model, None)) == 1


def test_another_rate_is_refused_unless_it_is_to_be_converted(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(800) / 8000)
    path = write_wav(tmp_path / "tone.wav", tone.astype(np.float32), rate=8000)
    with pytest.raises(ManifestError, match="has 8000 Hz, the model takes 4000 Hz") as caught:
        read(path)
    assert "resample=true" in caught.value.remedy
    clips = read(path, resample=True, frames=400)
    wanted = 0.5 * np.sin(2 * np.pi * 500 * np.arange(400) / RATE_HZ)
    assert clips.waves[0, 50:350] == pytest.approx(wanted[50:350], abs=0.01)
    assert (clips.resampled, clips.cut, clips.padded) == (1, 0, 0)


def test_more_channels_are_refused_mixed_or_the_first_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([RAMP, -RAMP], axis=1), RATE_HZ, subtype="FLOAT")
    with pytest.raises(ManifestError, match="has 2 channels") as caught:
        read(path)
    assert "channels=mix" in caught.value.remedy
    assert read(path, channels=door.Channels.MIX).waves[0] == pytest.approx(np.zeros(100))
    assert read(path, channels=door.Channels.FIRST).waves[0] == pytest.approx(RAMP)


def test_longer_sounds_are_cut_and_shorter_ones_filled_and_both_are_told(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", RAMP)
    assert read(path, frames=50).waves[0] == pytest.approx(RAMP[25:75], abs=1e-4)
    assert read(path, frames=50, window=door.Window.FIRST).waves[0] == pytest.approx(RAMP[:50], abs=1e-4)
    longer = read(path, frames=120)
    assert longer.waves[0, :100] == pytest.approx(RAMP, abs=1e-4)
    assert longer.waves[0, 100:].tolist() == [0.0] * 20
    folder = tmp_path / "sounds" / "0"
    write_wav(folder / "long.wav", np.zeros(FRAMES + 1, dtype=np.float32))
    write_wav(folder / "short.wav", RAMP, rate=2000)
    found = load(audio.KIND, MODEL, tmp_path / "sounds", RATE | {"resample": "true", "window": "first"})
    assert [note.partition(" sounds")[0] for note in found.notes] == [
        "1 of 2 evaluation",
        "1 of 2 evaluation",
        "1 of 2 evaluation",
    ]
    assert "first part" in found.notes[1]


@pytest.mark.parametrize("content", [b"", b"RIFF\x24\x00\x00\x00WAVEfmt ", b"no sound at all"])
def test_what_is_no_sound_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match="is no sound that can be decoded"):
        read(path)


def test_a_wav_cut_off_in_its_middle_is_as_long_as_what_is_there(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", RAMP)
    path.write_bytes(path.read_bytes()[:-100])
    assert read(path).padded == 1


def test_sounds_that_are_empty_or_no_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="is empty"):
        read(write_wav(tmp_path / "empty.wav", RAMP[:0]))
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.0, np.nan]), RATE_HZ, subtype="FLOAT")
    with pytest.raises(ManifestError, match="not finite"):
        read(path)


def test_other_kinds_of_sound_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.aiff"
    soundfile.write(path, RAMP, RATE_HZ)
    with pytest.raises(ManifestError, match="is AIFF"):
        read(path)


def test_a_file_that_unpacks_to_hours_of_silence_is_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "silence.flac"
    soundfile.write(path, np.zeros(door.CLIP_MAX_VALUES + 1, dtype=np.int16), RATE_HZ)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ManifestError, match="is longer than 30,000,000 values"):
        read(path)
    with pytest.raises(ManifestError, match="take 3814 MiB"):
        read(path, frames=1_000_000_000)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "needs the model's sample rate"),
        (RATE | {"threshold": "inf"}, "threshold"),
        ({"channels": "left"}, "usable"),
    ],
)
def test_options_of_audio_that_cannot_be_meant_are_refused(
    tmp_path: Path, options: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted):
        load(audio.KIND, MODEL, tmp_path, options)


def test_folders_of_sounds_are_called_so(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="has no sound"):
        load(audio.KIND, MODEL, tmp_path, RATE)
    write_wav(tmp_path / "a.wav", RAMP)
    with pytest.raises(ManifestError, match=r"sound a\.wav stands outside a class folder"):
        load(audio.KIND, MODEL, tmp_path, RATE)
