"""The releases that the database keeps, as the release routes want them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from contract.manifest import Manifest
from server.api.releases import ReleaseRow
from server.storage.repository import Storage


class StoredReleases:
    """Releases in the database, each call a transaction of its own."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def find(self, model: str, version: str) -> dict[str, str]:
        """Profile to the manifest's sha256; empty for an unknown release."""
        with self._storage.read() as rows:
            return rows.releases.find(model, version)

    def add(self, manifest: Manifest, manifest_sha256: str, at: datetime) -> None:
        """Keep a manifest that is published."""
        with self._storage.write() as rows:
            rows.releases.add(
                manifest.model, manifest.version, manifest.profile, manifest_sha256=manifest_sha256, at=at
            )

    def rows(self) -> Sequence[ReleaseRow]:
        """All releases, newest first."""
        with self._storage.read() as rows:
            found = rows.releases.all()
        return [
            ReleaseRow(
                model=record.model,
                version=record.version,
                profiles=record.profiles,
                published_at=record.published_at,
            )
            for record in found
        ]
