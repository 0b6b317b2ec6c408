"""Embeddings of images: whether pictures of one thing stay nearer to each other than to those of another.

Metrics, 0 to 1:

* ``retrieval@k``: share of images of which at least one of the k nearest others, by cosine, shows the same identity
  (Recall@K of Oh Song et al., Deep Metric Learning via Lifted Structured Feature Embedding, CVPR 2016, section 6).
  An equally near image of another identity counts as nearer, so a model that answers the same for everything has 0.
  Images that are alone in their identity are searched among, and not searched for.
* ``cosine``: mean cosine between an image's embedding and the float model's of the same image; below 0 it is 0. The
  float model itself has 1. Needs no identities.

In a bootstrap, ``retrieval@k`` draws the images that are searched for; those that are searched among stay all of them,
because a picture drawn twice would find itself.

Guarantees: an embedding that is not finite, or is zero, is found by none and finds none. Neighbours and cosines are
scikit-learn's. Does not judge.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from contract.errors import ConfigError, ManifestError
from contract.manifest import Task as TaskName
from contract.results import EmbeddingDecoding
from packager.calibration import load_calibration
from packager.description import Source
from packager.images import ImageSet, list_images, read_images
from packager.preprocess import image_geometry, plan_preprocessing
from packager.tasks.arrays import sample_elements
from packager.tasks.borders import image_to_row_faults
from packager.tasks.kind import DataRequest, Kind, Loaded, Presentation
from packager.tasks.metrics import NO_ANSWER, cosines, recalls, retrieved, share
from packager.tasks.plain import refuse_labels
from packager.tasks.prepared_images import PreparedImages
from packager.tasks.sampled import SampledTask
from packager.tasks.task import Array, Counts, Scores

RETRIEVAL = "retrieval"
COSINE = "cosine"
_METRICS = (RETRIEVAL, COSINE)
_MAX_K = 1_000


class EmbeddingOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Options of task ``embedding``.

    Attributes:
        metric: ``retrieval`` or ``cosine``.
        k: How many neighbours ``retrieval`` looks at.
        normalize: Whether devices bring embeddings to length 1.
    """

    metric: str = RETRIEVAL
    k: int = 1
    normalize: bool = True


@dataclass(frozen=True)
class Embedding(SampledTask):
    """Images of identities; implements ``packager.tasks.task.Task`` and ``packager.tasks.task.Relative``.

    Attributes:
        truth: (N,) identities; all 0 where there are none.
        names: Of the identities; empty where there are none.
        k: For ``retrieval@k``; 0 for ``cosine``.
        reference: (N, values) the float model's scores, once they are known.
    """

    truth: npt.NDArray[np.int64]
    names: tuple[str, ...]
    k: int = 1
    reference: Scores | None = None
    _hits: dict[bytes, Scores] = field(default_factory=dict, repr=False, compare=False)

    @property
    def metric(self) -> str:
        """``retrieval@1`` or ``cosine``."""
        return f"{RETRIEVAL}@{self.k}" if self.k else COSINE

    @property
    def scoring(self) -> str:
        """Rows are embeddings of length 1, whatever is computed from them."""
        return "embeddings of length 1"

    @property
    def classes(self) -> tuple[str, ...]:
        """The identities that are searched for; none for ``cosine``."""
        return self.names if self.k else ()

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(N,) the identities."""
        return self.truth

    def score(self, outputs: Sequence[Array], positions: Sequence[int]) -> Scores:
        """(positions, values) embeddings of length 1; zeros where one is not finite, or is zero."""
        values = outputs[0].reshape(len(positions), -1).astype(np.float64)
        values = np.where(np.isfinite(values).all(axis=1, keepdims=True), values, 0.0)
        length = np.linalg.norm(values, axis=1, keepdims=True)
        rows: Scores = values / np.where(length > 0, length, 1.0)
        return rows

    def measure(self, scores: Scores) -> float:
        """The metric over all samples."""
        shares = self._shares(scores)
        if self.k:
            return share(shares[self._is_sought] > 0)
        return float(np.clip(np.average(shares), 0.0, 1.0))

    def aggregate(self, scores: Scores, counts: Counts) -> npt.NDArray[np.float64]:
        """(R,) the metric of each draw."""
        shares = self._shares(scores)
        weights = counts * self._is_sought
        total = weights.sum(axis=1)
        # A draw may hold only images that are alone in their identity; it says nothing, for variant and float alike.
        mean: npt.NDArray[np.float64] = (weights @ shares) / np.where(total > 0, total, 1.0)
        return np.clip(mean, 0.0, 1.0)

    def per_class(self, scores: Scores) -> npt.NDArray[np.float64]:
        """(identities,) share of found images; NaN for an identity of one image. Nothing for ``cosine``."""
        if not self.k:
            return np.empty(0)
        is_sought, answers = self._is_sought, np.where(self._shares(scores) > 0, self.truth, NO_ANSWER)
        return recalls(self.truth[is_sought], answers[is_sought], len(self.names))

    def with_reference(self, scores: Scores) -> Embedding:
        """The same task, knowing the float model's scores."""
        return dataclasses.replace(self, reference=scores, _hits={})

    @property
    def _is_sought(self) -> npt.NDArray[np.bool_]:
        """(N,) which images count: for ``retrieval`` those that are not alone in their identity."""
        alone: npt.NDArray[np.bool_] = np.bincount(self.truth)[self.truth] > 1
        return alone if self.k else np.ones(len(self), dtype=np.bool_)

    def _shares(self, scores: Scores) -> Scores:
        """(N,) what each image contributes; kept, because a bootstrap asks for the same ones again and again."""
        reference = self.reference if self.reference is not None else scores
        key = hashlib.blake2b(np.ascontiguousarray(scores).tobytes(), digest_size=16).digest()
        if key not in self._hits:
            self._hits[key] = (
                retrieved(scores, self.truth, self.k).astype(np.float64)
                if self.k
                else cosines(scores, reference)
            )
        return self._hits[key]


def _border_faults(source: Source, _: Any) -> list[str]:
    return image_to_row_faults(source, "values", lambda spec: sample_elements(spec) >= 2)


def _load(request: DataRequest) -> Loaded:
    options: EmbeddingOptions = request.options
    if options.metric not in _METRICS:
        raise ConfigError(
            f"there is no metric {options.metric[:40]!r} of embeddings",
            remedy=f"known: {', '.join(_METRICS)}",
        )
    if not 1 <= options.k <= _MAX_K:
        raise ConfigError(f"k must be 1 to {_MAX_K}")
    refuse_labels(request)
    geometry = image_geometry(request.source.inputs[0].shape)
    assert geometry is not None  # noqa: S101 - checked by _border_faults
    preprocessing = plan_preprocessing(geometry, request.mean, request.std, fitting=request.fitting)
    recipe = preprocessing if request.fitting.resize else None
    images = read_images(
        list_images(request.evaluation, "evaluation"), geometry.shape, "evaluation", recipe=recipe
    )
    is_retrieval = options.metric == RETRIEVAL
    truth, names = _identities(images, is_needed=is_retrieval)
    calibration = (
        load_calibration(request.calibration, geometry.shape, recipe) if request.calibration else None
    )
    return Loaded(
        task=Embedding(PreparedImages(images, preprocessing), truth, names, options.k if is_retrieval else 0),
        calibration=PreparedImages(calibration, preprocessing) if calibration else None,
        presentation=Presentation(
            task=TaskName.EMBEDDING,
            preprocessing=preprocessing,
            decoding=EmbeddingDecoding() if options.normalize else None,
        ),
    )


def _identities(images: ImageSet, *, is_needed: bool) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """(N,) identity of each image, and their names.

    Raises:
        ManifestError: Identities are needed, and an image has none, or none has two images.
    """
    names = tuple(sorted(set(images.folders)))
    index = {name: number for number, name in enumerate(names)}
    truth = np.array([index[name] for name in images.folders], dtype=np.int64)
    if not is_needed:
        return truth, names
    if "" in index:
        raise ManifestError(
            "an evaluation image stands outside a folder of an identity",
            remedy="put images of one person or thing into <identity>/<image>, or measure --task-option metric=cosine",
        )
    if len(names) < 2 or np.bincount(truth).max() < 2:
        raise ManifestError(
            f"the evaluation images are of {len(names)} identities, and "
            + ("none has two images" if len(names) > 1 else "there is nothing to confuse it with"),
            remedy="retrieval needs two identities at least, and one of them with two images",
        )
    return truth, names


KIND = Kind(
    name="embedding",
    wants="one float32 image (1, H, W, C) in, one float32 embedding (1, values) out",
    options=EmbeddingOptions,
    borders=_border_faults,
    load=_load,
)
