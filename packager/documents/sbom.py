"""A bundle's bill of materials: CycloneDX 1.6 as JSON.

PURE. Rules:

1. Everything in the bundle is a component with its sha256, and so is what it was made from: source model, data, tools.
2. Models are ``machine-learning-model`` components with a model card: task, inputs and outputs, data, what was
   measured. Data sets are ``data`` components; they are known by digest, and stay where they are.
3. Same manifest, same bytes: the serial number follows from the content, and there is no time stamp.

Specification: https://cyclonedx.org/docs/1.6/json/, ECMA-424.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from contract.manifest import Manifest, Provenance, Variant
from contract.tensor import TensorSpec
from packager.documents.parts import OWN_PACKAGE, canonical_json, package_url

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
VERSION = "1.6"
_RELEASE, _SOURCE, _GOLDEN = "release", "model:source", "data:golden"
_CALIBRATION, _EVALUATION = "data:calibration", "data:evaluation"
_NO_DATA_SHA256 = hashlib.sha256().hexdigest()

Json = dict[str, Any]


def write_sbom(manifest: Manifest) -> bytes:
    """The bill of materials of a complete manifest; its own ``documents`` are not looked at."""
    assert manifest.provenance is not None  # noqa: S101 - a complete manifest has one
    document = _document(manifest, manifest.provenance)
    serial = uuid.uuid5(uuid.NAMESPACE_URL, hashlib.sha256(canonical_json(document)).hexdigest())
    return canonical_json(document | {"serialNumber": f"urn:uuid:{serial}"})


def _document(manifest: Manifest, provenance: Provenance) -> Json:
    assert manifest.golden is not None  # noqa: S101 - a complete manifest has them
    own = provenance.tools.get(OWN_PACKAGE, "")
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "version": 1,
        "metadata": {
            "component": _release(manifest),
            "tools": {"components": [_tool(OWN_PACKAGE, own, "application")]},
        },
        "components": [
            _source(provenance),
            *(_variant(manifest, variant) for variant in manifest.variants),
            _data(_GOLDEN, "golden inputs with expected outputs", manifest.golden.artifact.sha256),
            *_data_sets(provenance),
            *(_tool(name, version, "library") for name, version in sorted(provenance.tools.items())),
        ],
        "dependencies": _dependencies(manifest, provenance),
    }


def _release(manifest: Manifest) -> Json:
    return {
        "type": "machine-learning-model",
        "bom-ref": _RELEASE,
        "name": manifest.model,
        "version": manifest.version,
        "description": f"{manifest.task.value} for {manifest.profile}",
        "modelCard": {"modelParameters": _parameters(manifest)},
        "properties": [_property("profile", manifest.profile)],
    }


def _source(provenance: Provenance) -> Json:
    return {
        "type": "machine-learning-model",
        "bom-ref": _SOURCE,
        "name": provenance.source_name,
        "description": "float model that everything was made from",
        "hashes": _hashes(provenance.source_sha256),
        "properties": [_property("normalized", text) for text in provenance.normalized],
    }


def _variant(manifest: Manifest, variant: Variant) -> Json:
    assert manifest.provenance is not None  # noqa: S101 - a complete manifest has one
    metrics = variant.metrics
    return {
        "type": "machine-learning-model",
        "bom-ref": _ref(variant),
        "name": f"{manifest.model} {variant.name}",
        "version": manifest.version,
        "mime-type": "application/octet-stream",
        "hashes": _hashes(variant.artifact.sha256),
        "modelCard": {
            "modelParameters": _parameters(manifest),
            "quantitativeAnalysis": {
                "performanceMetrics": [
                    {
                        "type": metrics.metric,
                        "value": repr(metrics.value),
                        "slice": f"{metrics.samples} evaluation samples",
                    }
                ]
            },
        },
        "properties": [
            _property("precision", variant.precision.value),
            _property("delegate", variant.delegate.value),
            _property("recipe", manifest.provenance.recipes.get(variant.name, "")),
            _property("size-bytes", str(variant.artifact.size_bytes)),
            _property("requires-tflite", variant.requires.min_version),
            *(_property("requires-library", name) for name in variant.requires.libraries),
        ],
    }


def _parameters(manifest: Manifest) -> Json:
    assert manifest.provenance is not None  # noqa: S101 - a complete manifest has one
    return {
        "task": manifest.task.value,
        "datasets": [{"ref": data["bom-ref"]} for data in _data_sets(manifest.provenance)],
        "inputs": [{"format": _format(spec)} for spec in manifest.inputs],
        "outputs": [{"format": _format(spec)} for spec in manifest.outputs],
    }


def _format(spec: TensorSpec) -> str:
    return f"{spec.name}: {spec.dtype.value} {list(spec.shape)}"


def _data_sets(provenance: Provenance) -> list[Json]:
    rows = (
        (_CALIBRATION, "calibration", provenance.calibration_sha256),
        (_EVALUATION, "evaluation", provenance.evaluation_sha256),
    )
    return [_data(ref, f"{name} data", digest) for ref, name, digest in rows if digest != _NO_DATA_SHA256]


def _data(ref: str, name: str, digest: str) -> Json:
    return {
        "type": "data",
        "bom-ref": ref,
        "name": name,
        "hashes": _hashes(digest),
        "data": [{"type": "dataset", "name": name}],
    }


def _tool(name: str, version: str, kind: str) -> Json:
    url = package_url(name, version)
    # Every reference stands once: litefleet is both what wrote the document and a component.
    ref = f"{kind}:{url}"
    return {"type": kind, "bom-ref": ref, "name": name, "version": version, "purl": url}


def _dependencies(manifest: Manifest, provenance: Provenance) -> list[Json]:
    tools = sorted(_tool(name, version, "library")["bom-ref"] for name, version in provenance.tools.items())
    data = [one["bom-ref"] for one in _data_sets(provenance)]
    variants = [_ref(variant) for variant in manifest.variants]
    return [
        {"ref": _RELEASE, "dependsOn": sorted([*variants, _GOLDEN])},
        *({"ref": ref, "dependsOn": sorted([_SOURCE, *data, *tools])} for ref in variants),
        {"ref": _GOLDEN, "dependsOn": [ref for ref in data if ref == _EVALUATION]},
    ]


def _ref(variant: Variant) -> str:
    return f"model:{variant.name}"


def _hashes(digest: str) -> list[Json]:
    return [{"alg": "SHA-256", "content": digest}]


def _property(name: str, value: str) -> Json:
    return {"name": f"litefleet:{name}", "value": value}
