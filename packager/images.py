"""Reads folders of images, and brings them to a size only as the manifest will say, by ``contract.pictures``.

Guarantees: every file is bounded before it is read and before it is decoded; the digest of a set depends on the
files' relative names and bytes alone, not on where the folder is or in which order the file system lists it.
Does not decide what the images are for.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from contract.errors import InputError, ManifestError
from contract.manifest import ImagePreprocessing
from contract.pictures import FittedPicture, fit_picture, read_picture, size_of_picture

MAX_IMAGES = 100_000
FILE_MAX_BYTES = 64 << 20
SET_MAX_BYTES = 2 << 30
"""Decoded pixels of one set: 2 GiB, about 14,000 images of 224 x 224 RGB; more does not sharpen a gate."""
_INDEXED = frozenset(("1", "L", "P"))


@dataclass(frozen=True)
class ImageFile:
    """One file of a set: its path, its name relative to the set's folder, its class folder (or empty)."""

    path: Path
    name: str
    folder: str


@dataclass(frozen=True)
class ImageSet:
    """Decoded images.

    Attributes:
        pixels: (N, H, W, C) uint8, in the order of the names.
        folders: N class folders; empty text for an image outside one.
        sha256: Digest over names and bytes.
        sizes: N heights and widths before they were brought to the set's size; empty where nobody asked.
    """

    pixels: npt.NDArray[np.uint8]
    folders: tuple[str, ...]
    sha256: str
    sizes: tuple[tuple[int, int], ...] = ()

    @property
    def digests(self) -> tuple[bytes, ...]:
        """N digests over decoded pixels: equal for the same picture under another name or in another file format."""
        return tuple(hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in self.pixels)


def list_images(folder: Path, purpose: str, kind: str = "image") -> list[ImageFile]:
    """List ``<image>`` and ``<class>/<image>`` in the order of their names; hidden files are left out.

    Args:
        folder: Where they are.
        purpose: ``calibration`` or ``evaluation``, for error texts.
        kind: What the files are, for error texts: sounds stand in folders in the same way.

    Raises:
        ManifestError: No such folder, no image, too many, or folders inside a class folder.
    """
    if not folder.is_dir():
        raise ManifestError(
            f"there is no {purpose} folder {folder}", remedy=f"give a folder of {kind}s, <class>/<{kind}>"
        )
    files: list[ImageFile] = []
    for entry in _visible(folder):
        if not entry.is_dir():
            files.append(ImageFile(entry, entry.name, ""))
            continue
        files += [ImageFile(inner, f"{entry.name}/{inner.name}", entry.name) for inner in _visible(entry)]
    for file in files:
        if not file.path.is_file():
            found = "a folder" if file.path.is_dir() else "no plain file"
            raise ManifestError(
                f"{purpose} folder {folder}: {file.name} is {found}",
                remedy=f"{kind}s stand in the folder or in one level of class folders",
            )
    if not files:
        raise ManifestError(
            f"{purpose} folder {folder} has no {kind}", remedy=f"put {kind}s there, <class>/<{kind}>"
        )
    if len(files) > MAX_IMAGES:
        raise ManifestError(
            f"{purpose} folder {folder} has {len(files)} {kind}s, at most {MAX_IMAGES} are read"
        )
    return files


def _visible(folder: Path) -> list[Path]:
    return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda p: p.name)


def read_images(
    files: Sequence[ImageFile],
    shape: tuple[int, int, int],
    purpose: str,
    max_bytes: int = SET_MAX_BYTES,
    recipe: ImagePreprocessing | None = None,
) -> ImageSet:
    """Read and decode every file.

    Args:
        files: What ``list_images`` gave.
        shape: Height, width, channels of the decoded pixels; colours are converted.
        purpose: ``calibration`` or ``evaluation``, for error texts.
        max_bytes: How much all decoded pixels may take.
        recipe: How images of other sizes come to this one; None to refuse them.

    Raises:
        ManifestError: An image cannot be read or decoded, or has another size; or all together are too large.
    """
    height, width, channels = shape
    total = len(files) * height * width * channels
    if total > max_bytes:
        raise ManifestError(
            f"{len(files)} {purpose} images of {width} x {height} take {total >> 20} MiB",
            remedy=f"give at most {max_bytes // (total // len(files))} images",
        )
    pixels = np.empty((len(files), *shape), dtype=np.uint8)
    digest = hashlib.sha256()
    sizes: list[tuple[int, int]] = []
    for position, file in enumerate(files):
        content = read_bounded(file, f"{purpose} image")
        name = file.name.encode("utf-8", errors="surrogateescape")
        digest.update(len(name).to_bytes(4, "big") + name + hashlib.sha256(content).digest())
        decoded = _decode(content, file, shape, purpose, recipe)
        sizes.append(decoded.size)
        pixels[position] = decoded.pixels
    return ImageSet(pixels, tuple(file.folder for file in files), digest.hexdigest(), tuple(sizes))


def read_indices(file: ImageFile, purpose: str) -> npt.NDArray[np.uint8]:
    """Read an image whose pixels are numbers: gray values, or places in a palette.

    Args:
        file: The image.
        purpose: For error texts.

    Returns:
        (H, W) uint8.

    Raises:
        ManifestError: It cannot be read or decoded, or is in colour.
    """
    content = read_bounded(file, f"{purpose} image")
    try:
        with Image.open(io.BytesIO(content)) as image:
            mode, values = image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise ManifestError(f"{purpose} image {file.name} is no image that can be decoded") from error
    if mode not in _INDEXED:
        raise ManifestError(
            f"{purpose} image {file.name} has colour mode {mode}, its pixels are no class numbers",
            remedy="save it as a PNG with a palette, or as gray with the class number as its value",
        )
    return values.astype(np.uint8)


def read_bounded(file: ImageFile, what: str) -> bytes:
    """A file's bytes.

    Args:
        file: Which.
        what: It is, for error texts: ``evaluation image``.

    Raises:
        ManifestError: It cannot be read, or has more than ``FILE_MAX_BYTES``.
    """
    try:
        with file.path.open("rb") as source:
            content = source.read(FILE_MAX_BYTES + 1)
    except OSError as error:
        raise ManifestError(f"{what} {file.name} cannot be read: {error.strerror}") from error
    if len(content) > FILE_MAX_BYTES:
        raise ManifestError(f"{what} {file.name} is larger than {FILE_MAX_BYTES >> 20} MiB")
    return content


def _decode(
    content: bytes,
    file: ImageFile,
    shape: tuple[int, int, int],
    purpose: str,
    recipe: ImagePreprocessing | None,
) -> FittedPicture:
    what = f"{purpose} image {file.name}"
    height, width, channels = shape
    try:
        if recipe is not None:
            return fit_picture(content, recipe, what=what)
        size = size_of_picture(content, what=what)
        if size != (height, width):
            raise ManifestError(
                f"{what} is {size[1]} x {size[0]} pixels, the model takes {width} x {height}",
                remedy="resize the images as your application does, or give --resize",
            )
        return FittedPicture(read_picture(content, channels, what=what), size)
    except InputError as error:
        raise ManifestError(str(error), remedy=error.remedy) from error
