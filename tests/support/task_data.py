"""Seeded samples for tasks that are no image classification, as the files that a user would give.

The models in ``tests/data/tasks`` learnt from other draws of the same generators (``make_task_models.py`` there).
"""

from __future__ import annotations

import csv
import sys
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

MODELS = Path(__file__).resolve().parents[1] / "data" / "tasks"
STATES = ("idle", "running", "worn", "blocked")
FEATURES = ("temperature", "current", "vibration", "noise", "speed")
SOUNDS = ("chirp", "clicks", "hiss", "tone")
RATE_HZ = 4000
FRAMES = 2000

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def pump(count: int, seed: int) -> dict[str, Floats]:
    """A pump: ``sensors`` (N, 4) and ``setting`` (N, 2) in, ``power`` (N, 1) in kW.

    Power grows with speed cubed and pressure, falls with a worn bearing, and is measured with an error of 2 %.
    """
    draw = np.random.default_rng(seed)
    sensors = draw.uniform(0, 1, (count, 4)).astype(np.float32)  # pressure, flow, temperature, wear
    setting = draw.uniform(0, 1, (count, 2)).astype(np.float32)  # speed, valve
    speed, valve = setting.T
    pressure, flow, temperature, wear = sensors.T
    power = 4 * speed**3 * (0.3 + pressure) + 1.5 * flow * valve - 0.8 * wear * speed + 0.2 * temperature
    power = power * draw.normal(1, 0.02, count)
    return {"sensors": sensors, "setting": setting, "power": power[:, np.newaxis].astype(np.float32)}


def machine(count: int, seed: int) -> tuple[Floats, Integers]:
    """A machine: (N, 5) measurements in the order of ``FEATURES``, and its state (N,)."""
    draw = np.random.default_rng(seed)
    state = draw.integers(0, len(STATES), count)
    centre = np.array(
        [
            [0.2, 0.1, 0.1, 0.1, 0.1],
            [0.5, 0.5, 0.3, 0.4, 0.7],
            [0.6, 0.6, 0.7, 0.5, 0.6],
            [0.7, 0.9, 0.5, 0.4, 0.1],
        ]
    )
    spread = np.array([0.12, 0.1, 0.14, 0.12, 0.1])
    return (centre[state] + draw.normal(0, 1, (count, 5)) * spread).astype(np.float32), state


def sounds(count: int, seed: int) -> tuple[Floats, Integers]:
    """(N, FRAMES) float32 from -1 to 1 at RATE_HZ, and which of ``SOUNDS`` each is."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, len(SOUNDS), count)
    waves = np.stack([_sound(SOUNDS[kind], draw) for kind in kinds])
    return waves.astype(np.float32), kinds


def _sound(kind: str, draw: np.random.Generator) -> npt.NDArray[np.float64]:
    time = np.arange(FRAMES) / RATE_HZ
    if kind == "tone":
        clean = np.sin(2 * np.pi * draw.uniform(200, 1500) * time + draw.uniform(0, 6))
    elif kind == "chirp":
        start, end = draw.uniform(100, 500), draw.uniform(900, 1800)
        clean = np.sin(2 * np.pi * (start * time + (end - start) * time**2))
    elif kind == "clicks":
        clean = np.zeros(FRAMES)
        clean[:: int(draw.integers(120, 400))] = 1.0
        clean = np.convolve(clean, np.exp(-np.arange(30) / 6), mode="same")
    else:
        clean = draw.normal(0, 0.4, FRAMES)
    noisy = clean * draw.uniform(0.3, 0.9) + draw.normal(0, 0.03, FRAMES)
    return np.asarray(np.clip(noisy, -1, 1))


def write_pump(path: Path, count: int, seed: int) -> Path:
    """As ``.npz`` with an array per input and output, or as ``.csv`` with a column per value."""
    arrays = pump(count, seed)
    if path.suffix == ".npz":
        np.savez(path, allow_pickle=False, **{key: np.asarray(values) for key, values in arrays.items()})
        return path
    header = [f"sensors[{i}]" for i in range(4)] + [f"setting[{i}]" for i in range(2)] + ["power"]
    write_csv(path, header, np.concatenate(list(arrays.values()), axis=1).tolist())
    return path


def write_machine(path: Path, count: int, seed: int) -> Path:
    """As ``.csv`` with the columns of ``FEATURES`` and ``state``."""
    values, states = machine(count, seed)
    rows = [[*row, STATES[state]] for row, state in zip(values.tolist(), states, strict=True)]
    write_csv(path, [*FEATURES, "state"], rows)
    return path


def write_sounds(folder: Path, count: int, seed: int, rate: int = RATE_HZ, channels: int = 1) -> Path:
    """As ``<class>/<number>.wav``, 16 bit."""
    waves, kinds = sounds(count, seed)
    for number, (values, kind) in enumerate(zip(waves, kinds, strict=True)):
        write_wav(folder / SOUNDS[kind] / f"{number:04d}.wav", values, rate, channels)
    return folder


def write_labels(path: Path, labels: Sequence[str]) -> Path:
    """One a line."""
    path.write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
    return path


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """A header and rows."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def write_wav(path: Path, values: Floats, rate: int = RATE_HZ, channels: int = 1) -> Path:
    """One sound, 16 bit, the same in every channel; written by the standard library and not by what reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = np.repeat(np.round(values * 32767).astype("<i2")[:, np.newaxis], channels, axis=1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(stored.tobytes())
    return path


def main(folder: Path) -> None:
    """Write samples of every kind, evaluation and calibration, for whoever tries the commands of the documentation."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("evaluation", 500, 1), ("calibration", 200, 2)):
        write_pump(folder / f"pump-{name}.npz", count, seed)
        write_pump(folder / f"pump-{name}.csv", count, seed)
        write_machine(folder / f"machine-{name}.csv", count, seed)
        write_sounds(folder / f"sounds-{name}", count, seed)
    write_labels(folder / "states.txt", STATES)
    write_labels(folder / "sounds.txt", SOUNDS)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
