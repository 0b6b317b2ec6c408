"""Reads folders of sounds and brings them to a rate and a length; the packager's door to libsndfile and libsoxr.

Guarantees: every file is bounded before it is read and before it is decoded; what was resampled, cut or padded is
counted; another rate or more channels than the model takes are refused unless it was said what to do. The digest of a
set depends on the files' relative names and bytes alone. Does not decide what the sounds are for.
"""

from __future__ import annotations

import enum
import hashlib
import importlib.metadata
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contract.errors import ManifestError
from packager.images import ImageFile, read_bounded
from packager.tasks.arrays import SET_MAX_BYTES

FORMATS = ("WAV", "WAVEX", "FLAC")
"""Lossless ones: decoders of lossy formats differ, and a device hears none of them."""
CLIP_MAX_VALUES = 30_000_000
"""Ten minutes of one channel at 48 kHz."""
_QUALITY = (
    "HQ"  # soxr's default: 20 bit, beyond what 16-bit recordings hold (https://github.com/dofuuz/python-soxr)
)


class Channels(str, enum.Enum):
    """What becomes of more channels than one."""

    REFUSE = "refuse"
    MIX = "mix"
    FIRST = "first"


class Window(str, enum.Enum):
    """Which part of a sound that is too long is used."""

    CENTRE = "centre"
    FIRST = "first"


@dataclass(frozen=True)
class Hearing:
    """How sounds come to the model's input.

    Attributes:
        rate_hz: What the model takes.
        frames: How many values a sample has.
        resample: Whether other rates are converted.
        channels: What becomes of more than one.
        window: Which part of a longer sound is used; shorter ones are filled with zeros at their end.
    """

    rate_hz: int
    frames: int
    resample: bool = False
    channels: Channels = Channels.REFUSE
    window: Window = Window.CENTRE


@dataclass(frozen=True)
class ClipSet:
    """Decoded sounds.

    Attributes:
        waves: (N, frames) float32; integer recordings are -1 to 1.
        sha256: Digest over names and bytes.
        resampled: How many had another rate.
        cut: How many were longer.
        padded: How many were shorter.
    """

    waves: npt.NDArray[np.float32]
    sha256: str
    resampled: int = 0
    cut: int = 0
    padded: int = 0


def read_clips(files: Sequence[ImageFile], hearing: Hearing, purpose: str) -> ClipSet:
    """Read and decode every file.

    Args:
        files: What ``packager.images.list_images`` gave.
        hearing: How they come to the model's input.
        purpose: ``calibration`` or ``evaluation``, for error texts.

    Raises:
        ManifestError: A sound cannot be read or decoded, or has a rate or channels that are refused; or all together
            are too large.
    """
    total = len(files) * hearing.frames * np.dtype(np.float32).itemsize
    if total > SET_MAX_BYTES:
        raise ManifestError(
            f"{len(files)} {purpose} sounds of {hearing.frames} values take {total >> 20} MiB"
        )
    waves = np.zeros((len(files), hearing.frames), dtype=np.float32)
    digest = hashlib.sha256()
    resampled = cut = padded = 0
    for position, file in enumerate(files):
        what = f"{purpose} sound {file.name}"
        content = read_bounded(file, f"{purpose} sound")
        name = file.name.encode("utf-8", errors="surrogateescape")
        digest.update(len(name).to_bytes(4, "big") + name + hashlib.sha256(content).digest())
        wave, rate = _decode(content, what, hearing)
        if rate != hearing.rate_hz:
            wave = _resample(wave, rate, hearing.rate_hz)
            resampled += 1
        cut += len(wave) > hearing.frames
        padded += len(wave) < hearing.frames
        part = _window(wave, hearing)
        waves[position, : len(part)] = part
    return ClipSet(waves, digest.hexdigest(), resampled, cut, padded)


def reader_versions() -> str:
    """What the values of decoded sounds depend on beside the files."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("soundfile", "soxr"))


def _decode(content: bytes, what: str, hearing: Hearing) -> tuple[npt.NDArray[np.float32], int]:
    """One channel, and its rate in Hz."""
    import soundfile  # loads a native library, which only sounds need

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as sound:
            if sound.format not in FORMATS:
                raise ManifestError(f"{what} is {sound.format}", remedy=f"save it as {' or '.join(FORMATS)}")
            _check_rate(sound.samplerate, what, hearing)
            if sound.channels > 1 and hearing.channels is Channels.REFUSE:
                raise ManifestError(
                    f"{what} has {sound.channels} channels, the model takes one",
                    remedy="give --task-option channels=mix for their mean, or channels=first",
                )
            if sound.frames * sound.channels > CLIP_MAX_VALUES:
                raise ManifestError(f"{what} is longer than {CLIP_MAX_VALUES:,} values")
            values = sound.read(frames=sound.frames, dtype="float32", always_2d=True)
            rate = int(sound.samplerate)
    except soundfile.SoundFileError as error:
        raise ManifestError(
            f"{what} is no sound that can be decoded",
            remedy="remove it from the folder, or save it again as WAV",
        ) from error
    if not len(values) or not np.isfinite(values).all():
        raise ManifestError(f"{what} " + ("holds values that are not finite" if len(values) else "is empty"))
    wave = values.mean(axis=1) if hearing.channels is Channels.MIX else values[:, 0]
    return np.ascontiguousarray(wave, dtype=np.float32), rate


def _resample(wave: npt.NDArray[np.float32], rate: int, wanted: int) -> npt.NDArray[np.float32]:
    import soxr  # loads a native library, which only sounds of another rate need

    resampled: npt.NDArray[np.float32] = soxr.resample(wave, rate, wanted, quality=_QUALITY)
    return resampled


def _check_rate(rate: int, what: str, hearing: Hearing) -> None:
    if rate == hearing.rate_hz or hearing.resample:
        return
    raise ManifestError(
        f"{what} has {rate} Hz, the model takes {hearing.rate_hz} Hz",
        remedy="resample the sounds as your application does, or give --task-option resample=true",
    )


def _window(wave: npt.NDArray[np.float32], hearing: Hearing) -> npt.NDArray[np.float32]:
    start = max(0, len(wave) - hearing.frames) // 2 if hearing.window is Window.CENTRE else 0
    return wave[start : start + hearing.frames]
