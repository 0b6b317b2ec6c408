"""A bundle with the digits model in static int8, as a pack run hands it to the Edge TPU stage."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from contract.manifest import Golden, Tolerance
from contract.profile import Precision, Profile
from packager.bundle_writer import BundleContent
from tests.support.builders import a_manifest, a_variant, an_artifact
from tests.support.coverage_precisions import digits_in


def int8_bundle(profile: Profile, model: bytes | None = None) -> BundleContent:
    """One CPU variant with self-test data; of static int8 throughout, or another file of that precision."""
    model = digits_in("static_wi8_ai8") if model is None else model
    stream = io.BytesIO()
    arrays: dict[str, Any] = {
        "input.image": np.zeros((4, 8, 8, 1), dtype=np.float32),
        "expected.static-int8.scores": np.full((4, 10), 0.1, dtype=np.float32),
    }
    np.savez(stream, **arrays)
    golden = stream.getvalue()
    manifest = a_manifest(
        profile=profile.id,
        variants=(a_variant(model, name="static-int8", precision=Precision.STATIC_INT8),),
        golden=Golden(
            artifact=an_artifact(golden),
            samples=4,
            tolerance={"static-int8": Tolerance(max_abs_error=0.05)},
        ),
    )
    return BundleContent(manifest, {an_artifact(data).sha256: data for data in (model, golden)})
