"""What the readers of annotations share: the noted image, and reading files with a bound.

Guarantees: a file is bounded before it is read; names from files never lead out of the folder. Does not judge boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from contract.errors import ManifestError
from packager.images import ImageFile
from packager.tasks.true_boxes import TrueBox, refuse

PURPOSE = "evaluation"
IMAGE_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)


@dataclass(frozen=True)
class Noted:
    """An image and what is noted of it.

    Attributes:
        file: The image.
        boxes: What is true of it.
        size: Height and width that the annotation claims; None where it claims none.
        is_in_fractions: Whether boxes are in fractions of the image and not in pixels.
    """

    file: ImageFile
    boxes: tuple[TrueBox, ...]
    size: tuple[int, int] | None = None
    is_in_fractions: bool = False


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Content of a file.

    Raises:
        ManifestError: It is not there, cannot be read, or is too large.
    """
    try:
        with path.open("rb") as source:
            content = source.read(max_bytes + 1)
    except OSError as error:
        raise ManifestError(f"annotation {path.name} cannot be read: {error.strerror}") from error
    if len(content) > max_bytes:
        raise ManifestError(f"annotation {path.name} is larger than {max_bytes >> 20} MiB")
    return content


def images_in(folder: Path) -> list[Path]:
    """Images that stand in a folder itself, in the order of their names; hidden files are left out."""
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ),
        key=lambda path: path.name,
    )


def by_stem(paths: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Images by their names without suffix.

    Raises:
        ManifestError: Two have the same, so an annotation would be of both.
    """
    paths = list(paths)
    count = Counter(path.stem for path in paths)
    double = sorted(stem for stem, times in count.items() if times > 1)
    refuse(
        f"{PURPOSE} folder {folder} has an image twice",
        [f"{stem}: {', '.join(path.name for path in paths if path.stem == stem)}" for stem in double],
        "keep one of each",
    )
    return {path.stem: path for path in paths}


def place_inside(folder: Path, name: str) -> Path:
    """The file that a relative name means.

    Raises:
        ValueError: The name leads out of the folder.
    """
    relative = PurePosixPath(name)
    if not name or relative.is_absolute() or ".." in relative.parts or "\0" in name or "\\" in name:
        raise ValueError(f"file name {name[:80]!r} is not within the folder")
    return folder.joinpath(*relative.parts)
