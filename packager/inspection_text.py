"""What ``inspect`` tells of a bundle's records: fingerprint, documents, and metadata of its models.

PURE. Rules:

1. Every line says where it comes from; what is not there is said to be not there.
"""

from __future__ import annotations

from collections.abc import Mapping

from contract.fingerprint import Fingerprint, TensorFingerprint
from contract.manifest import Documents, Manifest
from packager.metadata.read import Told

_CHANNELS_SHOWN = 4


def record_rows(manifest: Manifest, told: Mapping[str, Told | str | None]) -> list[tuple[str, str]]:
    """Label and text of each line.

    Args:
        manifest: The bundle's.
        told: Variant name to what its file says of itself, or why that cannot be read.
    """
    return [
        *_fingerprint_rows(manifest.fingerprint),
        ("documents", _documents(manifest.documents)),
        *(("metadata", _metadata(name, card)) for name, card in told.items()),
    ]


def _fingerprint_rows(found: Fingerprint | None) -> list[tuple[str, str]]:
    if found is None:
        return [("fingerprint", "none: drift cannot be told")]
    rows = [("fingerprint", f"of {found.samples} {found.basis.value} samples")]
    rows += [("", f"  input {_tensor(one)}") for one in found.inputs]
    rows += [("", f"  output {_tensor(one)}") for one in found.outputs]
    if found.answers is not None:
        best, classes = found.answers.best_score, found.answers.classes
        share = max(classes) / max(1, sum(classes))
        rows.append(("", f"  best score {best.mean:.4g} on average; most frequent class {share:.1%}"))
    return rows


def _tensor(one: TensorFingerprint) -> str:
    shown = [f"{channel.mean:.4g} ± {channel.std:.3g}" for channel in one.channels[:_CHANNELS_SHOWN]]
    left = len(one.channels) - len(shown)
    return f"{one.name}: {', '.join(shown)}" + (f" and {left} channels more" if left else "")


def _documents(documents: Documents | None) -> str:
    if documents is None:
        return "none"
    sizes = [f"{name} {file.size_bytes:,} bytes" for name, file in sorted(documents.members().items())]
    return f"{', '.join(sizes)}, every digest is right (--provenance, --sbom print them)"


def _metadata(name: str, card: Told | str | None) -> str:
    if not isinstance(card, Told):
        return f"{name}: {card or 'none'}"
    files = f", {', '.join(card.files)}" if card.files else ""
    ports = f"{', '.join(card.inputs)} to {', '.join(card.outputs)}"
    return f"{name}: TFLite metadata of {card.name} {card.version}, {ports}{files}; {card.size_bytes:,} bytes"
